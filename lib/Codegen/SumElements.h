//===- SumElements.h - What sums and recurrences are made with --*- C++ -*-===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef NSA_LIB_CODEGEN_SUMELEMENTS_H
#define NSA_LIB_CODEGEN_SUMELEMENTS_H

#include "Elements.h"

#include "nsa/Codegen/Threads.h"

namespace nsa {

//===----------------------------------------------------------------------===//
// Recurrences by a block at once (PredictedSteps.cpp)
//===----------------------------------------------------------------------===//

/// Emits elements 1 to `size` of a recurrence from element 0, which is `first`,
/// for all threads. `emitStep` emits element `step + 1` from element
/// `step`, for any value of the latter; `isNumbered` is whether it looks at the
/// number, too. `visit` gets the number of an element and the element, in the
/// thread that has it.
void emitPredictedSteps(
    ElementBuilder &builder, Threads &threads, Value size, Value first,
    bool isNumbered,
    function_ref<Value(ElementBuilder &, Value, Value)> emitStep,
    function_ref<void(Value, Value)> visit);

//===----------------------------------------------------------------------===//
// Elements that are loaded together (ElementGroups.cpp)
//===----------------------------------------------------------------------===//

/// The logarithm of the elements in a group.
constexpr int64_t logGroup = 3;

/// The group of `source` from element `begin` on, in row `row`, with 0 from
/// `end` on, which is more than `begin`.
SmallVector<Value> emitGroup(ElementBuilder &builder, Value source,
                             ValueRange row, Value begin, Value end);

/// `sum` and elements `begin` to `end` of `source`, in row `row`, a group at a
/// time.
Value emitSumOfGroups(ElementBuilder &builder, Value source, ValueRange row,
                      Value begin, Value end, Value sum);

//===----------------------------------------------------------------------===//
// Sums that a launch before has made (StoredSums.cpp)
//===----------------------------------------------------------------------===//

/// `sum` and elements `begin` to `end` of `scan`, whose tiles are stored;
/// `begin` is the first element of a tile.
Value emitStoredSum(ElementBuilder &builder, ScanOp scan, Value begin,
                    Value end, Value sum);

/// The same where both are tiles' numbers.
Value emitStoredTiles(ElementBuilder &builder, ScanOp scan, Value begin,
                      Value end, Value sum);

/// The first element from `begin` on, of the `size` elements that `scan` adds
/// up, with which the sum is more than `position`; `size` where there is none.
/// `begin` is the first element of a tile or one past the last tile, `sum` that
/// of the elements before it.
Value emitStoredSearch(ElementBuilder &builder, ScanOp scan, Value begin,
                       Value size, Value sum, Value position);

//===----------------------------------------------------------------------===//
// Searches in what a block shares (TileSearch.cpp)
//===----------------------------------------------------------------------===//

/// Emits the first stride (i32) of searches among `numTiles` tiles (index), of
/// which there are fewer than 2^30.
Value emitSearchStride(ElementBuilder &builder, Value numTiles);

/// Emits the last of the tiles 1 to `numTiles` whose entry of `before` is
/// `position` (index) or less, or 0 (index). Entries ascend.
Value emitTileSearch(ElementBuilder &builder, Value before, Value numTiles,
                     Value stride, Value position);

} // namespace nsa

#endif // NSA_LIB_CODEGEN_SUMELEMENTS_H
