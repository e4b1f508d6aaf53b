//===- TileSegment.cpp - Elements by themselves ---------------------------===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "SegmentLowering.h"
#include "Tiles.h"

#include "nsa/Codegen/Reductions.h"
#include "nsa/Codegen/RowVectors.h"

#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"

using namespace mlir;
using namespace nsa;

//===----------------------------------------------------------------------===//
// A block that walks rows
//===----------------------------------------------------------------------===//

/// The columns of `row` from `first` to `end` that a thread takes who shares
/// them with `numThreads`.
static void emitColumns(KernelBlock &block, SegmentOp segment, Value row,
                        Value first, Value end, int64_t numThreads,
                        const RowValues &values,
                        const ElementBuilder *known = nullptr) {
  TilingAttr tiling = *segment.getTiling();
  int64_t width = tiling.getWidth();
  Value step = block.index(numThreads * width * tiling.getVectors());
  block.emitFor(first, end, step, [&](Value column) {
    emitTile(block.b, segment, block.ports,
             block.emitPoints(segment, row, column, numThreads), width,
             {/*rows=*/{}, &values, /*pair=*/nullptr, known});
  });
}

/// All columns of `row`, for `numThreads` with numbers from 0 on.
static void emitAllColumns(KernelBlock &block, SegmentOp segment, Value row,
                           Value number, int64_t numThreads,
                           const RowValues &values) {
  Value width = block.index(segment.getTiling()->getWidth());
  emitColumns(block, segment, row, block.mul(number, width),
              block.lookup(segment.getSizes().back()), numThreads, values);
}

/// A row for each warp.
static void emitWalkedRows(KernelBlock &block, SegmentOp segment, Value number,
                           const RowValues &shared) {
  TilingAttr tiling = *segment.getTiling();
  int64_t warpSize = block.threads.warp;
  Value size = block.index(warpSize);
  Value warp = block.divUnsigned(block.thread, size);
  Value lane = block.remUnsigned(block.thread, size);
  Value first = block.mul(block.toIndex(number), block.index(tiling.getRows()));
  Value row = block.add(first, warp);
  Value rows = block.lookup(segment.getSizes().front());
  auto emitWarpSum = [&block](OpBuilder &b, Value value) -> Value {
    Arith math(b, value.getLoc());
    return emitWarpReduce(
        math, value, block.threads, gpu::AllReduceOperation::ADD,
        [&](Value lhs, Value rhs) { return math.add(lhs, rhs); });
  };
  block.emitIf(block.less(row, rows), [&] {
    // All lanes have the same row, so they are a team.
    RowValues values = emitRowValues(block.b, segment, block.ports, row,
                                     Team{lane, warpSize, emitWarpSum}, shared);
    emitAllColumns(block, segment, row, lane, warpSize, values);
  });
}

/// Calls `body` with the formulas that `copy` stores, or stores by.
static void forEachMap(CopyOp copy, function_ref<void(MapOp)> body) {
  for (Value value : copy.getSources())
    if (auto map = value.getDefiningOp<MapOp>())
      body(map);
}

/// What elements of rows are made from beside what threads compute together is
/// loaded before that, not after it.
static void emitRowAhead(ElementBuilder &builder, SegmentOp segment,
                         Value row) {
  for (CopyOp copy : segment.getCopies())
    if (segment.isOfRow(copy))
      forEachMap(copy, [&](MapOp map) { emitAhead(builder, map, row); });
}

/// What segment `segment` has of its row `row` itself, by one thread.
static void emitElementOfRow(KernelBlock &block, SegmentOp segment, Value row,
                             const RowValues &shared,
                             const ElementBuilder &known) {
  block.emitIf(block.equal(block.thread, block.index(0)), [&] {
    emitTile(block.b, segment, block.ports, SmallVector<Value>{row},
             /*width=*/1, {/*rows=*/{}, &shared, /*pair=*/nullptr, &known});
  });
}

/// Whether `values` are made from what threads compute together for a row.
static bool restOnRowResults(SegmentOp segment, ValueRange values) {
  bool rest = false;
  walkOrigins(values, [&](Operation *op) {
    auto shared = dyn_cast<SharedOpInterface>(op);
    rest |= shared && segment.isSharedByRow(shared);
    return !rest;
  });
  return rest;
}

/// A row of a table of which each thread has one vector.
static void emitRowOfVectors(KernelBlock &block, SegmentOp segment, Value row,
                             int64_t width, RowValues shared) {
  SmallVector<Value> point = {row, block.mul(block.thread, block.index(width))};
  ElementBuilder builder(block.b, block.loc, block.ports, point, &shared);
  emitRowAhead(builder, segment, row);
  for (auto map : segment.getBody().getOps<MapOp>())
    if (map.getSizes().size() == 2 &&
        !restOnRowResults(segment, map->getResults()))
      emitOuter(builder, map, row);
  auto emitTable = [&] {
    emitTile(block.b, segment, block.ports, point, width,
             {/*rows=*/{}, &shared, /*pair=*/nullptr, &builder});
  };
  // What waits for no other thread is stored before threads wait.
  bool isFirst = llvm::none_of(segment.getCopies(), [&](CopyOp copy) {
    return !segment.isOfRow(copy) &&
           restOnRowResults(segment, copy.getSources());
  });
  if (isFirst) {
    for (CopyOp copy : segment.getCopies())
      if (!segment.isOfRow(copy))
        builder.elements(copy.getValue(), point, width);
    emitTable();
  }
  BlockThreads together = block.getThreads();
  emitRowVectors(builder, segment, point, width, together, shared);
  if (!isFirst)
    emitTable();
  if (segment.hasElementsOfRows())
    emitElementOfRow(block, segment, row, shared, builder);
}

