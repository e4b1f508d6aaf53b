//===- Pipelines.cpp - From nsa to launches, PTX and LLVM -----------------===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "nsa/Target/Pipelines.h"

#include "PTXTarget.h"

#include "nsa/Codegen/Elements.h"
#include "nsa/Conversion/Passes.h"
#include "nsa/IR/NSADialect.h"
#include "nsa/Transforms/Passes.h"

#include "mlir/Conversion/Passes.h"
#include "mlir/Dialect/Arith/Transforms/Passes.h"
#include "mlir/Dialect/ControlFlow/IR/ControlFlow.h"
#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Dialect/GPU/Transforms/Passes.h"
#include "mlir/Dialect/LLVMIR/Transforms/Passes.h"
#include "mlir/Dialect/MemRef/Transforms/Passes.h"
#include "mlir/InitAllExtensions.h"
#include "mlir/Pass/PassRegistry.h"
#include "mlir/Target/LLVMIR/Dialect/All.h"
#include "mlir/Transforms/Passes.h"
#include "llvm/Support/CommandLine.h"

using namespace mlir;
using namespace nsa;

bool nsa::hasLargeParameters(StringRef chip) {
  // sm_88 came with PTX 9.0, sm_100 with 8.6.
  unsigned version = getChipVersion(chip);
  return version == 88 || version >= 100;
}

void nsa::buildLaunchPipeline(OpPassManager &pm, const LaunchOptions &options) {
  // PTX takes more from version 8.1 on.
  int64_t bytes = options.largeParameters ? 32764 : 0;
  OpPassManager &step = pm.nest<StepOp>();
  step.addPass(createWarnUnused());
  step.addPass(createCheckPlaces());
  step.addPass(createExpandMetadataSets());
  step.addPass(createNarrowIndices());
  step.addPass(createWalkSums());
  step.addPass(createCanonicalizerPass());
  step.addPass(createCSEPass());
  step.addPass(createShareForms());
  step.addPass(createCSEPass());
  step.addPass(createStoreSums());
  if (options.fuse)
    step.addPass(createMergeCopies());
  step.addPass(createFormLaunches(
      {/*perCopy=*/options.fuse, options.guards, bytes, options.pdl}));
  step.addPass(createCSEPass());
  if (options.fuse) {
    step.addPass(createFuseLaunches({bytes}));
    step.addPass(createCSEPass());
  }
  step.addPass(createAssignTiles());
  step.addPass(createRemarkCosts());
}

/// What both targets do to kernels before their own conversion. Rounding to
/// bf16 and products of bf16 are instructions of a GPU. On the host they become
/// float32 and integer arithmetic: calls of the compiler's run-time library
/// would not link everywhere, and x86's instructions take subnormal numbers for
/// 0.
static void addCommonLowering(OpPassManager &pm, bool expandBF16) {
  pm.addPass(createFlattenKernelArgs());
  pm.addPass(memref::createExpandStridedMetadataPass());
  pm.addPass(createLowerAffinePass());
  if (expandBF16)
    pm.addPass(arith::createArithEmulateUnsupportedFloats(
        {/*sourceTypeStrs=*/{"bf16"}, /*targetTypeStr=*/"f32"}));
  arith::ArithExpandOpsPassOptions expand;
  expand.includeBf16 = expandBF16;
  pm.addPass(arith::createArithExpandOpsPass(expand));
  pm.addPass(createSCFToControlFlowPass());
}

