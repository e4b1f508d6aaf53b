//===- OverlapTest.cpp - Overlap against sets of bytes --------------------===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "nsa-c/checks.h"

#include "gtest/gtest.h"

#include <algorithm>
#include <optional>
#include <random>
#include <set>
#include <utility>
#include <vector>

namespace {

/// An array that owns its shape and strides, and the functions over it.
struct Extent {
  uint64_t base = 0;
  int64_t itemSize = 1;
  std::vector<int64_t> shape;
  std::vector<int64_t> strides;

  nsa_strided get() const {
    return {base, itemSize, static_cast<int32_t>(shape.size()), shape.data(),
            strides.data()};
  }
  int64_t elements() const {
    nsa_strided array = get();
    return nsa_elements(&array);
  }
};

nsa_region regionOf(const Extent &extent) {
  nsa_strided array = extent.get();
  nsa_region region;
  nsa_find_region(&array, &region);
  return region;
}

bool mayOverlap(const Extent &a, const Extent &b) {
  nsa_strided arrayA = a.get(), arrayB = b.get();
  nsa_region regionA = regionOf(a), regionB = regionOf(b);
  return nsa_may_overlap(&arrayA, &arrayB, &regionA, &regionB);
}

bool mayOverlapItself(const Extent &a) {
  nsa_strided array = a.get();
  return nsa_may_overlap_itself(&array);
}

bool isSameView(const Extent &a, const Extent &b) {
  nsa_strided arrayA = a.get(), arrayB = b.get();
  return nsa_is_same_view(&arrayA, &arrayB);
}

bool isAddressable(const Extent &a) {
  nsa_strided array = a.get();
  return nsa_is_addressable(&array);
}

struct Region {
  const Extent *extent;
  bool written;
};

std::optional<std::pair<size_t, size_t>>
findOverlap(const std::vector<Region> &regions) {
  std::vector<nsa_port> ports;
  std::vector<nsa_strided> arrays;
  std::vector<nsa_region> scratch;
  for (const Region &region : regions) {
    ports.push_back({"", region.written ? NSA_KIND_OUT : NSA_KIND_IN, -1, 0, 0,
                     1, -1, nullptr});
    arrays.push_back(region.extent->get());
    scratch.push_back(regionOf(*region.extent));
  }
  std::pair<size_t, size_t> found;
  if (!nsa_find_overlap(ports.data(), arrays.data(), arrays.size(),
                        scratch.data(), &found.first, &found.second))
    return std::nullopt;
  return found;
}

/// Every byte of every element; with `twice`, whether any is there twice.
std::set<uint64_t> bytesOf(const Extent &extent, bool *twice = nullptr) {
  std::set<uint64_t> bytes;
  if (twice)
    *twice = false;
  if (extent.elements() == 0)
    return bytes;
  std::vector<int64_t> index(extent.shape.size(), 0);
  while (true) {
    int64_t offset = 0;
    for (size_t i = 0; i != index.size(); ++i)
      offset += index[i] * extent.strides[i];
    for (int64_t b = 0; b != extent.itemSize; ++b)
      if (!bytes
               .insert(extent.base +
                       static_cast<uint64_t>(offset * extent.itemSize + b))
               .second &&
          twice)
        *twice = true;
    size_t d = index.size();
    while (d != 0 && ++index[d - 1] == extent.shape[d - 1])
      index[--d] = 0;
    if (d == 0)
      return bytes;
  }
}

bool overlaps(const Extent &a, const Extent &b) {
  std::set<uint64_t> bytes = bytesOf(a);
  for (uint64_t byte : bytesOf(b))
    if (bytes.count(byte))
      return true;
  return false;
}

class Random {
public:
  int64_t below(int64_t bound) {
    return std::uniform_int_distribution<int64_t>(0, bound - 1)(random);
  }
  Extent extent(size_t maxRank) {
    static constexpr int64_t itemSizes[] = {1, 2, 4, 8};
    Extent extent;
    extent.itemSize = itemSizes[below(4)];
    extent.base = 10000 + static_cast<uint64_t>(below(40));
    size_t rank = static_cast<size_t>(below(static_cast<int64_t>(maxRank) + 1));
    for (size_t i = 0; i != rank; ++i) {
      extent.shape.push_back(below(6));
      extent.strides.push_back(below(14) - 4);
    }
    return extent;
  }

private:
  std::mt19937_64 random{20261120};
};

TEST(Overlap, NeverMissesOne) {
  Random random;
  int apart = 0, together = 0;
  for (int i = 0; i != 40000; ++i) {
    Extent a = random.extent(3), b = random.extent(3);
    bool actual = overlaps(a, b);
    if (actual) {
      ASSERT_TRUE(mayOverlap(a, b)) << i;
      ASSERT_TRUE(mayOverlap(b, a)) << i;
      ++together;
    } else {
      apart += !mayOverlap(a, b);
    }
  }
  EXPECT_GT(together, 1000);
  EXPECT_GT(apart, 1000);
}

TEST(Overlap, ItselfNeverMissesOneAndIsExactInTwoDimensions) {
  Random random;
  int exact = 0;
  for (int i = 0; i != 40000; ++i) {
    Extent extent = random.extent(3);
    bool actual;
    bytesOf(extent, &actual);
    if (extent.shape.size() <= 2) {
      ASSERT_EQ(mayOverlapItself(extent), actual) << i;
      ++exact;
    } else if (actual) {
      ASSERT_TRUE(mayOverlapItself(extent)) << i;
    }
  }
  EXPECT_GT(exact, 1000);
}

/// Slices of rows x pitch elements, as engines cut their workspaces.
TEST(Overlap, SlicesOfOneWorkspaceAreExact) {
  Random random;
  int apart = 0;
  for (int i = 0; i != 40000; ++i) {
    int64_t pitch = 1 + random.below(12), item = INT64_C(1) << random.below(4);
    auto slice = [&] {
      int64_t column = random.below(pitch), row = random.below(5);
      Extent extent;
      extent.itemSize = item;
      extent.base =
          10000 + static_cast<uint64_t>((row * pitch + column) * item);
      extent.shape = {random.below(5), random.below(pitch - column + 1)};
      extent.strides = {pitch, 1};
      // A single column may come as a vector.
      if (extent.shape[1] == 1 && random.below(2)) {
        extent.shape.pop_back();
        extent.strides.pop_back();
      }
      return extent;
    };
    Extent a = slice(), b = slice();
    bool actual = overlaps(a, b);
    ASSERT_EQ(mayOverlap(a, b), actual) << i;
    ASSERT_EQ(mayOverlap(b, a), actual) << i;
    apart += !actual;
  }
  EXPECT_GT(apart, 1000);
}

TEST(Overlap, InterleavedVectors) {
  Extent even{1000, 4, {50}, {2}}, odd{1004, 4, {50}, {2}};
  EXPECT_FALSE(mayOverlap(even, odd));
  Extent every{1004, 4, {50}, {1}};
  EXPECT_TRUE(mayOverlap(even, every));
}

TEST(Overlap, NothingOverlapsNothing) {
  Extent some{1000, 4, {50}, {1}}, none{1000, 4, {0}, {1}};
  EXPECT_FALSE(mayOverlap(some, none));
  EXPECT_FALSE(mayOverlapItself(none));
}

TEST(Overlap, SameView) {
  Extent a{1000, 4, {5, 1}, {8, 1}}, b{1000, 4, {5, 1}, {8, 3}};
  EXPECT_TRUE(isSameView(a, b));
  b.strides[0] = 9;
  EXPECT_FALSE(isSameView(a, b));
}

TEST(Overlap, FindsTheFirstPairThatMatters) {
  Extent a{1000, 4, {10}, {1}}, b{1036, 4, {10}, {1}}, c{1076, 4, {10}, {1}};
  EXPECT_EQ(findOverlap({{&a, false}, {&b, false}, {&c, true}}), std::nullopt);
  EXPECT_EQ(findOverlap({{&a, false}, {&c, true}, {&b, true}}),
            std::make_optional(std::pair<size_t, size_t>(0, 2)));
  EXPECT_EQ(findOverlap({{&a, true}, {&c, true}, {&a, true}}), std::nullopt);
  EXPECT_EQ(findOverlap({{&a, false}, {&a, true}}),
            std::make_optional(std::pair<size_t, size_t>(0, 1)));
}

TEST(Overlap, FindsWhatPairsFind) {
  Random random;
  for (int i = 0; i != 2000; ++i) {
    std::vector<Extent> extents;
    std::vector<Region> regions;
    for (int j = 0; j != 6; ++j) {
      extents.push_back(random.extent(2));
      extents.back().base += static_cast<uint64_t>(random.below(400));
    }
    for (const Extent &extent : extents)
      regions.push_back({&extent, random.below(2) != 0});
    std::optional<std::pair<size_t, size_t>> expected;
    for (size_t a = 0; a != 6; ++a)
      for (size_t b = a + 1; b != 6 && !expected; ++b) {
        bool both = regions[a].written && regions[b].written;
        bool any = regions[a].written || regions[b].written;
        if (any && mayOverlap(extents[a], extents[b]) &&
            !(both && isSameView(extents[a], extents[b])))
          expected = {a, b};
      }
    ASSERT_EQ(findOverlap(regions), expected) << i;
  }
}

TEST(Overlap, SortsAnyNumberOfRegions) {
  Random random;
  for (size_t count = 0; count != 200; ++count) {
    std::vector<nsa_region> regions(count);
    std::vector<uint64_t> expected;
    for (nsa_region &region : regions) {
      region.lowest = static_cast<uint64_t>(random.below(100));
      expected.push_back(region.lowest);
    }
    nsa_sort_regions(regions.data(), count);
    std::sort(expected.begin(), expected.end());
    for (size_t i = 0; i != count; ++i)
      ASSERT_EQ(regions[i].lowest, expected[i]) << count;
  }
}

TEST(Overlap, InsideMemory) {
  auto isInside = [](uint64_t base, int64_t stride) {
    Extent extent{base, 8, {3}, {stride}};
    nsa_strided array = extent.get();
    nsa_region region = regionOf(extent);
    return nsa_is_inside_memory(&array, &region) != 0;
  };
  EXPECT_TRUE(isInside(16, -1));
  EXPECT_FALSE(isInside(8, -1));
  EXPECT_TRUE(isInside(UINT64_MAX - 24, 1));
  EXPECT_FALSE(isInside(UINT64_MAX - 23, 1));
}

TEST(Overlap, Addressable) {
  auto vector = [](int64_t size, int64_t stride) {
    return Extent{0, 8, {size}, {stride}};
  };
  EXPECT_TRUE(isAddressable(vector(INT64_C(1) << 40, 1)));
  EXPECT_TRUE(isAddressable(vector(0, INT64_MIN)));
  EXPECT_TRUE(isAddressable(vector(1, INT64_MIN)));
  EXPECT_FALSE(isAddressable(vector(2, INT64_MIN)));
  EXPECT_FALSE(isAddressable(vector(2, INT64_MAX / 8)));
  EXPECT_FALSE(isAddressable(vector(INT64_C(1) << 61, 0)));
  EXPECT_FALSE(isAddressable(
      Extent{0, 1, {INT64_C(1) << 32, INT64_C(1) << 32}, {0, 0}}));
}

} // namespace
