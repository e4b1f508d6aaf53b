//===- SizeExpr.h - Size expressions of a manifest --------------*- C++ -*-===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Builds size expressions of nsa-c/checks.h, which computes and prints them.
// Binding arrays replaces their dimensions by constants and folds, so that what
// a launch evaluates depends on size arguments alone.
//
//===----------------------------------------------------------------------===//

#ifndef NSA_LIB_RUNTIME_SIZEEXPR_H
#define NSA_LIB_RUNTIME_SIZEEXPR_H

#include "nsa-c/checks.h"

#include <cstdint>
#include <functional>
#include <vector>

namespace nsa::runtime {

class SizeExpr {
public:
  static SizeExpr constant(int64_t value) {
    return SizeExpr({NSA_OP_CONST, 0, value});
  }
  /// The size argument number `index`, counted among size arguments.
  static SizeExpr size(int64_t index) {
    return SizeExpr({NSA_OP_SIZE, 0, index});
  }
  /// Dimension `dim` of the argument number `argument`.
  static SizeExpr dim(int64_t argument, int64_t dim) {
    return SizeExpr({NSA_OP_DIM, static_cast<int32_t>(dim), argument});
  }
  /// NSA_OP_ADD or NSA_OP_MUL of two expressions.
  static SizeExpr binary(nsa_op op, const SizeExpr &lhs, const SizeExpr &rhs);
  /// NSA_OP_FLOORDIV, NSA_OP_CEILDIV or NSA_OP_MOD by a positive constant.
  static SizeExpr divide(nsa_op op, const SizeExpr &lhs, int64_t divisor);

  /// As the checks take it; lives as long as this expression.
  nsa_size get() const {
    return {code.data(), static_cast<int32_t>(code.size())};
  }
  size_t length() const { return code.size(); }

  /// The same expression with every dimension replaced by its value and what is
  /// constant computed. What would leave 64 bits is kept for nsa_evaluate to
  /// find.
  SizeExpr
  fold(const std::function<int64_t(int64_t argument, int64_t dim)> &dim) const;

private:
  SizeExpr() = default;
  explicit SizeExpr(const nsa_instr &instr) : code{instr} {}

  std::vector<nsa_instr> code;
};

} // namespace nsa::runtime

#endif // NSA_LIB_RUNTIME_SIZEEXPR_H