void nsa::buildLaunchToPTXPipeline(OpPassManager &pm, StringRef chip,
                                   bool largeParameters, bool lineInfo) {
  pm.addPass(createLaunchToGPU());
  pm.addPass(createCanonicalizerPass());
  pm.addPass(createCSEPass());
  pm.addPass(createNarrowArithmetic());
  pm.addPass(createCanonicalizerPass());
  pm.addPass(createCSEPass());
  pm.addPass(createSinkCasts());
  // Chips whose first PTX is a later one take no older.
  pm.addPass(createAttachTarget(
      {chip.str(), largeParameters && !hasLargeParameters(chip)}));
  OpPassManager &kernels = pm.nest<gpu::GPUModuleOp>();
  addCommonLowering(kernels, /*expandBF16=*/false);
  ConvertGpuOpsToNVVMOpsOptions toNVVM;
  toNVVM.hasRedux = true;
  kernels.addPass(createConvertGpuOpsToNVVMOps(toNVVM));
  kernels.addPass(createConvertVectorToLLVMPass());
  kernels.addPass(createReconcileUnrealizedCastsPass());
  kernels.addPass(createDropWrapFlags());
  kernels.addPass(createCanonicalizerPass());
  kernels.addPass(createCSEPass());
  if (lineInfo)
    pm.addPass(LLVM::createDIScopeForLLVMFuncOpPass(
        {LLVM::DIEmissionKind::DebugDirectivesOnly}));
  GpuModuleToBinaryPassOptions toPTX;
  toPTX.compilationTarget = "isa";
  pm.addPass(createGpuModuleToBinaryPass(toPTX));
}

void nsa::buildToPTXPipeline(OpPassManager &pm, const ToPTXOptions &options) {
  bool large = options.largeParameters || hasLargeParameters(options.chip);
  buildLaunchPipeline(pm, {options.fuse, options.guards, large, options.pdl});
  buildLaunchToPTXPipeline(pm, options.chip, options.largeParameters,
                           options.lineInfo);
}

void nsa::buildLaunchToLLVMPipeline(OpPassManager &pm) {
  pm.addPass(createLaunchToLoops());
  pm.addPass(createCanonicalizerPass());
  pm.addPass(createCSEPass());
  addCommonLowering(pm, /*expandBF16=*/true);
  pm.addPass(createConvertVectorToLLVMPass());
  pm.addPass(createConvertToLLVMPass());
  pm.addPass(createReconcileUnrealizedCastsPass());
  pm.addPass(createDropWrapFlags());
  pm.addPass(createBF16ToBits());
  pm.addPass(createCanonicalizerPass());
  pm.addPass(createCSEPass());
}

void nsa::buildToLLVMPipeline(OpPassManager &pm, const ToLLVMOptions &options) {
  buildLaunchPipeline(
      pm, {options.fuse, options.guards, /*largeParameters=*/false});
  buildLaunchToLLVMPipeline(pm);
}

void nsa::registerPipelines() {
  PassPipelineRegistration<ToPTXOptions>(
      "nsa-to-ptx", "From nsa operations to a module that carries PTX.",
      buildToPTXPipeline);
  PassPipelineRegistration<ToLLVMOptions>(
      "nsa-to-llvm", "From nsa operations to the LLVM dialect for the host.",
      buildToLLVMPipeline);
}

/// Switches of LLVM that are the whole process's, for want of others.
static void setSwitches() {
  auto &options = llvm::cl::getRegisteredOptions();
  auto set = [&](StringRef name, bool value) {
    if (auto it = options.find(name); it != options.end())
      static_cast<llvm::cl::opt<bool> *>(it->second)->setValue(value);
  };
  // Loop strength reduction keeps an address for each array of a loop in
  // registers, to save a multiplication. Our loops run once or a few times and
  // store to tens of arrays: for eight backends that is 127 registers a thread
  // instead of 44, and a third of the threads at a time.
  set("disable-lsr", true);
  // LLVM 22's vectorizer of straight code computes with fewer bits than there
  // are, also where a number whose sign is extended is converted to a float as
  // one without a sign: 2^32 came from -1 of 64 bits.
  set("vectorize-slp", false);
}

void nsa::registerCompilerDialects(DialectRegistry &registry) {
  setSwitches();
  registry
      .insert<NSADialect, affine::AffineDialect, arith::ArithDialect,
              cf::ControlFlowDialect, func::FuncDialect, gpu::GPUDialect,
              LLVM::LLVMDialect, memref::MemRefDialect, NVVM::NVVMDialect,
              scf::SCFDialect, tensor::TensorDialect, vector::VectorDialect>();
  registerElements(registry);
  registerAllExtensions(registry);
  registerAllGPUToLLVMIRTranslations(registry);
  registerPTXTarget(registry);
}
