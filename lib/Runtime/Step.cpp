//===- Step.cpp - A step that can be bound and launched -------------------===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Step.h"
#include "Error.h"

using namespace nsa::runtime;

Step::Step(std::string text, std::string image,
           const nsa_host_kernel *hostKernels, size_t numHostKernels)
    : manifest(Manifest::parse(text)), manifestText(std::move(text)),
      image(std::move(image)) {
  for (const KernelSpec &kernel : manifest.kernels)
    kernelNames.push_back(kernel.name);
  if (numHostKernels == 0)
    return;
  for (const std::string &name : kernelNames) {
    nsa_host_fn function = nullptr;
    for (size_t i = 0; i != numHostKernels; ++i)
      if (hostKernels[i].name && name == hostKernels[i].name)
        function = hostKernels[i].function;
    if (!function)
      fail(NSA_INVALID_ARGUMENT, "step '", manifest.step,
           "': expected a host kernel '", name, "' but it is missing");
    hostFunctions.push_back(function);
  }
}

const std::vector<nsa_host_fn> &Step::hostKernels() const {
  if (!hasHostKernels())
    fail(NSA_NO_KERNEL, "step '", manifest.step,
         "' has no host kernels, but its arrays are on the cpu: compile it for "
         "target \"cpu\"");
  return hostFunctions;
}

const DeviceModule &Step::deviceKernels(int device) const {
  if (image.empty())
    fail(NSA_NO_KERNEL, "step '", manifest.step,
         "' has no PTX, but its arrays are on cuda:", device,
         ": compile it for target \"cuda\"");
  return loadDeviceModule(image, kernelNames, device, manifest.step);
}
