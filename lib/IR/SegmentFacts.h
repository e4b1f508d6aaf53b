//===- SegmentFacts.h - What each kind of segment is ------------*- C++ -*-===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef NSA_LIB_IR_SEGMENTFACTS_H
#define NSA_LIB_IR_SEGMENTFACTS_H

#include "nsa/IR/NSADialect.h"

namespace nsa {

/// What is known of a kind of segment without its code, which is in
/// lib/Conversion/SegmentLowering.h. Kinds state it in NSAOps.td.
struct SegmentFacts {
  /// It has at most this many dimensions.
  size_t mostSizes;
  /// Whether a tiling cuts it into blocks.
  bool isCut;
  /// Whether it takes vectors that a tile could hold, stored as they are.
  bool takesVectors;
  /// Whether copies of `value` are of this kind, if of none before it.
  bool (*holds)(Value value);
  /// The rows that copies of such a `value` run over.
  Size (*getRows)(Value value);
  /// What is cut into blocks of threads.
  Grid (*getGrid)(SegmentOp segment);
  /// Checks what the copies of a segment need of each other.
  LogicalResult (*verifyCopies)(SegmentOp segment);
};

/// The kind of segment that holds copies of `value`.
SegmentKind getKind(Value value);

/// Whether `op` computes a value that is iterated as `iteration` says.
bool isIteratedAs(Operation *op, Iteration iteration);

/// The first operation that `value` is computed by for which `isWanted` holds.
Operation *findOrigin(Value value, function_ref<bool(Operation *)> isWanted);

/// Whether `value` has the rows of an expansion, which are written for each
/// request, rather than computed one by one.
bool isWrittenByRequest(Value value);

// The members that are too long for that.
bool holdsScan(Value value);
Size getScanRows(Value value);
Grid getScanGrid(SegmentOp segment);
Size getExpandRows(Value value);
Grid getExpandGrid(SegmentOp segment);
LogicalResult verifyExpandCopies(SegmentOp segment);
Grid getTileGrid(SegmentOp segment);
LogicalResult verifyTileCopies(SegmentOp segment);

/// The columns of a table, or the elements of an array, cut as the tiling says.
void cutColumns(SegmentOp segment, Grid &grid);

} // namespace nsa

#endif // NSA_LIB_IR_SEGMENTFACTS_H
