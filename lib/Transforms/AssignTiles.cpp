//===- AssignTiles.cpp - How segments are cut into blocks -----------------===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// A thread moves 16 bytes at a time. One of vectors does, too, if a vector
// among them is contiguous; vectors of unknown stride allow no wide access, so
// a thread has one element, and no load waits behind another. What is loaded
// from less than it becomes fills a load instead, and is stored in parts.
//
// Rows that are long, or whose length is not known, are cut into tiles of one
// row. Short ones share a tile. Rows whose elements share what is worth
// computing once (`emitRow`) have a warp each, those whose threads compute
// something together (`SharedOpInterface`) a block each. Rows whose length is
// not known, but said to be short, share tiles, some threads each (`packed`).
// Where all elements of a launch are read through others of their rows, blocks
// have twice the threads and each thread half the elements.
//
//===----------------------------------------------------------------------===//

#define GEN_PASS_DEF_ASSIGNTILES
#include "nsa/Transforms/Passes.h"

#include "nsa/Codegen/FormulaCost.h"

#include "mlir/Dialect/Utils/StaticValueUtils.h"

using namespace mlir;
using namespace nsa;

//===----------------------------------------------------------------------===//
// What is best
//===----------------------------------------------------------------------===//

/// Whether a destination's elements in a row are neighbours in memory.
static bool isDense(Value destination) {
  auto type = cast<MemRefType>(destination.getType());
  return type.getStridesAndOffset().first.back() == 1;
}

/// The most elements of what `copy` stores that are computed at once.
static int64_t getMostWidth(CopyOp copy, TargetAttr target) {
  int64_t access = target.getVectorWidth(
      cast<ShapedType>(copy.getValue().getType()).getElementTypeBitWidth());
  auto op = copy.getValue().getDefiningOp<VectorOpInterface>();
  int64_t most = op ? op.getMostWidth(target) : access;
  // Vectors wider than an access are stored in parts, one after the other.
  return copy.isPlain() ? most : std::min(most, access);
}

/// The same of all copies.
static int64_t getMostWidth(SegmentOp segment, TargetAttr target) {
  std::optional<int64_t> least;
  for (CopyOp copy : segment.getCopies()) {
    int64_t width = getMostWidth(copy, target);
    if (!segment.isOfRow(copy))
      least = std::min(width, least.value_or(width));
  }
  return least.value_or(target.getVectorWidth(segment.getElementBits()));
}

/// Whether a segment's elements are read through others of their rows, and wait
/// for no other thread.
static bool isIndirect(SegmentOp segment) {
  return segment.getKind() == SegmentKind::Tile &&
         segment.getSizes().size() == 2 && !segment.hasSharedRows() &&
         !segment.isWalked() && !segment.getCopies().empty() &&
         llvm::all_of(segment.getCopies(), [](CopyOp copy) {
           auto map = copy.getValue().getDefiningOp<MapOp>();
           return map && !map.getPacked() && copy.getPlaces().empty() &&
                  llvm::any_of(map->getRegion(0).front().getOps<ReadOp>(),
                               [](ReadOp read) { return isIndirect(read); });
         });
}

/// The elements of a vector.
static int64_t getWidth(SegmentOp segment, TargetAttr target) {
  bool isWide = segment.getSizes().size() > 1 ||
                llvm::any_of(segment.getCopies(), [](CopyOp copy) {
                  return copy.getPlaces().empty() &&
                         llvm::any_of(copy.getDestinations(), isDense);
                });
  return isWide ? getMostWidth(segment, target) : 1;
}

/// The bytes that a thread loads for a vector at least.
static int64_t getLoadBytes(SegmentOp segment, int64_t width) {
  int64_t bits = segment.getElementBits();
  for (CopyOp copy : segment.getCopies())
    if (auto op = copy.getValue().getDefiningOp<VectorOpInterface>())
      bits = std::min(bits, op.getLoadBits());
  return width * bits / 8;
}

/// Whether only some elements of a segment's values are read.
static bool hasDeadElements(SegmentOp segment) {
  return llvm::any_of(
      segment.getBody().getOps<LivenessOpInterface>(),
      [](LivenessOpInterface op) { return op.hasDeadElements(); });
}

