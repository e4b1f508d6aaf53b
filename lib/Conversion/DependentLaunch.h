//===- DependentLaunch.h - Kernels that begin early -------------*- C++ -*-===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Programmatic dependent launch: a kernel begins while the kernel before it in
// the stream still runs, and waits for its end before it touches memory.
//
//===----------------------------------------------------------------------===//

#ifndef NSA_LIB_CONVERSION_DEPENDENTLAUNCH_H
#define NSA_LIB_CONVERSION_DEPENDENTLAUNCH_H

#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/IR/Builders.h"

namespace nsa {

/// The first chip that has it, as in sm_90.
inline constexpr unsigned firstDependentChip = 90;

/// Marks `kernel` as one that may begin early, and emits at the insertion point
/// what every thread has to do first.
void emitDependentStart(mlir::OpBuilder &b, mlir::gpu::GPUFuncOp kernel);

} // namespace nsa

#endif // NSA_LIB_CONVERSION_DEPENDENTLAUNCH_H
