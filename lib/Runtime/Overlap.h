//===- Overlap.h - Whether strided arrays share elements --------*- C++ -*-===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef NSA_LIB_RUNTIME_OVERLAP_H
#define NSA_LIB_RUNTIME_OVERLAP_H

#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

namespace nsa::runtime {

/// The bytes that an array covers: rank dimensions of `shape` elements of
/// `itemSize` bytes, `strides` elements apart, from `base` on.
struct Extent {
  uint64_t base = 0;
  int64_t itemSize = 1;
  std::vector<int64_t> shape;
  std::vector<int64_t> strides;

  /// 0 when any dimension is.
  int64_t elements() const;
};

/// Whether the extent can be computed with at all: neither its element count
/// nor the distance between its first and last byte leaves 62 bits.
bool isAddressable(const Extent &extent);

/// Whether the very same elements lie at the very same places.
bool isSameView(const Extent &a, const Extent &b);

/// Whether two arrays may share a byte. Never false when they do. True without
/// need only for arrays whose inner dimension has gaps, or whose rows are at
/// different pitches: column slices of one workspace, and strided elements of
/// one array, are told apart exactly.
bool mayOverlap(const Extent &a, const Extent &b);

/// An array among others that a step is given.
struct Region {
  const Extent *extent;
  bool written;
  /// Which value is written; -1 if that is not known.
  int64_t value = -1;
};

/// The first two regions, by their places, that may overlap though one of them
/// is written; two that the same value is written to may be the very same view.
std::optional<std::pair<size_t, size_t>>
findOverlap(const std::vector<Region> &regions);

/// Whether two elements of one array may share a byte. Exact up to rank 2.
bool mayOverlapItself(const Extent &extent);

} // namespace nsa::runtime

#endif // NSA_LIB_RUNTIME_OVERLAP_H
