//===- LaunchToGPU.cpp - Launches as GPU kernels --------------------------===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "BlockScan.h"
#include "DependentLaunch.h"
#include "ExpandSegment.h"
#include "Guards.h"
#include "LowerSegment.h"
#include "RowSearch.h"
#include "ScanSegment.h"
#include "SharedValues.h"

#include "nsa/Conversion/Passes.h"

#include "mlir/Dialect/Affine/IR/AffineOps.h"

namespace nsa {
#define GEN_PASS_DEF_LAUNCHTOGPU
#include "nsa/Conversion/Passes.h.inc"
} // namespace nsa

using namespace mlir;
using namespace nsa;

namespace {
/// Emits the body of one kernel.
class KernelEmitter {
public:
  KernelEmitter(OpBuilder &b, LaunchOp launch, const IRMapping &ports,
                gpu::GPUFuncOp kernel)
      : b(b), launch(launch), ports(ports),
        kernel(kernel), threads{gpu::ThreadIdOp::create(b, launch.getLoc(),
                                                        gpu::Dimension::x),
                                int64_t(*launch.getThreads()),
                                TargetAttr::of(launch).getWarp(),
                                TargetAttr::of(launch).getShuffleTells()},
        thread(threads.thread), mostTiles(getMostTiles(launch)) {}

  void emit();

private:
  /// Emits the segments from `segments` on, for the block with number `block`
  /// (i32) among theirs.
  void emitSegments(ArrayRef<SegmentOp> segments, Value block);
  void emitScan(SegmentOp segment);
  void emitTiles(SegmentOp segment, Value block);
  void emitWalkedTiles(SegmentOp segment, Value block, RowValues shared);
  /// A row that the block shares: its tiles, or its only element.
  void emitSharedTiles(SegmentOp segment, Value block, BlockThreads &together,
                       RowValues shared);
  /// The columns of `row` that this thread takes, of `numThreads` with numbers
  /// from 0 on.
  void emitColumns(OpBuilder &b, SegmentOp segment, Value row, Value number,
                   int64_t numThreads, const RowValues &values);
  /// This thread and its neighbour. Whole warps have to be there.
  ThreadPair emitPair();
  void emitExpand(SegmentOp segment, Value block);
  void emitExpandTiles(SegmentOp segment, Value block);
  /// The first row of `request`.
  Value emitFirstRow(ExpandSegment &expand, Value request);
  /// The row of blocks and the first column of this thread, for tiles of one
  /// row.
  std::pair<Value, Value> emitRowAndColumn(SegmentOp segment, Value block);
  /// The thread's points in a tile of one row, from `column` on.
  SmallVector<SmallVector<Value>> emitPoints(SegmentOp segment,
                                             ArrayRef<Value> row, Value column);
  /// The thread's points in the tile of several rows with number `block`.
  SmallVector<SmallVector<Value>>
  emitPointsOfRows(SegmentOp segment, TilingAttr tiling, Value block);

  /// `value`, which is made from size `size` of a segment, or 0 where it may be
  /// negative: launchers count no blocks for it then.
  Value emitSize(Value size, Value value);
  /// The number of tiles that `count` elements take, as i32. `size` is that of
  /// the segment that `count` is made from.
  Value emitNumTiles(Value size, const Size &count, int64_t tile);
  /// The number of tiles in a row of a segment, as i32.
  Value emitTilesPerRow(SegmentOp segment);
  /// The number of tiles from a segment's first row to its last, as i32.
  Value emitRowTiles(SegmentOp segment);
  /// The number of blocks of a segment, as i32, which is 0 where nothing is
  /// there that it writes. (The launcher sees to it that it fits.)
  Value emitNumBlocks(SegmentOp segment);
  Value emitNumBlocksIfWanted(SegmentOp segment);

  Value index(int64_t value) {
    return arith::ConstantIndexOp::create(b, loc(), value);
  }
  Value i32(int64_t value) {
    return arith::ConstantIntOp::create(b, loc(), value, 32);
  }
  Value toI32(Value value) {
    return arith::IndexCastOp::create(b, loc(), b.getI32Type(), value);
  }
  Value toIndex(Value value) {
    return arith::IndexCastOp::create(b, loc(), b.getIndexType(), value);
  }
  Location loc() { return launch.getLoc(); }

