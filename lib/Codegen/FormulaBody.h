//===- FormulaBody.h - Emits the bodies of formulas -------------*- C++ -*-===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef NSA_LIB_CODEGEN_FORMULABODY_H
#define NSA_LIB_CODEGEN_FORMULABODY_H

#include "nsa/Codegen/Elements.h"

namespace nsa {

/// Emits `op`, an operation of the body of an `nsa.map` other than those of
/// this dialect, on `operands`, as the documentation of `nsa.map` defines it.
mlir::Value emitFormulaOp(mlir::OpBuilder &b, mlir::Operation *op,
                          mlir::ValueRange operands);

/// Emits what the body of a formula computes at some points.
class BodyEmitter : Arith {
public:
  /// `width` is that of a vector, or 0 for an element.
  BodyEmitter(FormulaOpInterface op,
              llvm::MutableArrayRef<ElementBuilder> builders,
              llvm::ArrayRef<llvm::SmallVector<mlir::Value>> points,
              int64_t width)
      : Arith(builders.front().b, op.getLoc()), op(op), builders(builders),
        points(points), isVector(width > 0),
        numLanes(std::max<int64_t>(width, 1)) {}

  /// The elements at each point, or one that stands for all.
  llvm::SmallVector<llvm::SmallVector<mlir::Value>> emit();
  /// Emits what does not depend on the innermost index, which points may lack,
  /// so that builders know it; `ofArrays`: and rests on arrays alone.
  void emitOuter(bool ofArrays);
  /// Emits what rests on arrays alone, so that builders know it.
  void emitAhead();
  /// Says what `read` reads.
  void bind(ReadOp read, mlir::Value element) {
    bound[read] = as(read.getType(), element);
  }

private:
  /// What a value of the body is in each lane of a point: one, if it is the
  /// same in all.
  using Lanes = llvm::SmallVector<mlir::Value>;

  /// Whether `value` of the body depends on the innermost index.
  bool isVarying(mlir::Value value) const { return varying.contains(value); }
  bool isVarying(mlir::Operation *op) const {
    return llvm::any_of(op->getOperands(), [&](mlir::Value operand) {
      return isVarying(operand);
    });
  }
  /// `value` in lane `lane` of point `point`.
  mlir::Value get(mlir::Value value, size_t point, int64_t lane);
  llvm::SmallVector<mlir::Value> get(mlir::ValueRange values, size_t point,
                                     int64_t lane);

  /// Emits what does not vary; `ofArrays`: and rests on arrays alone.
  void emitInvariant(bool ofArrays);
  /// Emits what the elements that `read` reads of a formula's row share.
  void emitOuterOf(ReadOp read, size_t point, bool ofArrays);
  Lanes emitRead(ReadOp read, size_t point);
  /// The element, or the fill where it is outside.
  mlir::Value emitReadAt(ReadOp read, size_t point, int64_t lane);
  /// Elements that are `otherwise`, through `casts`, unless all of
  /// `conditions` hold, which are known without the searches that others need:
  /// tokens past the last one, mostly.
  struct Bypass {
    llvm::SmallVector<mlir::Value> conditions;
    mlir::Value otherwise;
    llvm::SmallVector<mlir::Operation *> casts;
  };
  std::optional<Bypass> findBypass();
  /// The elements, of which a thread leaves out what none of its points needs.
  llvm::SmallVector<llvm::SmallVector<mlir::Value>> emitBypassed(Bypass bypass);
  void emitArguments();
  /// `inner` for all lanes of all points.
  void emitOpOfLanes(mlir::Operation *inner);
  /// What an operation of the body yields, once for the same operands.
  mlir::Value emitOp(mlir::Operation *inner, size_t point, int64_t lane);
  /// A read along the innermost dimension, or nothing where it is another one.
  std::optional<Lanes> emitRun(ReadOp read, size_t point);
  /// Whether `index` is inside a dimension of `size` elements (i1).
  mlir::Value emitIsInside(size_t point, mlir::Value index, const Size &size);
  Lanes getLanes(mlir::Value vector, mlir::Type type);
  /// `value` as a formula has it, or as memory does: bf16 is moved as 16 bits.
  mlir::Value as(mlir::Type type, mlir::Value value) {
    if (value.getType() == type)
      return value;
    return mlir::arith::BitcastOp::create(b, loc, type, value);
  }
  mlir::Value emitSearch(SearchOp search, size_t point, int64_t lane);

  FormulaOpInterface op;
  llvm::MutableArrayRef<ElementBuilder> builders;
  llvm::ArrayRef<llvm::SmallVector<mlir::Value>> points;
  /// Lanes of a vector may be past the last element.
  bool isVector;
  int64_t numLanes;
  llvm::DenseSet<mlir::Value> varying;
  llvm::DenseMap<mlir::Operation *, mlir::Value> bound;
  llvm::DenseMap<mlir::Value, llvm::SmallVector<Lanes>> values;
};

} // namespace nsa

#endif // NSA_LIB_CODEGEN_FORMULABODY_H
