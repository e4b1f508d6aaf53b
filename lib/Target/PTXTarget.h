//===- PTXTarget.h - What makes PTX of kernels ------------------*- C++ -*-===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef NSA_LIB_TARGET_PTXTARGET_H
#define NSA_LIB_TARGET_PTXTARGET_H

#include "mlir/IR/DialectRegistry.h"

namespace nsa {

/// Makes `gpu-module-to-binary` translate to PTX for `#nvvm.target`, and look
/// for nothing. MLIR's own translation looks for a CUDA toolkit, whose library
/// of functions no kernel here calls, and reports an error where CUDA_HOME
/// names a folder that has none.
void registerPTXTarget(mlir::DialectRegistry &registry);

} // namespace nsa

#endif // NSA_LIB_TARGET_PTXTARGET_H