  OpBuilder &b;
  LaunchOp launch;
  const IRMapping &ports;
  gpu::GPUFuncOp kernel;
  ThreadBlock threads;
  /// This thread's number.
  Value thread;
  int64_t mostTiles;
  /// Workgroup memory of what elements of a segment share.
  SmallVector<Value> sharedMemory;
};
} // namespace

void KernelEmitter::emit() {
  SmallVector<SegmentOp> segments(launch.getSegments());
  Value block = toI32(gpu::BlockIdOp::create(b, loc(), gpu::Dimension::x));
  if (!segments.empty())
    emitSegments(segments, block);
  gpu::ReturnOp::create(b, loc());
}

void KernelEmitter::emitSegments(ArrayRef<SegmentOp> segments, Value block) {
  SegmentOp segment = segments.front();
  auto emitOne = [&] {
    bool isTable = segment.getSizes().size() == 2;
    switch (segment.getKind()) {
    case SegmentKind::Scan:
      return emitScan(segment);
    case SegmentKind::Expand:
      return isTable ? emitExpandTiles(segment, block)
                     : emitExpand(segment, block);
    case SegmentKind::Tile:
      return emitTiles(segment, block);
    }
  };
  if (segments.size() == 1)
    return emitOne();

  Value numBlocks = emitNumBlocks(segment);
  Value isMine = arith::CmpIOp::create(b, loc(), arith::CmpIPredicate::ult,
                                       block, numBlocks);
  auto ifOp = scf::IfOp::create(b, loc(), isMine, /*withElseRegion=*/true);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPoint(ifOp.thenYield());
  emitOne();
  b.setInsertionPoint(ifOp.elseYield());
  Value rest = arith::SubIOp::create(b, loc(), block, numBlocks);
  emitSegments(segments.drop_front(), rest);
}

void KernelEmitter::emitScan(SegmentOp segment) {
  ScanSegment scan(segment, ports);
  size_t numScans = scan.getNumScans();
  Value buffer = addSharedMemory(
      kernel, getBlockScanBufferType(b.getContext(), threads, numScans));
  BlockThreads together(kernel, threads, mostTiles, sharedMemory);
  RowValues shared = emitSharedValues(b, segment, ports, together);
  Value rows = ports.lookupOrDefault(segment.getSizes().front());
  Value zero = i32(0);
  auto emitSum = [&](OpBuilder &b, size_t, Value lhs, Value rhs) -> Value {
    return arith::AddIOp::create(b, loc(), lhs, rhs);
  };
  auto emitIsRow = [&](OpBuilder &b, Location loc, Value row) -> Value {
    return arith::CmpIOp::create(b, loc, arith::CmpIPredicate::slt, row, rows);
  };
  auto emitSources = [&](OpBuilder &b, Location loc, Value row) {
    auto ifOp = scf::IfOp::create(
        b, loc, emitIsRow(b, loc, row),
        [&](OpBuilder &b, Location loc) {
          ElementBuilder builder(b, loc, ports, row);
          builder.setRow(&shared);
          scf::YieldOp::create(b, loc, scan.emitSources(builder, row));
        },
        [&](OpBuilder &b, Location loc) {
          scf::YieldOp::create(b, loc, SmallVector<Value>(numScans, zero));
        });
    return ifOp.getResults();
  };

  // Sums so far, what this round adds up, and the half of the buffer. A round
  // loads what the next one adds up, so that no round waits for memory.
  Value blockSize = index(threads.size);
  SmallVector<Value> carried(numScans, zero);
  llvm::append_range(carried, emitSources(b, loc(), thread));
  carried.push_back(index(0));
  auto loop = scf::ForOp::create(
      b, loc(), index(0), rows, blockSize, carried,
      [&](OpBuilder &b, Location loc, Value first, ValueRange carried) {
        ValueRange sources = carried.slice(numScans, numScans);
        Value half = carried.back();
        Value row = arith::AddIOp::create(b, loc, first, thread);
        ValueRange nextSources =
            emitSources(b, loc, arith::AddIOp::create(b, loc, row, blockSize));
        SmallVector<BlockSum> sums =
            emitBlockScan(b, loc, sources, emitSum, threads, buffer, half);
        SmallVector<Value> before, next;
        for (auto [carry, sum] :
             llvm::zip(carried.take_front(numScans), sums)) {
          before.push_back(arith::AddIOp::create(b, loc, carry, sum.before));
          next.push_back(arith::AddIOp::create(b, loc, carry, sum.total));
        }
        scf::IfOp::create(b, loc, emitIsRow(b, loc, row),
                          [&](OpBuilder &b, Location loc) {
                            ElementBuilder builder(b, loc, ports, row);
                            builder.setRow(&shared);
                            scan.emitStores(builder, row, sources, before);
                            scf::YieldOp::create(b, loc);
                          });
        llvm::append_range(next, nextSources);
        next.push_back(arith::SubIOp::create(b, loc, index(1), half));
        scf::YieldOp::create(b, loc, next);
      });

  Value isFirst = arith::CmpIOp::create(b, loc(), arith::CmpIPredicate::eq,
                                        thread, index(0));
  scf::IfOp::create(b, loc(), isFirst, [&](OpBuilder &b, Location loc) {
    ElementBuilder builder(b, loc, ports, rows);
    builder.setRow(&shared);
    scan.emitLastStores(builder, rows, loop.getResults().take_front(numScans));
    scf::YieldOp::create(b, loc);
  });
}

