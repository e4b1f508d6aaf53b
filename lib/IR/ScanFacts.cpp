//===- ScanFacts.cpp - Segments that walk their rows -------------------===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "SegmentFacts.h"

using namespace mlir;
using namespace nsa;

static bool holds(Value value) {
  return dependsOnScan(value) && !isWrittenByRequest(value);
}

/// The last element of a cumulative sum is written after the walk.
static Size getRows(Value value) {
  Operation *scan = findOrigin(
      value, [](Operation *op) { return isIteratedAs(op, Iteration::Scan); });
  return cast<ValueOpInterface>(scan).getSizes()[0] + -1;
}

/// All rows are one block's.
static Grid getGrid(SegmentOp segment) {
  Size one = Size::constant(segment.getContext(), 1);
  return {one, one};
}

static LogicalResult verifyCopies(SegmentOp) { return success(); }

const SegmentFacts nsa::scanFacts = {
    /*mostSizes=*/1,       /*isCut=*/false,
    /*takesVectors=*/true, holds,           getRows, getGrid,
    verifyCopies};
