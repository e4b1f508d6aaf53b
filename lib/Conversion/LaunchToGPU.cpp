//===- LaunchToGPU.cpp - Launches as GPU kernels --------------------------===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "BlockScan.h"
#include "Guards.h"
#include "LowerSegment.h"

#include "nsa/Conversion/Passes.h"
#include "nsa/Conversion/TileShape.h"
#include "nsa/Target/TargetModel.h"

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
      : b(b), launch(launch), ports(ports), kernel(kernel) {}

  void emit();

private:
  /// Emits the segments from `segments` on, for the block with number `block`
  /// (i32) among theirs.
  void emitSegments(ArrayRef<SegmentOp> segments, Value block);
  void emitScan(SegmentOp segment);
  void emitTiles(SegmentOp segment, Value block);
  /// The points of this thread in the tile number `block` of the segment, for
  /// tiles of one row and for tiles of several.
  SmallVector<SmallVector<Value>> getPointsOfRow(SegmentOp segment,
                                                 const TileShape &shape,
                                                 Value block);
  SmallVector<SmallVector<Value>> getPointsOfRows(SegmentOp segment,
                                                  const TileShape &shape,
                                                  Value block);

  /// The number of tiles in a row of a segment, as i32.
  Value emitTilesPerRow(SegmentOp segment);
  /// The number of blocks of a segment, as i32. (The launcher sees to it that
  /// it fits.)
  Value emitNumBlocks(SegmentOp segment);

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
  Value thread;
};
} // namespace

void KernelEmitter::emit() {
  thread = gpu::ThreadIdOp::create(b, loc(), gpu::Dimension::x);
  // Scans first: theirs is the longest chain of dependent steps.
  SmallVector<SegmentOp> segments(launch.getSegments());
  llvm::stable_sort(segments, [](SegmentOp lhs, SegmentOp rhs) {
    return lhs.getKind() < rhs.getKind();
  });
  Value block = toI32(gpu::BlockIdOp::create(b, loc(), gpu::Dimension::x));
  emitSegments(segments, block);
  gpu::ReturnOp::create(b, loc());
}

void KernelEmitter::emitSegments(ArrayRef<SegmentOp> segments, Value block) {
  SegmentOp segment = segments.front();
  auto emitOne = [&] {
    if (segment.getKind() == SegmentKind::Scan)
      emitScan(segment);
    else
      emitTiles(segment, block);
  };
  if (segments.size() == 1)
    return emitOne();

  Value numBlocks = emitNumBlocks(segment);
  Value isMine = arith::CmpIOp::create(b, loc(), arith::CmpIPredicate::ult,
                                       block, numBlocks);
  auto ifOp =
      scf::IfOp::create(b, loc(), isMine, /*withElseRegion=*/true);
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
  Value buffer = kernel.addWorkgroupAttribution(
      getBlockScanBufferType(b.getContext(), numScans), loc());
  Value rows = ports.lookupOrDefault(segment.getSizes().front());
  Value zero = i32(0);
  SmallVector<Value> carried(numScans, zero);
  carried.push_back(index(0)); // the half of the buffer

  auto loop = scf::ForOp::create(
      b, loc(), index(0), rows, index(TargetModel::blockSize), carried,
      [&](OpBuilder &b, Location loc, Value first, ValueRange carried) {
        Value row = arith::AddIOp::create(b, loc, first, thread);
        Value isRow = arith::CmpIOp::create(b, loc, arith::CmpIPredicate::slt,
                                            row, rows);
        auto sources = scf::IfOp::create(
            b, loc, isRow,
            [&](OpBuilder &b, Location loc) {
              ElementBuilder builder(b, loc, ports, row);
              SmallVector<Value> values = scan.emitSources(builder, row);
              scan.emitPlainStores(builder, row);
              scf::YieldOp::create(b, loc, values);
            },
            [&](OpBuilder &b, Location loc) {
              scf::YieldOp::create(b, loc,
                                   SmallVector<Value>(numScans, zero));
            });
        Value half = carried.back();
        SmallVector<BlockSum> sums = emitBlockScan(
            b, loc, sources.getResults(), thread, buffer, half);
        SmallVector<Value> before, next;
        for (auto [carry, sum] : llvm::zip(carried.drop_back(), sums)) {
          before.push_back(arith::AddIOp::create(b, loc, carry, sum.before));
          next.push_back(arith::AddIOp::create(b, loc, carry, sum.total));
        }
        scf::IfOp::create(b, loc, isRow, [&](OpBuilder &b, Location loc) {
          ElementBuilder builder(b, loc, ports, row);
          scan.emitScanStores(builder, row, before);
          scf::YieldOp::create(b, loc);
        });
        next.push_back(arith::SubIOp::create(b, loc, index(1), half));
        scf::YieldOp::create(b, loc, next);
      });

  Value isFirst = arith::CmpIOp::create(
      b, loc(), arith::CmpIPredicate::eq, thread, index(0));
  scf::IfOp::create(b, loc(), isFirst, [&](OpBuilder &b, Location loc) {
    ElementBuilder builder(b, loc, ports, rows);
    scan.emitScanStores(builder, rows, loop.getResults().drop_back());
    scf::YieldOp::create(b, loc);
  });
}

Value KernelEmitter::emitTilesPerRow(SegmentOp segment) {
  Value columns = ports.lookupOrDefault(segment.getSizes().back());
  AffineExpr tiles =
      b.getAffineSymbolExpr(0).ceilDiv(getTileShape(segment).columns);
  return toI32(affine::makeComposedAffineApply(
      b, loc(), AffineMap::get(0, 1, tiles), {columns}));
}