Value KernelEmitter::emitSize(Value size, Value value) {
  if (!mayBeNegative(size))
    return value;
  return arith::MaxSIOp::create(b, loc(), value, index(0));
}

Value KernelEmitter::emitNumTiles(Value size, const Size &count, int64_t tile) {
  ElementBuilder builder(b, loc(), ports, {});
  AffineMap map = AffineMap::get(0, 1, b.getAffineSymbolExpr(0).ceilDiv(tile));
  SmallVector<Value> operands{emitSize(size, builder.size(count))};
  affine::fullyComposeAffineMapAndOperands(&map, &operands);
  affine::canonicalizeMapAndOperands(&map, &operands);
  // Of a size, which is 0 or more, the quotient without a sign is shorter.
  // Every block waits for it before it knows its row.
  auto quotient = dyn_cast<AffineBinaryOpExpr>(map.getResult(0));
  if (quotient && quotient.getKind() == AffineExprKind::CeilDiv &&
      isa<AffineSymbolExpr, AffineDimExpr>(quotient.getLHS()) &&
      operands.size() == 1)
    if (auto divisor = dyn_cast<AffineConstantExpr>(quotient.getRHS())) {
      // A size of the step is less than 2^31: nothing wraps, and no 0 is told
      // apart.
      if (isa<BlockArgument>(operands.front())) {
        Value rest = index(divisor.getValue() - 1);
        return toI32(arith::DivUIOp::create(
            b, loc(), arith::AddIOp::create(b, loc(), operands.front(), rest),
            index(divisor.getValue())));
      }
      return toI32(arith::CeilDivUIOp::create(b, loc(), operands.front(),
                                              index(divisor.getValue())));
    }
  return toI32(affine::AffineApplyOp::create(b, loc(), map, operands));
}

Value KernelEmitter::emitTilesPerRow(SegmentOp segment) {
  Grid grid = segment.getGrid();
  return emitNumTiles(segment.getSizes().back(), grid.columns,
                      grid.tileColumns);
}

Value KernelEmitter::emitRowTiles(SegmentOp segment) {
  Grid grid = segment.getGrid();
  return emitNumTiles(segment.getSizes().front(), grid.rows, grid.tileRows);
}

Value KernelEmitter::emitNumBlocks(SegmentOp segment) {
  ElementBuilder builder(b, loc(), ports, {});
  Value blocks = emitNumBlocksIfWanted(segment);
  Value isWanted = emitIsWanted(builder, segment);
  if (!isWanted)
    return blocks;
  return arith::SelectOp::create(b, loc(), isWanted, blocks, i32(0));
}

Value KernelEmitter::emitNumBlocksIfWanted(SegmentOp segment) {
  Grid grid = segment.getGrid();
  auto isOne = [](const Size &size) { return size.getConstant() == 1; };
  if (isOne(grid.rows) && isOne(grid.columns))
    return i32(1);
  if (isOne(grid.rows))
    return emitTilesPerRow(segment);
  if (isOne(grid.columns))
    return emitRowTiles(segment);
  Value rows = emitRowTiles(segment);
  return arith::MulIOp::create(b, loc(), rows, emitTilesPerRow(segment));
}

