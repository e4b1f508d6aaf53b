//===- HostCode.h - Host kernels as machine code ----------------*- C++ -*-===//
//-*-===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef NSA_LIB_TARGET_HOSTCODE_H
#define NSA_LIB_TARGET_HOSTCODE_H

#include "nsa/IR/LLVM.h"
#include "nsa/Target/Compile.h"

#include "mlir/ExecutionEngine/ExecutionEngine.h"
#include "mlir/IR/BuiltinOps.h"

namespace nsa {

/// Compiles the functions of a module in the LLVM dialect for this machine.
/// Reports errors at the module.
std::unique_ptr<mlir::ExecutionEngine> createHostJIT(mlir::ModuleOp module,
                                                     bool optimize);

/// The compiled host kernel named `symbol`, or null with a diagnostic.
HostKernelFn lookupHostKernel(mlir::ExecutionEngine &engine, StringRef symbol,
                              Location loc);

/// The functions of a module in the LLVM dialect as a position-independent
/// object for any processor of this machine's architecture, since files travel.
/// Reports errors at the module.
std::optional<std::string> emitHostObject(mlir::ModuleOp module);

} // namespace nsa

#endif // NSA_LIB_TARGET_HOSTCODE_H
