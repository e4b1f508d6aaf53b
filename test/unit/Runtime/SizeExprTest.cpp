//===- SizeExprTest.cpp - Size expressions against a second opinion -------===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "SizeExpr.h"

#include "gtest/gtest.h"

#include <memory>
#include <random>
#include <string>

using namespace nsa::runtime;

namespace {

/// The expression as a tree, computed in 128 bits the slow way.
struct Tree {
  nsa_op op;
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
  case NSA_OP_CONST:
    result = tree.value;
    break;
  case NSA_OP_SIZE:
    result = values.sizes[tree.value];
    break;
  case NSA_OP_DIM:
    result = values.dims[tree.value][tree.dim];
    break;
  case NSA_OP_ADD:
    result = a + b;
    break;
  case NSA_OP_MUL:
    result = a * b;
    break;
  case NSA_OP_FLOORDIV:
    result = (a - ((a % d) + d) % d) / d;
    break;
  case NSA_OP_CEILDIV:
    result = (a + (d - ((a % d) + d) % d) % d) / d;
    break;
  case NSA_OP_MOD:
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
    result->op = static_cast<nsa_op>(depth == 0 ? below(3) : below(8));
    switch (result->op) {
    case NSA_OP_CONST:
      result->value = value();
      break;
    case NSA_OP_SIZE:
      result->value = below(numSizes);
      break;
    case NSA_OP_DIM:
      result->value = below(numArrays);
      result->dim = below(numDims);
      break;
    case NSA_OP_ADD:
    case NSA_OP_MUL:
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
  case NSA_OP_CONST:
    return SizeExpr::constant(tree.value);
  case NSA_OP_SIZE:
    return SizeExpr::size(tree.value);
  case NSA_OP_DIM:
    return SizeExpr::dim(tree.value, tree.dim);
  case NSA_OP_ADD:
  case NSA_OP_MUL:
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
    SizeExpr expr = build(*tree).fold([&](int64_t argument, int64_t dim) {
      return values.dims[argument][dim];
    });
    folded += expr.length() == 1;
    bool evaluated =
        nsa_evaluate(expr.get(), nullptr, values.sizes, &actual) != 0;
    // As it is, with arrays, it comes to the same.
    nsa_strided arrays[numArrays];
    for (int64_t a = 0; a != numArrays; ++a)
      arrays[a] = {0, 1, numDims, values.dims[a], values.dims[a]};
    int64_t whole = 0;
    ASSERT_EQ(nsa_evaluate(build(*tree).get(), arrays, values.sizes, &whole),
              fits)
        << i;
    if (fits)
      ASSERT_EQ(whole, actual) << i;
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
  SizeExpr sum = SizeExpr::binary(NSA_OP_ADD, SizeExpr::constant(3),
                                  SizeExpr::constant(4));
  EXPECT_EQ(SizeExpr::divide(NSA_OP_CEILDIV, sum, 2).fold(noDims).length(), 1u);
  SizeExpr mixed = SizeExpr::binary(NSA_OP_MUL, SizeExpr::size(0), sum);
  EXPECT_EQ(mixed.length(), 5u);
  EXPECT_EQ(mixed.fold(noDims).length(), 3u);
}

TEST(SizeExpr, KeepsWhatLeaves64Bits) {
  auto noDims = [](int64_t, int64_t) -> int64_t { return 0; };
  SizeExpr large = SizeExpr::binary(NSA_OP_MUL, SizeExpr::constant(INT64_MAX),
                                    SizeExpr::constant(2));
  SizeExpr folded =
      SizeExpr::binary(NSA_OP_ADD, large, SizeExpr::constant(1)).fold(noDims);
  EXPECT_EQ(folded.length(), 5u);
  int64_t value;
  EXPECT_FALSE(nsa_evaluate(folded.get(), nullptr, nullptr, &value));
}

TEST(SizeExpr, Prints) {
  nsa_port ports[] = {{"n", NSA_KIND_SIZE, 0, 0, 0, 1, -1, nullptr},
                      {"x", NSA_KIND_IN, -1, 2, 4, 4, -1, nullptr}};
  int32_t sizes[] = {0};
  nsa_signature step{"s", ports, 2, sizes, 1, nullptr, 0, nullptr, 0};
  auto print = [&](const SizeExpr &expr) -> std::string {
    nsa_message message;
    message.text[0] = 0;
    nsa_say_size(&step, expr.get(), 0, &message);
    return message.text;
  };
  SizeExpr sum =
      SizeExpr::binary(NSA_OP_ADD, SizeExpr::size(0), SizeExpr::constant(1));
  EXPECT_EQ(print(sum), "n + 1");
  EXPECT_EQ(print(SizeExpr::binary(NSA_OP_MUL, sum, SizeExpr::dim(1, 1))),
            "(n + 1) * x.shape[1]");
  EXPECT_EQ(print(SizeExpr::binary(NSA_OP_MUL, SizeExpr::dim(1, 0),
                                   SizeExpr::divide(NSA_OP_CEILDIV, sum, 2))),
            "x.shape[0] * ceildiv((n + 1), 2)");
  EXPECT_EQ(print(SizeExpr::divide(NSA_OP_MOD, SizeExpr::size(0), 4)),
            "mod(n, 4)");
}

TEST(Message, IsCutAndSaysSo) {
  nsa_message message;
  nsa_fail(&message);
  for (int i = 0; i != 200; ++i)
    nsa_say(&message, "%d, ", 1000000 + i);
  std::string text = message.text;
  EXPECT_EQ(text.size(), sizeof(message.text) - 1);
  EXPECT_EQ(text.substr(text.size() - 3), "...");
  nsa_say(nullptr, "nobody reads this");
}

} // namespace