std::pair<Value, Value> KernelEmitter::emitRowAndColumn(SegmentOp segment,
                                                        Value block) {
  Value row, tile = block;
  if (segment.getSizes().size() == 2) {
    // One after the other along a row, as memory has them; but where rows end
    // early, across them, so that blocks without work come last.
    bool isAcross = segment.getTiling()->getAcross();
    Value perLine = isAcross ? emitRowTiles(segment) : emitTilesPerRow(segment);
    Value line = arith::DivUIOp::create(b, loc(), block, perLine);
    Value inLine = arith::SubIOp::create(
        b, loc(), block, arith::MulIOp::create(b, loc(), line, perLine));
    row = toIndex(isAcross ? inLine : line);
    tile = isAcross ? line : inLine;
  }
  Value column = arith::AddIOp::create(
      b, loc(),
      arith::MulIOp::create(b, loc(), toIndex(tile),
                            index(segment.getTiling()->getColumns())),
      arith::MulIOp::create(b, loc(), thread,
                            index(segment.getTiling()->getWidth())));
  return {row, column};
}

SmallVector<SmallVector<Value>> KernelEmitter::emitPoints(SegmentOp segment,
                                                          ArrayRef<Value> row,
                                                          Value column) {
  TilingAttr tiling = *segment.getTiling();
  int64_t step = threads.size * tiling.getWidth();
  SmallVector<SmallVector<Value>> points;
  for (int64_t i = 0; i < tiling.getVectors(); ++i) {
    SmallVector<Value> &point = points.emplace_back(row);
    point.push_back(arith::AddIOp::create(b, loc(), column, index(i * step)));
  }
  return points;
}

void KernelEmitter::emitColumns(OpBuilder &b, SegmentOp segment, Value row,
                                Value number, int64_t numThreads,
                                const RowValues &values) {
  TilingAttr tiling = *segment.getTiling();
  Value columns = ports.lookupOrDefault(segment.getSizes().back());
  int64_t step = numThreads * tiling.getWidth();
  Value first =
      arith::MulIOp::create(b, loc(), number, index(tiling.getWidth()));
  scf::ForOp::create(
      b, loc(), first, columns, index(step * tiling.getVectors()), {},
      [&](OpBuilder &b, Location loc, Value column, ValueRange) {
        SmallVector<SmallVector<Value>> points;
        for (int64_t i = 0; i < tiling.getVectors(); ++i)
          points.push_back(
              {row, arith::AddIOp::create(b, loc, column, index(i * step))});
        emitTile(b, segment, ports, points, tiling.getWidth(), /*rows=*/{},
                 &values);
        scf::YieldOp::create(b, loc);
      });
}

void KernelEmitter::emitWalkedTiles(SegmentOp segment, Value block,
                                    RowValues shared) {
  TilingAttr tiling = *segment.getTiling();
  Value warpSize = index(threads.warp);
  Value warp = arith::DivUIOp::create(b, loc(), thread, warpSize);
  Value lane = arith::RemUIOp::create(b, loc(), thread, warpSize);
  Value row = arith::AddIOp::create(
      b, loc(),
      arith::MulIOp::create(b, loc(), toIndex(block), index(tiling.getRows())),
      warp);
  Value rows = ports.lookupOrDefault(segment.getSizes().front());
  Value isRow =
      arith::CmpIOp::create(b, loc(), arith::CmpIPredicate::slt, row, rows);
  auto emitWarpSum = [warpSize = threads.warp](OpBuilder &b,
                                               Value value) -> Value {
    Location loc = value.getLoc();
    return emitWarpReduce(b, loc, value, warpSize,
                          [&](Value lhs, Value rhs) -> Value {
                            return arith::AddIOp::create(b, loc, lhs, rhs);
                          });
  };
  auto ifOp = scf::IfOp::create(b, loc(), isRow, /*withElseRegion=*/false);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPoint(ifOp.thenYield());
  // All lanes have the same row, so they are a team.
  RowValues values = emitRowValues(
      b, segment, ports, row, Team{lane, threads.warp, emitWarpSum}, shared);
  emitColumns(b, segment, row, lane, threads.warp, values);
}

