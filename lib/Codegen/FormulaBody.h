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
Value emitFormulaOp(OpBuilder &b, Operation *op, ValueRange operands);

/// Emits what the body of a formula computes at some points.
class BodyEmitter : Arith {
public:
  /// `width` is that of a vector, or 0 for an element.
  BodyEmitter(FormulaOpInterface op, MutableArrayRef<ElementBuilder> builders,
              ArrayRef<SmallVector<Value>> points, int64_t width)
      : Arith(builders.front().b, op.getLoc()), op(op), builders(builders),
        points(points), isVector(width > 0),
        numLanes(std::max<int64_t>(width, 1)) {}

  /// The elements at each point, or one that stands for all.
  SmallVector<SmallVector<Value>> emit();
  /// Emits what does not depend on the innermost index, which points may lack,
  /// so that builders know it; `ofArrays`: and rests on arrays alone.
  void emitOuter(bool ofArrays);
  /// Emits what rests on arrays alone, so that builders know it.
  void emitAhead();
  /// Says what `read` reads.
  void bind(ReadOp read, Value element) {
    bound[read] = as(read.getType(), element);
  }

private:
  /// What a value of the body is in each lane of a point: one, if it is the
  /// same in all.
  using Lanes = SmallVector<Value>;

  /// Whether `value` of the body depends on the innermost index.
  bool isVarying(Value value) const { return varying.contains(value); }
  bool isVarying(Operation *op) const {
    return llvm::any_of(op->getOperands(),
                        [&](Value operand) { return isVarying(operand); });
  }
  /// `value` in lane `lane` of point `point`.
  Value get(Value value, size_t point, int64_t lane);
  SmallVector<Value> get(ValueRange values, size_t point, int64_t lane);

  /// Emits what does not vary; `ofArrays`: and rests on arrays alone.
  void emitInvariant(bool ofArrays);
  /// Emits what the elements that `read` reads of a formula's row share.
  void emitOuterOf(ReadOp read, size_t point, bool ofArrays);
  Lanes emitRead(ReadOp read, size_t point);
  /// The element, or the fill where it is outside.
  Value emitReadAt(ReadOp read, size_t point, int64_t lane);
  /// Elements that are `otherwise`, through `casts`, unless all of
  /// `conditions` hold, which are known without the searches that others need:
  /// tokens past the last one, mostly.
  struct Bypass {
    SmallVector<Value> conditions;
    Value otherwise;
    SmallVector<Operation *> casts;
  };
  std::optional<Bypass> findBypass();
  /// The elements, of which a thread leaves out what none of its points needs.
  SmallVector<SmallVector<Value>> emitBypassed(Bypass bypass);
  void emitArguments();
  /// `inner` for all lanes of all points.
  void emitOpOfLanes(Operation *inner);
  /// What an operation of the body yields, once for the same operands.
  Value emitOp(Operation *inner, size_t point, int64_t lane);
  /// A read along the innermost dimension, or nothing where it is another one.
  std::optional<Lanes> emitRun(ReadOp read, size_t point);
  /// Whether `index` is inside a dimension of `size` elements (i1).
  Value emitIsInside(size_t point, Value index, const Size &size);
  Lanes getLanes(Value vector, Type type);
  /// `value` as a formula has it, or as memory does: bf16 is moved as 16 bits.
  Value as(Type type, Value value) {
    if (value.getType() == type)
      return value;
    return mlir::arith::BitcastOp::create(b, loc, type, value);
  }
  Value emitSearch(SearchOp search, size_t point, int64_t lane);

  FormulaOpInterface op;
  MutableArrayRef<ElementBuilder> builders;
  ArrayRef<SmallVector<Value>> points;
  /// Lanes of a vector may be past the last element.
  bool isVector;
  int64_t numLanes;
  llvm::DenseSet<Value> varying;
  llvm::DenseMap<Operation *, Value> bound;
  llvm::DenseMap<Value, SmallVector<Lanes>> values;
};

} // namespace nsa

#endif // NSA_LIB_CODEGEN_FORMULABODY_H
