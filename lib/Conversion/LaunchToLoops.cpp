//===- LaunchToLoops.cpp - Launches as loops on the host ------------------===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Guards.h"
#include "LowerSegment.h"

#include "nsa/Conversion/Passes.h"
#include "nsa/Conversion/TileShape.h"

namespace nsa {
#define GEN_PASS_DEF_LAUNCHTOLOOPS
#include "nsa/Conversion/Passes.h.inc"
} // namespace nsa

using namespace mlir;
using namespace nsa;

static Value constantIndex(OpBuilder &b, Location loc, int64_t value) {
  return arith::ConstantIndexOp::create(b, loc, value);
}

static void lowerScan(OpBuilder &b, SegmentOp segment,
                      const IRMapping &ports) {
  Location loc = segment.getLoc();
  ScanSegment scan(segment, ports);
  Value rows = ports.lookupOrDefault(segment.getSizes().front());
  Value zero = arith::ConstantIntOp::create(b, loc, 0, 32);
  SmallVector<Value> zeros(scan.getNumScans(), zero);
  auto loop = scf::ForOp::create(
      b, loc, constantIndex(b, loc, 0), rows, constantIndex(b, loc, 1), zeros,
      [&](OpBuilder &b, Location loc, Value row, ValueRange sums) {
        ElementBuilder builder(b, loc, ports, row);
        SmallVector<Value> next = scan.emitSources(builder, row);
        scan.emitPlainStores(builder, row);
        scan.emitScanStores(builder, row, sums);
        for (auto [sum, source] : llvm::zip_equal(sums, next))
          source = arith::AddIOp::create(b, loc, sum, source);
        scf::YieldOp::create(b, loc, next);
      });
  ElementBuilder builder(b, loc, ports, rows);
  scan.emitScanStores(builder, rows, loop.getResults());
}

static void lowerTile(OpBuilder &b, SegmentOp segment,
                      const IRMapping &ports) {
  Location loc = segment.getLoc();
  int64_t width = getTileShape(segment).width;
  SmallVector<Value> sizes = llvm::map_to_vector(
      segment.getSizes(),
      [&](Value size) { return ports.lookupOrDefault(size); });
  SmallVector<Value> zeros(sizes.size(), constantIndex(b, loc, 0));
  SmallVector<Value> steps(sizes.size(), constantIndex(b, loc, 1));
  steps.back() = constantIndex(b, loc, width);
  scf::buildLoopNest(b, loc, zeros, sizes, steps,
                     [&](OpBuilder &b, Location, ValueRange point) {
                       emitTile(b, segment, ports,
                                SmallVector<Value>(point), width);
                     });
}

namespace {
struct LaunchToLoops : public nsa::impl::LaunchToLoopsBase<LaunchToLoops> {
  void runOnOperation() override {
    for (StepOp step :
         llvm::make_early_inc_range(getOperation().getOps<StepOp>())) {
      OpBuilder b(step);
      for (LaunchOp launch : step.getLaunches())
        lower(b, step, launch);
      step.erase();
    }
  }

  void lower(OpBuilder &b, StepOp step, LaunchOp launch) {
    OpBuilder::InsertionGuard guard(b);
    SmallVector<BlockArgument> ports = launch.getUsedPorts();
    std::string name = (step.getSymName() + "." + launch.getSymName()).str();
    auto func = func::FuncOp::create(
        b, launch.getLoc(), name,
        b.getFunctionType(getKernelArgumentTypes(ports), {}));
    b.setInsertionPointToStart(func.addEntryBlock());
    IRMapping mapping;
    mapPorts(b, launch, ports, func, mapping);
    for (SegmentOp segment : launch.getSegments()) {
      if (segment.getKind() == SegmentKind::Scan)
        lowerScan(b, segment, mapping);
      else
        lowerTile(b, segment, mapping);
    }
    func::ReturnOp::create(b, launch.getLoc());
    if (cast<StepOp>(launch->getParentOp()).getGuards())
      guardAccesses(func);
  }
};
} // namespace
