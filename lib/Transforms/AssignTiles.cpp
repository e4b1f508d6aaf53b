//===- AssignTiles.cpp - How segments are cut into blocks -----------------===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// A thread moves 16 bytes at a time. One of vectors does, too, if a vector among
// them is contiguous; vectors of unknown stride allow no wide access, so a
// thread has one element, and no load waits behind another.
//
// Rows that are long, or whose length is not known, are cut into tiles of one
// row. Short ones share a tile. Rows whose elements share what is worth
// computing once (`emitRow`) have a warp each, those whose threads compute
// something together (`SharedOpInterface`) a block each.
//
//===----------------------------------------------------------------------===//

#include "nsa/Target/TargetModel.h"
#include "nsa/Transforms/Passes.h"

#include "mlir/Dialect/Utils/StaticValueUtils.h"

namespace nsa {
#define GEN_PASS_DEF_ASSIGNTILES
#include "nsa/Transforms/Passes.h.inc"
} // namespace nsa

using namespace mlir;
using namespace nsa;

//===----------------------------------------------------------------------===//
// What is best
//===----------------------------------------------------------------------===//

/// Whether a destination's elements in a row are neighbours in memory.
static bool isDense(Value destination) {
  SmallVector<int64_t> strides;
  int64_t offset;
  auto type = cast<MemRefType>(destination.getType());
  return succeeded(type.getStridesAndOffset(strides, offset)) &&
         strides.back() == 1;
}

static bool isDequantized(CopyOp copy) {
  return isa_and_nonnull<DequantPagedOp>(copy.getValue().getDefiningOp());
}

/// Whether vectors of `width` elements of what `copy` stores can be computed at
/// once, though they are wider than an access.
static bool canWiden(CopyOp copy, int64_t width) {
  auto op = copy.getValue().getDefiningOp<DequantPagedOp>();
  return op && op.isUniform(width) && copy.isPlain();
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
                   return canWiden(copy, loaded);
                 });
  return canLoad ? loaded : width;
}

/// The bytes that a thread loads for a vector at least.
static int64_t getLoadBytes(SegmentOp segment, int64_t width) {
  bool isDequant = llvm::any_of(segment.getCopies(), isDequantized);
  return isDequant ? width : width * segment.getElementBits() / 8;
}

/// Whether only some elements of a segment's values are read.
static bool hasDeadElements(SegmentOp segment) {
  return llvm::any_of(
      segment.getBody().getOps<LivenessOpInterface>(),
      [](LivenessOpInterface op) { return op.hasDeadElements(); });
}

static TilingAttr getBestTiling(SegmentOp segment) {
  MLIRContext *context = segment.getContext();
  auto get = [&](TilingUnit unit, int64_t rows, int64_t columns, int64_t width,
                 int64_t vectors, bool isPaired = false) {
    bool isAcross = unit == TilingUnit::Tile && rows == 1 &&
                    segment.getSizes().size() == 2 && hasDeadElements(segment);
    return TilingAttr::get(context, unit, rows, columns, width, vectors,
                           isPaired, isAcross);
  };
  bool isTable = segment.getSizes().size() == 2;
  if (segment.hasSharedRows())
    return get(TilingUnit::Block, 1, 0, isTable ? getWidth(segment) : 1,
               isTable ? TargetModel::vectorsPerThread : 1);
  if (segment.getKind() == SegmentKind::Expand && !isTable)
    return get(TilingUnit::Tile, TargetModel::blockSize, 1, 1, 1);
  int64_t width = getWidth(segment);
  if (segment.isWalked())
    return get(TilingUnit::Warp,
               TargetModel::blockSize / TargetModel::warpSize, 0, width,
               TargetModel::vectorsInFlight(getLoadBytes(segment, width)));
  bool isPaired =
      width == 2 * TargetModel::vectorWidth(segment.getElementBits());
  TilingAttr longRows =
      get(TilingUnit::Tile, 1,
          TargetModel::blockSize * TargetModel::vectorsPerThread * width, width,
          TargetModel::vectorsPerThread, isPaired);
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
  return get(TilingUnit::Tile, rows, perRow * width, width, vectors,
             isPaired && perRow % 2 == 0);
}

//===----------------------------------------------------------------------===//
// What is right
//===----------------------------------------------------------------------===//

