//===- DeviceModule.cpp - A step's kernels on a device --------------------===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "DeviceModule.h"
#include "Error.h"

#include <cctype>
#include <cstdio>
#include <cstring>
#include <map>
#include <mutex>
#include <tuple>

using namespace nsa::runtime;

namespace {

constexpr CUresult success = 0;
constexpr CUresult errorInvalidPtx = 218;
constexpr CUresult errorUnsupportedPtx = 222;
constexpr CUresult errorNoBinary = 209;

/// A driver that compiles PTX when a module is loaded may not do so while this
/// thread captures a stream, unless the thread says that it knows.
class RelaxedCapture {
public:
  explicit RelaxedCapture(Driver &driver) : driver(driver) { exchange(); }
  ~RelaxedCapture() { exchange(); }

private:
  void exchange() {
    if (driver.cuThreadExchangeStreamCaptureMode)
      driver.cuThreadExchangeStreamCaptureMode(&mode);
  }

  Driver &driver;
  int mode = 2; // CU_STREAM_CAPTURE_MODE_RELAXED
};

std::string cudaVersion(const Driver &driver) {
  return std::to_string(driver.version() / 1000) + "." +
         std::to_string(driver.version() % 1000 / 10);
}

CUmodule loadModule(Driver &driver, const std::string &image, int device,
                    const std::string &step) {
  PtxNeeds needs = PtxNeeds::parse(image);
  int capability = driver.computeCapability(device);
  if (!needs.runsOn(capability))
    fail(NSA_UNSUPPORTED_PTX, "step '", step, "': its PTX is for sm_",
         needs.target, needs.suffix ? std::string(1, needs.suffix) : "",
         " but device ", device, " is sm_", capability);

  char log[4096] = "";
  // CU_JIT_ERROR_LOG_BUFFER and its size, the latter passed by value.
  int options[] = {5, 6};
  void *values[] = {log, reinterpret_cast<void *>(sizeof(log))};
  CUmodule module = nullptr;
  CUresult result =
      driver.cuModuleLoadDataEx(&module, image.c_str(), 2, options, values);
  if (result == success)
    return module;
  std::string detail = driver.errorName(result);
  if (log[0])
    detail += std::string(": ") + log;
  if (result == errorUnsupportedPtx)
    fail(NSA_UNSUPPORTED_PTX, "step '", step, "': its PTX version ",
         needs.version, " is newer than the driver (CUDA ", cudaVersion(driver),
         ") supports; update the driver: ", detail);
  if (result == errorInvalidPtx || result == errorNoBinary)
    fail(NSA_UNSUPPORTED_PTX, "step '", step, "': the driver (CUDA ",
         cudaVersion(driver), ") refuses its ", needs.target ? "PTX" : "binary",
         " on device ", device, " (sm_", capability, "): ", detail);
  fail(NSA_DRIVER, "step '", step, "': cuModuleLoadDataEx failed with ",
       detail);
}

/// CUDA loads kernels when they are first launched, unless told otherwise. That
/// would be in the middle of a stream capture.
void loadEagerly(Driver &driver, CUfunction function) {
  if (driver.cuFuncLoad) {
    driver.check(driver.cuFuncLoad(function), "cuFuncLoad");
    return;
  }
  int registers;
  driver.check(driver.cuFuncGetAttribute(
                   &registers, /*CU_FUNC_ATTRIBUTE_NUM_REGS=*/4, function),
               "cuFuncGetAttribute");
}

/// Which image with which kernels is loaded in which context, and whether with
/// records of guards, for which it is looked through.
using Key = std::tuple<CUcontext, uint64_t, std::string>;

std::mutex modulesMutex;

std::map<Key, DeviceModule> &loadedModules() {
  // Never destroyed, see the declaration of loadDeviceModule.
  static auto *modules = new std::map<Key, DeviceModule>();
  return *modules;
}

Key keyFor(Driver &driver, CUcontext context, const std::string &image,
           const std::vector<std::string> &kernels, const char *guards) {
  std::string contents = image;
  for (const std::string &name : kernels)
    contents += '\0' + name;
  if (guards)
    contents += std::string("\0\0", 2) + guards;
  return Key(context, driver.contextId(context), std::move(contents));
}

} // namespace