/// Whether rows may share tiles of `width` elements a vector: the text says so.
static bool isPacked(SegmentOp segment, int64_t width) {
  return segment.getKind() == SegmentKind::Tile && width > 1 &&
         !segment.isWalked() && !segment.getCopies().empty() &&
         llvm::all_of(segment.getCopies(), [](CopyOp copy) {
           auto map = copy.getValue().getDefiningOp<MapOp>();
           return map && map.getPacked();
         });
}

/// Whether the elements of a row of `map` share what is worth computing once,
/// or are read as they stand in memory.
static bool hasSharedReads(MapOp map) {
  auto formula = cast<FormulaOpInterface>(map.getOperation());
  return llvm::all_of(map->getRegion(0).front(),
                      [&](Operation &op) {
                        auto read = dyn_cast<ReadOp>(op);
                        return !isa<SearchOp>(op) &&
                               (!read || getScalarReason(read).empty());
                      }) ||
         llvm::any_of(map->getRegion(0).front(), [&](Operation &op) {
           return isa<ReadOp, SearchOp>(op) && isOfRow(formula, &op);
         });
}

/// Half a warp has a row of a packed tile, so that rows of some tens of
/// elements leave few threads idle; a warp, if `columns` are known, and more
/// than a block takes at once. Each thread takes several vectors of it, one
/// after the other, and what these share is made once.
static TilingAttr getPackedTiling(SegmentOp segment, int64_t width,
                                  int64_t threads,
                                  std::optional<int64_t> columns,
                                  TargetAttr target) {
  int64_t lanes = std::min<int64_t>(columns ? target.getWarp() : 16, threads);
  bool isShared = llvm::all_of(segment.getCopies(), [](CopyOp copy) {
    return hasSharedReads(copy.getValue().getDefiningOp<MapOp>());
  });
  int64_t turns = 4;
  if (columns) {
    // As many as a row has, in tiles of up to eight.
    int64_t ofRow = llvm::divideCeil(*columns, lanes * width);
    turns = llvm::divideCeil(ofRow, llvm::divideCeil(ofRow, 8));
  }
  if (!isShared)
    turns = 1;
  return TilingAttr::get(segment.getContext(), TilingUnit::Tile,
                         threads / lanes, lanes * turns * width, width,
                         /*vectors=*/1, /*isPaired=*/false,
                         /*isAcross=*/false, /*isPacked=*/true);
}

/// Of rows with so many scattered elements each has a thread. Longer ones were
/// not measured.
static constexpr int64_t fewColumns = 8;

/// Whether formulas say where all elements of a segment go.
static bool isScattered(SegmentOp segment) {
  return llvm::all_of(segment.getCopies(),
                      [](CopyOp copy) { return !copy.getPlaces().empty(); });
}

static TilingAttr getBestTiling(SegmentOp segment, TargetAttr target,
                                int64_t threads) {
  MLIRContext *context = segment.getContext();
  auto get = [&](TilingUnit unit, int64_t rows, int64_t columns, int64_t width,
                 int64_t vectors, bool isPaired = false,
                 bool isPacked = false) {
    bool isAcross = unit == TilingUnit::Tile && rows == 1 &&
                    segment.getSizes().size() == 2 && hasDeadElements(segment);
    return TilingAttr::get(context, unit, rows, columns, width, vectors,
                           isPaired, isAcross, isPacked);
  };
  bool isTable = segment.getSizes().size() == 2;
  if (segment.hasSharedRows())
    return get(TilingUnit::Block, 1, 0, isTable ? getWidth(segment, target) : 1,
               isTable ? target.getVectors() : 1);
  if (segment.getKind() == SegmentKind::Expand && !isTable)
    return get(TilingUnit::Tile, threads, 1, 1, 1);
  int64_t width = getWidth(segment, target);
  // See `getBestThreads`.
  if (threads > target.getThreads() && isIndirect(segment))
    width = std::max<int64_t>(width / 2, 1);
  if (segment.isWalked())
    return get(TilingUnit::Warp, threads / target.getWarp(), 0, width,
               target.getVectorsInFlight(getLoadBytes(segment, width)));
  bool isPaired = width == 2 * target.getVectorWidth(segment.getElementBits());
  TilingAttr longRows =
      get(TilingUnit::Tile, 1, threads * target.getVectors() * width, width,
          target.getVectors(), isPaired);
  std::optional<int64_t> columns =
      getConstantIntValue(segment.getSizes().back());
  if (segment.getKind() != SegmentKind::Tile || !isTable || !columns ||
      *columns < 1)
    return isTable && isPacked(segment, width)
               ? getPackedTiling(segment, width, threads,
                                 /*columns=*/std::nullopt, target)
               : longRows;
  int64_t vectors = target.getVectorsInFlight(getLoadBytes(segment, width));
  // Scattered elements are stored one by one, and mostly wait for what is
  // loaded for their row: of few columns each has a thread.
  if (isScattered(segment) && *columns <= fewColumns)
    width = vectors = 1;
  int64_t perRow = llvm::divideCeil(*columns, width);
  int64_t rows = threads * vectors / perRow;
  if (rows < 2)
    return isPacked(segment, width)
               ? getPackedTiling(segment, width, threads, columns, target)
               : longRows;
  // Pairs have one row.
  return get(TilingUnit::Tile, rows, perRow * width, width, vectors,
             isPaired && perRow % 2 == 0);
}

