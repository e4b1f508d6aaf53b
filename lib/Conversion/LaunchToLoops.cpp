//===- LaunchToLoops.cpp - Launches as loops on the host ------------------===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "ExpandSegment.h"
#include "Guards.h"
#include "LowerSegment.h"
#include "ScanSegment.h"
#include "SharedValues.h"

#include "nsa/Conversion/Passes.h"

namespace nsa {
#define GEN_PASS_DEF_LAUNCHTOLOOPS
#include "nsa/Conversion/Passes.h.inc"
} // namespace nsa

using namespace mlir;
using namespace nsa;

static Value constantIndex(OpBuilder &b, Location loc, int64_t value) {
  return arith::ConstantIndexOp::create(b, loc, value);
}

static void lowerScan(OpBuilder &b, SegmentOp segment, const IRMapping &ports,
                      HostThread &thread) {
  Location loc = segment.getLoc();
  RowValues shared = emitSharedValues(b, segment, ports, thread);
  ScanSegment scan(segment, ports);
  Value rows = ports.lookupOrDefault(segment.getSizes().front());
  Value zero = arith::ConstantIntOp::create(b, loc, 0, 32);
  SmallVector<Value> zeros(scan.getNumScans(), zero);
  auto loop = scf::ForOp::create(
      b, loc, constantIndex(b, loc, 0), rows, constantIndex(b, loc, 1), zeros,
      [&](OpBuilder &b, Location loc, Value row, ValueRange sums) {
        ElementBuilder builder(b, loc, ports, row);
        builder.setRow(&shared);
        SmallVector<Value> next = scan.emitSources(builder, row);
        scan.emitStores(builder, row, next, sums);
        for (auto [sum, source] : llvm::zip_equal(sums, next))
          source = arith::AddIOp::create(b, loc, sum, source);
        scf::YieldOp::create(b, loc, next);
      });
  ElementBuilder builder(b, loc, ports, rows);
  builder.setRow(&shared);
  scan.emitLastStores(builder, rows, loop.getResults());
}

/// The number of rows of a request, given that of the requests before it.
static Value emitCount(ElementBuilder &builder, ExpandSegment &expand,
                       Value request, Value first) {
  Value rest = arith::SubIOp::create(builder.b, builder.loc,
                                     expand.emitBound(builder), first);
  return arith::MinSIOp::create(builder.b, builder.loc,
                                expand.emitCount(builder, request), rest);
}

/// Rows of one-dimensional values.
static void lowerExpand(OpBuilder &b, SegmentOp segment,
                        const IRMapping &ports) {
  Location loc = segment.getLoc();
  ExpandSegment expand(segment, ports);
  ElementBuilder outer(b, loc, ports, {});
  Value zero = constantIndex(b, loc, 0), one = constantIndex(b, loc, 1);
  Value zeroI32 = arith::ConstantIntOp::create(b, loc, 0, 32);
  SmallVector<Value> carried(expand.getNumScans(), zeroI32);
  carried.push_back(zero); // the first row

  auto requests = scf::ForOp::create(
      b, loc, zero, expand.emitNumRequests(outer), one, carried,
      [&](OpBuilder &b, Location loc, Value request, ValueRange carried) {
        ElementBuilder builder(b, loc, ports, request);
        Value first = carried.back();
        ValueRange before = carried.drop_back();
        Value count = emitCount(builder, expand, request, first);
        SmallVector<Value> bases = expand.emitBases(builder, request);
        scf::ForOp::create(
            b, loc, zero, count, one, {},
            [&](OpBuilder &b, Location loc, Value number, ValueRange) {
              Value row = arith::AddIOp::create(b, loc, first, number);
              ElementBuilder inner(b, loc, ports, row);
              expand.emitRow(inner, row, request, number, bases, before);
              scf::YieldOp::create(b, loc);
            });
        SmallVector<Value> next = expand.emitSums(builder, bases, count);
        for (auto [sum, rest] : llvm::zip_equal(next, before))
          sum = arith::AddIOp::create(b, loc, sum, rest);
        next.push_back(arith::AddIOp::create(b, loc, first, count));
        scf::YieldOp::create(b, loc, next);
      });
  Value numRows = requests.getResults().back();
  expand.emitTotals(outer, numRows);
  if (!expand.isPadded())
    return;
  scf::ForOp::create(b, loc, numRows, expand.emitBound(outer), one, {},
                     [&](OpBuilder &b, Location loc, Value row, ValueRange) {
                       ElementBuilder builder(b, loc, ports, row);
                       expand.emitPadding(builder, row,
                                          requests.getResults().drop_back());
                       scf::YieldOp::create(b, loc);
                     });
}

/// Rows of tables.
static void lowerExpandTiles(OpBuilder &b, SegmentOp segment,
                             const IRMapping &ports) {
  Location loc = segment.getLoc();
  int64_t width = segment.getTiling()->getWidth();
  ExpandSegment expand(segment, ports);
  ElementBuilder outer(b, loc, ports, {});
  Value zero = constantIndex(b, loc, 0), one = constantIndex(b, loc, 1);
  Value columns = ports.lookupOrDefault(segment.getSizes().back());
  auto emitColumns = [&](OpBuilder &b, Value request, RowRange rows) {
    scf::ForOp::create(b, loc, zero, columns, constantIndex(b, loc, width), {},
                       [&](OpBuilder &b, Location, Value column, ValueRange) {
                         emitTile(b, segment, ports,
                                  SmallVector<Value>{request, column}, width,
                                  rows);
                         scf::YieldOp::create(b, loc);
                       });
  };
  Value requests = expand.emitNumRequests(outer);
  auto loop = scf::ForOp::create(
      b, loc, zero, requests, one, zero,
      [&](OpBuilder &b, Location loc, Value request, ValueRange carried) {
        ElementBuilder builder(b, loc, ports, request);
        Value first = carried.front();
        Value count = emitCount(builder, expand, request, first);
        emitColumns(b, request, {first, count});
        Value next = arith::AddIOp::create(b, loc, first, count);
        scf::YieldOp::create(b, loc, next);
      });
  if (!expand.isPadded())
    return;
  Value first = loop.getResult(0);
  Value count = arith::SubIOp::create(b, loc, expand.emitBound(outer), first);
  Value isPadding = arith::ConstantIntOp::create(b, loc, 1, 1);
  emitColumns(b, requests, {first, count, isPadding});
}

