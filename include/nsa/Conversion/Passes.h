//===- Passes.h - Lowerings of nsa launches ---------------------*- C++ -*-===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef NSA_CONVERSION_PASSES_H
#define NSA_CONVERSION_PASSES_H

#include "nsa/IR/NSADialect.h"

#include "mlir/Dialect/Affine/IR/AffineOps.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/ControlFlow/IR/ControlFlow.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/Pass/Pass.h"

namespace nsa {
/// An attribute on GPU kernels that may begin before the kernel before them in
/// the stream ends, and wait for that before they touch memory (programmatic
/// dependent launch); and the first chip that has it, as in sm_90.
inline constexpr StringLiteral dependentLaunchAttrName = "nsa.dependent_launch";
inline constexpr unsigned firstDependentChip = 90;

/// 90 of "sm_90" and "sm_90a"; 0 of what is no such name.
unsigned getChipVersion(StringRef chip);

/// Registers LLVM's backends for NVPTX and for the host, once: LLVM's registry
/// is not for threads.
void initializeBackends();

// The base of pass X, too, for the file that defines GEN_PASS_DEF_X before.
#define GEN_PASS_DECL
#define GEN_PASS_REGISTRATION
#include "nsa/Conversion/Passes.h.inc"
} // namespace nsa

#endif // NSA_CONVERSION_PASSES_H
