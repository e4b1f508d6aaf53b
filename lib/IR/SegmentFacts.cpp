//===- SegmentFacts.cpp - What each kind of segment is --------------------===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "SegmentFacts.h"

using namespace mlir;
using namespace nsa;

//===----------------------------------------------------------------------===//
// Scan: rows that one block walks
//===----------------------------------------------------------------------===//

bool nsa::holdsScan(Value value) {
  return dependsOnScan(value) && !isWrittenByRequest(value);
}

/// The last element of a cumulative sum is written after the walk.
Size nsa::getScanRows(Value value) {
  Operation *scan = findOrigin(
      value, [](Operation *op) { return isIteratedAs(op, Iteration::Scan); });
  return cast<ValueOpInterface>(scan).getSizes()[0] + -1;
}

/// All rows are one block's.
Grid nsa::getScanGrid(SegmentOp segment) {
  Size one = Size::constant(segment.getContext(), 1);
  return {one, one};
}

//===----------------------------------------------------------------------===//
// Expand: rows of requests
//===----------------------------------------------------------------------===//

Size nsa::getExpandRows(Value value) {
  return getExpandOp(value).getNumRequests();
}

Grid nsa::getExpandGrid(SegmentOp segment) {
  bool isTable = segment.getSizes().size() == 2;
  ExpansionOp expansion = segment.getExpansion();
  Size requests = Size::of(segment.getSizes().front());
  Size one = Size::constant(segment.getContext(), 1);
  Grid grid = {isTable ? requests : expansion.getNumRows(requests), one};
  grid.tileRows = segment.getTiling()->getRows();
  // A block past the last row for what belongs to none: the totals, or the
  // padding of a table.
  if (!isTable || expansion.getPadded())
    grid.rows = grid.rows + grid.tileRows;
  if (isTable)
    cutColumns(segment, grid);
  return grid;
}

LogicalResult nsa::verifyExpandCopies(SegmentOp segment) {
  return success(
      expect(segment, !segment.getCopies().empty(), // (C5)
             "a copy, which says of which expansion") &&
      llvm::all_of(segment.getCopies(), [&](CopyOp copy) {
        return expect(copy, // (C5)
                      getExpansion(copy.getValue()) == segment.getExpansion(),
                      "a value that is made from the same expansion as that of "
                      "the segment's first copy");
      }));
}

//===----------------------------------------------------------------------===//
// Tile: elements by themselves
//===----------------------------------------------------------------------===//

Grid nsa::getTileGrid(SegmentOp segment) {
  Size one = Size::constant(segment.getContext(), 1);
  Grid grid = {one, one};
  if (segment.getSizes().size() == 2) {
    grid.rows = Size::of(segment.getSizes().front());
    grid.tileRows = segment.getTiling()->getRows();
  }
  cutColumns(segment, grid);
  return grid;
}

LogicalResult nsa::verifyTileCopies(SegmentOp segment) {
  return success(llvm::all_of(segment.getCopies(), [&](CopyOp copy) {
    auto type = cast<ShapedType>(copy.getValue().getType());
    return expect(copy, // (C3)
                  segment.isOfRow(copy) ||
                      type.getElementTypeBitWidth() == segment.getElementBits(),
                  "elements of ", segment.getElementBits(),
                  " bits like those of the segment's first copy, but got ",
                  type);
  }));
}
