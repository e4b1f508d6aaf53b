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
#include "Overlap.h"
#include "nsa-c/runtime.h"

#include <string>
#include <vector>

namespace nsa::runtime {

/// No size known yet.
constexpr int64_t unsetSize = -1;

/// What a step's arguments are, once they have passed every check that does not
/// depend on the sizes of a launch.
struct BoundArguments {
  /// By place in the manifest; of size arguments, empty.
  std::vector<Extent> arrays;
  /// By sizeIndex: given, or taken from dimensions, or unsetSize.
  std::vector<int64_t> sizes;
  /// Where the arrays live.
  bool cuda = false;
  int device = 0;
};

/// Does checks 1, 2 and 4 of docs/Bundle.md. Throws a StatusError that names
/// the argument, what was expected and what came.
BoundArguments checkArguments(const Manifest &manifest,
                              const nsa_argument *arguments,
                              size_t numArguments);

/// Throws unless `value` may be a size.
void checkSize(const ArgumentSpec &argument, int64_t value);

/// Throws what is to be said of a size that neither the caller nor a dimension
/// gives.
[[noreturn]] void failUnsetSize(const Manifest &manifest, int64_t sizeIndex,
                                const std::vector<Extent> &arrays);

} // namespace nsa::runtime

#endif // NSA_LIB_RUNTIME_ARGUMENTS_H
