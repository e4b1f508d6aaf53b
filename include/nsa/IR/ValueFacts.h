//===- ValueFacts.h - What values are computed from -------------*- C++ -*-===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef NSA_IR_VALUEFACTS_H
#define NSA_IR_VALUEFACTS_H

#include "nsa/IR/LLVM.h"

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
SmallVector<Value> getInputs(Operation *op);

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

  struct Facts {
    /// Whether it is computed from a cumulative sum, so that only a `scan` or
    /// `expand` segment can hold it.
    bool dependsOnScan = false;
    /// The expansion that its rows come from, or null if they are requests.
    Operation *expansion = nullptr;
    /// How many operations it is computed by, one from the other.
    unsigned depth = 0;
    /// From how many reads an element of it is computed; no more than one more
    /// than the most.
    unsigned reads = 0;
  };

  /// Adds `op`, whose operands are added or ports.
  void add(Operation *op);
  /// Whether the operation that defines `value` was added.
  bool contains(Value value) const;

  Facts lookup(Value value) const;
  bool dependsOnScan(Value value) const { return lookup(value).dependsOnScan; }
  ExpansionOp getExpansion(Value value) const;
  /// Whether `value` has an element or a row for each request: it is made
  /// neither from a cumulative sum nor from an expansion.
  bool isPerRequest(Value value) const;
  /// Checks that all `values` of `op` that are there have; `what` says of them
  /// that they depend on nothing else.
  bool expectPerRequest(Operation *op, ValueRange values, StringRef what) const;

private:
  unsigned countReads(Operation *op) const;

  llvm::DenseMap<Operation *, Facts> facts;
};

/// The same of one value, found by following operands.
bool dependsOnScan(Value value);
ExpansionOp getExpansion(Value value);

/// Calls `visit` with the operations that `values` are computed by, each once,
/// and goes on to the inputs of those for which it returns true.
void walkOrigins(ValueRange values, function_ref<bool(Operation *)> visit);

} // namespace nsa

#endif // NSA_IR_VALUEFACTS_H
