//===- Error.h - How the runtime reports failures ---------------*- C++ -*-===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Inside the runtime a failure is an exception: the checks are many, deep and
// off the launch path. The C ABI catches every one at its boundary.
//
//===----------------------------------------------------------------------===//

#ifndef NSA_LIB_RUNTIME_ERROR_H
#define NSA_LIB_RUNTIME_ERROR_H

#include "nsa-c/checks.h"
#include "nsa-c/runtime.h"

#include <sstream>
#include <stdexcept>
#include <string>

namespace nsa::runtime {

class StatusError : public std::runtime_error {
public:
  StatusError(nsa_status status, const std::string &message)
      : std::runtime_error(message), status(status) {}

  const nsa_status status;
};

/// Throws a StatusError whose message is `parts` one after the other.
template <typename... Parts>
[[noreturn]] void fail(nsa_status status, const Parts &...parts) {
  std::ostringstream message;
  (message << ... << parts);
  throw StatusError(status, message.str());
}

/// Throws what a check of nsa-c/checks.h has found.
inline void throwIfFailed(nsa_status status, const nsa_message &message) {
  if (status != NSA_OK)
    throw StatusError(status, message.text);
}

} // namespace nsa::runtime

#endif // NSA_LIB_RUNTIME_ERROR_H
