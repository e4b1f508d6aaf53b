//===- Plan.cpp - Sizes and choices made before a step --------------------===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "nsa-c/plan.h"
#include "Guarded.h"

#include <algorithm>
#include <string_view>
#include <vector>

using namespace nsa::runtime;

namespace {

constexpr std::pair<std::string_view, nsa_mode> modeNames[] = {
    {"decode", NSA_MODE_DECODE},
    {"target_verify", NSA_MODE_TARGET_VERIFY},
    {"draft_extend", NSA_MODE_DRAFT_EXTEND},
    {"idle", NSA_MODE_IDLE},
    {"extend", NSA_MODE_EXTEND}};

int64_t atLeast(int64_t least, int64_t value, const char *argument) {
  if (value < least)
    failArgument(NSA_INVALID_ARGUMENT, argument, "expected ", least,
                 " or more but got ", value);
  return value;
}

int64_t add(int64_t a, int64_t b, const char *what) {
  int64_t sum;
  if (__builtin_add_overflow(a, b, &sum))
    fail(NSA_INVALID_ARGUMENT, what,
         ": expected a number of 64 bits but got the sum of ", a, " and ", b);
  return sum;
}

int64_t multiply(int64_t a, int64_t b, const char *what) {
  int64_t product;
  if (__builtin_mul_overflow(a, b, &product))
    fail(NSA_INVALID_ARGUMENT, what,
         ": expected a number of 64 bits but got the product of ", a, " and ",
         b);
  return product;
}

nsa_mode checkMode(nsa_mode mode) {
  if (mode < NSA_MODE_DECODE || mode > NSA_MODE_EXTEND)
    failArgument(NSA_INVALID_ARGUMENT, "mode", "expected ", NSA_MODE_DECODE,
                 " to ", NSA_MODE_EXTEND, " but got ", static_cast<int>(mode));
  return mode;
}

/// What the tokens of a captured batch are a multiple of.
int64_t alignmentOf(const nsa_capture_options &options) {
  static constexpr const char *what = "the alignment of batch sizes";
  int64_t tp = atLeast(1, options.attn_tp_size, "attn_tp_size");
  int64_t cp = atLeast(1, options.attn_cp_size, "attn_cp_size");
  int64_t alignment = options.gathered_buffer ? tp : 1;
  if (options.two_batch_overlap)
    alignment = multiply(alignment, 2, what);
  return alignment % cp ? multiply(alignment, cp, what) : alignment;
}

std::vector<int64_t> captureBatchSizes(const int64_t *candidates, size_t count,
                                       const nsa_capture_options &options) {
  std::vector<int64_t> sizes(candidates, candidates + count);
  for (int64_t size : sizes)
    atLeast(1, size, "candidates");
  int64_t alignment = alignmentOf(options);
  int64_t tokens = atLeast(1, options.tokens_per_bs, "tokens_per_bs");
  if (options.two_batch_overlap)
    tokens = 1;
  std::sort(sizes.begin(), sizes.end());
  if (options.max_requests != NSA_PLAN_NONE) {
    int64_t most = atLeast(1, options.max_requests, "max_requests");
    int64_t limit = multiply((most - 1) / alignment + 1, alignment,
                             "the limit of batch sizes");
    auto beyond = std::upper_bound(sizes.begin(), sizes.end(), limit);
    if (beyond != sizes.end()) {
      sizes.erase(beyond, sizes.end());
      sizes.push_back(limit);
    }
  }
  sizes.erase(std::unique(sizes.begin(), sizes.end()), sizes.end());
  sizes.erase(std::remove_if(sizes.begin(), sizes.end(),
                             [&](int64_t size) {
                               return multiply(size, tokens,
                                               "the tokens of a batch") %
                                      alignment;
                             }),
              sizes.end());
  return sizes;
}

bool sparsePrefillUsable(const int64_t *extendLens, size_t numReqs,
                         int64_t queryRows, int64_t cpSize, int64_t cpRows) {
  atLeast(0, queryRows, "query_rows");
  atLeast(1, cpSize, "cp_size");
  atLeast(NSA_PLAN_NONE, cpRows, "cp_rows");
  if (!extendLens)
    return false;
  int64_t total = 0;
  for (size_t i = 0; i != numReqs; ++i)
    total = add(total, atLeast(0, extendLens[i], "extend_lens"),
                "argument 'extend_lens'");
  if (cpSize == 1)
    return total == queryRows;
  return numReqs == 1 && cpRows == queryRows && total % cpSize == 0;
}

} // namespace