void KernelEmitter::emitSharedTiles(SegmentOp segment, Value block,
                                    BlockThreads &together, RowValues shared) {
  Value row = toIndex(block);
  ElementBuilder builder(b, loc(), ports, row);
  builder.setRow(&shared);
  emitSharedRow(builder, segment, together, row, shared);
  if (segment.getSizes().size() == 2)
    return emitColumns(b, segment, row, thread, threads.size, shared);
  Value isFirst = arith::CmpIOp::create(b, loc(), arith::CmpIPredicate::eq,
                                        thread, index(0));
  auto ifOp = scf::IfOp::create(b, loc(), isFirst, /*withElseRegion=*/false);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPoint(ifOp.thenYield());
  SmallVector<Value> point = {row};
  emitTile(b, segment, ports, point, segment.getTiling()->getWidth(),
           /*rows=*/{}, &shared, /*pair=*/nullptr, &builder);
}

void KernelEmitter::emitTiles(SegmentOp segment, Value block) {
  TilingAttr tiling = *segment.getTiling();
  BlockThreads together(kernel, threads, mostTiles, sharedMemory);
  RowValues shared = emitSharedValues(b, segment, ports, together);
  if (segment.hasSharedRows())
    return emitSharedTiles(segment, block, together, std::move(shared));
  if (tiling.isWalked())
    return emitWalkedTiles(segment, block, std::move(shared));
  std::optional<ThreadPair> pair;
  if (tiling.getPaired())
    pair = emitPair();
  SmallVector<SmallVector<Value>> points;
  if (tiling.hasRows()) {
    points = emitPointsOfRows(segment, tiling, block);
  } else {
    auto [row, column] = emitRowAndColumn(segment, block);
    SmallVector<Value> outer;
    if (row)
      outer.push_back(row);
    points = emitPoints(segment, outer, column);
  }
  emitTile(b, segment, ports, points, tiling.getWidth(), /*rows=*/{}, &shared,
           pair ? &*pair : nullptr);
}

ThreadPair KernelEmitter::emitPair() {
  Value bit = arith::AndIOp::create(b, loc(), toI32(thread), i32(1));
  Value isSecond =
      arith::CmpIOp::create(b, loc(), arith::CmpIPredicate::ne, bit, i32(0));
  auto emitOther = [warp = threads.warp](OpBuilder &b, Value value) -> Value {
    Location loc = value.getLoc();
    auto constant = [&](int64_t value) {
      return arith::ConstantIntOp::create(b, loc, value, 32);
    };
    return gpu::ShuffleOp::create(b, loc, value, constant(1), constant(warp),
                                  gpu::ShuffleMode::XOR)
        .getShuffleResult();
  };
  return {isSecond, emitOther};
}

Value KernelEmitter::emitFirstRow(ExpandSegment &expand, Value request) {
  ElementBuilder outer(b, loc(), ports, {});
  Value bound = expand.emitBound(outer);
  if (expand.isUniform()) {
    Value count = expand.emitCount(outer, request);
    Value first = arith::MulIOp::create(b, loc(), request, count);
    if (!expand.isPadded())
      return first;
    return arith::MinSIOp::create(b, loc(), first, bound);
  }
  // Rows saturate at the bound, which no int32 exceeds, so they never wrap.
  Value boundI32 = toI32(bound);
  auto combine = [&](OpBuilder &b, size_t, Value lhs, Value rhs) -> Value {
    Value sum = arith::AddIOp::create(b, loc(), lhs, rhs);
    return arith::MinUIOp::create(b, loc(), sum, boundI32);
  };
  auto loop = scf::ForOp::create(
      b, loc(), thread, request, index(threads.size), i32(0),
      [&](OpBuilder &b, Location loc, Value other, ValueRange carried) {
        ElementBuilder builder(b, loc, ports, other);
        Value count = arith::IndexCastOp::create(
            b, loc, b.getI32Type(), expand.emitCount(builder, other));
        scf::YieldOp::create(b, loc, combine(b, 0, carried.front(), count));
      });
  Value buffer = addSharedMemory(
      kernel, getBlockScanBufferType(b.getContext(), threads, 1));
  return toIndex(
      emitBlockReduce(b, loc(), loop.getResults(), combine, threads, buffer)
          .front());
}

