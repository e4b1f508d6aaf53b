//===- PlanTest.cpp - Sizes and choices made before a step ----------------===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "nsa/Runtime/Plan.h"

#include "gtest/gtest.h"

#include <climits>

using namespace nsa::plan;
using nsa::runtime::Error;
using Sizes = std::vector<int64_t>;

namespace {

/// What a call throws.
template <typename Call> std::string messageOf(Call &&call) {
  try {
    call();
  } catch (const Error &error) {
    EXPECT_EQ(error.status(), NSA_INVALID_ARGUMENT);
    return error.what();
  }
  return "nothing was thrown";
}

TEST(PlanTest, Modes) {
  for (const char *name : {"decode", "idle", "target_verify", "draft_extend"})
    EXPECT_EQ(implementation(modeFromName(name)), NSA_IMPLEMENTATION_DECODE);
  EXPECT_EQ(implementation(modeFromName("extend")), NSA_IMPLEMENTATION_PREFILL);
  EXPECT_EQ(messageOf([] { modeFromName("prefill"); }),
            "argument 'mode': expected one of 'decode', 'target_verify', "
            "'draft_extend', 'idle', 'extend' but got 'prefill'");
  EXPECT_EQ(messageOf([] { implementation(static_cast<nsa_mode>(5)); }),
            "argument 'mode': expected 0 to 4 but got 5");
}

TEST(PlanTest, RowBound) {
  EXPECT_EQ(rowBound(NSA_MODE_DECODE, 7, 4), 7);
  EXPECT_EQ(rowBound(NSA_MODE_IDLE, 0), 0);
  EXPECT_EQ(rowBound(NSA_MODE_TARGET_VERIFY, 7, 4), 28);
  EXPECT_EQ(rowBound(NSA_MODE_DRAFT_EXTEND, int64_t(1) << 40, 1 << 20),
            int64_t(1) << 60);
  EXPECT_EQ(messageOf([] { rowBound(NSA_MODE_DECODE, -1); }),
            "argument 'bs': expected 0 or more but got -1");
  EXPECT_EQ(messageOf([] { rowBound(NSA_MODE_DECODE, 1, 0); }),
            "argument 'next_n': expected 1 or more but got 0");
  EXPECT_EQ(messageOf([] { rowBound(NSA_MODE_DRAFT_EXTEND, INT64_MAX, 2); }),
            "the rows: expected a number of 64 bits but got the product of "
            "9223372036854775807 and 2");
  EXPECT_NE(messageOf([] { rowBound(NSA_MODE_EXTEND, 1, 1); }).find("'mode'"),
            std::string::npos);
}

TEST(PlanTest, Workspace) {
  Workspace made = workspace(3, 1000, 4, 200);
  EXPECT_EQ(made.c_max, 250);
  EXPECT_EQ(made.window_begin, 750);
  EXPECT_EQ(made.rows, 950);
  EXPECT_EQ(made.compressedBase(2), 500);
  EXPECT_EQ(made.windowBase(128), 878);
  // A request has at least one compressed row.
  EXPECT_EQ(workspace(3, 127, 128, 0).c_max, 1);
  EXPECT_EQ(workspace(0, 0, 1, 0).rows, 0);
  // More than 32 bits hold.
  EXPECT_EQ(workspace(1 << 16, int64_t(1) << 20, 1, 5).rows,
            (int64_t(1) << 36) + 5);
  EXPECT_EQ(messageOf([] { workspace(1, 1, 0, 0); }),
            "argument 'ratio': expected 1 or more but got 0");
  EXPECT_NE(
      messageOf([] { workspace(INT64_MAX, 4, 2, 0); }).find("the product of"),
      std::string::npos);
  EXPECT_NE(messageOf([] { workspace(1, 1, 1, INT64_MAX); }).find("the sum of"),
            std::string::npos);
}

TEST(PlanTest, SparsePrefill) {
  EXPECT_TRUE(sparsePrefillUsable(Sizes{3, 5}, 8));
  EXPECT_TRUE(sparsePrefillUsable(Sizes{}, 0));
  EXPECT_FALSE(sparsePrefillUsable(Sizes{3, 5}, 9));
  EXPECT_FALSE(sparsePrefillUsable(std::nullopt, 0));
  EXPECT_TRUE(sparsePrefillUsable(Sizes{8}, 2, 4, 2));
  EXPECT_FALSE(sparsePrefillUsable(Sizes{8}, 8, 4, 2));
  EXPECT_FALSE(sparsePrefillUsable(Sizes{8}, 2, 4));
  EXPECT_FALSE(sparsePrefillUsable(Sizes{4, 4}, 2, 4, 2));
  EXPECT_FALSE(sparsePrefillUsable(Sizes{9}, 2, 4, 2));
  EXPECT_EQ(messageOf([] {
              sparsePrefillUsable(Sizes{1, -2}, 1);
            }),
            "argument 'extend_lens': expected 0 or more but got -2");
  EXPECT_NE(messageOf([] {
              sparsePrefillUsable(Sizes{INT64_MAX, 1}, 1);
            }).find("the sum of"),
            std::string::npos);
}

TEST(PlanTest, CaptureBatchSizes) {
  Sizes candidates;
  for (int64_t i = 1; i <= 16; ++i)
    candidates.push_back(17 - i);
  CaptureOptions options;
  options.attn_tp_size = 8;
  options.tokens_per_bs = 4;
  options.gathered_buffer = 1;
  EXPECT_EQ(captureBatchSizes(candidates, options),
            (Sizes{2, 4, 6, 8, 10, 12, 14, 16}));
  options.max_requests = 9;
  EXPECT_EQ(captureBatchSizes(candidates, options),
            (Sizes{2, 4, 6, 8, 10, 12, 14, 16}));
  options.max_requests = 5;
  EXPECT_EQ(captureBatchSizes(candidates, options), (Sizes{2, 4, 6, 8}));
  options.two_batch_overlap = 1;
  options.max_requests = NSA_PLAN_NONE;
  EXPECT_EQ(captureBatchSizes(candidates, options), (Sizes{16}));
  options.attn_cp_size = 3;
  EXPECT_EQ(captureBatchSizes({48, 96, 16, 48}, options), (Sizes{48, 96}));
  EXPECT_EQ(captureBatchSizes({5, 3, 5}), (Sizes{3, 5}));
  EXPECT_EQ(captureBatchSizes({}), Sizes{});
  // The largest candidate is beyond the limit, though it would not be kept.
  options = CaptureOptions();
  options.attn_tp_size = 8;
  options.gathered_buffer = 1;
  options.max_requests = 9;
  EXPECT_EQ(captureBatchSizes({8, 17}, options), (Sizes{8, 16}));
  EXPECT_EQ(messageOf([] { captureBatchSizes({0}); }),
            "argument 'candidates': expected 1 or more but got 0");
  options.max_requests = 0;
  EXPECT_EQ(messageOf([&] { captureBatchSizes({1}, options); }),
            "argument 'max_requests': expected 1 or more but got 0");
  options.max_requests = INT64_MAX;
  EXPECT_NE(messageOf([&] {
              captureBatchSizes({1}, options);
            }).find("the limit of batch sizes"),
            std::string::npos);
}

} // namespace
