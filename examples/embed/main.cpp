//===- main.cpp - A program that embeds a step ----------------------------===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Copies the decode metadata of two requests to three backends with the
// generated header alone. First a call that has to be refused, then, where
// there is a device, a launch, whose results are compared.
//
//===----------------------------------------------------------------------===//

#include "copy_decode.h"

#include <cstdio>
#include <vector>

// A machine without a driver leaves these null; whoever links libcuda does not
// need them.
#pragma weak cuCtxSetCurrent
#pragma weak cuCtxSynchronize
#pragma weak cuDeviceGet
#pragma weak cuDevicePrimaryCtxRetain
#pragma weak cuGetErrorString
#pragma weak cuInit
#pragma weak cuLaunchKernel
#pragma weak cuMemAlloc_v2
#pragma weak cuMemcpyDtoH_v2
#pragma weak cuMemcpyHtoD_v2
#pragma weak cuModuleGetFunction
#pragma weak cuModuleLoadData

namespace {

constexpr int64_t requests = 2, columns = 5, pages = 2, parts = 16;

/// Vectors and tables of int32, one after the other in one allocation.
class Memory {
public:
  nsa_view vector(int64_t size) { return array(1, size, size); }
  nsa_view table(int64_t rows, int64_t size) {
    return array(rows, size, size);
  }

  /// Bytes handed out so far.
  int64_t bytes = 0;
  char *base = nullptr;

private:
  nsa_view array(int64_t rows, int64_t size, int64_t stride) {
    nsa_view result{};
    result.data = base + bytes;
    bool isTable = rows > 1;
    result.size[0] = isTable ? rows : size;
    result.size[1] = isTable ? size : 0;
    result.stride[0] = isTable ? stride : 1;
    result.stride[1] = isTable ? 1 : 0;
    bytes += 4 * rows * size;
    return result;
  }
};

#define FILL(set)                                                              \
  args.set##_cache_seqlens = memory.vector(requests);                          \
  args.set##_cu_seqlens_k = memory.vector(requests + 1);                       \
  args.set##_nsa_cache_seqlens = memory.vector(requests);                      \
  args.set##_nsa_cu_seqlens_k = memory.vector(requests + 1);                   \
  args.set##_page_table_1 = memory.table(requests, columns);                   \
  args.set##_real_page_table = memory.table(requests, pages);                  \
  args.set##_flashmla_num_splits = memory.vector(requests + 1);                \
  args.set##_flashmla_metadata = memory.vector(parts)

copy_decode_args makeArguments(Memory &memory) {
  copy_decode_args args{};
  args.bs = requests;
  args.max_len = columns;
  FILL(src);
  FILL(b0);
  FILL(b1);
  FILL(b2);
  return args;
}

bool failed(CUresult result, const char *what) {
  if (result != CUDA_SUCCESS)
    std::printf("%s failed with %d\n", what, static_cast<int>(result));
  return result != CUDA_SUCCESS;
}

/// Launches on device 0 and compares; 0 if all is well.
int launch() {
  CUdevice device;
  CUcontext context;
  if (cuDeviceGet(&device, 0) != CUDA_SUCCESS ||
      failed(cuDevicePrimaryCtxRetain(&context, device), "a context") ||
      failed(cuCtxSetCurrent(context), "cuCtxSetCurrent"))
    return 1;
  Memory measure;
  (void)makeArguments(measure);
  CUdeviceptr allocation;
  if (failed(cuMemAlloc(&allocation, measure.bytes), "cuMemAlloc"))
    return 1;
  std::vector<int32_t> values(measure.bytes / 4);
  for (size_t i = 0; i != values.size(); ++i)
    values[i] = static_cast<int32_t>(i) + 1;
  if (failed(cuMemcpyHtoD(allocation, values.data(), measure.bytes), "a copy"))
    return 1;

  Memory memory;
  memory.base = reinterpret_cast<char *>(allocation);
  copy_decode_args args = makeArguments(memory);
  nsa_message message;
  copy_decode_module module;
  if (copy_decode_load(&module, &message) != NSA_OK ||
      copy_decode_launch(&module, &args, nullptr, &message) != NSA_OK) {
    std::printf("%s\n", message.text);
    return 1;
  }
  if (failed(cuCtxSynchronize(), "the kernel") ||
      failed(cuMemcpyDtoH(values.data(), allocation, measure.bytes), "a copy"))
    return 1;
  // Four equal sets, but for element 0 of the sums, which stays as it was.
  size_t count = values.size() / 4;
  const size_t sums[] = {requests, 3 * requests + 1};
  for (size_t i = 0; i != values.size(); ++i) {
    size_t at = i % count;
    bool isFirst = at == sums[0] || at == sums[1];
    int32_t expected = static_cast<int32_t>(isFirst ? i : at) + 1;
    if (values[i] != expected) {
      std::printf("element %zu: expected %d but got %d\n", i, expected,
                  values[i]);
      return 1;
    }
  }
  std::printf("launched: three backends equal the source\n");
  return 0;
}

} // namespace

int main() {
  // One column too few.
  Memory memory;
  memory.base = reinterpret_cast<char *>(4096);
  copy_decode_args args = makeArguments(memory);
  args.b1_page_table_1.size[1] = columns - 1;
  nsa_message message;
  if (copy_decode_check(&args, &message) != NSA_INVALID_ARGUMENT) {
    std::printf("expected the call to be refused\n");
    return 1;
  }
  std::printf("refused: %s\n", message.text);

  if (!cuInit || cuInit(0) != CUDA_SUCCESS) {
    std::printf("not launched: no CUDA driver or device\n");
    return 0;
  }
  return launch();
}
