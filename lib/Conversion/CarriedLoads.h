//===- CarriedLoads.h - Loads ahead of what is made of them -----*- C++ -*-===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef NSA_LIB_CONVERSION_CARRIEDLOADS_H
#define NSA_LIB_CONVERSION_CARRIEDLOADS_H

#include "nsa/Codegen/Arith.h"

#include "mlir/Dialect/SCF/IR/SCF.h"

namespace nsa {

/// Values that a loop computes a round ahead, each round under a condition and
/// as 0 elsewhere. A loop that carries the values waits for memory where they
/// are made; one that carries what they are made of waits where they are used.
class CarriedLoads {
public:
  /// `first` is the computation of the first round, at `row`: what it yields,
  /// or zeros. It yields what is carried from now on.
  CarriedLoads(mlir::scf::IfOp &first, Value row);

  /// Has the same computation at another `row` yield what is carried.
  void cut(mlir::scf::IfOp &other, Value row) const;

  /// The values of a round, from what the loop has carried for it; `isThere` is
  /// the round's condition.
  SmallVector<Value> emit(Arith &math, ValueRange carried, Value isThere) const;

private:
  /// What makes the values of the first round, in order, from what it loads.
  SmallVector<Operation *> rest;
  SmallVector<Value> loads, values;
  /// Whether loads are carried: they are no more bits than the values.
  bool isCut = false;
};

} // namespace nsa

#endif // NSA_LIB_CONVERSION_CARRIEDLOADS_H