/// The same of any number of elements, or a row's only element.
static void emitRowOfTiles(KernelBlock &block, SegmentOp segment, Value row,
                           BlockThreads &together, RowValues shared) {
  ElementBuilder builder = block.at(row, &shared);
  emitRowAhead(builder, segment, row);
  emitSharedRow(builder, segment, together, row, shared);
  bool isTable = segment.getSizes().size() == 2;
  if (isTable)
    emitAllColumns(block, segment, row, block.thread, block.threads.size,
                   shared);
  if (!isTable || segment.hasElementsOfRows())
    emitElementOfRow(block, segment, row, shared, builder);
}

/// A row that the block shares.
static void emitSharedTiles(KernelBlock &block, SegmentOp segment, Value number,
                            BlockThreads &together, const RowValues &shared) {
  Value row = block.toIndex(number);
  TilingAttr tiling = *segment.getTiling();
  SmallVector<int64_t> widths;
  if (segment.getSizes().size() == 2 && tiling.getVectors() == 1 &&
      tiling.getWidth() > 1 && takesRowVectors(segment)) {
    // A block's reductions wait for the last of its elements: those of a row
    // that has no more than threads are on their way at once.
    if (!hasRowSums(segment))
      widths.push_back(1);
    widths.push_back(tiling.getWidth());
  }
  std::function<void(ArrayRef<int64_t>)> emit = [&](ArrayRef<int64_t> widths) {
    if (widths.empty())
      return emitRowOfTiles(block, segment, row, together, shared);
    int64_t most = block.threads.size * widths.front();
    if (std::optional<int64_t> constant =
            getConstantIntValue(segment.getSizes().back()))
      return *constant <= most
                 ? emitRowOfVectors(block, segment, row, widths.front(), shared)
                 : emit(widths.drop_front());
    Value columns = block.lookup(segment.getSizes().back());
    block.emitIf(
        block.isAtMost(columns, block.index(most)),
        [&] { emitRowOfVectors(block, segment, row, widths.front(), shared); },
        [&] { emit(widths.drop_front()); });
  };
  emit(widths);
}

//===----------------------------------------------------------------------===//
// A block with a tile
//===----------------------------------------------------------------------===//

/// This thread and its neighbour. Whole warps have to be there.
static ThreadPair emitPair(KernelBlock &block) {
  Value bit = block.both(block.toI32(block.thread), block.i32(1));
  Value isSecond = block.compare(Arith::Predicate::ne, bit, block.i32(0));
  auto emitOther = [warp = block.threads.warp](OpBuilder &b, Value value) {
    Arith math(b, value.getLoc());
    return gpu::ShuffleOp::create(b, math.loc, value, math.i32(1),
                                  math.i32(warp), gpu::ShuffleMode::XOR)
        .getShuffleResult();
  };
  return {isSecond, emitOther};
}

/// The thread's points in the tile of several rows with number `number`.
static SmallVector<SmallVector<Value>>
emitPointsOfRows(KernelBlock &block, SegmentOp segment, Value number) {
  TilingAttr tiling = *segment.getTiling();
  int64_t perRow = tiling.getVectorsPerRow();
  int64_t numThreads = block.threads.size;
  Value first = block.mul(block.toIndex(number), block.index(tiling.getRows()));
  Value rows = block.lookup(segment.getSizes().front());
  SmallVector<SmallVector<Value>> points;
  for (int64_t i = 0; i < tiling.getVectors(); ++i) {
    // 32 bits are enough for the place in the tile.
    Value place =
        block.add(block.toI32(block.thread), block.i32(i * numThreads));
    Value inTile = block.divUnsigned(place, block.i32(perRow));
    Value inRow = block.sub(place, block.mul(inTile, block.i32(perRow)));
    Value row = block.add(first, block.toIndex(inTile));
    Value isRow = block.isInside(row, rows);
    if ((i + 1) * numThreads > tiling.getRows() * perRow)
      isRow = block.both(isRow,
                         block.isInside(inTile, block.i32(tiling.getRows())));
    Value column =
        block.mul(block.toIndex(inRow), block.index(tiling.getWidth()));
    // A place past the rows is one past the columns of a row that there is.
    Value past = block.add(column, block.index(tiling.getColumns()));
    points.push_back(
        {block.select(isRow, row, first), block.select(isRow, column, past)});
  }
  return points;
}

