//===- Step.cpp - A step that can be bound and launched -------------------===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Step.h"
#include "Driver.h"
#include "Error.h"

#include <cstdio>
#include <cstdlib>
#include <dlfcn.h>

using namespace nsa::runtime;

Step::Step(Manifest parsed, std::string text, std::string image,
           const nsa_host_kernel *hostKernels, size_t numHostKernels)
    : manifest(std::move(parsed)), manifestText(std::move(text)),
      image(std::move(image)) {
  for (const KernelSpec &kernel : manifest.kernels)
    kernelNames.push_back(kernel.name);
  if (numHostKernels == 0)
    return;
  auto find = [&](const std::string &name) {
    nsa_host_fn function = nullptr;
    for (size_t i = 0; i != numHostKernels; ++i)
      if (hostKernels[i].name && name == hostKernels[i].name)
        function = hostKernels[i].function;
    if (!function)
      fail(NSA_INVALID_ARGUMENT, "step '", manifest.step,
           "': expected a host kernel '", name, "' but it is missing");
    return function;
  };
  for (const std::string &name : kernelNames)
    hostFunctions.push_back(find(name));
  if (manifest.guards)
    hostGuards = reinterpret_cast<void *>(find(manifest.guards->buffer));
}

void Step::loadHostLibrary(const std::string &path) {
  void *library = openHostLibrary(path, hostError);
  if (!library)
    return;
  auto find = [&](const std::string &name) {
    std::string symbol = manifest.step + "." + name;
    void *address = dlsym(library, symbol.c_str());
    if (!address)
      hostError = path + ": no symbol '" + symbol + "'";
    return address;
  };
  std::vector<nsa_host_fn> functions;
  for (const std::string &name : kernelNames) {
    void *address = find(name);
    if (!address)
      return;
    functions.push_back(reinterpret_cast<nsa_host_fn>(address));
  }
  if (manifest.guards && !(hostGuards = find(manifest.guards->buffer)))
    return;
  hostFunctions = std::move(functions);
}

void nsa::runtime::requireTarget(std::string_view target) {
  constexpr const char *expected = "expected 'cuda', 'cpu' or 'simt' but got '";
  auto isTarget = [](std::string_view name) {
    return name == "cuda" || name == "cpu" || name == "simt";
  };
  if (!isTarget(target))
    failArgument(NSA_INVALID_ARGUMENT, "target", expected, target, "'");
  const char *restriction = std::getenv("NSA_TARGET");
  if (!restriction || !*restriction)
    return;
  std::string_view only = restriction;
  if (!isTarget(only))
    fail(NSA_INVALID_ARGUMENT, "NSA_TARGET: ", expected, only, "'");
  if (target != only)
    fail(NSA_NO_KERNEL, "NSA_TARGET=", restriction, " excludes target '",
         target, "'");
}

const std::vector<nsa_host_fn> &Step::hostKernels() const {
  requireTarget("cpu");
  if (!hasHostKernels())
    fail(NSA_NO_KERNEL, "step '", manifest.step,
         hostError.empty()
             ? "' has no host kernels, but its arrays are on the cpu: compile "
               "it with nsa-compile --emit=host, or in Python for target "
               "\"cpu\""
             : "': its host kernels cannot be loaded: ",
         hostError);
  return hostFunctions;
}

/// Whether a cubin for `chip` ("sm_90", "sm_90a") runs on a device: binaries
/// run within a generation, from their own minor version on.
static bool cubinRunsOn(const std::string &chip, int capability) {
  int number = 0;
  char suffix;
  int found = std::sscanf(chip.c_str(), "sm_%d%c", &number, &suffix);
  if (found == 2)
    return number == capability;
  return found == 1 && number / 10 == capability / 10 && number <= capability;
}

/// The global that the guards of a step record in, null if it has none.
static const char *guardsOf(const Manifest &manifest) {
  return manifest.guards ? manifest.guards->buffer.c_str() : nullptr;
}

const DeviceModule &Step::deviceKernels(int device) const {
  requireTarget("cuda");
  const char *guards = guardsOf(manifest);
  if (!cubin.empty() &&
      (image.empty() ||
       cubinRunsOn(manifest.chip, Driver::get().computeCapability(device))))
    return loadDeviceModule(cubin, kernelNames, guards, device, manifest.step);
  if (image.empty())
    fail(NSA_NO_KERNEL, "step '", manifest.step,
         "' has no PTX, but its arrays are on cuda:", device,
         ": compile it with nsa-compile --emit=ptx, or in Python for target "
         "\"cuda\"");
  return loadDeviceModule(image, kernelNames, guards, device, manifest.step);
}

std::vector<const DeviceModule *> Step::findDeviceModules() const {
  std::vector<const DeviceModule *> modules;
  for (const std::string *code : {&image, &cubin})
    for (const DeviceModule *module :
         runtime::findDeviceModules(*code, kernelNames, guardsOf(manifest)))
      modules.push_back(module);
  return modules;
}
