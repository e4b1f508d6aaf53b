//===- Toolchain.h - Programs that finish what we compile -------*- C++ -*-===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// ptxas and a linker are found where users have them; nothing here needs them
// before it is asked for what they make.
//
//===----------------------------------------------------------------------===//

#ifndef NSA_TARGET_TOOLCHAIN_H
#define NSA_TARGET_TOOLCHAIN_H

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace nsa {

/// Assembles PTX for `chip` with ptxas, from PATH, CUDA_HOME or
/// /usr/local/cuda. Returns nothing and says why in `error` if there is none or
/// it fails.
std::optional<std::string>
assemblePTX(std::string_view ptx, std::string_view chip, std::string &error);

/// What ptxas says of a kernel.
struct KernelUsage {
  std::string name;
  int registers = 0;
  /// Bytes that a thread stores and loads because there are no more.
  int spillStores = 0, spillLoads = 0;
};

/// Has ptxas say what the kernels of `ptx` take on `chip`. Errors as above.
std::optional<std::vector<KernelUsage>>
measurePTX(std::string_view ptx, std::string_view chip, std::string &error);

/// Links an object to a shared library with a C compiler or a linker from
/// PATH (or the one that NSA_LINKER names). Errors as above.
std::optional<std::string> linkSharedLibrary(std::string_view object,
                                             std::string &error);

/// Compiles the C source of a module of tvm-ffi and links it with the host
/// object of its step to a shared library, with a C compiler from PATH (or the
/// one that NSA_CC names). Errors as above.
std::optional<std::string> buildFFIModule(std::string_view source,
                                          std::string_view object,
                                          std::string &error);

} // namespace nsa

#endif // NSA_TARGET_TOOLCHAIN_H