Value KernelEmitter::emitNumBlocks(SegmentOp segment) {
  if (segment.getKind() == SegmentKind::Scan)
    return i32(1);
  Value tiles = emitTilesPerRow(segment);
  if (segment.getSizes().size() == 1)
    return tiles;
  Value rows = ports.lookupOrDefault(segment.getSizes().front());
  AffineExpr rowTiles =
      b.getAffineSymbolExpr(0).ceilDiv(getTileShape(segment).rows);
  rows = affine::makeComposedAffineApply(
      b, loc(), AffineMap::get(0, 1, rowTiles), {rows});
  return arith::MulIOp::create(b, loc(), toI32(rows), tiles);
}

void KernelEmitter::emitTiles(SegmentOp segment, Value block) {
  TileShape shape = getTileShape(segment);
  emitTile(b, segment, ports,
           shape.hasRows() ? getPointsOfRows(segment, shape, block)
                           : getPointsOfRow(segment, shape, block),
           shape.width);
}

SmallVector<SmallVector<Value>>
KernelEmitter::getPointsOfRow(SegmentOp segment, const TileShape &shape,
                              Value block) {
  SmallVector<Value> row;
  Value tile = block;
  if (segment.getSizes().size() == 2) {
    Value tilesPerRow = emitTilesPerRow(segment);
    Value number = arith::DivUIOp::create(b, loc(), block, tilesPerRow);
    row.push_back(toIndex(number));
    tile = arith::SubIOp::create(
        b, loc(), block,
        arith::MulIOp::create(b, loc(), number, tilesPerRow));
  }
  Value first = arith::AddIOp::create(
      b, loc(),
      arith::MulIOp::create(b, loc(), toIndex(tile), index(shape.columns)),
      arith::MulIOp::create(b, loc(), thread, index(shape.width)));
  SmallVector<SmallVector<Value>> points;
  for (int64_t i = 0; i < shape.vectors; ++i) {
    SmallVector<Value> &point = points.emplace_back(row);
    point.push_back(arith::AddIOp::create(
        b, loc(), first, index(i * TargetModel::blockSize * shape.width)));
  }
  return points;
}

SmallVector<SmallVector<Value>>
KernelEmitter::getPointsOfRows(SegmentOp segment, const TileShape &shape,
                               Value block) {
  int64_t perRow = shape.getVectorsPerRow();
  Value first = arith::MulIOp::create(b, loc(), toIndex(block),
                                      index(shape.rows));
  Value rows = ports.lookupOrDefault(segment.getSizes().front());
  SmallVector<SmallVector<Value>> points;
  for (int64_t i = 0; i < shape.vectors; ++i) {
    // 32 bits are enough for the place in the tile.
    Value number = arith::AddIOp::create(b, loc(), toI32(thread),
                                         i32(i * TargetModel::blockSize));
    Value inTile = arith::DivUIOp::create(b, loc(), number, i32(perRow));
    Value inRow = arith::SubIOp::create(
        b, loc(), number,
        arith::MulIOp::create(b, loc(), inTile, i32(perRow)));
    Value row = arith::AddIOp::create(b, loc(), first, toIndex(inTile));
    Value isRow = arith::CmpIOp::create(b, loc(), arith::CmpIPredicate::ult,
                                        row, rows);
    if ((i + 1) * TargetModel::blockSize > shape.rows * perRow)
      isRow = arith::AndIOp::create(
          b, loc(), isRow,
          arith::CmpIOp::create(b, loc(), arith::CmpIPredicate::ult, inTile,
                                i32(shape.rows)));
    Value column = arith::MulIOp::create(b, loc(), toIndex(inRow),
                                         index(shape.width));
    // A place past the rows is one past the columns of a row that there is.
    points.push_back(
        {arith::SelectOp::create(b, loc(), isRow, row, first),
         arith::SelectOp::create(b, loc(), isRow, column,
                                 index(shape.columns))});
  }
  return points;
}

namespace {
struct LaunchToGPU : public nsa::impl::LaunchToGPUBase<LaunchToGPU> {
  void runOnOperation() override {
    for (StepOp step :
         llvm::make_early_inc_range(getOperation().getOps<StepOp>())) {
      OpBuilder b(step);
      auto module =
          gpu::GPUModuleOp::create(b, step.getLoc(), step.getSymName());
      b.setInsertionPointToStart(module.getBody());
      for (LaunchOp launch : step.getLaunches())
        lower(b, launch);
      step.erase();
    }
  }

  void lower(OpBuilder &b, LaunchOp launch) {
    OpBuilder::InsertionGuard guard(b);
    SmallVector<BlockArgument> ports = launch.getUsedPorts();
    auto kernel = gpu::GPUFuncOp::create(
        b, launch.getLoc(), launch.getSymName(),
        b.getFunctionType(getKernelArgumentTypes(ports), {}));
    kernel->setAttr(gpu::GPUDialect::getKernelFuncAttrName(), b.getUnitAttr());
    kernel.setKnownBlockSizeAttr(
        b.getDenseI32ArrayAttr({int32_t(TargetModel::blockSize), 1, 1}));
    b.setInsertionPointToStart(&kernel.getBody().front());
    IRMapping mapping;
    mapPorts(b, launch, ports, kernel, mapping);
    KernelEmitter(b, launch, mapping, kernel).emit();
    if (cast<StepOp>(launch->getParentOp()).getGuards())
      guardAccesses(kernel);
  }
};
} // namespace