void KernelEmitter::emitExpand(SegmentOp segment, Value block) {
  ExpandSegment expand(segment, ports);
  ElementBuilder outer(b, loc(), ports, {});
  Value bound = expand.emitBound(outer);
  int64_t rows = segment.getTiling()->getRows();
  Value begin = arith::MulIOp::create(b, loc(), toIndex(block), index(rows));
  Value end = arith::AddIOp::create(b, loc(), begin, index(rows));
  Value row = arith::AddIOp::create(b, loc(), begin, thread);
  RowPlace place =
      emitRowSearch(b, loc(), expand, ports, kernel, threads, row, end);

  auto emitIf = [&](Value condition, function_ref<void()> body) {
    auto ifOp =
        scf::IfOp::create(b, loc(), condition, /*withElseRegion=*/false);
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPoint(ifOp.thenYield());
    body();
  };
  using arith::CmpIPredicate;
  auto compare = [&](CmpIPredicate predicate, Value lhs, Value rhs) -> Value {
    return arith::CmpIOp::create(b, loc(), predicate, lhs, rhs);
  };
  Value isRow = place.isRow;
  // The search is in 32 bits, which a bound that is a port fits.
  if (expand.isUniform())
    isRow = arith::AndIOp::create(b, loc(), isRow,
                                  compare(CmpIPredicate::ult, row, bound));
  emitIf(isRow, [&] {
    ElementBuilder atRequest(b, loc(), ports, place.request);
    ElementBuilder atRow(b, loc(), ports, row);
    Value number = arith::SubIOp::create(b, loc(), row, place.first);
    expand.emitRow(atRow, row, place.request, number,
                   expand.emitBases(atRequest, place.request), place.before);
  });
  if (expand.isPadded())
    emitIf(arith::AndIOp::create(
               b, loc(), compare(CmpIPredicate::uge, row, place.numRows),
               compare(CmpIPredicate::ult, row, bound)),
           [&] {
             ElementBuilder builder(b, loc(), ports, row);
             expand.emitPadding(builder, row, place.totals);
           });
  // The extra block, past all rows, has seen all requests.
  emitIf(arith::AndIOp::create(b, loc(),
                               compare(CmpIPredicate::uge, begin, bound),
                               compare(CmpIPredicate::eq, thread, index(0))),
         [&] {
           ElementBuilder builder(b, loc(), ports, {});
           expand.emitTotals(builder, place.numRows);
         });
}

void KernelEmitter::emitExpandTiles(SegmentOp segment, Value block) {
  ExpandSegment expand(segment, ports);
  ElementBuilder outer(b, loc(), ports, {});
  auto [request, column] = emitRowAndColumn(segment, block);
  auto emitTileOf = [&, request = request, column = column](RowRange rows) {
    emitTile(b, segment, ports, emitPoints(segment, request, column),
             segment.getTiling()->getWidth(), rows);
  };
  Value first = emitFirstRow(expand, request);
  // All of a request's rows, and no others: their number is a constant.
  if (expand.isUniform() && !expand.isPadded())
    return emitTileOf({first, expand.emitCount(outer, request)});

  Value rest = arith::SubIOp::create(b, loc(), expand.emitBound(outer), first);
  auto emitCount = [&, request = request](OpBuilder &b, Location loc) -> Value {
    ElementBuilder builder(b, loc, ports, request);
    return arith::MinSIOp::create(b, loc, expand.emitCount(builder, request),
                                  rest);
  };
  if (!expand.isPadded())
    return emitTileOf({first, emitCount(b, loc())});
  Value isPadding =
      arith::CmpIOp::create(b, loc(), arith::CmpIPredicate::uge, request,
                            expand.emitNumRequests(outer));
  auto ifOp = scf::IfOp::create(
      b, loc(), isPadding,
      [&](OpBuilder &b, Location loc) { scf::YieldOp::create(b, loc, rest); },
      [&](OpBuilder &b, Location loc) {
        scf::YieldOp::create(b, loc, emitCount(b, loc));
      });
  emitTileOf({first, ifOp.getResult(0), isPadding});
}