const DeviceModule &nsa::runtime::loadDeviceModule(
    const std::string &image, const std::vector<std::string> &kernels,
    const char *guards, int device, const std::string &step) {
  Driver &driver = Driver::get();
  CUcontext context = driver.contextFor(device);
  std::lock_guard<std::mutex> lock(modulesMutex);
  std::map<Key, DeviceModule> &modules = loadedModules();
  Key key = keyFor(driver, context, image, kernels, guards);
  auto found = modules.find(key);
  if (found != modules.end())
    return found->second;

  ContextScope scope(driver, context);
  RelaxedCapture relaxed(driver);
  DeviceModule loaded;
  loaded.context = context;
  loaded.device = device;
  CUmodule module = loadModule(driver, image, device, step);
  auto refuse = [&](nsa_status status, const auto &...parts) {
    driver.cuModuleUnload(module);
    fail(status, "step '", step, "': ", parts...);
  };
  for (const std::string &name : kernels) {
    CUfunction function = nullptr;
    CUresult result =
        driver.cuModuleGetFunction(&function, module, name.c_str());
    if (result != success)
      refuse(NSA_DRIVER, "no kernel '", name,
             "' in its image: ", driver.errorName(result));
    loadEagerly(driver, function);
    loaded.functions.push_back(function);
  }
  if (guards) {
    if (!driver.canReadRecords())
      refuse(NSA_NO_DRIVER, "the CUDA driver cannot read what its guards "
                            "record");
    CUresult result =
        driver.cuModuleGetGlobal(&loaded.guards, nullptr, module, guards);
    if (result != success)
      refuse(NSA_DRIVER, "its manifest has guards, but its image has no '",
             guards, "': ", driver.errorName(result));
  }
  return modules.emplace(std::move(key), std::move(loaded)).first->second;
}

std::vector<const DeviceModule *>
nsa::runtime::findDeviceModules(const std::string &image,
                                const std::vector<std::string> &kernels,
                                const char *guards) {
  std::vector<const DeviceModule *> found;
  std::lock_guard<std::mutex> lock(modulesMutex);
  std::map<Key, DeviceModule> &modules = loadedModules();
  // Without a module there may be no driver to ask.
  if (image.empty() || modules.empty())
    return found;
  Driver &driver = Driver::get();
  for (const auto &[key, module] : modules)
    // A context that is gone is none to work in.
    if (keyFor(driver, driver.contextFor(module.device), image, kernels,
               guards) == key)
      found.push_back(&module);
  return found;
}

PtxNeeds PtxNeeds::parse(const std::string &ptx) {
  PtxNeeds needs;
  if (ptx.compare(0, 4,
                  "\x7f"
                  "ELF") == 0)
    return needs;
  auto word = [&](const char *directive) {
    std::string result;
    size_t at = ptx.find(directive);
    if (at != std::string::npos)
      std::istringstream(ptx.substr(at + std::strlen(directive), 64)) >> result;
    return result;
  };
  needs.version = word("\n.version");
  if (needs.version.empty())
    needs.version = word(".version");
  char suffix = 0;
  std::sscanf(word(".target").c_str(), "sm_%d%c", &needs.target, &suffix);
  // A comma is none.
  if (std::isalpha(static_cast<unsigned char>(suffix)))
    needs.suffix = suffix;
  return needs;
}

bool PtxNeeds::runsOn(int capability) const {
  switch (suffix) {
  case 'a':
    return capability == target;
  case 'f':
    return capability / 10 == target / 10 && capability >= target;
  default:
    return capability >= target;
  }
}
