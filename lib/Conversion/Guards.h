//===- Guards.h - Checks of every access of a kernel ------------*- C++ -*-===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef NSA_LIB_CONVERSION_GUARDS_H
#define NSA_LIB_CONVERSION_GUARDS_H

#include "nsa/IR/NSADialect.h"

#include "mlir/Interfaces/FunctionInterfaces.h"

namespace nsa {

/// Has every access of `kernel`, that of `launch`, to one of its memref
/// arguments happen only where its indices are inside of the array. One that is
/// not loads 0 or stores nothing, and is recorded in a global beside the kernel
/// (docs/Bundle.md, "Guards"). Fails, with a diagnostic, if a kernel has the
/// name of that.
LogicalResult guardAccesses(mlir::FunctionOpInterface kernel, LaunchOp launch);

} // namespace nsa

#endif // NSA_LIB_CONVERSION_GUARDS_H
