//===- Size.h - How many elements values have -------------------*- C++ -*-===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef NSA_IR_SIZE_H
#define NSA_IR_SIZE_H

#include "nsa/IR/LLVM.h"

#include "mlir/IR/AffineExpr.h"

namespace nsa {

/// A number of elements: an affine expression of symbols, each of which is an
/// `index` value or a dimension of an array.
///
/// Operations say the sizes of their results in these terms, once; types,
/// reified shapes and the questions of verifiers follow from that.
class Size {
public:
  struct Symbol {
    Value value;
    /// The dimension of an array, or -1 for the value of an `index`.
    int64_t dim;

    bool operator==(const Symbol &rhs) const {
      return value == rhs.value && dim == rhs.dim;
    }
  };

  /// A size of which nothing is known: no other size equals it.
  Size() = default;
  static Size constant(MLIRContext *context, int64_t value);
  /// The value of `index`.
  static Size of(Value index);
  /// The number of elements of `array` in dimension `dim`.
  static Size of(Value array, unsigned dim);

  Size operator+(int64_t rhs) const { return expr ? with(expr + rhs) : *this; }
  Size operator*(int64_t rhs) const { return expr ? with(expr * rhs) : *this; }
  Size ceilDiv(int64_t rhs) const {
    return expr ? with(expr.ceilDiv(rhs)) : *this;
  }

  bool isKnown() const { return bool(expr); }
  /// Its value where that is a constant, else nothing; does not look through
  /// the operations that the symbols come from.
  std::optional<int64_t> getConstant() const;
  /// The same size in terms of what operations cannot explain: `index` ports
  /// and dimensions of arrays without extents.
  Size resolve() const;
  /// This size minus `other` where that is known, whatever the arrays are.
  std::optional<int64_t> getDifference(const Size &other) const;
  /// Whether both are known to be the same number.
  bool isSameAs(const Size &other) const;

  /// Its parts: `getSymbols()[i]` is symbol i of the expression.
  mlir::AffineExpr getExpr() const { return expr; }
  ArrayRef<Symbol> getSymbols() const { return symbols; }

  /// The size as a value, created at the insertion point where needed.
  OpFoldResult materialize(OpBuilder &b, Location loc) const;
  /// The same where `get` says what symbols are.
  OpFoldResult
  materialize(OpBuilder &b, Location loc,
              function_ref<OpFoldResult(const Symbol &)> get) const;

private:
  static Size of(Symbol symbol, MLIRContext *context);
  Size with(mlir::AffineExpr expr) const;
  /// What the operation or the step that defines `symbol` says of it, or
  /// nothing.
  static std::optional<Size> explain(const Symbol &symbol);
  /// Replaces the symbol with number `number` by what it is.
  void replaceSymbol(size_t number, const Size &inner);
  /// The number of `symbol`, which is added where it is missing.
  size_t addSymbol(const Symbol &symbol);

  /// Null if nothing is known.
  mlir::AffineExpr expr;
  SmallVector<Symbol, 1> symbols;
};

} // namespace nsa

#endif // NSA_IR_SIZE_H