SmallVector<SmallVector<Value>>
KernelEmitter::emitPointsOfRows(SegmentOp segment, TilingAttr tiling,
                                Value block) {
  int64_t perRow = tiling.getVectorsPerRow();
  Value first =
      arith::MulIOp::create(b, loc(), toIndex(block), index(tiling.getRows()));
  Value rows = ports.lookupOrDefault(segment.getSizes().front());
  SmallVector<SmallVector<Value>> points;
  for (int64_t i = 0; i < tiling.getVectors(); ++i) {
    // 32 bits are enough for the place in the tile.
    Value number =
        arith::AddIOp::create(b, loc(), toI32(thread), i32(i * threads.size));
    Value inTile = arith::DivUIOp::create(b, loc(), number, i32(perRow));
    Value inRow = arith::SubIOp::create(
        b, loc(), number, arith::MulIOp::create(b, loc(), inTile, i32(perRow)));
    Value row = arith::AddIOp::create(b, loc(), first, toIndex(inTile));
    Value isRow =
        arith::CmpIOp::create(b, loc(), arith::CmpIPredicate::ult, row, rows);
    if ((i + 1) * threads.size > tiling.getRows() * perRow)
      isRow = arith::AndIOp::create(
          b, loc(), isRow,
          arith::CmpIOp::create(b, loc(), arith::CmpIPredicate::ult, inTile,
                                i32(tiling.getRows())));
    Value column = arith::MulIOp::create(b, loc(), toIndex(inRow),
                                         index(tiling.getWidth()));
    // A place past the rows is one past the columns of a row that there is.
    Value past =
        arith::AddIOp::create(b, loc(), column, index(tiling.getColumns()));
    points.push_back({arith::SelectOp::create(b, loc(), isRow, row, first),
                      arith::SelectOp::create(b, loc(), isRow, column, past)});
  }
  return points;
}

namespace {
/// Whether the workgroup memory of `kernel` fits.
LogicalResult verifySharedMemory(LaunchOp launch, gpu::GPUFuncOp kernel) {
  TargetAttr target = TargetAttr::of(launch);
  int64_t bytes = 0;
  for (BlockArgument memory : kernel.getWorkgroupAttributions()) {
    auto type = cast<MemRefType>(memory.getType());
    bytes +=
        llvm::alignTo(type.getNumElements() * type.getElementTypeBitWidth() / 8,
                      target.getAccessBytes());
  }
  if (bytes <= target.getSharedBytes())
    return success();
  return launch.emitOpError("expected sums and reductions that fit the ")
         << target.getSharedBytes() << " bytes that a block shares, but "
         << "those of one segment take " << bytes
         << "; write some of them in another step";
}

struct LaunchToGPU : public nsa::impl::LaunchToGPUBase<LaunchToGPU> {
  void runOnOperation() override {
    for (StepOp step :
         llvm::make_early_inc_range(getOperation().getOps<StepOp>())) {
      if (failed(verifyFormed(step)))
        return signalPassFailure();
      OpBuilder b(step);
      auto module =
          gpu::GPUModuleOp::create(b, step.getLoc(), step.getSymName());
      b.setInsertionPointToStart(module.getBody());
      for (LaunchOp launch : step.getLaunches())
        if (failed(lower(b, launch)))
          return signalPassFailure();
      step.erase();
    }
  }

  LogicalResult lower(OpBuilder &b, LaunchOp launch) {
    OpBuilder::InsertionGuard guard(b);
    SmallVector<BlockArgument> ports = launch.getUsedPorts();
    auto kernel = gpu::GPUFuncOp::create(
        b, launch.getLoc(), launch.getSymName(),
        b.getFunctionType(getKernelArgumentTypes(ports), {}));
    kernel->setAttr(gpu::GPUDialect::getKernelFuncAttrName(), b.getUnitAttr());
    kernel->setAttr(kernelAttrName, b.getUnitAttr());
    kernel.setKnownBlockSizeAttr(
        b.getDenseI32ArrayAttr({int32_t(*launch.getThreads()), 1, 1}));
    b.setInsertionPointToStart(&kernel.getBody().front());
    IRMapping mapping;
    mapPorts(b, launch, ports, kernel, mapping);
    auto step = cast<StepOp>(launch->getParentOp());
    if (step.getPdl())
      emitDependentStart(b, kernel);
    KernelEmitter(b, launch, mapping, kernel).emit();
    if (step.getGuards())
      guardAccesses(kernel);
    return verifySharedMemory(launch, kernel);
  }
};
} // namespace
