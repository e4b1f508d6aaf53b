//===- gpu_threads.cpp - One step, eight threads, eight streams -----------===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// gpu_threads BUNDLE: eight threads with arrays, bindings and streams of their
// own launch the step of examples/decode_replay.mlir 100,000 times on a GPU.
// Results are read back again and again; a refused call is answered on the
// thread that made it. See test_gpu_engine.py.
//
//===----------------------------------------------------------------------===//

#include "nsa-c/runtime.h"

#include <cuda.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace {

constexpr int numThreads = 8, numLaunches = 12500, readEvery = 50;
constexpr int64_t mostRequests = 16, columns = 128;

std::atomic<long> launched{0}, checked{0};

/// Ends the program with what the first thread says.
[[noreturn]] void fail(const std::string &what) {
  static std::mutex first;
  first.lock();
  std::printf("%s\n", what.c_str());
  std::fflush(stdout);
  // Threads still use what destructors would take away.
  std::_Exit(1);
}
void require(bool isWell, const char *what) {
  if (!isWell)
    fail(std::string(what) + ": " + nsa_last_error());
}
void check(CUresult result, const char *what) {
  if (result != CUDA_SUCCESS)
    fail(std::string(what) + ": " + std::to_string(result));
}

/// What a thread has: an array for each port, large enough for all.
struct Arrays {
  Arrays(const nsa_step *step, CUstream stream) {
    for (size_t i = 0, e = nsa_step_num_arguments(step); i != e; ++i) {
      nsa_argument_info info;
      require(nsa_step_argument(step, i, &info) == NSA_OK, "an argument");
      if (info.kind == NSA_KIND_SIZE)
        continue;
      bool isWide = std::string(info.dtype) == "int64";
      shapes.push_back({mostRequests + 1, columns});
      CUdeviceptr memory;
      check(cuMemAlloc(&memory, 8 * (mostRequests + 1) * columns), "memory");
      // On its stream, which would not wait for zeros from elsewhere.
      check(
          cuMemsetD8Async(memory, 0, 8 * (mostRequests + 1) * columns, stream),
          "zeros");
      nsa_array array{};
      array.data = reinterpret_cast<void *>(memory);
      array.device_type = NSA_DEVICE_CUDA;
      array.dtype_code = NSA_DTYPE_INT;
      array.dtype_bits = isWide ? 64 : 32;
      array.ndim = info.ndim;
      array.shape = shapes.back().data();
      all.push_back(array);
      list.push_back({info.name, &all.back(), 0});
    }
  }
  CUdeviceptr at(const std::string &name) const {
    for (const nsa_argument &argument : list)
      if (name == argument.name)
        return reinterpret_cast<CUdeviceptr>(argument.array->data);
    fail("no argument '" + name + "'");
  }

  std::deque<std::vector<int64_t>> shapes;
  std::deque<nsa_array> all;
  std::vector<nsa_argument> list;
};

void work(const nsa_step *step, CUcontext context, int64_t seed) {
  check(cuCtxSetCurrent(context), "a context");
  CUstream stream;
  check(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING), "a stream");
  Arrays arrays(step, stream);
  nsa_binding *binding;
  require(nsa_step_bind(step, arrays.list.data(), arrays.list.size(),
                        &binding) == NSA_OK,
          "bind");
  std::vector<int64_t> lens(mostRequests);
  std::vector<int32_t> sums(mostRequests + 1);
  for (int64_t n = 0; n != numLaunches; ++n) {
    int64_t requests = 1 + (n + seed) % mostRequests;
    // In the order of the ports: bs, max_len.
    int64_t sizes[] = {requests, columns};
    bool isRead = n % readEvery == 0;
    if (isRead) {
      for (int64_t b = 0; b != mostRequests; ++b)
        lens[b] = 1 + (seed * 31 + n * 7 + b) % columns;
      check(cuMemcpyHtoDAsync(arrays.at("seq_lens"), lens.data(),
                              8 * mostRequests, stream),
            "an upload");
    }
    require(nsa_binding_launch(binding, sizes, stream) == NSA_OK, "a launch");
    ++launched;
    if (!isRead)
      continue;
    for (const char *name : {"b0_cu_seqlens_k", "b2_cu_seqlens_k"}) {
      check(cuMemcpyDtoHAsync(sums.data(), arrays.at(name), 4 * (requests + 1),
                              stream),
            "a download");
      check(cuStreamSynchronize(stream), "the stream");
      int64_t sum = 0;
      for (int64_t b = 0; b <= requests; ++b) {
        if (sums[b] != sum)
          fail("thread " + std::to_string(seed) + ", launch " +
               std::to_string(n) + ": " + name + "[" + std::to_string(b) +
               "]: expected " + std::to_string(sum) + " but got " +
               std::to_string(sums[b]));
        sum += b < requests ? lens[b] : 0;
      }
      ++checked;
    }
    sizes[0] = 1000 + seed;
    std::string expected = "at least " + std::to_string(1000 + seed) + " (bs)";
    require(
        nsa_binding_launch(binding, sizes, stream) == NSA_INVALID_ARGUMENT &&
            std::string(nsa_last_error()).find(expected) != std::string::npos,
        "a refusal");
  }
  check(cuStreamSynchronize(stream), "the stream");
  nsa_binding_destroy(binding);
}

} // namespace

int main(int argc, char **argv) {
  CUdevice device;
  CUcontext context;
  nsa_bundle *bundle;
  require(argc == 2, "gpu_threads BUNDLE");
  check(cuInit(0), "cuInit");
  check(cuDeviceGet(&device, 0), "a device");
  check(cuDevicePrimaryCtxRetain(&context, device), "a context");
  require(nsa_bundle_load(argv[1], &bundle) == NSA_OK, "the bundle");
  const nsa_step *step = nsa_bundle_step(bundle, 0);
  std::vector<std::thread> threads;
  for (int i = 0; i != numThreads; ++i)
    threads.emplace_back(work, step, context, i);
  for (std::thread &thread : threads)
    thread.join();
  nsa_bundle_destroy(bundle);
  std::printf("%ld launches of %d threads, %ld results right\n",
              launched.load(), numThreads, checked.load());
  return 0;
}
