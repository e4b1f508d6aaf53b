//===- Tiles.h - The elements of a tile -------------------------*- C++ -*-===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef NSA_LIB_CONVERSION_TILES_H
#define NSA_LIB_CONVERSION_TILES_H

#include "nsa/Codegen/Elements.h"

namespace nsa {

/// The rows that one request of an expansion takes.
struct RowRange {
  Value first, count;
  /// Whether these are rows past the last request, which are zeros (i1). Null
  /// for no.
  Value isPadding = {};

  /// Emits `body` for each of them.
  void emitLoop(ElementBuilder &builder, function_ref<void(Value)> body) const;
};

/// Two threads whose vectors are neighbours in a row.
struct ThreadPair {
  /// Whether this thread has the second vector (i1).
  Value isSecond;
  /// Emits what an i32 is in the other thread. Both have to get there.
  std::function<Value(OpBuilder &, Value)> emitOther;
};

/// A tile of one row, all of which a block takes.
struct RowTile {
  /// The row, its first column, and how many there are room for.
  Value row, first;
  int64_t columns;
  /// The number of this thread of the block (index), and how many a warp has.
  Value thread;
  int64_t warp;
};

/// What some tiles are given.
struct TileOptions {
  /// In an `expand` segment, whose points have requests for rows: those that
  /// each is stored to.
  std::optional<RowRange> rows = {};
  /// What the row of the points shares, if it is walked.
  const RowValues *rowValues = nullptr;
  /// If there is one, both threads take turns: each stores the first or the
  /// second halves of the two vectors.
  const ThreadPair *pair = nullptr;
  /// What has emitted before what some of the elements may rest on.
  const ElementBuilder *known = nullptr;
  /// What the points of all threads are, if that is known.
  const RowTile *tile = nullptr;
};

/// Emits the `width` columns at each of `points` (row, column; or only the
/// column of a one-dimensional segment; or only the row, for the elements that
/// a table's rows have): loads for all points first, then the
/// stores, each guarded by the segment's number of columns. Columns of points
/// are multiples of `width`.
void emitTile(OpBuilder &b, SegmentOp segment, const IRMapping &ports,
              ArrayRef<SmallVector<Value>> points, int64_t width,
              const TileOptions &options = {});

/// Emits what row `row` of a segment that is walked shares, beside what all its
/// rows do.
RowValues emitRowValues(OpBuilder &b, SegmentOp segment, const IRMapping &ports,
                        Value row, std::optional<Team> team = {},
                        RowValues values = RowValues());

} // namespace nsa

#endif // NSA_LIB_CONVERSION_TILES_H