nsa_status nsa_mode_from_name(const char *name, nsa_mode *mode) {
  return guarded([&] {
    checkGiven(name, "name");
    checkGiven(mode, "mode");
    std::string known;
    for (const auto &[text, value] : modeNames) {
      if (text == name) {
        *mode = value;
        return;
      }
      known += (known.empty() ? "'" : ", '") + std::string(text) + "'";
    }
    failArgument(NSA_INVALID_ARGUMENT, "mode", "expected one of ", known,
                 " but got '", name, "'");
  });
}

nsa_status nsa_plan_implementation(nsa_mode mode,
                                   nsa_implementation *implementation) {
  return guarded([&] {
    checkGiven(implementation, "implementation");
    *implementation = checkMode(mode) == NSA_MODE_EXTEND
                          ? NSA_IMPLEMENTATION_PREFILL
                          : NSA_IMPLEMENTATION_DECODE;
  });
}

nsa_status nsa_plan_row_bound(nsa_mode mode, int64_t bs, int64_t nextN,
                              int64_t *rows) {
  return guarded([&] {
    checkGiven(rows, "rows");
    atLeast(0, bs, "bs");
    atLeast(1, nextN, "next_n");
    if (checkMode(mode) == NSA_MODE_EXTEND)
      failArgument(NSA_INVALID_ARGUMENT, "mode",
                   "expected one whose rows follow from bs and next_n but got "
                   "'extend'");
    bool isOne = mode == NSA_MODE_DECODE || mode == NSA_MODE_IDLE;
    *rows = isOne ? bs : multiply(bs, nextN, "the rows");
  });
}

nsa_status nsa_plan_workspace(int64_t numReqs, int64_t maxSeqLen, int64_t ratio,
                              int64_t totalWindow, nsa_workspace *workspace) {
  return guarded([&] {
    checkGiven(workspace, "workspace");
    atLeast(0, numReqs, "num_reqs");
    atLeast(0, maxSeqLen, "max_seq_len");
    atLeast(1, ratio, "ratio");
    atLeast(0, totalWindow, "total_window");
    nsa_workspace made;
    made.c_max = std::max<int64_t>(maxSeqLen / ratio, 1);
    made.window_begin = multiply(numReqs, made.c_max, "the compressed rows");
    made.rows = add(made.window_begin, totalWindow, "the rows");
    *workspace = made;
  });
}

nsa_status nsa_plan_sparse_prefill_usable(const int64_t *extendLens,
                                          size_t numReqs, int64_t queryRows,
                                          int64_t cpSize, int64_t cpRows,
                                          int32_t *usable) {
  return guarded([&] {
    checkGiven(usable, "usable");
    *usable =
        sparsePrefillUsable(extendLens, numReqs, queryRows, cpSize, cpRows);
  });
}

nsa_status nsa_plan_capture_batch_sizes(const int64_t *candidates,
                                        size_t numCandidates,
                                        const nsa_capture_options *options,
                                        int64_t *sizes, size_t *numSizes) {
  return guarded([&] {
    if (numCandidates)
      checkGiven(candidates, "candidates");
    checkGiven(options, "options");
    checkGiven(sizes, "sizes");
    checkGiven(numSizes, "num_sizes");
    std::vector<int64_t> made =
        captureBatchSizes(candidates, numCandidates, *options);
    std::copy(made.begin(), made.end(), sizes);
    *numSizes = made.size();
  });
}
