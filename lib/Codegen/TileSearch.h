//===- TileSearch.h - A search in what a block shares -----------*- C++ -*-===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef NSA_LIB_CODEGEN_TILESEARCH_H
#define NSA_LIB_CODEGEN_TILESEARCH_H

#include "nsa/Codegen/Elements.h"

namespace nsa {

/// Emits the first stride (i32) of searches among `numTiles` tiles (index), of
/// which there are fewer than 2^30.
mlir::Value emitSearchStride(ElementBuilder &builder, mlir::Value numTiles);

/// Emits the last of the tiles 1 to `numTiles` whose entry of `before` is
/// `position` (index) or less, or 0 (index). Entries ascend.
mlir::Value emitTileSearch(ElementBuilder &builder, mlir::Value before,
                           mlir::Value numTiles, mlir::Value stride,
                           mlir::Value position);

} // namespace nsa

#endif // NSA_LIB_CODEGEN_TILESEARCH_H
