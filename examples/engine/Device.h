//===- Device.h - Where an engine's buffers are, and its graphs -*- C++ -*-===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef ENGINE_DEVICE_H
#define ENGINE_DEVICE_H

#include "nsa-c/runtime.h"

#include <cstring>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#ifdef ENGINE_HAS_CUDA
#include <cuda.h>

// A machine without a driver leaves these null.
#pragma weak cuCtxSetCurrent
#pragma weak cuDeviceGet
#pragma weak cuDevicePrimaryCtxRetain
#pragma weak cuGraphInstantiateWithFlags
#pragma weak cuGraphLaunch
#pragma weak cuInit
#pragma weak cuMemAlloc_v2
#pragma weak cuMemcpyDtoHAsync_v2
#pragma weak cuMemcpyHtoDAsync_v2
#pragma weak cuStreamBeginCapture_v2
#pragma weak cuStreamCreate
#pragma weak cuStreamEndCapture
#pragma weak cuStreamSynchronize
#endif

namespace engine {

/// Work that was recorded, to be done again and again.
using Graph = std::function<void()>;

class Device {
public:
  virtual ~Device() = default;
  virtual const char *name() const = 0;
  /// NSA_DEVICE_CPU or NSA_DEVICE_CUDA.
  virtual int32_t type() const = 0;
  /// Memory that stays until the program ends.
  virtual void *allocate(size_t bytes) = 0;
  virtual void upload(void *to, const void *from, size_t bytes) = 0;
  /// Waits for the work before it.
  virtual void download(void *to, const void *from, size_t bytes) = 0;
  /// Records what `work` launches on the stream that it is given.
  virtual Graph capture(const std::function<void(void *stream)> &work) = 0;
  virtual void finish() = 0;
};

/// The host: a graph is the work itself.
class Host : public Device {
public:
  const char *name() const override { return "the host"; }
  int32_t type() const override { return NSA_DEVICE_CPU; }
  void *allocate(size_t bytes) override {
    buffers.push_back(std::make_unique<int64_t[]>(bytes / 8 + 1));
    return buffers.back().get();
  }
  void upload(void *to, const void *from, size_t bytes) override {
    std::memcpy(to, from, bytes);
  }
  void download(void *to, const void *from, size_t bytes) override {
    std::memcpy(to, from, bytes);
  }
  Graph capture(const std::function<void(void *)> &work) override {
    return [work] { work(nullptr); };
  }
  void finish() override {}

private:
  std::vector<std::unique_ptr<int64_t[]>> buffers;
};

#ifdef ENGINE_HAS_CUDA
class Cuda : public Device {
public:
  static bool isHere() {
    CUdevice device;
    return cuInit && cuInit(0) == CUDA_SUCCESS &&
           cuDeviceGet(&device, 0) == CUDA_SUCCESS;
  }
  Cuda() {
    CUdevice device;
    CUcontext context;
    check(cuDeviceGet(&device, 0), "cuDeviceGet");
    check(cuDevicePrimaryCtxRetain(&context, device), "a context");
    check(cuCtxSetCurrent(context), "cuCtxSetCurrent");
    check(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING), "a stream");
  }
  const char *name() const override { return "the GPU"; }
  int32_t type() const override { return NSA_DEVICE_CUDA; }
  void *allocate(size_t bytes) override {
    CUdeviceptr memory;
    check(cuMemAlloc(&memory, bytes), "cuMemAlloc");
    return reinterpret_cast<void *>(memory);
  }
  void upload(void *to, const void *from, size_t bytes) override {
    check(cuMemcpyHtoDAsync(address(to), from, bytes, stream), "an upload");
  }
  void download(void *to, const void *from, size_t bytes) override {
    check(cuMemcpyDtoHAsync(to, address(from), bytes, stream), "a download");
    finish();
  }
  Graph capture(const std::function<void(void *)> &work) override {
    CUgraph graph;
    CUgraphExec executable;
    check(cuStreamBeginCapture(stream, CU_STREAM_CAPTURE_MODE_GLOBAL),
          "begin of a capture");
    work(stream);
    check(cuStreamEndCapture(stream, &graph), "end of a capture");
    check(cuGraphInstantiateWithFlags(&executable, graph, 0), "a graph");
    return [this, executable] {
      check(cuGraphLaunch(executable, stream), "a replay");
    };
  }
  void finish() override { check(cuStreamSynchronize(stream), "the stream"); }

private:
  static CUdeviceptr address(const void *memory) {
    return reinterpret_cast<CUdeviceptr>(memory);
  }
  static void check(CUresult result, const char *what) {
    if (result != CUDA_SUCCESS)
      throw std::runtime_error(std::string(what) + " failed with " +
                               std::to_string(result));
  }
  CUstream stream;
};
#endif

inline std::unique_ptr<Device> pick() {
#ifdef ENGINE_HAS_CUDA
  if (Cuda::isHere())
    return std::make_unique<Cuda>();
#endif
  return std::make_unique<Host>();
}

} // namespace engine

#endif // ENGINE_DEVICE_H