/// Rows one after the other, each with what its elements share.
static void lowerRows(OpBuilder &b, SegmentOp segment, const IRMapping &ports,
                      function_ref<RowValues(OpBuilder &, Value)> emitShared) {
  Location loc = segment.getLoc();
  int64_t width = segment.getTiling()->getWidth();
  Value zero = constantIndex(b, loc, 0);
  SmallVector<Value> sizes =
      llvm::map_to_vector(segment.getSizes(), [&](Value size) {
        return ports.lookupOrDefault(size);
      });
  scf::buildLoopNest(
      b, loc, zero, sizes.front(), constantIndex(b, loc, 1),
      [&](OpBuilder &b, Location loc, ValueRange row) {
        RowValues values = emitShared(b, row.front());
        if (sizes.size() == 1)
          return emitTile(b, segment, ports, SmallVector<Value>(row), width,
                          /*rows=*/{}, &values);
        scf::buildLoopNest(
            b, loc, zero, sizes.back(), constantIndex(b, loc, width),
            [&](OpBuilder &b, Location, ValueRange column) {
              emitTile(b, segment, ports,
                       SmallVector<Value>{row.front(), column.front()}, width,
                       /*rows=*/{}, &values);
            });
      });
}

static void lowerTile(OpBuilder &b, SegmentOp segment, const IRMapping &ports,
                      HostThread &thread) {
  RowValues shared = emitSharedValues(b, segment, ports, thread);
  if (segment.hasSharedRows())
    return lowerRows(b, segment, ports, [&](OpBuilder &b, Value row) {
      RowValues values = shared;
      ElementBuilder builder(b, segment.getLoc(), ports, row);
      builder.setRow(&values);
      emitSharedRow(builder, segment, thread, row, values);
      return values;
    });
  if (segment.getTiling()->isWalked())
    return lowerRows(b, segment, ports, [&](OpBuilder &b, Value row) {
      return emitRowValues(b, segment, ports, row, /*team=*/{}, shared);
    });
  Location loc = segment.getLoc();
  int64_t width = segment.getTiling()->getWidth();
  SmallVector<Value> sizes =
      llvm::map_to_vector(segment.getSizes(), [&](Value size) {
        return ports.lookupOrDefault(size);
      });
  SmallVector<Value> zeros(sizes.size(), constantIndex(b, loc, 0));
  SmallVector<Value> steps(sizes.size(), constantIndex(b, loc, 1));
  steps.back() = constantIndex(b, loc, width);
  scf::buildLoopNest(b, loc, zeros, sizes, steps,
                     [&](OpBuilder &b, Location, ValueRange point) {
                       emitTile(b, segment, ports, SmallVector<Value>(point),
                                width, /*rows=*/{}, &shared);
                     });
}

namespace {
struct LaunchToLoops : public nsa::impl::LaunchToLoopsBase<LaunchToLoops> {
  void runOnOperation() override {
    for (StepOp step :
         llvm::make_early_inc_range(getOperation().getOps<StepOp>())) {
      if (failed(verifyFormed(step)))
        return signalPassFailure();
      OpBuilder b(step);
      for (LaunchOp launch : step.getLaunches())
        lower(b, step, launch);
      step.erase();
    }
  }

  void lower(OpBuilder &b, SegmentOp segment, const IRMapping &ports,
             HostThread &thread) {
    bool isTable = segment.getSizes().size() == 2;
    switch (segment.getKind()) {
    case SegmentKind::Scan:
      return lowerScan(b, segment, ports, thread);
    case SegmentKind::Expand:
      return (isTable ? lowerExpandTiles : lowerExpand)(b, segment, ports);
    case SegmentKind::Tile:
      return lowerTile(b, segment, ports, thread);
    }
  }

  void lower(OpBuilder &b, StepOp step, LaunchOp launch) {
    OpBuilder::InsertionGuard guard(b);
    SmallVector<BlockArgument> ports = launch.getUsedPorts();
    std::string name = (step.getSymName() + "." + launch.getSymName()).str();
    auto func = func::FuncOp::create(
        b, launch.getLoc(), name,
        b.getFunctionType(getKernelArgumentTypes(ports), {}));
    func->setAttr(kernelAttrName, b.getUnitAttr());
    b.setInsertionPointToStart(func.addEntryBlock());
    IRMapping mapping;
    mapPorts(b, launch, ports, func, mapping);
    HostThread thread(func.getBody().front(), getMostTiles(launch));
    for (SegmentOp segment : launch.getSegments()) {
      ElementBuilder builder(b, segment.getLoc(), mapping, {});
      OpBuilder::InsertionGuard inner(b);
      if (Value isWanted = emitIsWanted(builder, segment))
        b.setInsertionPointToStart(scf::IfOp::create(b, segment.getLoc(),
                                                     isWanted,
                                                     /*withElseRegion=*/false)
                                       .thenBlock());
      lower(b, segment, mapping, thread);
    }
    func::ReturnOp::create(b, launch.getLoc());
    if (cast<StepOp>(launch->getParentOp()).getGuards())
      guardAccesses(func);
  }
};
} // namespace
