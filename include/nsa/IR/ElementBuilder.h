//===- ElementBuilder.h - Emits elements of nsa values ----------*- C++ -*-===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef NSA_IR_ELEMENTBUILDER_H
#define NSA_IR_ELEMENTBUILDER_H

#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/IRMapping.h"
#include "llvm/ADT/DenseMap.h"

namespace nsa {

/// Emits the code that computes elements of nsa values at one point of an index
/// space, starting from the arrays behind the ports.
///
/// Emission pulls: `element(v, indices)` asks the operation that defines `v`
/// for that element, which asks for elements of its operands, down to loads
/// from `in` ports. The insertion point moves through `b` and must stay in the
/// region in which the builder was made (values found once are reused).
class ElementBuilder {
public:
  /// `ports` maps the step's ports to memrefs and sizes. `point` is the point
  /// that is emitted for; elements at it are computed once.
  ElementBuilder(mlir::OpBuilder &b, mlir::Location loc,
                 const mlir::IRMapping &ports, mlir::ValueRange point)
      : b(b), loc(loc), ports(ports), point(point) {}

  /// The element of `value` at `indices`.
  mlir::Value element(mlir::Value value, mlir::ValueRange indices);

  /// `width` elements of `value` from `indices` on, in the innermost dimension,
  /// as a vector. Those past the end are unspecified.
  mlir::Value elements(mlir::Value value, mlir::ValueRange indices,
                       int64_t width);

  /// The same at several points, each with its builder, all of which are at the
  /// same place in the code.
  static llvm::SmallVector<mlir::Value>
  elementsAt(llvm::MutableArrayRef<ElementBuilder> builders, mlir::Value value,
             llvm::ArrayRef<llvm::SmallVector<mlir::Value>> points,
             int64_t width);

  /// Calls `emit` for each of `width` points from `indices` on and gathers the
  /// results in a vector.
  mlir::Value emitLanes(mlir::ValueRange indices, int64_t width,
                        llvm::function_ref<mlir::Value(mlir::ValueRange)> emit);

  /// Says that the element of `value` at the point is `scalar`.
  void bind(mlir::Value value, mlir::Value scalar) { known[value] = scalar; }

  /// What a port or a size outside of the kernel is inside of it.
  mlir::Value lookup(mlir::Value value) const;
  /// The same for a size that may be a constant.
  mlir::Value size(mlir::OpFoldResult size);

  /// The number of elements in dimension `dim` of the array behind a port.
  mlir::Value dim(mlir::Value port, unsigned dim);

  /// Whether the `width` elements of a port's array at the start of the row
  /// that `indices` lie in are aligned for one vector access: a constant where
  /// the text says so, else a look at the address. The innermost index itself
  /// must be a multiple of `width`. Null if they never can be (an inner stride
  /// other than 1).
  mlir::Value isRowAligned(mlir::Value port, mlir::ValueRange indices,
                           int64_t width);

  mlir::Value constantIndex(int64_t value);

  mlir::OpBuilder &b;
  mlir::Location loc;

private:
  const mlir::IRMapping &ports;
  llvm::SmallVector<mlir::Value> point;
  llvm::DenseMap<mlir::Value, mlir::Value> known;
};

} // namespace nsa

#endif // NSA_IR_ELEMENTBUILDER_H
