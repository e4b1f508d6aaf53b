//===- TileFacts.cpp - Segments of elements by themselves --------------===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "SegmentFacts.h"

using namespace mlir;
using namespace nsa;

static bool holds(Value) { return true; }

static Size getRows(Value value) { return Size::of(value, 0); }

static Grid getGrid(SegmentOp segment) {
  Size one = Size::constant(segment.getContext(), 1);
  Grid grid = {one, one};
  if (segment.getSizes().size() == 2) {
    grid.rows = Size::of(segment.getSizes().front());
    grid.tileRows = segment.getTiling()->getRows();
  }
  cutColumns(segment, grid);
  return grid;
}

static LogicalResult verifyCopies(SegmentOp segment) {
  for (CopyOp copy : segment.getCopies()) {
    auto type = cast<ShapedType>(copy.getValue().getType());
    if (!segment.isOfRow(copy) &&
        type.getElementTypeBitWidth() != segment.getElementBits())
      return copy.emitOpError() // (C3)
             << "expected elements of " << segment.getElementBits()
             << " bits like those of the segment's first copy, but got "
             << type;
  }
  return success();
}

const SegmentFacts nsa::tileFacts = {
    /*mostSizes=*/2, /*isCut=*/true, /*takesVectors=*/false,
    holds,           getRows,        getGrid,
    verifyCopies};
