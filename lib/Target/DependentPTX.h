//===- DependentPTX.h - Whether emitted kernels wait first ------*- C++ -*-===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef NSA_LIB_TARGET_DEPENDENTPTX_H
#define NSA_LIB_TARGET_DEPENDENTPTX_H

#include "llvm/ADT/StringRef.h"

#include <optional>
#include <string>

namespace nsa {

/// Checks that the kernel `name` of a PTX text waits for the kernel before it
/// (`griddepcontrol.wait`) on every path before it accesses global memory,
/// calls a function or ends, and that it loads nothing through the read-only
/// path: what the kernel before it writes changes while this one is there.
/// Returns what is wrong, with the line, or nothing.
///
/// The compiler that writes the PTX knows nothing of the wait, so this is
/// looked at where it is done.
std::optional<std::string> findAccessBeforeWait(llvm::StringRef ptx,
                                                llvm::StringRef name);

} // namespace nsa

#endif // NSA_LIB_TARGET_DEPENDENTPTX_H
