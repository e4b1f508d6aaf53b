//===- Guarded.h - Exceptions to statuses -----------------------*- C++ -*-===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// What every function of the C ABI does with failures.
//
//===----------------------------------------------------------------------===//

#ifndef NSA_LIB_RUNTIME_GUARDED_H
#define NSA_LIB_RUNTIME_GUARDED_H

#include "Error.h"

#include <new>

namespace nsa::runtime {

/// Keeps `message` for nsa_last_error, `argument` for nsa_last_error_argument,
/// and returns `status`.
nsa_status report(nsa_status status, const char *message,
                  const char *argument = "");

/// Runs `body` and turns what it throws into a status.
template <typename Body> nsa_status guarded(Body &&body) {
  try {
    body();
    return NSA_OK;
  } catch (const StatusError &error) {
    return report(error.status, error.what(), error.argument.c_str());
  } catch (const std::bad_alloc &) {
    return report(NSA_OUT_OF_MEMORY, "out of memory");
  } catch (const std::exception &error) {
    return report(NSA_INTERNAL, error.what());
  } catch (...) {
    return report(NSA_INTERNAL, "unknown exception");
  }
}

inline void checkGiven(const void *pointer, const char *what) {
  if (!pointer)
    fail(NSA_INVALID_ARGUMENT, what, ": expected a pointer but got null");
}

} // namespace nsa::runtime

#endif // NSA_LIB_RUNTIME_GUARDED_H
