//===- StoredSums.h - Sums that a launch before has made --------*- C++ -*-===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef NSA_LIB_CODEGEN_STOREDSUMS_H
#define NSA_LIB_CODEGEN_STOREDSUMS_H

#include "nsa/Codegen/ElementBuilder.h"
#include "nsa/IR/NSADialect.h"

namespace nsa {

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

} // namespace nsa

#endif // NSA_LIB_CODEGEN_STOREDSUMS_H
