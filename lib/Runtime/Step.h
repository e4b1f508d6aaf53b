//===- Step.h - A step that can be bound and launched -----------*- C++ -*-===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef NSA_LIB_RUNTIME_STEP_H
#define NSA_LIB_RUNTIME_STEP_H

#include "DeviceModule.h"
#include "Manifest.h"
#include "nsa-c/runtime.h"

#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace nsa::runtime {

/// A manifest with what runs it. Immutable, so any thread may use it.
class Step {
public:
  /// `image` is PTX or a cubin, or empty. Throws a StatusError.
  Step(Manifest manifest, std::string manifestText, std::string image,
       const nsa_host_kernel *hostKernels, size_t numHostKernels);

  const Manifest manifest;
  const std::string manifestText;
  const std::string image;
  /// For `manifest.chip`; preferred where it runs. Empty if there is none.
  std::string cubin;

  /// Takes host kernels from the shared library `path`, which stays loaded for
  /// good. If it cannot be loaded, that is an error only where they are needed:
  /// a bundle may come from a machine of another kind.
  void loadHostLibrary(const std::string &path);

  bool hasHostKernels() const {
    return hostFunctions.size() == manifest.kernels.size();
  }
  /// In the order of the manifest's kernels. Both throw NSA_NO_KERNEL if there
  /// are none, or if they are none to use here.
  const std::vector<nsa_host_fn> &hostKernels() const;
  const DeviceModule &deviceKernels(int device) const;

  /// Where the host kernels' guards record, null if they have none.
  void *hostGuards = nullptr;
  /// Where its kernels are loaded, of the contexts that this thread works in.
  std::vector<const DeviceModule *> findDeviceModules() const;

private:
  std::vector<std::string> kernelNames;
  std::vector<nsa_host_fn> hostFunctions;
  /// Why there are none.
  std::string hostError;
};

/// Throws NSA_NO_KERNEL if the environment's NSA_TARGET names a target other
/// than `target`, which is "cuda", "cpu" or "simt".
void requireTarget(std::string_view target);

/// Loads the shared library at an absolute path for good. Null, with the reason
/// in `error`, if that cannot be done: the loader maps what the headers say,
/// and a file that is shorter would end the process where it is first touched.
void *openHostLibrary(const std::string &path, std::string &error);

/// The steps of a directory, by name.
std::vector<std::shared_ptr<const Step>>
loadBundle(const std::string &directory);

} // namespace nsa::runtime

#endif // NSA_LIB_RUNTIME_STEP_H
