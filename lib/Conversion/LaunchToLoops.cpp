//===- LaunchToLoops.cpp - Launches as loops on the host ------------------===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#define GEN_PASS_DEF_LAUNCHTOLOOPS
#include "nsa/Conversion/Passes.h"

#include "Guards.h"
#include "Kernel.h"
#include "SegmentLowering.h"
#include "Stores.h"

#include "nsa/Codegen/KernelParameters.h"

using namespace mlir;
using namespace nsa;

namespace {
struct LaunchToLoops : public nsa::impl::LaunchToLoopsBase<LaunchToLoops> {
  void runOnOperation() override {
    for (StepOp step :
         llvm::make_early_inc_range(getOperation().getOps<StepOp>())) {
      if (failed(verifyFormed(step)))
        return signalPassFailure();
      OpBuilder b(step);
      for (LaunchOp launch : step.getLaunches())
        if (failed(lower(b, step, launch)))
          return signalPassFailure();
      step.erase();
    }
  }

  LogicalResult lower(OpBuilder &b, StepOp step, LaunchOp launch) {
    OpBuilder::InsertionGuard guard(b);
    SmallVector<BlockArgument> ports = getKernelPorts(launch);
    std::string name = (step.getSymName() + "." + launch.getSymName()).str();
    auto func = func::FuncOp::create(
        b, launch.getLoc(), name,
        b.getFunctionType(getKernelArgumentTypes(ports), {}));
    func->setAttr(kernelAttrName, b.getUnitAttr());
    b.setInsertionPointToStart(func.addEntryBlock());
    IRMapping mapping;
    mapPorts(b, launch, ports, func, mapping);
    HostThread thread(func.getBody().front(), getMostTiles(launch));
    HostFunction function = {b, mapping, thread};
    for (SegmentOp segment : launch.getSegments()) {
      ElementBuilder builder(b, segment.getLoc(), mapping, {});
      builder.emitIf(emitIsWanted(builder, segment), [&] {
        getLowering(segment.getKind()).emitLoops(function, segment);
      });
    }
    func::ReturnOp::create(b, launch.getLoc());
    if (step.getGuards())
      return guardAccesses(func, launch);
    return success();
  }
};
} // namespace
