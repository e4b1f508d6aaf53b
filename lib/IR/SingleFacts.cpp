//===- SingleFacts.cpp - Small arrays, one block each ---------------------===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "SegmentFacts.h"

using namespace mlir;
using namespace nsa;

/// Arrays of a known number of elements that a warp has, each by itself.
static bool holds(Value value) {
  auto type = cast<ShapedType>(value.getType());
  return type.getRank() == 1 && type.hasStaticShape() &&
         type.getDimSize(0) <= 32 &&
         isIteratedAs(value.getDefiningOp(), Iteration::Each);
}

static Size getRows(Value value) { return Size::of(value, 0); }

static Grid getGrid(SegmentOp segment) {
  Size one = Size::constant(segment.getContext(), 1);
  return {one, one};
}

static LogicalResult verifyCopies(SegmentOp) { return success(); }

const SegmentFacts nsa::singleFacts = {
    /*mostSizes=*/1,
    /*isCut=*/false,
    /*takesVectors=*/false,
    holds,
    getRows,
    getGrid,
    verifyCopies};