/// The thread's vectors in a packed tile. What the elements of its row share is
/// emitted before them.
static void emitPackedTile(KernelBlock &block, SegmentOp segment, Value number,
                           const RowValues &shared) {
  TilingAttr tiling = *segment.getTiling();
  auto [row, first] = block.emitRowAndColumn(segment, number);
  Value rows = block.lookup(segment.getSizes().front());
  Value columns = block.lookup(segment.getSizes().back());
  block.emitIf(block.isInside(row, rows), [&, row = row, first = first] {
    ElementBuilder outer = block.at(row, &shared);
    for (CopyOp copy : segment.getCopies())
      forEachMap(copy, [&](MapOp map) { emitOuter(outer, map, row); });
    Value end =
        block.min(block.add(first, block.index(tiling.getColumns())), columns);
    emitColumns(block, segment, row, first, end,
                block.threads.size / tiling.getRows(), shared, &outer);
  });
}

static void emitBlock(KernelBlock &block, SegmentOp segment, Value number) {
  TilingAttr tiling = *segment.getTiling();
  BlockThreads together = block.getThreads();
  RowValues shared = emitSharedValues(block.b, segment, block.ports, together);
  if (segment.hasSharedRows())
    return emitSharedTiles(block, segment, number, together, shared);
  if (tiling.isWalked())
    return emitWalkedRows(block, segment, number, shared);
  if (tiling.getPacked())
    return emitPackedTile(block, segment, number, shared);
  std::optional<ThreadPair> pair;
  if (tiling.getPaired())
    pair = emitPair(block);
  SmallVector<SmallVector<Value>> points;
  std::optional<RowTile> tile;
  if (tiling.hasRows()) {
    points = emitPointsOfRows(block, segment, number);
  } else {
    auto [row, inRow] = block.emitRowAndTile(segment, number);
    Value inTile = block.mul(block.thread, block.index(tiling.getWidth()));
    Value first =
        block.mul(block.toIndex(inRow), block.index(tiling.getColumns()));
    SmallVector<Value> outer;
    if (row) {
      outer.push_back(row);
      tile = RowTile{row, first, tiling.getColumns(), block.thread,
                     block.threads.warp};
    }
    points = block.emitPoints(segment, outer, block.add(first, inTile),
                              block.threads.size);
  }
  emitTile(block.b, segment, block.ports, points, tiling.getWidth(),
           {/*rows=*/{}, &shared, pair ? &*pair : nullptr, /*known=*/nullptr,
            tile ? &*tile : nullptr});
}

//===----------------------------------------------------------------------===//
// Loops
//===----------------------------------------------------------------------===//

static SmallVector<Value> lookupSizes(HostFunction &function,
                                      SegmentOp segment) {
  return llvm::map_to_vector(segment.getSizes(), [&](Value size) {
    return function.ports.lookupOrDefault(size);
  });
}

/// Rows one after the other, each with what its elements share.
static void emitRows(HostFunction &function, SegmentOp segment,
                     function_ref<RowValues(Value)> emitShared) {
  OpBuilder &b = function.b;
  Arith math(b, segment.getLoc());
  int64_t width = segment.getTiling()->getWidth();
  Value zero = math.index(0);
  SmallVector<Value> sizes = lookupSizes(function, segment);
  math.emitFor(zero, sizes.front(), math.index(1), [&](Value row) {
    RowValues values = emitShared(row);
    auto emit = [&](SmallVector<Value> point, int64_t width) {
      emitTile(b, segment, function.ports, point, width,
               {/*rows=*/{}, &values});
    };
    bool isTable = sizes.size() == 2;
    if (!isTable || segment.hasElementsOfRows())
      emit({row}, isTable ? 1 : width);
    if (isTable)
      math.emitFor(zero, sizes.back(), math.index(width),
                   [&](Value column) { emit({row, column}, width); });
  });
}

static void emitLoops(HostFunction &function, SegmentOp segment) {
  OpBuilder &b = function.b;
  const IRMapping &ports = function.ports;
  RowValues shared = emitSharedValues(b, segment, ports, function.thread);
  if (segment.hasSharedRows())
    return emitRows(function, segment, [&](Value row) {
      RowValues values = shared;
      ElementBuilder builder(b, segment.getLoc(), ports, row, &values);
      emitSharedRow(builder, segment, function.thread, row, values);
      return values;
    });
  if (segment.getTiling()->isWalked())
    return emitRows(function, segment, [&](Value row) {
      return emitRowValues(b, segment, ports, row, /*team=*/{}, shared);
    });
  Arith math(b, segment.getLoc());
  int64_t width = segment.getTiling()->getWidth();
  SmallVector<Value> sizes = lookupSizes(function, segment);
  SmallVector<Value> zeros(sizes.size(), math.index(0));
  SmallVector<Value> steps(sizes.size(), math.index(1));
  steps.back() = math.index(width);
  scf::buildLoopNest(b, math.loc, zeros, sizes, steps,
                     [&](OpBuilder &b, Location, ValueRange point) {
                       emitTile(b, segment, ports, SmallVector<Value>(point),
                                width, {/*rows=*/{}, &shared});
                     });
}

template <> SegmentLowering nsa::getLoweringOf<SegmentKind::Tile>() {
  return {emitBlock, emitLoops};
}
