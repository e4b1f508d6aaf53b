//===- FFICall.h - A call of tvm-ffi, as straight C -------------*- C++ -*-===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef NSA_LIB_TARGET_FFICALL_H
#define NSA_LIB_TARGET_FFICALL_H

#include "llvm/Support/JSON.h"
#include <string>

namespace nsa {

/// The C function NAME_try: a call of the step through tvm-ffi that passes
/// every check, from its tensors to its launches, without loops over tables. It
/// returns 0 without having done anything for what it does not know to pass,
/// which nsa_ffi_call has to see to. Empty for a step that only tables can
/// check.
std::string emitFFICall(const llvm::json::Object &manifest);

} // namespace nsa

#endif // NSA_LIB_TARGET_FFICALL_H
