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
    ElementBuilder &builder, Threads &threads, mlir::Value size,
    mlir::Value first, bool isNumbered,
    llvm::function_ref<mlir::Value(ElementBuilder &, mlir::Value, mlir::Value)>
        emitStep,
    llvm::function_ref<void(mlir::Value, mlir::Value)> visit);

//===----------------------------------------------------------------------===//
// Sums that a launch before has made (StoredSums.cpp)
//===----------------------------------------------------------------------===//

/// `sum` and elements `begin` to `end` of `scan`, whose tiles are stored;
/// `begin` is the first element of a tile.
mlir::Value emitStoredSum(ElementBuilder &builder, ScanOp scan,
                          mlir::Value begin, mlir::Value end, mlir::Value sum);

/// The same where both are tiles' numbers.
mlir::Value emitStoredTiles(ElementBuilder &builder, ScanOp scan,
                            mlir::Value begin, mlir::Value end,
                            mlir::Value sum);

/// The first element from `begin` on, of the `size` elements that `scan` adds
/// up, with which the sum is more than `position`; `size` where there is none.
/// `begin` is the first element of a tile or one past the last tile, `sum` that
/// of the elements before it.
mlir::Value emitStoredSearch(ElementBuilder &builder, ScanOp scan,
                             mlir::Value begin, mlir::Value size,
                             mlir::Value sum, mlir::Value position);

//===----------------------------------------------------------------------===//
// Searches in what a block shares (TileSearch.cpp)
//===----------------------------------------------------------------------===//

/// Emits the first stride (i32) of searches among `numTiles` tiles (index), of
/// which there are fewer than 2^30.
mlir::Value emitSearchStride(ElementBuilder &builder, mlir::Value numTiles);

/// Emits the last of the tiles 1 to `numTiles` whose entry of `before` is
/// `position` (index) or less, or 0 (index). Entries ascend.
mlir::Value emitTileSearch(ElementBuilder &builder, mlir::Value before,
                           mlir::Value numTiles, mlir::Value stride,
                           mlir::Value position);

} // namespace nsa

#endif // NSA_LIB_CODEGEN_SUMELEMENTS_H
