//===- Guards.h - Checks of every access of a kernel ------------*- C++ -*-===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef NSA_LIB_CONVERSION_GUARDS_H
#define NSA_LIB_CONVERSION_GUARDS_H

#include "mlir/Interfaces/FunctionInterfaces.h"

namespace nsa {

/// Puts a `cf.assert` before every access of `kernel` to one of its memref
/// arguments, that the indices are inside of it.
void guardAccesses(mlir::FunctionOpInterface kernel);

} // namespace nsa

#endif // NSA_LIB_CONVERSION_GUARDS_H