//===----------------------------------------------------------------------===//
// What is right
//===----------------------------------------------------------------------===//

/// Checks a tiling that the text states: all elements have to be somebody's,
/// and code has to be known for it.
static LogicalResult verifyTiling(SegmentOp segment, TargetAttr target,
                                  int64_t threads) {
  TilingAttr tiling = *segment.getTiling();
  TilingAttr best = getBestTiling(segment, target, threads);
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
  int64_t access = target.getVectorWidth(segment.getElementBits());
  if (tiling.getWidth() > std::max(access, getMostWidth(segment, target)) ||
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
  if (tiling.getPacked() &&
      (!best.getPacked() || tiling.getPaired() || tiling.getAcross()))
    return segment.emitOpError("expected 'packed' only for tables whose maps "
                               "say so, without 'paired' and 'across'");
  if (isRowOfBlocks || tiling.isWalked())
    return success();
  int64_t room = threads * tiling.getVectors() * tiling.getWidth();
  std::optional<int64_t> columns =
      getConstantIntValue(segment.getSizes().back());
  if (tiling.getPacked()) {
    int64_t lanes = threads / tiling.getRows();
    int64_t turn = lanes * tiling.getVectors() * tiling.getWidth();
    if (lanes * tiling.getRows() != threads || tiling.getColumns() % turn != 0)
      return segment.emitOpError("expected 'packed' tiles of as many threads a "
                                 "row, who take whole vectors in turns, but "
                                 "got ")
             << tiling.getRows() << " rows of " << tiling.getColumns()
             << " columns for " << threads << " threads";
    return success();
  }
  if (tiling.hasRows()) {
    if (segment.getKind() != SegmentKind::Tile || !columns ||
        tiling.getColumns() < *columns ||
        tiling.getColumns() % tiling.getWidth() != 0)
      return segment.emitOpError(
                 "expected tiles of several rows to have all "
                 "columns, whose number is a constant, in whole "
                 "vectors, but got ")
             << tiling.getColumns() << " columns";
    if (tiling.getRows() * tiling.getColumns() > room)
      return segment.emitOpError("expected a tile of at most ")
             << room << " elements, as " << threads << " threads take "
             << tiling.getVectors() << " vectors of " << tiling.getWidth()
             << ", but got " << tiling.getRows() * tiling.getColumns();
    return success();
  }
  if (tiling.getColumns() != room)
    return segment.emitOpError("expected tiles of ")
           << room << " columns, as " << threads << " threads take "
           << tiling.getVectors() << " vectors of " << tiling.getWidth()
           << ", but got " << tiling.getColumns();
  return success();
}

namespace {
struct AssignTiles : public nsa::impl::AssignTilesBase<AssignTiles> {
  void runOnOperation() override {
    TargetAttr target = TargetAttr::of(getOperation());
    for (LaunchOp launch : getOperation().getLaunches()) {
      if (!launch.getThreads())
        launch.setThreads(getBestThreads(launch, target));
      int64_t threads = *launch.getThreads();
      if (threads < target.getWarp()) {
        launch.emitOpError("expected at least the ")
            << target.getWarp() << " threads of a warp but got " << threads;
        return signalPassFailure();
      }
      for (SegmentOp segment : launch.getSegments()) {
        if (!segment.isCut()) {
          if (segment.getTiling()) {
            segment.emitOpError("expected no tiling: one block walks all rows");
            return signalPassFailure();
          }
          continue;
        }
        if (!segment.getTiling())
          segment.setTilingAttr(getBestTiling(segment, target, threads));
        else if (failed(verifyTiling(segment, target, threads)))
          return signalPassFailure();
      }
      orderBlocks(launch);
    }
  }

  /// Where each block first makes a recurrence, a formula that threads share,
  /// twice as many of them make more of its steps at once, in half the blocks.
  /// Where blocks make sums along rows of a table, four times as many have no
  /// more than a vector of each row, mostly.
  static int64_t getBestThreads(LaunchOp launch, TargetAttr target) {
    int64_t threads = target.getThreads();
    auto segments = launch.getSegments();
    bool isRecurrence =
        !segments.empty() && llvm::all_of(segments, [](SegmentOp segment) {
          return llvm::any_of(segment.getBody().getOps<FormulaOpInterface>(),
                              [](FormulaOpInterface op) {
                                return isa<SharedOpInterface>(
                                    op.getOperation());
                              });
        });
    if (isRecurrence && threads <= 512)
      return 2 * threads;
    bool areIndirect =
        !segments.empty() &&
        llvm::all_of(segments, [](SegmentOp s) { return isIndirect(s); });
    if (areIndirect && threads <= 512)
      return 2 * threads;
    bool areRows =
        !segments.empty() && llvm::all_of(segments, [](SegmentOp segment) {
          return segment.hasSharedRows();
        });
    // Sums have an element for each, reductions one for a row.
    bool isScanned = llvm::any_of(segments, [](SegmentOp segment) {
      return llvm::any_of(
          segment.getBody().getOps<SharedOpInterface>(),
          [&](SharedOpInterface op) {
            auto type = cast<ShapedType>(op->getResult(0).getType());
            return segment.isSharedByRow(op) && type.getRank() == 2;
          });
    });
    if (areRows && threads <= 256 && isScanned)
      return 4 * threads;
    // Elements of rows are made from what a table's are: a row of known length
    // is a vector of each thread, too.
    int64_t most = threads;
    for (SegmentOp segment : segments)
      if (areRows && segment.hasElementsOfRows()) {
        int64_t columns =
            getConstantIntValue(segment.getSizes().back()).value_or(INT64_MAX);
        while (most < 4 * threads && most * getWidth(segment, target) < columns)
          most *= 2;
      }
    return threads <= 256 ? most : threads;
  }

  /// Blocks are started in the order of segments. Scans go first, as theirs is
  /// the longest chain of dependent steps, then those whose blocks share
  /// something, as each takes long whatever its part of the elements is, then
  /// expansions, then rows that a block reduces, then packed tables, which are
  /// most of a launch's blocks. The others run beside them.
  static void orderBlocks(LaunchOp launch) {
    auto getPlace = [](SegmentOp segment) {
      bool isShared = llvm::any_of(
          segment.getBody().getOps<SharedOpInterface>(),
          [](SharedOpInterface op) { return !op.getSharedRows(); });
      bool isWalked = segment.getKind() == SegmentKind::Scan;
      std::optional<TilingAttr> tiling = segment.getTiling();
      bool isPacked = tiling && tiling->getPacked();
      return std::tuple(!isWalked && !isShared, segment.getKind(),
                        !segment.hasSharedRows(), !isPacked);
    };
    SmallVector<SegmentOp> segments(launch.getSegments());
    llvm::stable_sort(segments, [&](SegmentOp lhs, SegmentOp rhs) {
      return getPlace(lhs) < getPlace(rhs);
    });
    Block &body = launch.getBody().front();
    for (SegmentOp segment : segments)
      segment->moveBefore(&body, body.end());
  }
};
} // namespace
