//===- TileShape.cpp - How a tile segment is cut into blocks --------------===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "nsa/IR/TileShape.h"

#include "nsa/Target/TargetModel.h"

using namespace mlir;
using namespace nsa;

/// Whether a destination's elements in a row are neighbours in memory.
static bool isDense(Value destination) {
  SmallVector<int64_t> strides;
  int64_t offset;
  auto type = cast<MemRefType>(destination.getType());
  return succeeded(type.getStridesAndOffset(strides, offset)) &&
         strides.back() == 1;
}

TileShape nsa::getTileShape(SegmentOp segment) {
  bool isWide = segment.getSizes().size() > 1 ||
                llvm::any_of(segment.getCopies(), [](CopyOp copy) {
                  return llvm::any_of(copy.getDestinations(), isDense);
                });
  int64_t width = isWide ? TargetModel::vectorWidth(32) : 1;
  return {width,
          TargetModel::blockSize * TargetModel::vectorsPerThread * width};
}
