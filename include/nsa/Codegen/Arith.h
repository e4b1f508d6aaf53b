//===- Arith.h - The arithmetic of emitted code -----------------*- C++ -*-===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef NSA_CODEGEN_ARITH_H
#define NSA_CODEGEN_ARITH_H

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
  using Values = llvm::SmallVector<mlir::Value>;

  Arith(mlir::OpBuilder &b, mlir::Location loc) : b(b), loc(loc) {}

  mlir::Value index(int64_t value);
  mlir::Value i32(int64_t value);
  mlir::Value i64(int64_t value);
  mlir::Value i1(bool value);
  mlir::Value zero(mlir::Type type);
  /// A number of a type, or in each element of a vector.
  mlir::Value constant(mlir::Type type, int64_t value);
  mlir::Value constantFloat(mlir::Type type, double value);

  mlir::Value toIndex(mlir::Value value);
  mlir::Value toIndexUnsigned(mlir::Value value);
  mlir::Value toI32(mlir::Value value);
  mlir::Value toI64(mlir::Value value);
  /// An index as an integer, or the other way round.
  mlir::Value castIndex(mlir::Type type, mlir::Value value);

  /// The result of any operation.
  template <typename Op, typename... Args> mlir::Value apply(Args &&...args) {
    return Op::create(b, loc, std::forward<Args>(args)...);
  }
#define NSA_BINARY(name, Op)                                                   \
  mlir::Value name(mlir::Value lhs, mlir::Value rhs) {                         \
    return apply<mlir::arith::Op>(lhs, rhs);                                   \
  }
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
  mlir::Value add(mlir::Value lhs, int64_t rhs);
  mlir::Value clamp(mlir::Value value, int64_t low, int64_t high);

  mlir::Value compare(Predicate predicate, mlir::Value lhs, mlir::Value rhs);
#define NSA_COMPARISON(name, predicate)                                        \
  mlir::Value name(mlir::Value lhs, mlir::Value rhs) {                         \
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
  mlir::Value both(mlir::Value lhs, mlir::Value rhs);
  mlir::Value select(mlir::Value condition, mlir::Value lhs, mlir::Value rhs);

  /// `value` in each lane of a vector.
  mlir::Value splat(mlir::Value value, int64_t width);
  mlir::Value extract(mlir::Value vector, int64_t lane);

  /// An element of a memref.
  mlir::Value load(mlir::Value memref, mlir::ValueRange indices);
  void store(mlir::Value value, mlir::Value memref, mlir::ValueRange indices);

  /// Emits `then` under `condition`, or as it is where that is null, and
  /// `otherwise`, if there is one, under its opposite.
  void emitIf(mlir::Value condition, llvm::function_ref<void()> then,
              llvm::function_ref<void()> otherwise = {});
  /// The value of one of `then` and `otherwise`, of type `type`.
  mlir::Value emitIf(mlir::Type type, mlir::Value condition,
                     llvm::function_ref<mlir::Value()> then,
                     llvm::function_ref<mlir::Value()> otherwise);
  /// The values of one of them.
  Values emitIf(mlir::TypeRange types, mlir::Value condition,
                llvm::function_ref<Values()> then,
                llvm::function_ref<Values()> otherwise);

  /// Emits `body` for the indices `begin`, `begin + step` and so on that are
  /// less than `end`.
  void emitFor(mlir::Value begin, mlir::Value end, mlir::Value step,
               llvm::function_ref<void(mlir::Value)> body);
  /// The same where `body` makes of an index and what it is given what the next
  /// one is given; first `initial`. Returns the last ones.
  Values
  emitFor(mlir::Value begin, mlir::Value end, mlir::Value step,
          mlir::ValueRange initial,
          llvm::function_ref<Values(mlir::Value, mlir::ValueRange)> body);
  mlir::Value
  emitFor(mlir::Value begin, mlir::Value end, mlir::Value step,
          mlir::Value initial,
          llvm::function_ref<mlir::Value(mlir::Value, mlir::Value)> body);
  /// Has `next` make new values of `initial` as long as `goesOn` (i1) holds of
  /// them.
  Values emitWhile(mlir::ValueRange initial,
                   llvm::function_ref<mlir::Value(mlir::ValueRange)> goesOn,
                   llvm::function_ref<Values(mlir::ValueRange)> next);

  mlir::OpBuilder &b;
  mlir::Location loc;
};

} // namespace nsa

#endif // NSA_CODEGEN_ARITH_H
