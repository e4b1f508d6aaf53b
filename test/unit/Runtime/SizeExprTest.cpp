//===- SizeExprTest.cpp - Size expressions against a second opinion -------===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "SizeExpr.h"
#include "Error.h"

#include "gtest/gtest.h"

#include <memory>
#include <random>

using namespace nsa::runtime;
using Op = SizeExpr::Op;

namespace {

/// The expression as a tree, computed in 128 bits the slow way.
struct Tree {
  Op op;
  int64_t value = 0, dim = 0;
  std::unique_ptr<Tree> lhs, rhs;
};

constexpr int64_t numSizes = 3, numArrays = 2, numDims = 2;

struct Values {
  int64_t sizes[numSizes];
  int64_t dims[numArrays][numDims];
};

/// False if any intermediate result leaves 64 bits.
bool compute(const Tree &tree, const Values &values, __int128 &result) {
  __int128 a = 0, b = 0;
  if ((tree.lhs && !compute(*tree.lhs, values, a)) ||
      (tree.rhs && !compute(*tree.rhs, values, b)))
    return false;
  __int128 d = tree.value;
  switch (tree.op) {
  case Op::Const:
    result = tree.value;
    break;
  case Op::Size:
    result = values.sizes[tree.value];
    break;
  case Op::Dim:
    result = values.dims[tree.value][tree.dim];
    break;
  case Op::Add:
    result = a + b;
    break;
  case Op::Mul:
    result = a * b;
    break;
  case Op::FloorDiv:
    result = (a - ((a % d) + d) % d) / d;
    break;
  case Op::CeilDiv:
    result = (a + (d - ((a % d) + d) % d) % d) / d;
    break;
  case Op::Mod:
    result = ((a % d) + d) % d;
    break;
  }
  return result >= INT64_MIN && result <= INT64_MAX;
}

class Generator {
public:
  explicit Generator(unsigned seed) : random(seed) {}

  std::unique_ptr<Tree> tree(int depth) {
    auto result = std::make_unique<Tree>();
    result->op = static_cast<Op>(depth == 0 ? below(3) : below(8));
    switch (result->op) {
    case Op::Const:
      result->value = value();
      break;
    case Op::Size:
      result->value = below(numSizes);
      break;
    case Op::Dim:
      result->value = below(numArrays);
      result->dim = below(numDims);
      break;
    case Op::Add:
    case Op::Mul:
      result->lhs = tree(depth - 1);
      result->rhs = tree(depth - 1);
      break;
    default:
      result->lhs = tree(depth - 1);
      result->value = 1 + below(below(4) ? 100 : INT64_MAX - 1);
    }
    return result;
  }
  int64_t value() {
    switch (below(4)) {
    case 0:
      return below(5);
    case 1:
      return below(INT64_C(1) << 31);
    case 2:
      return -below(1000);
    default:
      return below(200);
    }
  }
  int64_t below(int64_t bound) {
    return std::uniform_int_distribution<int64_t>(0, bound - 1)(random);
  }

private:
  std::mt19937_64 random;
};

SizeExpr build(const Tree &tree) {
  switch (tree.op) {
  case Op::Const:
    return SizeExpr::constant(tree.value);
  case Op::Size:
    return SizeExpr::size(tree.value);
  case Op::Dim:
    return SizeExpr::dim(tree.value, tree.dim);
  case Op::Add:
  case Op::Mul:
    return SizeExpr::binary(tree.op, build(*tree.lhs), build(*tree.rhs));
  default:
    return SizeExpr::divide(tree.op, build(*tree.lhs), tree.value);
  }
}

TEST(SizeExpr, AgreesWithTheTree) {
  Generator generator(20261120);
  int overflows = 0, folded = 0;
  for (int i = 0; i != 20000; ++i) {
    std::unique_ptr<Tree> tree = generator.tree(1 + i % 4);
    Values values;
    for (int64_t &size : values.sizes)
      size = generator.value();
    for (auto &array : values.dims)
      for (int64_t &dim : array)
        dim = generator.value();
    __int128 expected;
    bool fits = compute(*tree, values, expected);
    int64_t actual = 0;
    bool evaluated = false;
    try {
      SizeExpr expr = build(*tree).fold([&](int64_t argument, int64_t dim) {
        return values.dims[argument][dim];
      });
      folded += expr.isConstant();
      evaluated = expr.evaluate(values.sizes, actual);
    } catch (const StatusError &) {
    }
    ASSERT_EQ(evaluated, fits) << i;
    if (fits) {
      ASSERT_EQ(actual, static_cast<int64_t>(expected)) << i;
    } else {
      ++overflows;
    }
  }
  // The generator reaches what it is there for.
  EXPECT_GT(overflows, 100);
  EXPECT_GT(folded, 1000);
}

TEST(SizeExpr, FoldsConstants) {
  auto noDims = [](int64_t, int64_t) -> int64_t { return 0; };
  SizeExpr sum =
      SizeExpr::binary(Op::Add, SizeExpr::constant(3), SizeExpr::constant(4));
  EXPECT_TRUE(SizeExpr::divide(Op::CeilDiv, sum, 2).fold(noDims).isConstant());
  SizeExpr mixed = SizeExpr::binary(Op::Mul, SizeExpr::size(0), sum);
  EXPECT_EQ(mixed.length(), 5u);
  EXPECT_EQ(mixed.fold(noDims).length(), 3u);
}

TEST(SizeExpr, Prints) {
  auto size = [](int64_t) { return std::string("n"); };
  auto dim = [](int64_t, int64_t d) { return "x." + std::to_string(d); };
  SizeExpr sum =
      SizeExpr::binary(Op::Add, SizeExpr::size(0), SizeExpr::constant(1));
  EXPECT_EQ(sum.str(size, dim), "n + 1");
  EXPECT_EQ(SizeExpr::binary(Op::Mul, sum, SizeExpr::dim(0, 1)).str(size, dim),
            "(n + 1) * x.1");
  EXPECT_EQ(SizeExpr::divide(Op::Mod, SizeExpr::size(0), 4).str(size, dim),
            "mod(n, 4)");
}

} // namespace
