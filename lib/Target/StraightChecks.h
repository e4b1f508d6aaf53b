//===- StraightChecks.h - The checks of one step, as straight C -*- C++ -*-===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef NSA_LIB_TARGET_STRAIGHTCHECKS_H
#define NSA_LIB_TARGET_STRAIGHTCHECKS_H

#include "llvm/Support/JSON.h"
#include <functional>
#include <optional>
#include <string>

namespace nsa {

/// The C of what a call is given, by the argument's name: a size, an array's
/// address (uint64_t), its sizes and strides by their dimension.
struct CallNames {
  std::function<std::string(llvm::StringRef)> size, base;
  std::function<std::string(llvm::StringRef, int64_t)> shape, stride;
};

/// Those of the argument struct `args` of a generated header.
CallNames getMemberNames();

/// The body of a C function that returns 1 if a call of the step passes every
/// check, with what the kernels take in `sizes` and their grids in `blocks`;
/// else 0, and the checks that go by tables have to decide. None for a step
/// that only those can check, as one of its size expressions may leave 64 bits.
std::optional<std::string>
emitStraightChecks(const llvm::json::Object &manifest, const CallNames &names);

} // namespace nsa

#endif // NSA_LIB_TARGET_STRAIGHTCHECKS_H
