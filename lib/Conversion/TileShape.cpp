//===- TileShape.cpp - How a tile segment is cut into blocks --------------===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "nsa/Conversion/TileShape.h"

#include "nsa/Target/TargetModel.h"

#include "mlir/Dialect/Utils/StaticValueUtils.h"

using namespace mlir;
using namespace nsa;

/// The bytes that a thread loads for a vector of `width` elements, on average
/// over the row.
static int64_t getLoadBytes(SegmentOp segment, int64_t width) {
  int64_t bytes = width * segment.getElementBits() / 8;
  for (CopyOp copy : segment.getCopies())
    if (auto op = copy.getValue().getDefiningOp<DequantPagedOp>()) {
      KVLayoutAttr layout = op.getLayout();
      bytes = std::min(bytes, std::max<int64_t>(layout.getDataBytes() * width /
                                                    layout.getRowSize(),
                                                1));
    }
  return bytes;
}

TileShape nsa::getTileShape(SegmentOp segment) {
  int64_t bits = segment.getElementBits();
  int64_t width = TargetModel::vectorWidth(bits);
  TileShape longRows = {1, TargetModel::tileColumns(bits), width,
                        TargetModel::vectorsPerThread};
  std::optional<int64_t> columns =
      getConstantIntValue(segment.getSizes().back());
  if (segment.getSizes().size() != 2 || !columns || *columns < 1)
    return longRows;
  int64_t perRow = llvm::divideCeil(*columns, width);
  int64_t vectors =
      TargetModel::vectorsInFlight(getLoadBytes(segment, width));
  int64_t rows = TargetModel::blockSize * vectors / perRow;
  if (rows < 2)
    return longRows;
  return {rows, perRow * width, width, vectors};
}
