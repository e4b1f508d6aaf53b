//===- ExpandFacts.cpp - Segments that write rows of requests ----------===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "SegmentFacts.h"

using namespace mlir;
using namespace nsa;

static Size getRows(Value value) { return getExpandOp(value).getNumRequests(); }

static Grid getGrid(SegmentOp segment) {
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

static LogicalResult verifyCopies(SegmentOp segment) {
  if (segment.getCopies().empty())
    return segment.emitOpError(
        "expected a copy, which says of which expansion"); // (C5)
  for (CopyOp copy : segment.getCopies())
    if (getExpansion(copy.getValue()) != segment.getExpansion())
      return copy.emitOpError() // (C5)
             << "expected a value that is made from the same expansion as that "
                "of the segment's first copy";
  return success();
}

const SegmentFacts nsa::expandFacts = {
    /*mostSizes=*/2,    /*isCut=*/true, /*takesVectors=*/false,
    isWrittenByRequest, getRows,        getGrid,
    verifyCopies};
