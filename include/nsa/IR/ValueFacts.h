//===- ValueFacts.h - What values are computed from -------------*- C++ -*-===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef NSA_IR_VALUEFACTS_H
#define NSA_IR_VALUEFACTS_H

#include "mlir/IR/Value.h"
#include "llvm/ADT/DenseMap.h"

namespace nsa {
class ExpansionOp;

/// What the elements of a row of a value are computed from.
enum class Iteration {
  /// From those of the same row of its operands, in any order.
  Each,
  /// From those of all rows before, too: a sum. Rows are walked in order.
  Scan,
  /// From a request, which has several rows.
  Expand,
  /// From anything: a row finds what it needs, sums included, by itself.
  Row,
  /// From anything, and so is each element by itself.
  Any
};

/// What `op` is computed from: its operands, and what the formulas inside of it
/// read.
llvm::SmallVector<mlir::Value> getInputs(mlir::Operation *op);

/// What the values of a block are computed from, one operation after the other,
/// so that nobody follows operands.
class ValueFacts {
public:
  /// Values computed from one another are at most this deep: code is emitted by
  /// recursion along operands.
  static constexpr unsigned mostDepth = 256;
  /// An element is computed from at most so many reads, those of what it reads
  /// included: each is emitted where it is read.
  static constexpr unsigned mostReads = 512;

  /// Adds `op`, whose operands are added or ports.
  void add(mlir::Operation *op);
  /// Whether the operation that defines `value` was added.
  bool contains(mlir::Value value) const;

  /// Whether `value` is computed from a cumulative sum, so that only a `scan`
  /// or `expand` segment can hold it.
  bool dependsOnScan(mlir::Value value) const;
  /// The expansion that the rows of `value` come from, or null if its rows are
  /// requests.
  ExpansionOp getExpansion(mlir::Value value) const;
  /// Whether `value` has an element or a row for each request: it is made
  /// neither from a cumulative sum nor from an expansion.
  bool isPerRequest(mlir::Value value) const;
  /// How many operations `value` is computed by, one from the other.
  unsigned getDepth(mlir::Value value) const;
  /// From how many reads an element of `value` is computed; no more than one
  /// more than the most.
  unsigned getReads(mlir::Value value) const;

private:
  struct Facts {
    bool dependsOnScan = false;
    mlir::Operation *expansion = nullptr;
    unsigned depth = 0;
    unsigned reads = 0;
  };
  unsigned countReads(mlir::Operation *op) const;
  Facts lookup(mlir::Value value) const;

  llvm::DenseMap<mlir::Operation *, Facts> facts;
};

/// The same of one value, found by following operands.
bool dependsOnScan(mlir::Value value);
ExpansionOp getExpansion(mlir::Value value);

} // namespace nsa

#endif // NSA_IR_VALUEFACTS_H
