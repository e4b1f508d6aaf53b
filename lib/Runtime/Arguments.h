//===- Arguments.h - Checking arrays against a manifest ---------*- C++ -*-===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef NSA_LIB_RUNTIME_ARGUMENTS_H
#define NSA_LIB_RUNTIME_ARGUMENTS_H

#include "Manifest.h"
#include "nsa-c/runtime.h"

#include <vector>

namespace nsa::runtime {

/// What a step's arguments are, once they have passed every check that does not
/// depend on the sizes of a launch.
struct BoundArguments {
  /// By place in the manifest; of size arguments, empty.
  std::vector<nsa_strided> arrays;
  /// What they point into.
  std::vector<int64_t> numbers;
  /// By sizeIndex: given, or taken from dimensions, or NSA_SIZE_UNSET.
  std::vector<int64_t> sizes;
  /// Where the arrays live.
  bool cuda = false;
  int device = 0;

  BoundArguments() = default;
  BoundArguments(BoundArguments &&) = default;
};

/// Does checks 1, 2 and 4 of docs/Bundle.md. Throws a StatusError that names
/// the argument, what was expected and what came.
BoundArguments checkArguments(const Manifest &manifest,
                              const nsa_argument *arguments,
                              size_t numArguments);

} // namespace nsa::runtime

#endif // NSA_LIB_RUNTIME_ARGUMENTS_H
