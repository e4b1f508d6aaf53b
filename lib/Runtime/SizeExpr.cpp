//===- SizeExpr.cpp - Size expressions of a manifest ----------------------===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "SizeExpr.h"

using namespace nsa::runtime;

SizeExpr SizeExpr::binary(nsa_op op, const SizeExpr &lhs, const SizeExpr &rhs) {
  SizeExpr expr = lhs;
  expr.code.insert(expr.code.end(), rhs.code.begin(), rhs.code.end());
  expr.code.push_back({op, 0, 0});
  return expr;
}

SizeExpr SizeExpr::divide(nsa_op op, const SizeExpr &lhs, int64_t divisor) {
  SizeExpr expr = lhs;
  expr.code.push_back({op, 0, divisor});
  return expr;
}

SizeExpr
SizeExpr::fold(const std::function<int64_t(int64_t, int64_t)> &dim) const {
  SizeExpr result;
  std::vector<nsa_instr> &out = result.code;
  for (const nsa_instr &instr : code) {
    if (instr.op == NSA_OP_DIM) {
      out.push_back({NSA_OP_CONST, 0, dim(instr.value, instr.dim)});
      continue;
    }
    out.push_back(instr);
    if (instr.op == NSA_OP_CONST || instr.op == NSA_OP_SIZE)
      continue;
    // Operands that end in constants are constants: in postfix, a constant at
    // the end of an operand is the whole operand.
    size_t operands = instr.op == NSA_OP_ADD || instr.op == NSA_OP_MUL ? 2 : 1;
    size_t begin = out.size() - 1 - operands;
    int64_t value;
    if (out[begin].op != NSA_OP_CONST ||
        out[begin + operands - 1].op != NSA_OP_CONST ||
        !nsa_apply(instr.op, out[begin].value,
                   operands == 2 ? out[begin + 1].value : instr.value, &value))
      continue;
    out.resize(begin);
    out.push_back({NSA_OP_CONST, 0, value});
  }
  return result;
}
