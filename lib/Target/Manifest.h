//===- Manifest.h - What a launcher needs to know of a step -----*- C++ -*-===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef NSA_LIB_TARGET_MANIFEST_H
#define NSA_LIB_TARGET_MANIFEST_H

#include "nsa/IR/NSADialect.h"

#include <string>

namespace nsa {

/// The manifest of a step whose launches are formed, as docs/Bundle.md
/// describes it.
std::string buildManifest(StepOp step, StringRef chip);

} // namespace nsa

#endif // NSA_LIB_TARGET_MANIFEST_H
