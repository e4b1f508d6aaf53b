//===- Overlap.cpp - Whether strided arrays share elements ----------------===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Every element of an array lies at
//
//     lowest + sum(k_i * stride_i) + [0, itemSize)
//
// with strides made positive. Dimensions that follow each other without a gap
// make up one block of `width` bytes; the strides of the others are all
// multiples of their greatest common divisor, the pitch. So modulo the pitch
// the array covers no more than [0, width) from its lowest byte:
//
//     workspace w[3, 8] of bytes      w[:, 0:3]  lowest 0  width 3  pitch 8
//       A A A . . B B .               w[:, 5:7]  lowest 5  width 2  pitch 8
//       A A A . . B B .
//       A A A . . B B .               distance 5 mod 8: [5, 7) misses [0, 3)
//
// Two arrays that miss each other modulo a common divisor of their pitches
// share no byte, whatever their row counts; nor do two whose byte ranges are
// apart.
//
//===----------------------------------------------------------------------===//

#include "Overlap.h"

#include <algorithm>
#include <numeric>

using namespace nsa::runtime;

namespace {

struct Dim {
  int64_t stride; // in bytes, positive
  int64_t size;   // at least 2
};

/// The dimensions that move the address, innermost first.
struct Normal {
  uint64_t lowest;
  int64_t span; // from the lowest byte to one past the highest
  std::vector<Dim> dims;
};

Normal normalize(const Extent &extent) {
  Normal normal{extent.base, extent.itemSize, {}};
  for (size_t i = 0, e = extent.shape.size(); i != e; ++i) {
    if (extent.shape[i] < 2)
      continue;
    int64_t stride = extent.strides[i] * extent.itemSize;
    int64_t reach = stride * (extent.shape[i] - 1);
    if (reach < 0)
      normal.lowest += static_cast<uint64_t>(reach);
    normal.span += std::abs(reach);
    normal.dims.push_back({std::abs(stride), extent.shape[i]});
  }
  std::sort(normal.dims.begin(), normal.dims.end(),
            [](const Dim &a, const Dim &b) { return a.stride < b.stride; });
  return normal;
}

struct Blocks {
  int64_t width;
  int64_t pitch; // 0: a single block
};

Blocks blocksOf(const Normal &normal, int64_t itemSize) {
  Blocks blocks{itemSize, 0};
  for (const Dim &dim : normal.dims) {
    if (blocks.pitch == 0 && dim.stride <= blocks.width)
      blocks.width += dim.stride * (dim.size - 1);
    else
      blocks.pitch = std::gcd(blocks.pitch, dim.stride);
  }
  return blocks;
}

/// Whether the byte ranges have a byte in common.
bool meet(const Normal &a, const Normal &b) {
  return b.lowest < a.lowest + static_cast<uint64_t>(a.span) &&
         a.lowest < b.lowest + static_cast<uint64_t>(b.span);
}

/// Of two whose byte ranges meet: whether they meet modulo their pitches.
bool collide(const Normal &a, int64_t itemSizeA, const Normal &b,
             int64_t itemSizeB) {
  Blocks ba = blocksOf(a, itemSizeA), bb = blocksOf(b, itemSizeB);
  int64_t pitch = std::gcd(ba.pitch, bb.pitch);
  if (pitch == 0)
    return true;
  int64_t distance = static_cast<int64_t>(b.lowest - a.lowest) % pitch;
  if (distance < 0)
    distance += pitch;
  return ba.width > distance || distance + bb.width > pitch;
}

} // namespace

int64_t Extent::elements() const {
  int64_t count = 1;
  // First, as the product of the others may wrap.
  for (int64_t size : shape)
    if (size == 0)
      return 0;
  for (int64_t size : shape)
    count *= size;
  return count;
}

bool nsa::runtime::isAddressable(const Extent &extent) {
  constexpr int64_t limit = INT64_C(1) << 62;
  for (int64_t size : extent.shape)
    if (size == 0)
      return true;
  int64_t span = extent.itemSize, count = extent.itemSize;
  for (size_t i = 0, e = extent.shape.size(); i != e; ++i) {
    if (__builtin_mul_overflow(count, extent.shape[i], &count) || count > limit)
      return false;
    if (extent.shape[i] < 2)
      continue;
    int64_t reach;
    if (extent.strides[i] == INT64_MIN ||
        __builtin_mul_overflow(std::abs(extent.strides[i]), extent.shape[i] - 1,
                               &reach) ||
        __builtin_mul_overflow(reach, extent.itemSize, &reach) ||
        __builtin_add_overflow(span, reach, &span) || span > limit)
      return false;
  }
  return true;
}

bool nsa::runtime::isSameView(const Extent &a, const Extent &b) {
  if (a.base != b.base || a.itemSize != b.itemSize || a.shape != b.shape)
    return false;
  // The stride of a dimension of one element means nothing.
  for (size_t i = 0, e = a.shape.size(); i != e; ++i)
    if (a.shape[i] > 1 && a.strides[i] != b.strides[i])
      return false;
  return true;
}

bool nsa::runtime::mayOverlap(const Extent &a, const Extent &b) {
  if (a.elements() == 0 || b.elements() == 0)
    return false;
  Normal na = normalize(a), nb = normalize(b);
  return meet(na, nb) && collide(na, a.itemSize, nb, b.itemSize);
}

std::optional<std::pair<size_t, size_t>>
nsa::runtime::findOverlap(const std::vector<Region> &regions) {
  struct Entry {
    Normal normal;
    size_t place;
  };
  std::vector<Entry> entries;
  for (size_t i = 0, e = regions.size(); i != e; ++i)
    if (regions[i].extent->elements() != 0)
      entries.push_back({normalize(*regions[i].extent), i});
  std::sort(entries.begin(), entries.end(), [](const Entry &a, const Entry &b) {
    return a.normal.lowest < b.normal.lowest;
  });

  std::optional<std::pair<size_t, size_t>> first;
  for (size_t i = 0, e = entries.size(); i != e; ++i) {
    const Entry &a = entries[i];
    // Sorted by address, only neighbours can meet.
    for (size_t j = i + 1; j != e && meet(a.normal, entries[j].normal); ++j) {
      const Entry &b = entries[j];
      const Region &ra = regions[a.place], &rb = regions[b.place];
      if (!ra.written && !rb.written)
        continue;
      if (!collide(a.normal, ra.extent->itemSize, b.normal,
                   rb.extent->itemSize))
        continue;
      if (ra.written && rb.written && ra.value == rb.value &&
          isSameView(*ra.extent, *rb.extent))
        continue;
      auto pair = std::minmax(a.place, b.place);
      if (!first || std::pair<size_t, size_t>(pair) < *first)
        first = pair;
    }
  }
  return first;
}

bool nsa::runtime::mayOverlapItself(const Extent &extent) {
  if (extent.elements() < 2)
    return false;
  Normal normal = normalize(extent);
  int64_t size = extent.itemSize;
  for (const Dim &dim : normal.dims)
    if (dim.stride == 0)
      return true;
  if (normal.dims.size() == 2) {
    // i * a == j * b has its least solution at i = b / g, j = a / g.
    const Dim &a = normal.dims[0], &b = normal.dims[1];
    int64_t g = std::gcd(a.stride, b.stride);
    return b.stride / g < a.size && a.stride / g < b.size;
  }
  for (const Dim &dim : normal.dims) {
    if (dim.stride < size)
      return true;
    size += dim.stride * (dim.size - 1);
  }
  return false;
}
