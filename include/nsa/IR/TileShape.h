//===- TileShape.h - How a tile segment is cut into blocks ------*- C++ -*-===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef NSA_IR_TILESHAPE_H
#define NSA_IR_TILESHAPE_H

#include "nsa/IR/NSADialect.h"

namespace nsa {

/// The tiles of a `tile` segment: what the kernels and the manifest agree on.
struct TileShape {
  /// Elements that a thread moves at once.
  int64_t width;
  /// Elements of a tile, all in one row.
  int64_t columns;
};

/// A thread of a table moves 16 bytes. One of vectors does, too, if a vector
/// among them is contiguous; vectors of unknown stride allow no wide access, so
/// a thread has one element, and no load waits behind another.
TileShape getTileShape(SegmentOp segment);

} // namespace nsa

#endif // NSA_IR_TILESHAPE_H