/// Checks a tiling that the text states: all elements have to be somebody's, and
/// code has to be known for it.
static LogicalResult verifyTiling(SegmentOp segment) {
  TilingAttr tiling = *segment.getTiling();
  TilingAttr best = getBestTiling(segment);
  bool isTable = segment.getSizes().size() == 2;
  if (tiling.getUnit() != best.getUnit())
    return segment.emitOpError("expected the tiling of a segment like this to "
                               "be by '")
           << stringifyTilingUnit(best.getUnit()) << "' but got '"
           << stringifyTilingUnit(tiling.getUnit()) << "'";
  bool isRowOfBlocks = segment.getKind() == SegmentKind::Expand && !isTable;
  if ((isRowOfBlocks || tiling.getUnit() != TilingUnit::Tile || !isTable) &&
      tiling.getRows() != best.getRows())
    return segment.emitOpError("expected tiles of ")
           << best.getRows() << " rows but got " << tiling.getRows();
  int64_t access = TargetModel::vectorWidth(segment.getElementBits());
  bool canBeWide = llvm::all_of(segment.getCopies(), [&](CopyOp copy) {
    return canWiden(copy, tiling.getWidth());
  });
  if (tiling.getWidth() > (canBeWide ? TargetModel::vectorWidth(8) : access) ||
      ((isRowOfBlocks || (!isTable && tiling.isWalked())) &&
       tiling.getWidth() != 1))
    return segment.emitOpError("expected vectors of at most ")
           << (isTable || !isRowOfBlocks ? access : 1)
           << " elements here but got " << tiling.getWidth();
  if (tiling.getPaired() &&
      (tiling.getWidth() != 2 * access || tiling.isWalked() ||
       (tiling.hasRows() && tiling.getVectorsPerRow() % 2 != 0)))
    return segment.emitOpError("expected pairs only of vectors that take two "
                               "accesses, an even number of them in a row");
  if (tiling.getAcross() && (!isTable || tiling.isWalked() || tiling.hasRows()))
    return segment.emitOpError("expected 'across' only for tiles of one row of "
                               "a table");
  if (isRowOfBlocks || tiling.isWalked())
    return success();
  int64_t room =
      TargetModel::blockSize * tiling.getVectors() * tiling.getWidth();
  std::optional<int64_t> columns =
      getConstantIntValue(segment.getSizes().back());
  if (tiling.hasRows()) {
    if (segment.getKind() != SegmentKind::Tile || !columns ||
        tiling.getColumns() < *columns ||
        tiling.getColumns() % tiling.getWidth() != 0)
      return segment.emitOpError("expected tiles of several rows to have all "
                                 "columns, whose number is a constant, in whole "
                                 "vectors, but got ")
             << tiling.getColumns() << " columns";
    if (tiling.getRows() * tiling.getColumns() > room)
      return segment.emitOpError("expected a tile of at most ")
             << room << " elements, as " << TargetModel::blockSize
             << " threads take " << tiling.getVectors() << " vectors of "
             << tiling.getWidth() << ", but got "
             << tiling.getRows() * tiling.getColumns();
    return success();
  }
  if (tiling.getColumns() != room)
    return segment.emitOpError("expected tiles of ")
           << room << " columns, as " << TargetModel::blockSize
           << " threads take " << tiling.getVectors() << " vectors of "
           << tiling.getWidth() << ", but got " << tiling.getColumns();
  return success();
}

namespace {
struct AssignTiles : public nsa::impl::AssignTilesBase<AssignTiles> {
  void runOnOperation() override {
    for (LaunchOp launch : getOperation().getLaunches()) {
      for (SegmentOp segment : launch.getSegments()) {
        if (segment.getKind() == SegmentKind::Scan) {
          if (segment.getTiling()) {
            segment.emitOpError("expected no tiling: one block walks all rows");
            return signalPassFailure();
          }
          continue;
        }
        if (!segment.getTiling())
          segment.setTilingAttr(getBestTiling(segment));
        else if (failed(verifyTiling(segment)))
          return signalPassFailure();
      }
      orderBlocks(launch);
    }
  }

  /// Blocks are started in the order of segments. Scans go first, as theirs is
  /// the longest chain of dependent steps, then expansions.
  static void orderBlocks(LaunchOp launch) {
    SmallVector<SegmentOp> segments(launch.getSegments());
    llvm::stable_sort(segments, [](SegmentOp lhs, SegmentOp rhs) {
      return lhs.getKind() < rhs.getKind();
    });
    Block &body = launch.getBody().front();
    for (SegmentOp segment : segments)
      segment->moveBefore(&body, body.end());
  }
};
} // namespace
