//===- Accesses.h - What guards have recorded -------------------*- C++ -*-===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Kernels with guards skip wrong accesses and record them in a buffer beside
// themselves. Here it is read, cleared, and put into words.
//
//===----------------------------------------------------------------------===//

#ifndef NSA_LIB_RUNTIME_ACCESSES_H
#define NSA_LIB_RUNTIME_ACCESSES_H

#include "Step.h"

#include <vector>

namespace nsa::runtime {

struct Accesses {
  /// How many there were, those of which nothing else is known too.
  uint64_t count = 0;
  /// Stores to computed places that were compared with no other.
  uint64_t unclaimed = 0;
  /// Strings belong to the manifest.
  std::vector<nsa_access> known;

  /// Adds what a buffer of that step has, which has been copied. Throws
  /// NSA_INVALID_ARGUMENT for what is no such buffer.
  void add(const Manifest &manifest, const void *buffer, size_t bytes);

  /// Throws NSA_WRONG_ACCESS that tells of the first one, unless there is none.
  void raise(const Manifest &manifest) const;
};

/// Throws NSA_INVALID_ARGUMENT for a step that was compiled without guards.
void requireGuards(const Manifest &manifest);

/// Takes what the step's kernels have recorded in this process, on the host and
/// on the devices where they are loaded, whose work is waited for.
Accesses takeAccesses(const Step &step);

} // namespace nsa::runtime

#endif // NSA_LIB_RUNTIME_ACCESSES_H
