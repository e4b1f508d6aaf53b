//===- HostLibrary.h - Shared libraries of host kernels ---------*- C++ -*-===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef NSA_LIB_RUNTIME_HOSTLIBRARY_H
#define NSA_LIB_RUNTIME_HOSTLIBRARY_H

#include <string>

namespace nsa::runtime {

/// Loads the shared library at an absolute path for good. Null, with the reason in `error`, if that
/// cannot be done: the loader maps what the headers say, and a file that is
/// shorter would end the process where it is first touched.
void *openHostLibrary(const std::string &path, std::string &error);

} // namespace nsa::runtime

#endif // NSA_LIB_RUNTIME_HOSTLIBRARY_H
