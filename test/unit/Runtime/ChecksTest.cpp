//===- ChecksTest.cpp - What checks.h takes shortcuts for -----------------===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "nsa-c/checks.h"

#include "gtest/gtest.h"

#include <random>

namespace {

class Random {
public:
  int64_t below(int64_t bound) {
    return std::uniform_int_distribution<int64_t>(0, bound - 1)(random);
  }
  bool oneIn(int64_t n) { return below(n) == 0; }
  /// Of any magnitude, near a power of two as often as not.
  int64_t number() {
    int64_t power = INT64_C(1) << below(63);
    int64_t value = oneIn(2) ? power + below(3) - 1 : below(power) + power / 2;
    return oneIn(4) ? -value : value;
  }

private:
  std::mt19937_64 random{20261126};
};

TEST(Checks, PlainArraysPassEveryCheck) {
  Random random;
  int plain = 0, passed = 0;
  for (int i = 0; i != 400000; ++i) {
    nsa_dim dims[3];
    int64_t shape[3], strides[3], inner = 1;
    int32_t rank = static_cast<int32_t>(random.below(4));
    for (int32_t d = rank - 1; d >= 0; --d) {
      shape[d] = random.oneIn(8) ? random.number() : random.below(70);
      strides[d] = random.oneIn(8)   ? random.number()
                   : random.oneIn(8) ? random.below(9)
                                     : inner + (random.oneIn(2) ? 0 : 5);
      dims[d] = {random.oneIn(9) ? shape[d] + random.below(2) : NSA_ANY,
                 random.oneIn(3)   ? NSA_CONTIGUOUS
                 : random.oneIn(5) ? strides[d] + random.below(2)
                                   : NSA_ANY,
                 -1, 0};
      if (__builtin_mul_overflow(strides[d], shape[d], &inner))
        inner = 1;
    }
    const int64_t alignments[] = {1, 2, 4, 8, 16, 12};
    nsa_port port{"a", random.oneIn(2) ? NSA_KIND_OUT : NSA_KIND_IN,
                  -1,  rank,
                  4,   alignments[random.below(6)],
                  -1,  dims};
    nsa_strided array{static_cast<uint64_t>(random.oneIn(4)
                                                ? random.number()
                                                : 48 * random.below(1 << 20)),
                      4, rank, shape, strides};
    nsa_region quick, slow;
    bool isPlain = nsa_is_plain(&port, &array, &quick);
    nsa_status status = nsa_examine_array(&port, &array, &slow, nullptr);
    passed += status == NSA_OK;
    if (!isPlain)
      continue;
    ++plain;
    ASSERT_EQ(status, NSA_OK) << i;
    ASSERT_EQ(quick.lowest, slow.lowest) << i;
    ASSERT_EQ(quick.span, slow.span) << i;
  }
  // Neither is the other: most of what passes is plain.
  EXPECT_GT(plain, 50000);
  EXPECT_GT(passed, plain);
}

TEST(Checks, DividesByAnyPositiveNumber) {
  Random random;
  for (int i = 0; i != 200000; ++i) {
    int64_t a = random.oneIn(9) ? INT64_MIN + random.below(3) : random.number();
    int64_t b = std::abs(random.number()), rest;
    if (b == 0)
      continue;
    int64_t quotient = nsa_divide(a, b, &rest);
    ASSERT_TRUE(rest >= 0 && rest < b) << a << " by " << b;
    ASSERT_TRUE(static_cast<__int128>(quotient) * b + rest == a)
        << a << " by " << b;
    int64_t up;
    ASSERT_TRUE(nsa_apply(NSA_OP_CEILDIV, a, b, &up));
    ASSERT_EQ(up, quotient + (rest != 0)) << a << " by " << b;
  }
}

TEST(Checks, CountsBlocksBeyondAnyNumber) {
  Random random;
  for (int i = 0; i != 200000; ++i) {
    int64_t before = random.below(NSA_MAX_SIZE + 2);
    int64_t rows = random.number(), columns = random.number();
    int64_t tile[] = {1 + random.below(700), INT64_C(1) << random.below(63)};
    __int128 blocks = before;
    if (rows > 0 && columns > 0)
      blocks += ((static_cast<__int128>(rows) + tile[0] - 1) / tile[0]) *
                ((static_cast<__int128>(columns) + tile[1] - 1) / tile[1]);
    if (blocks > NSA_MAX_SIZE + 1)
      blocks = NSA_MAX_SIZE + 1;
    ASSERT_EQ(nsa_add_blocks(before, rows, columns, tile),
              static_cast<int64_t>(blocks))
        << rows << " x " << columns;
  }
}

} // namespace
