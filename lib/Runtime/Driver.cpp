//===- Driver.cpp - The CUDA driver, found at run time --------------------===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Driver.h"
#include "Error.h"

#include <dlfcn.h>

using namespace nsa::runtime;

namespace {

constexpr CUresult success = 0;
constexpr CUresult errorNoDevice = 100;
constexpr CUresult errorStubLibrary = 34;
constexpr int attributePointerOrdinal =
    9;                             // CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL
constexpr int attributeMajor = 75; // CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_*
constexpr int attributeMinor = 76;

/// Why there is no driver, once that is known.
struct Absence {
  nsa_status status;
  std::string message;
};

} // namespace

Driver &Driver::get() {
  // Never destroyed: the driver outlives static destructors no better than we
  // do, and bindings may be destroyed late.
  static Driver *driver = nullptr;
  static Absence *absence = nullptr;
  static std::once_flag once;
  std::call_once(once, [] {
    try {
      driver = new Driver();
    } catch (const StatusError &error) {
      absence = new Absence{error.status, error.what()};
    }
  });
  if (absence)
    throw StatusError(absence->status, absence->message);
  return *driver;
}

Driver::Driver() {
  // Never closed: threads of the driver may run in it until the process ends.
  void *library = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
  if (!library)
    fail(NSA_NO_DRIVER, "no CUDA driver: ", dlerror());

  auto find = [&](auto &function, const char *symbol, bool isRequired) {
    function = reinterpret_cast<std::decay_t<decltype(function)>>(
        dlsym(library, symbol));
    if (!function && isRequired)
      fail(NSA_NO_DRIVER, "the CUDA driver is too old: it has no ", symbol);
  };
#define NSA_REQUIRED(function, symbol, parameters)                             \
  find(function, symbol, /*isRequired=*/true);
#define NSA_OPTIONAL(function, symbol, parameters)                             \
  find(function, symbol, /*isRequired=*/false);
#include "DriverFunctions.def"

  CUresult result = cuInit(0);
  if (result == errorStubLibrary)
    fail(NSA_NO_DRIVER, "no CUDA driver: libcuda.so.1 is a stub library");
  if (result == errorNoDevice)
    fail(NSA_NO_DEVICE, "the CUDA driver is there but it sees no device");
  if (result != success)
    fail(NSA_NO_DEVICE, "the CUDA driver does not start: cuInit returns ",
         errorName(result));
  check(cuDriverGetVersion(&driverVersion), "cuDriverGetVersion");
  check(cuDeviceGetCount(&devices), "cuDeviceGetCount");
  if (devices == 0)
    fail(NSA_NO_DEVICE, "the CUDA driver is there but it sees no device");
  primary.resize(devices, nullptr);
}

std::string Driver::errorName(CUresult result) const {
  const char *name = nullptr;
  if (cuGetErrorName(result, &name) != success || !name)
    return "error " + std::to_string(result);
  return name;
}

void Driver::check(CUresult result, const char *call) const {
  if (result != success)
    fail(NSA_DRIVER, call, " failed with ", errorName(result));
}

int Driver::computeCapability(int ordinal) const {
  CUdevice device;
  int major = 0, minor = 0;
  check(cuDeviceGet(&device, ordinal), "cuDeviceGet");
  check(cuDeviceGetAttribute(&major, attributeMajor, device),
        "cuDeviceGetAttribute");
  check(cuDeviceGetAttribute(&minor, attributeMinor, device),
        "cuDeviceGetAttribute");
  return 10 * major + minor;
}

int Driver::deviceOf(const void *data) const {
  int ordinal = -1;
  CUresult result = cuPointerGetAttribute(&ordinal, attributePointerOrdinal,
                                          reinterpret_cast<CUdeviceptr>(data));
  if (result != success)
    fail(NSA_INVALID_ARGUMENT, "the driver does not know whose ", data,
         " is: cuPointerGetAttribute returns ", errorName(result));
  return ordinal;
}

CUcontext Driver::contextFor(int ordinal) {
  if (ordinal < 0 || ordinal >= devices)
    fail(NSA_NO_DEVICE, "there is no CUDA device ", ordinal,
         ": the driver sees ", devices);
  CUdevice device, currentDevice;
  check(cuDeviceGet(&device, ordinal), "cuDeviceGet");
  CUcontext current = nullptr;
  check(cuCtxGetCurrent(&current), "cuCtxGetCurrent");
  if (current && cuCtxGetDevice(&currentDevice) == success &&
      currentDevice == device)
    return current;

  std::lock_guard<std::mutex> lock(mutex);
  if (!primary[ordinal])
    check(cuDevicePrimaryCtxRetain(&primary[ordinal], device),
          "cuDevicePrimaryCtxRetain");
  return primary[ordinal];
}

void Driver::launch(CUfunction function, unsigned blocks, unsigned threads,
                    CUstream stream, const std::vector<int64_t> &parameters,
                    bool isDependent) const {
  size_t bytes = 8 * parameters.size();
  // CU_LAUNCH_PARAM_BUFFER_POINTER, _SIZE and _END.
  void *extra[] = {reinterpret_cast<void *>(1),
                   const_cast<int64_t *>(parameters.data()),
                   reinterpret_cast<void *>(2), &bytes, nullptr};
  if (!isDependent || !cuLaunchKernelEx) {
    check(cuLaunchKernel(function, blocks, 1, 1, threads, 1, 1,
                         /*sharedMemBytes=*/0, stream, nullptr, extra),
          "cuLaunchKernel");
    return;
  }
  LaunchAttribute attribute{};
  attribute.id = LaunchAttribute::programmaticStreamSerialization;
  attribute.value = 1;
  LaunchConfig config{{blocks, 1, 1}, {threads, 1, 1}, /*sharedBytes=*/0,
                      stream,         &attribute,      /*numAttributes=*/1};
  check(cuLaunchKernelEx(&config, function, nullptr, extra),
        "cuLaunchKernelEx");
}

std::optional<Driver::Capture> Driver::captureInfo(CUstream stream) const {
  int status = 0; // CU_STREAM_CAPTURE_STATUS_NONE
  unsigned long long id = 0;
  CUgraph graph = nullptr;
  const CUgraphNode *nodes = nullptr;
  const void *edges = nullptr;
  size_t count = 0;
  check(cuStreamGetCaptureInfo(stream, &status, &id, &graph, &nodes, &edges,
                               &count),
        "cuStreamGetCaptureInfo");
  if (status != 1) // CU_STREAM_CAPTURE_STATUS_ACTIVE
    return std::nullopt;
  return Capture{count == 1 ? nodes[0] : nullptr};
}

void Driver::setKernelNode(CUgraphExec graph, CUgraphNode node,
                           CUfunction function, unsigned blocks,
                           unsigned threads, void **parameters) const {
  KernelNodeParams params{function, {blocks, 1, 1}, {threads, 1, 1},
                          0,        parameters,     nullptr};
  check(cuGraphExecKernelNodeSetParams(graph, node, &params),
        "cuGraphExecKernelNodeSetParams");
}

void Driver::enableNode(CUgraphExec graph, CUgraphNode node,
                        bool isEnabled) const {
  check(cuGraphNodeSetEnabled(graph, node, isEnabled), "cuGraphNodeSetEnabled");
}

uint64_t Driver::contextId(CUcontext context) const {
  unsigned long long id = 0;
  if (cuCtxGetId && cuCtxGetId(context, &id) == success)
    return id;
  return 0;
}
