//===- SingleSegment.cpp - Small arrays, one block each -------------------===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "SegmentLowering.h"
#include "Tiles.h"

#include "mlir/Dialect/SCF/IR/SCF.h"

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
  scf::buildLoopNest(function.b, math.loc, math.index(0), size, math.index(1),
                     [&](OpBuilder &b, Location, ValueRange point) {
                       emitTile(b, segment, function.ports,
                                SmallVector<Value>(point), /*width=*/1);
                     });
}

const SegmentLowering nsa::singleLowering = {emitBlock, emitLoops};
