//===- Version.h - What --version prints ------------------------*- C++ -*-===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef NSA_TOOLS_VERSION_H
#define NSA_TOOLS_VERSION_H

#include "llvm/Config/llvm-config.h"
#include "llvm/Support/CommandLine.h"
#include "llvm/Support/raw_ostream.h"

namespace nsa {

/// Has --version print ours, and LLVM's behind it.
inline void setVersionPrinter(const char *tool) {
  llvm::cl::SetVersionPrinter([tool](llvm::raw_ostream &os) {
    os << tool << " (nsa) " << NSA_VERSION << ", LLVM " << LLVM_VERSION_STRING
       << '\n';
  });
}

} // namespace nsa

#endif // NSA_TOOLS_VERSION_H
