//===- main.cpp - A bundle through the C++ API ----------------------------===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Failures are exceptions that name the argument. The arrays are on the host
// here; with device_type NSA_DEVICE_CUDA the same code launches the PTX.
//
//===----------------------------------------------------------------------===//

#include "nsa/Runtime/Runtime.h"

#include <cstdint>
#include <cstdio>
#include <vector>

namespace rt = nsa::runtime;

/// A vector as the runtime sees it; `size` has to live as long as the call.
template <typename T>
static nsa_array arrayOf(std::vector<T> &values, const int64_t &size) {
  nsa_array array{};
  array.data = values.data();
  array.device_type = NSA_DEVICE_CPU;
  array.dtype_code = NSA_DTYPE_INT;
  array.dtype_bits = 8 * sizeof(T);
  array.ndim = 1;
  array.shape = &size;
  return array;
}

int main() {
  std::vector<int64_t> lens = {3, 1, 2, 70};
  std::vector<int32_t> first(4, -1), sums(5, -1), second(4, -1);
  const int64_t requests = 4, sumsSize = 5, tooFew = 3;
  nsa_array in = arrayOf(lens, requests), out0 = arrayOf(first, requests),
            cu = arrayOf(sums, sumsSize), out1 = arrayOf(second, requests),
            narrow = arrayOf(second, tooFew);
  try {
    rt::Step step = rt::loadBundle(BUNDLE).at(0);
    try {
      step.launch({{"seq_lens", &in, 0},
                   {"b0_lens", &out0, 0},
                   {"b0_cu", &cu, 0},
                   {"b1_lens", &narrow, 0}});
      return 1;
    } catch (const rt::Error &error) {
      std::printf("refused: %s\n", error.what());
    }
    rt::Binding bound = step.bind({{"seq_lens", &in, 0},
                                   {"b0_lens", &out0, 0},
                                   {"b0_cu", &cu, 0},
                                   {"b1_lens", &out1, 0}});
    bound.launch();
    std::printf("%s: sums %d %d %d %d %d\n", step.name(), sums[0], sums[1],
                sums[2], sums[3], sums[4]);
    // Contents and sizes may change; nothing is checked again but the sizes.
    lens[0] = 10;
    bound.launch({2});
    std::printf("%s: sums %d %d %d %d %d\n", step.name(), sums[0], sums[1],
                sums[2], sums[3], sums[4]);
  } catch (const rt::Error &error) {
    std::printf("%s\n", error.what());
    return 1;
  }
  return first == second ? 0 : 1;
}
