//===- LaunchToGPU.cpp - Launches as GPU kernels --------------------------===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#define GEN_PASS_DEF_LAUNCHTOGPU
#include "nsa/Conversion/Passes.h"

#include "Guards.h"
#include "Kernel.h"
#include "SegmentLowering.h"

#include "nsa/Codegen/KernelParameters.h"

using namespace mlir;
using namespace nsa;

/// Emits what the block with number `number` (i32) among those of `segments`
/// does.
static void emitSegments(KernelBlock &block, ArrayRef<SegmentOp> segments,
                         Value number) {
  SegmentOp segment = segments.front();
  auto emitOne = [&] {
    getLowering(segment.getKind()).emitBlock(block, segment, number);
  };
  if (segments.size() == 1)
    return emitOne();

  Value numBlocks = block.emitNumBlocks(segment);
  block.emitIf(block.isInside(number, numBlocks), emitOne, [&] {
    emitSegments(block, segments.drop_front(), block.sub(number, numBlocks));
  });
}

static void emitKernel(OpBuilder &b, LaunchOp launch, const IRMapping &ports,
                       gpu::GPUFuncOp kernel) {
  SmallVector<SegmentOp> segments(launch.getSegments());
  KernelBlock block(b, launch, ports, kernel);
  Value number = block.toI32(emitBlockNumber(block));
  if (!segments.empty())
    emitSegments(block, segments, number);
  gpu::ReturnOp::create(b, block.loc);
}

/// Marks `kernel` as one that may begin early, and emits what every thread has
/// to do first.
static void emitDependentStart(OpBuilder &b, gpu::GPUFuncOp kernel) {
  kernel->setAttr(dependentLaunchAttrName, b.getUnitAttr());
  // Not `nvvm.griddepcontrol`: LLVM takes that for an instruction which touches
  // no memory, and moves loads above it. The grid after this one may begin at
  // once, as it waits for the end of this one, too.
  Arith math(b, kernel.getLoc());
  for (StringRef instruction :
       {"griddepcontrol.wait;", "griddepcontrol.launch_dependents;"})
    emitInstruction(math, instruction, /*operands=*/{}, "~{memory}");
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
  return success(expect(launch, bytes <= target.getSharedBytes(),
                        "sums and reductions that fit the ",
                        target.getSharedBytes(),
                        " bytes that a block shares, but those of one segment "
                        "take ",
                        bytes, "; write some of them in another step"));
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
    SmallVector<BlockArgument> ports = getKernelPorts(launch);
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
    emitKernel(b, launch, mapping, kernel);
    if (step.getGuards() && failed(guardAccesses(kernel, launch)))
      return failure();
    return verifySharedMemory(launch, kernel);
  }
};
} // namespace
