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

/// What a block of threads does of a segment that is cut into tiles. Kernels
/// and manifest have to agree on it, and both ask here.
///
/// A thread moves 16 bytes at a time. One of vectors does, too, if a vector
/// among them is contiguous; vectors of unknown stride allow no wide access, so
/// a thread has one element, and no load waits behind another.
///
/// Rows that are long, or whose length is not known, are cut into tiles of one
/// row. Short ones share a tile, whose vectors are dealt to the threads row
/// after row: thread t takes the vectors t, t + blockSize, ...
///
///   columns 576, vectors of 16: 36 a row, 7 rows in the 256 of two a thread
///
///     thread       0 ... 35   36 ... 71   72 ... 107   108 ... 127
///     vector 0     row 0      row 1       row 2        row 3, first 20
///     vector 1     row 3, other 16, then row 4, ...
///
/// Rows whose elements share what is worth computing once (`emitRow`) have a
/// warp each, which walks their columns, however many there are.
struct TileShape {
  int64_t rows;
  /// Columns of a tile; 0 for whole rows.
  int64_t columns;
  /// Elements of a vector.
  int64_t width;
  /// Vectors that a thread takes, at a time if it walks.
  int64_t vectors;
  /// Whether pairs of threads exchange halves of vectors that two stores take,
  /// so that each store of a warp fills whole sectors of memory.
  bool isPaired = false;

  bool isWalked() const { return columns == 0; }
  bool hasRows() const { return rows > 1 && !isWalked(); }
  /// Of a tile with rows.
  int64_t getVectorsPerRow() const { return columns / width; }
};

TileShape getTileShape(SegmentOp segment);

/// Whether `op` shares something in each row of `segment`: its table has these
/// rows.
bool isSharedByRow(SharedOpInterface op, SegmentOp segment);
/// Whether the elements of a row of `segment` share what the threads of a block
/// compute together: a block then takes one row.
bool hasSharedRows(SegmentOp segment);

} // namespace nsa

#endif // NSA_IR_TILESHAPE_H
