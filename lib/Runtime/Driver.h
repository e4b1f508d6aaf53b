//===- Driver.h - The CUDA driver, found at run time ------------*- C++ -*-===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Declares the few driver functions in use by hand and finds them with dlopen,
// so that the runtime builds without CUDA and loads on machines without it.
//
//===----------------------------------------------------------------------===//

#ifndef NSA_LIB_RUNTIME_DRIVER_H
#define NSA_LIB_RUNTIME_DRIVER_H

#include <cstddef>
#include <cstdint>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

namespace nsa::runtime {

// The driver's types: handles are opaque, enums are ints in its ABI.
using CUresult = int;
using CUdevice = int;
using CUdeviceptr = unsigned long long;
using CUcontext = struct CUctx_st *;
using CUmodule = struct CUmod_st *;
using CUfunction = struct CUfunc_st *;
using CUstream = struct CUstream_st *;
using CUgraph = struct CUgraph_st *;
using CUgraphNode = struct CUgraphNode_st *;
using CUgraphExec = struct CUgraphExec_st *;

/// CUlaunchAttribute: what is said of a launch.
struct LaunchAttribute {
  /// CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION: whether the grid
  /// may begin before the one before it in the stream has ended.
  static constexpr int programmaticStreamSerialization = 6;

  int id;
  char padding[4];
  union {
    int value;
    char bytes[64];
  };
};

/// CUlaunchConfig.
struct LaunchConfig {
  unsigned grid[3];
  unsigned block[3];
  unsigned sharedBytes;
  CUstream stream;
  LaunchAttribute *attributes;
  unsigned numAttributes;
};

/// CUDA_KERNEL_NODE_PARAMS, its first version.
struct KernelNodeParams {
  CUfunction function;
  unsigned grid[3];
  unsigned block[3];
  unsigned sharedBytes;
  void **parameters;
  void **extra;
};

class Driver {
public:
  /// The driver, looked for on the first call. Throws NSA_NO_DRIVER or
  /// NSA_NO_DEVICE with a message that says which, on every call as long as it
  /// is not there.
  static Driver &get();

  /// Throws NSA_DRIVER with the error's name unless `result` is success.
  void check(CUresult result, const char *call) const;
  std::string errorName(CUresult result) const;

  int deviceCount() const { return devices; }
  /// 1000 * major + 10 * minor of the CUDA version that the driver supports.
  int version() const { return driverVersion; }
  /// 10 * major + minor of a device's compute capability.
  int computeCapability(int device) const;

  /// The ordinal of the device that owns `data`.
  int deviceOf(const void *data) const;

  /// The context to work in on `device`: the calling thread's current one if it
  /// is on that device, else the device's primary context, retained once and
  /// for the life of the process.
  CUcontext contextFor(int device);

  /// Launches a grid of one dimension in the current context. `isDependent`:
  /// that may begin before the grid before it in the stream has ended, if the
  /// driver knows how.
  /// `parameters`: all of them, of 8 bytes each, which the driver takes faster
  /// as one buffer than by the addresses of each.
  void launch(CUfunction function, unsigned blocks, unsigned threads,
              CUstream stream, const std::vector<int64_t> &parameters,
              bool isDependent) const;

  /// Whether the driver knows what the three functions below need.
  bool canUpdateGraphs() const {
    return cuStreamGetCaptureInfo && cuGraphExecKernelNodeSetParams &&
           cuGraphNodeSetEnabled;
  }
  struct Capture {
    /// The node that the next launch would wait for, or null if that is not
    /// one node.
    CUgraphNode last;
  };
  /// Of a stream that is being captured.
  std::optional<Capture> captureInfo(CUstream stream) const;
  /// Gives a kernel's node in an instance of its graph another grid of one
  /// dimension and other parameters.
  void setKernelNode(CUgraphExec graph, CUgraphNode node, CUfunction function,
                     unsigned blocks, unsigned threads,
                     void **parameters) const;
  void enableNode(CUgraphExec graph, CUgraphNode node, bool isEnabled) const;

  /// Whether it has what reading the records of guards takes.
  bool canReadRecords() const {
    return cuModuleGetGlobal && cuCtxSynchronize && cuMemcpyDtoH && cuMemsetD8;
  }

  /// A number that no other context has or had, where the driver knows one.
  uint64_t contextId(CUcontext context) const;

#define NSA_REQUIRED(function, symbol, parameters)                             \
  CUresult(*function) parameters = nullptr;
#define NSA_OPTIONAL NSA_REQUIRED
#include "DriverFunctions.def"

private:
  Driver();

  int devices = 0;
  int driverVersion = 0;
  std::mutex mutex;
  std::vector<CUcontext> primary;
};

/// Makes a context current for a scope, if it is not already.
class ContextScope {
public:
  ContextScope(Driver &driver, CUcontext context) : driver(driver) {
    CUcontext current = nullptr;
    driver.check(driver.cuCtxGetCurrent(&current), "cuCtxGetCurrent");
    if (current == context)
      return;
    driver.check(driver.cuCtxPushCurrent(context), "cuCtxPushCurrent");
    pushed = true;
  }
  ~ContextScope() {
    CUcontext popped;
    if (pushed)
      driver.cuCtxPopCurrent(&popped);
  }
  ContextScope(const ContextScope &) = delete;
  ContextScope &operator=(const ContextScope &) = delete;

private:
  Driver &driver;
  bool pushed = false;
};

} // namespace nsa::runtime

#endif // NSA_LIB_RUNTIME_DRIVER_H
