//===- HostObject.h - Host kernels as object files --------------*- C++ -*-===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef NSA_LIB_TARGET_HOSTOBJECT_H
#define NSA_LIB_TARGET_HOSTOBJECT_H

#include "mlir/IR/BuiltinOps.h"

#include <optional>
#include <string>

namespace nsa {

/// The functions of a module in the LLVM dialect as a position-independent
/// object for any processor of this machine's architecture, since files travel.
/// Reports errors at the module.
std::optional<std::string> emitHostObject(mlir::ModuleOp module);

} // namespace nsa

#endif // NSA_LIB_TARGET_HOSTOBJECT_H
