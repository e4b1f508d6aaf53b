//===- Arith.h - The arithmetic of emitted code -----------------*- C++ -*-===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef NSA_CODEGEN_ARITH_H
#define NSA_CODEGEN_ARITH_H

#include "nsa/IR/LLVM.h"

#include "mlir/Dialect/Arith/IR/Arith.h"

namespace nsa {

/// Emits arithmetic on integers and indices, and on vectors of them: what
/// elements, segments and kernels are computed with. Sums and products wrap;
/// what is not called unsigned has a sign.
///
/// Builders of regions hand on the builder that they were given, so one of
/// these can be used inside of them as well.
class Arith {
public:
  using Predicate = mlir::arith::CmpIPredicate;
  using Values = SmallVector<Value>;

  Arith(OpBuilder &b, Location loc) : b(b), loc(loc) {}

  Value index(int64_t value);
  Value i32(int64_t value);
  Value i64(int64_t value);
  Value i1(bool value);
  Value zero(Type type);
  /// A number of a type, or in each element of a vector.
  Value constant(Type type, int64_t value);
  Value constantFloat(Type type, double value);

  Value toIndex(Value value);
  Value toIndexUnsigned(Value value);
  Value toI32(Value value);
  Value toI64(Value value);
  /// An index as an integer, or the other way round.
  Value castIndex(Type type, Value value);

  /// The result of any operation.
  template <typename Op, typename... Args> Value apply(Args &&...args) {
    return Op::create(b, loc, std::forward<Args>(args)...);
  }
#define NSA_BINARY(name, Op)                                                   \
  Value name(Value lhs, Value rhs) { return apply<mlir::arith::Op>(lhs, rhs); }
  NSA_BINARY(add, AddIOp)
  NSA_BINARY(sub, SubIOp)
  NSA_BINARY(mul, MulIOp)
  NSA_BINARY(min, MinSIOp)
  NSA_BINARY(max, MaxSIOp)
  NSA_BINARY(minUnsigned, MinUIOp)
  NSA_BINARY(divUnsigned, DivUIOp)
  NSA_BINARY(remUnsigned, RemUIOp)
  NSA_BINARY(ceilDivUnsigned, CeilDivUIOp)
  NSA_BINARY(shiftLeft, ShLIOp)
  NSA_BINARY(shiftRight, ShRUIOp)
  /// The bits of either.
  NSA_BINARY(either, OrIOp)
#undef NSA_BINARY
  /// `lhs` where `rhs` is 0.
  Value add(Value lhs, int64_t rhs);
  Value clamp(Value value, int64_t low, int64_t high);

  Value compare(Predicate predicate, Value lhs, Value rhs);
#define NSA_COMPARISON(name, predicate)                                        \
  Value name(Value lhs, Value rhs) {                                           \
    return compare(Predicate::predicate, lhs, rhs);                            \
  }
  NSA_COMPARISON(equal, eq)
  NSA_COMPARISON(notEqual, ne)
  NSA_COMPARISON(less, slt)
  NSA_COMPARISON(isAtMost, sle)
  NSA_COMPARISON(isAtLeast, sge)
  /// Whether `lhs` is an index of an array of `rhs` elements: a negative one is
  /// too large as well.
  NSA_COMPARISON(isInside, ult)
  /// Whether it is not.
  NSA_COMPARISON(isOutside, uge)
#undef NSA_COMPARISON
  /// The bits of both; where one is null, which is for true, those of the
  /// other.
  Value both(Value lhs, Value rhs);
  Value select(Value condition, Value lhs, Value rhs);

  /// `value` in each lane of a vector.
  Value splat(Value value, int64_t width);
  Value extract(Value vector, int64_t lane);

  /// An element of a memref.
  Value load(Value memref, ValueRange indices);
  void store(Value value, Value memref, ValueRange indices);

  /// Emits `then` under `condition`, or as it is where that is null, and
  /// `otherwise`, if there is one, under its opposite.
  void emitIf(Value condition, function_ref<void()> then,
              function_ref<void()> otherwise = {});
  /// The value of one of `then` and `otherwise`, of type `type`.
  Value emitIf(Type type, Value condition, function_ref<Value()> then,
               function_ref<Value()> otherwise);
  /// The values of one of them.
  Values emitIf(mlir::TypeRange types, Value condition,
                function_ref<Values()> then, function_ref<Values()> otherwise);

  /// Emits `body` for the indices `begin`, `begin + step` and so on that are
  /// less than `end`.
  void emitFor(Value begin, Value end, Value step,
               function_ref<void(Value)> body);
  /// The same where `body` makes of an index and what it is given what the next
  /// one is given; first `initial`. Returns the last ones.
  Values emitFor(Value begin, Value end, Value step, ValueRange initial,
                 function_ref<Values(Value, ValueRange)> body);
  Value emitFor(Value begin, Value end, Value step, Value initial,
                function_ref<Value(Value, Value)> body);
  /// The same by loops that nobody unrolls: where few elements are left to walk
  /// over, copies of the body are code that others wait to jump over.
  void emitRolledFor(Value begin, Value end, Value step,
                     function_ref<void(Value)> body);
  Value emitRolledFor(Value begin, Value end, Value step, Value initial,
                      function_ref<Value(Value, Value)> body);
  /// Has `next` make new values of `initial` as long as `goesOn` (i1) holds of
  /// them.
  Values emitWhile(ValueRange initial, function_ref<Value(ValueRange)> goesOn,
                   function_ref<Values(ValueRange)> next);

  OpBuilder &b;
  Location loc;
};

} // namespace nsa

#endif // NSA_CODEGEN_ARITH_H
