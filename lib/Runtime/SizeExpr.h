//===- SizeExpr.h - Size expressions of a manifest --------------*- C++ -*-===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// A size expression is kept as postfix code: evaluating it is one loop over a
// few instructions with a stack on the side, nothing to chase or to allocate.
// Binding arrays replaces their dimensions by constants and folds, so that what
// a launch evaluates depends on size arguments alone.
//
//===----------------------------------------------------------------------===//

#ifndef NSA_LIB_RUNTIME_SIZEEXPR_H
#define NSA_LIB_RUNTIME_SIZEEXPR_H

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace nsa::runtime {

class SizeExpr {
public:
  /// More instructions than this, no manifest needs; it bounds the stack.
  static constexpr size_t maxLength = 64;

  enum class Op : uint8_t {
    Const,
    Size,
    Dim,
    Add,
    Mul,
    FloorDiv,
    CeilDiv,
    Mod
  };

  static SizeExpr constant(int64_t value);
  /// The size argument number `index`, counted among size arguments.
  static SizeExpr size(int64_t index);
  /// Dimension `dim` of the argument number `argument`.
  static SizeExpr dim(int64_t argument, int64_t dim);
  /// Add or Mul of two expressions.
  static SizeExpr binary(Op op, const SizeExpr &lhs, const SizeExpr &rhs);
  /// FloorDiv, CeilDiv or Mod by a positive constant.
  static SizeExpr divide(Op op, const SizeExpr &lhs, int64_t divisor);

  size_t length() const { return code.size(); }
  bool isConstant() const {
    return code.size() == 1 && code[0].op == Op::Const;
  }

  /// The same expression with every dimension replaced by its value and what is
  /// constant computed. Throws a StatusError on overflow.
  SizeExpr
  fold(const std::function<int64_t(int64_t argument, int64_t dim)> &dim) const;

  /// Computes a folded expression. Returns false if it leaves 64 bits.
  bool evaluate(const int64_t *sizes, int64_t &result) const;

  /// For messages: "ceildiv(max_len, 64)".
  std::string
  str(const std::function<std::string(int64_t)> &sizeName,
      const std::function<std::string(int64_t, int64_t)> &dimName) const;

private:
  struct Instr {
    Op op;
    // Dim: the dimension. Instructions are compact so that a launch stays in
    // few cache lines.
    int32_t extra;
    // Const, FloorDiv, CeilDiv, Mod: the constant. Size, Dim: the index.
    int64_t value;
  };

  static bool apply(Op op, int64_t a, int64_t b, int64_t &result);

  std::vector<Instr> code;
};

} // namespace nsa::runtime

#endif // NSA_LIB_RUNTIME_SIZEEXPR_H
