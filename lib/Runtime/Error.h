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
  StatusError(nsa_status status, const std::string &message,
              std::string argument = "")
      : std::runtime_error(message), status(status),
        argument(std::move(argument)) {}

  const nsa_status status;
  /// The argument that it is about, "" if it is about none.
  const std::string argument;
};

/// Throws a StatusError whose message is `parts` one after the other.
template <typename... Parts>
[[noreturn]] void fail(nsa_status status, const Parts &...parts) {
  std::ostringstream message;
  (message << ... << parts);
  throw StatusError(status, message.str());
}

/// The same about an argument, whose name comes first.
template <typename... Parts>
[[noreturn]] void failArgument(nsa_status status, const std::string &argument,
                               const Parts &...parts) {
  std::ostringstream message;
  message << "argument '" << argument << "': ";
  (message << ... << parts);
  throw StatusError(status, message.str(), argument);
}

/// Throws what a check of nsa-c/checks.h has found.
inline void throwIfFailed(nsa_status status, const nsa_message &message) {
  if (status != NSA_OK)
    throw StatusError(status, message.text,
                      message.argument ? message.argument : "");
}

} // namespace nsa::runtime

#endif // NSA_LIB_RUNTIME_ERROR_H
