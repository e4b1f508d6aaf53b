//===- Pipelines.h - From nsa to launches, PTX and LLVM ---------*- C++ -*-===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef NSA_TARGET_PIPELINES_H
#define NSA_TARGET_PIPELINES_H

#include "nsa/IR/LLVM.h"

#include "mlir/IR/DialectRegistry.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Pass/PassOptions.h"

namespace nsa {

struct LaunchOptions {
  /// Share values and fuse launches; else one for each destination.
  bool fuse = true;
  /// Kernels check every access.
  bool guards = false;
  /// Kernels may have as many parameters as PTX 8.1 allows.
  bool largeParameters = false;
  /// Kernels begin before the kernel that comes before them ends.
  bool pdl = false;
};

/// From values and copies to launches.
void buildLaunchPipeline(mlir::OpPassManager &pm, const LaunchOptions &options);

/// Whether every PTX for `chip` allows large parameters.
bool hasLargeParameters(StringRef chip);

struct ToPTXOptions : public mlir::PassPipelineOptions<ToPTXOptions> {
  Option<std::string> chip{*this, "chip", llvm::cl::init("sm_80"),
                           llvm::cl::desc("The GPU to compile for.")};
  Option<bool> fuse{*this, "fuse", llvm::cl::init(true),
                    llvm::cl::desc("Share values and fuse launches.")};
  Option<bool> guards{*this, "guards", llvm::cl::init(false),
                      llvm::cl::desc("Skip and record wrong accesses.")};
  Option<bool> largeParameters{
      *this, "large-parameters", llvm::cl::init(false),
      llvm::cl::desc("Kernels may have 32,764 bytes of parameters (PTX 8.1).")};
  Option<bool> pdl{
      *this, "pdl", llvm::cl::init(false),
      llvm::cl::desc("Programmatic dependent launch, from sm_90 on.")};
  Option<bool> lineInfo{
      *this, "line-info", llvm::cl::init(false),
      llvm::cl::desc("Say in the PTX where in the text its code is from.")};
};

/// From launches to a `gpu.binary` that holds PTX, for each step.
void buildLaunchToPTXPipeline(mlir::OpPassManager &pm, StringRef chip,
                              bool largeParameters, bool lineInfo = false);
/// From nsa operations to PTX (`--nsa-to-ptx`).
void buildToPTXPipeline(mlir::OpPassManager &pm, const ToPTXOptions &options);

struct ToLLVMOptions : public mlir::PassPipelineOptions<ToLLVMOptions> {
  Option<bool> fuse{*this, "fuse", llvm::cl::init(true),
                    llvm::cl::desc("Share values and fuse launches.")};
  Option<bool> guards{*this, "guards", llvm::cl::init(false),
                      llvm::cl::desc("Skip and record wrong accesses.")};
};

/// From launches to host kernels in the LLVM dialect.
void buildLaunchToLLVMPipeline(mlir::OpPassManager &pm);
/// From nsa operations to the LLVM dialect (`--nsa-to-llvm`).
void buildToLLVMPipeline(mlir::OpPassManager &pm, const ToLLVMOptions &options);

/// Registers the two pipelines.
void registerPipelines();

/// Registers what the pipelines need: the nsa dialect, every upstream dialect
/// that they touch, and the translations to LLVM IR and PTX.
void registerCompilerDialects(mlir::DialectRegistry &registry);

} // namespace nsa

#endif // NSA_TARGET_PIPELINES_H
