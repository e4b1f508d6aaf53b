//===- DeviceModule.h - A step's kernels on a device ------------*- C++ -*-===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef NSA_LIB_RUNTIME_DEVICEMODULE_H
#define NSA_LIB_RUNTIME_DEVICEMODULE_H

#include "Driver.h"

#include <string>
#include <vector>

namespace nsa::runtime {

/// Kernels of one PTX text or cubin, loaded in one context.
struct DeviceModule {
  CUcontext context = nullptr;
  int device = 0;
  /// In the order of the names asked for.
  std::vector<CUfunction> functions;
  /// Where its guards record, 0 if it has none.
  CUdeviceptr guards = 0;
};

/// Loads `image` in the context for `device`, or finds it loaded there before.
/// `guards` is the global that its guards record in, null if it has none;
/// `step` is for messages. What this returns lives as long as the process: a
/// captured graph may hold a kernel longer than anyone holds the step.
///
/// Throws NSA_UNSUPPORTED_PTX, NSA_NO_DEVICE, NSA_DRIVER.
const DeviceModule &loadDeviceModule(const std::string &image,
                                     const std::vector<std::string> &kernels,
                                     const char *guards, int device,
                                     const std::string &step);

/// Where `image` is loaded like that, of the contexts that this thread would
/// load it in.
std::vector<const DeviceModule *>
findDeviceModules(const std::string &image,
                  const std::vector<std::string> &kernels, const char *guards);

/// What a PTX text asks for: `.version 8.6` and `.target sm_90a`.
struct PtxNeeds {
  std::string version;
  /// 90 of sm_90a; 0 if there is none, as in a cubin.
  int target = 0;
  /// 'a' (this chip only), 'f' (its family only) or 0.
  char suffix = 0;

  static PtxNeeds parse(const std::string &ptx);
  /// Whether a device of that compute capability (90 for 9.0) can run it.
  bool runsOn(int capability) const;
};

} // namespace nsa::runtime

#endif // NSA_LIB_RUNTIME_DEVICEMODULE_H
