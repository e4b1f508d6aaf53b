//===- Plan.h - Sizes and choices made before a step ------------*- C++ -*-===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// A thin C++17 face of nsa-c/plan.h, where units and rules are described.
// Header only, as Runtime.h is; failures are the same exception.
//
//===----------------------------------------------------------------------===//

#ifndef NSA_RUNTIME_PLAN_H
#define NSA_RUNTIME_PLAN_H

#include "nsa-c/plan.h"
#include "nsa/Runtime/Runtime.h"

#include <optional>

namespace nsa::plan {

using runtime::check;

/// Throws for a name that is none of a mode.
inline nsa_mode modeFromName(const char *name) {
  nsa_mode mode;
  check(nsa_mode_from_name(name, &mode));
  return mode;
}

inline nsa_implementation implementation(nsa_mode mode) {
  nsa_implementation made;
  check(nsa_plan_implementation(mode, &made));
  return made;
}

inline int64_t rowBound(nsa_mode mode, int64_t bs, int64_t nextN = 1) {
  int64_t rows;
  check(nsa_plan_row_bound(mode, bs, nextN, &rows));
  return rows;
}

struct Workspace : nsa_workspace {
  /// The first compressed row of a request.
  int64_t compressedBase(int64_t request) const { return request * c_max; }
  /// The first window row of a request, where the windows of the requests
  /// before it have `offset` rows.
  int64_t windowBase(int64_t offset) const { return window_begin + offset; }
};

inline Workspace workspace(int64_t numReqs, int64_t maxSeqLen, int64_t ratio,
                           int64_t totalWindow) {
  Workspace made;
  check(nsa_plan_workspace(numReqs, maxSeqLen, ratio, totalWindow, &made));
  return made;
}

/// Without `extendLens` the host does not know them; without `cpRows`, those.
inline bool
sparsePrefillUsable(const std::optional<std::vector<int64_t>> &extendLens,
                    int64_t queryRows, int64_t cpSize = 1,
                    std::optional<int64_t> cpRows = std::nullopt) {
  static constexpr int64_t none = 0;
  const int64_t *lens = nullptr;
  if (extendLens)
    lens = extendLens->empty() ? &none : extendLens->data();
  int32_t usable;
  check(nsa_plan_sparse_prefill_usable(
      lens, extendLens ? extendLens->size() : 0, queryRows, cpSize,
      cpRows.value_or(NSA_PLAN_NONE), &usable));
  return usable;
}

struct CaptureOptions : nsa_capture_options {
  CaptureOptions() : nsa_capture_options{1, 1, 1, 0, 0, NSA_PLAN_NONE} {}
};

inline std::vector<int64_t>
captureBatchSizes(const std::vector<int64_t> &candidates,
                  const CaptureOptions &options = {}) {
  std::vector<int64_t> sizes(candidates.size() + 1);
  size_t count;
  check(nsa_plan_capture_batch_sizes(candidates.data(), candidates.size(),
                                     &options, sizes.data(), &count));
  sizes.resize(count);
  return sizes;
}

} // namespace nsa::plan

#endif // NSA_RUNTIME_PLAN_H
