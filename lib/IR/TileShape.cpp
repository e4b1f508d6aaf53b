//===- TileShape.cpp - How a tile segment is cut into blocks --------------===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "nsa/IR/TileShape.h"

#include "nsa/Target/TargetModel.h"

#include "mlir/Dialect/Utils/StaticValueUtils.h"

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

/// The elements of a vector. Values that are computed from a cache are wider
/// than what is loaded for them: their vectors fill a load, and are stored in
/// parts.
static int64_t getWidth(SegmentOp segment) {
  // Each of these searches for its request.
  if (llvm::any_of(segment.getCopies(), [](CopyOp copy) {
        return isa_and_nonnull<CombineLensOp>(copy.getValue().getDefiningOp());
      }))
    return 1;
  bool isWide = segment.getSizes().size() > 1 ||
                llvm::any_of(segment.getCopies(), [](CopyOp copy) {
                  return copy.getPlaces().empty() &&
                         llvm::any_of(copy.getDestinations(), isDense);
                });
  if (!isWide)
    return 1;
  int64_t width = TargetModel::vectorWidth(segment.getElementBits());
  int64_t loaded = TargetModel::vectorWidth(8);
  bool canLoad = !segment.getCopies().empty() &&
                 llvm::all_of(segment.getCopies(), [&](CopyOp copy) {
                   auto op = copy.getValue().getDefiningOp<DequantPagedOp>();
                   return op && op.isUniform(loaded) && copy.isPlain();
                 });
  return canLoad ? loaded : width;
}

/// The bytes that a thread loads for a vector at least.
static int64_t getLoadBytes(SegmentOp segment, int64_t width) {
  bool isDequant = llvm::any_of(segment.getCopies(), [](CopyOp copy) {
    return isa_and_nonnull<DequantPagedOp>(copy.getValue().getDefiningOp());
  });
  return isDequant ? width : width * segment.getElementBits() / 8;
}

bool nsa::isSharedByRow(SharedOpInterface op, SegmentOp segment) {
  std::optional<Size> rows = op.getSharedRows();
  return rows && rows->isSameAs(Size::of(segment.getSizes().front()));
}

bool nsa::hasSharedRows(SegmentOp segment) {
  return segment.getKind() == SegmentKind::Tile &&
         llvm::any_of(segment.getBody().getOps<SharedOpInterface>(),
                      [&](SharedOpInterface op) {
                        return isSharedByRow(op, segment);
                      });
}

TileShape nsa::getTileShape(SegmentOp segment) {
  bool isTable = segment.getSizes().size() == 2;
  if (hasSharedRows(segment)) {
    if (!isTable)
      return {1, 1, 1, 1};
    return {1, 0, getWidth(segment), TargetModel::vectorsPerThread};
  }
  if (segment.getKind() == SegmentKind::Expand && !isTable)
    return {TargetModel::blockSize, 1, 1, 1};
  int64_t width = getWidth(segment);
  if (segment.isWalked())
    return {TargetModel::blockSize / TargetModel::warpSize, 0, width,
            TargetModel::vectorsInFlight(getLoadBytes(segment, width))};
  bool isPaired =
      width == 2 * TargetModel::vectorWidth(segment.getElementBits());
  TileShape longRows = {
      1, TargetModel::blockSize * TargetModel::vectorsPerThread * width, width,
      TargetModel::vectorsPerThread, isPaired};
  std::optional<int64_t> columns =
      getConstantIntValue(segment.getSizes().back());
  if (segment.getKind() != SegmentKind::Tile || !isTable || !columns ||
      *columns < 1)
    return longRows;
  int64_t perRow = llvm::divideCeil(*columns, width);
  int64_t vectors = TargetModel::vectorsInFlight(getLoadBytes(segment, width));
  int64_t rows = TargetModel::blockSize * vectors / perRow;
  if (rows < 2)
    return longRows;
  // Pairs have one row.
  return {rows, perRow * width, width, vectors, isPaired && perRow % 2 == 0};
}
