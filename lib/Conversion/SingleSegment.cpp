//===- SingleSegment.cpp - Small arrays, one block each -------------------===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "SegmentLowering.h"
#include "Tiles.h"

using namespace mlir;
using namespace nsa;

/// An element for each thread.
static void emitBlock(KernelBlock &block, SegmentOp segment, Value) {
  emitTile(block.b, segment, block.ports, SmallVector<Value>{block.thread},
           /*width=*/1);
}

static void emitLoops(HostFunction &function, SegmentOp segment) {
  Arith math(function.b, segment.getLoc());
  Value size = function.ports.lookupOrDefault(segment.getSizes().front());
  math.emitFor(math.index(0), size, math.index(1), [&](Value index) {
    emitTile(math.b, segment, function.ports, SmallVector<Value>{index},
             /*width=*/1);
  });
}

template <> SegmentLowering nsa::getLoweringOf<SegmentKind::Single>() {
  return {emitBlock, emitLoops};
}
