//===- SizeExpr.cpp - Size expressions of a manifest ----------------------===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "SizeExpr.h"
#include "Error.h"

using namespace nsa::runtime;

SizeExpr SizeExpr::constant(int64_t value) {
  SizeExpr expr;
  expr.code.push_back({Op::Const, 0, value});
  return expr;
}

SizeExpr SizeExpr::size(int64_t index) {
  SizeExpr expr;
  expr.code.push_back({Op::Size, 0, index});
  return expr;
}

SizeExpr SizeExpr::dim(int64_t argument, int64_t dim) {
  SizeExpr expr;
  expr.code.push_back({Op::Dim, static_cast<int32_t>(dim), argument});
  return expr;
}

SizeExpr SizeExpr::binary(Op op, const SizeExpr &lhs, const SizeExpr &rhs) {
  SizeExpr expr = lhs;
  expr.code.insert(expr.code.end(), rhs.code.begin(), rhs.code.end());
  expr.code.push_back({op, 0, 0});
  return expr;
}

SizeExpr SizeExpr::divide(Op op, const SizeExpr &lhs, int64_t divisor) {
  SizeExpr expr = lhs;
  expr.code.push_back({op, 0, divisor});
  return expr;
}

bool SizeExpr::apply(Op op, int64_t a, int64_t b, int64_t &result) {
  switch (op) {
  case Op::Add:
    return !__builtin_add_overflow(a, b, &result);
  case Op::Mul:
    return !__builtin_mul_overflow(a, b, &result);
  // The divisor is positive: the quotient rounds down (up), whatever a's sign.
  case Op::FloorDiv:
    result = a / b - (a % b < 0);
    return true;
  case Op::CeilDiv:
    result = a / b + (a % b > 0);
    return true;
  case Op::Mod:
    result = a % b + (a % b < 0 ? b : 0);
    return true;
  default:
    return false;
  }
}

SizeExpr
SizeExpr::fold(const std::function<int64_t(int64_t, int64_t)> &dim) const {
  SizeExpr result;
  std::vector<Instr> &out = result.code;
  auto foldTo = [&](size_t operands, Op op, int64_t a, int64_t b) {
    int64_t value;
    if (!apply(op, a, b, value))
      fail(NSA_INVALID_ARGUMENT, "a size expression leaves 64 bits");
    out.resize(out.size() - operands);
    out.push_back({Op::Const, 0, value});
  };
  for (const Instr &instr : code) {
    size_t n = out.size();
    switch (instr.op) {
    case Op::Const:
    case Op::Size:
      out.push_back(instr);
      break;
    case Op::Dim:
      out.push_back({Op::Const, 0, dim(instr.value, instr.extra)});
      break;
    case Op::Add:
    case Op::Mul:
      // Two operands that end in constants are constants: in postfix, a
      // constant at the end of an operand is the whole operand.
      if (out[n - 1].op == Op::Const && out[n - 2].op == Op::Const)
        foldTo(2, instr.op, out[n - 2].value, out[n - 1].value);
      else
        out.push_back(instr);
      break;
    case Op::FloorDiv:
    case Op::CeilDiv:
    case Op::Mod:
      if (out[n - 1].op == Op::Const)
        foldTo(1, instr.op, out[n - 1].value, instr.value);
      else
        out.push_back(instr);
      break;
    }
  }
  return result;
}

bool SizeExpr::evaluate(const int64_t *sizes, int64_t &result) const {
  int64_t stack[maxLength];
  size_t top = 0;
  for (const Instr &instr : code) {
    switch (instr.op) {
    case Op::Const:
      stack[top++] = instr.value;
      break;
    case Op::Size:
      stack[top++] = sizes[instr.value];
      break;
    case Op::Dim:
      return false;
    case Op::Add:
    case Op::Mul:
      --top;
      if (!apply(instr.op, stack[top - 1], stack[top], stack[top - 1]))
        return false;
      break;
    case Op::FloorDiv:
    case Op::CeilDiv:
    case Op::Mod:
      apply(instr.op, stack[top - 1], instr.value, stack[top - 1]);
      break;
    }
  }
  result = stack[0];
  return true;
}

std::string SizeExpr::str(
    const std::function<std::string(int64_t)> &sizeName,
    const std::function<std::string(int64_t, int64_t)> &dimName) const {
  std::vector<std::string> stack;
  auto divide = [&](const char *name, int64_t divisor) {
    stack.back() = std::string(name) + "(" + stack.back() + ", " +
                   std::to_string(divisor) + ")";
  };
  auto binary = [&](const char *sign, bool parentheses) {
    std::string rhs = std::move(stack.back());
    stack.pop_back();
    stack.back() += sign + rhs;
    if (parentheses)
      stack.back() = "(" + stack.back() + ")";
  };
  for (const Instr &instr : code) {
    switch (instr.op) {
    case Op::Const:
      stack.push_back(std::to_string(instr.value));
      break;
    case Op::Size:
      stack.push_back(sizeName(instr.value));
      break;
    case Op::Dim:
      stack.push_back(dimName(instr.value, instr.extra));
      break;
    case Op::Add:
      // A sum at the top needs no parentheses; one inside something does.
      binary(" + ", &instr != &code.back());
      break;
    case Op::Mul:
      binary(" * ", false);
      break;
    case Op::FloorDiv:
      divide("floordiv", instr.value);
      break;
    case Op::CeilDiv:
      divide("ceildiv", instr.value);
      break;
    case Op::Mod:
      divide("mod", instr.value);
      break;
    }
  }
  return stack.back();
}
