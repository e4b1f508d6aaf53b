//===- ThreadsTest.cpp - One step, many threads ---------------------------===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// For the thread sanitizer as well (preset tsan).
//
//===----------------------------------------------------------------------===//

#include "TestStep.h"

#include <atomic>
#include <thread>

using namespace nsa::runtime::test;

namespace {

constexpr int numThreads = 8, numLaunches = 12500;

/// sums[i] = the i-th length, for bs requests; the stride is 1.
void copyLengths(void **parameters) {
  auto value = [&](int i) { return *static_cast<int64_t *>(parameters[i]); };
  auto *lens = reinterpret_cast<const int64_t *>(value(1));
  auto *sums = reinterpret_cast<int32_t *>(value(4));
  for (int64_t i = 0; i != value(0); ++i)
    sums[i] = static_cast<int32_t>(lens[i]);
}
void nothing(void **) {}
const nsa_host_kernel kernels[] = {{"first", copyLengths}, {"second", nothing}};

TEST(ThreadsTest, OneStepLaunchedByAll) {
  nsa_step *step;
  ASSERT_EQ(nsa_step_create(manifestText, std::string(manifestText).size(),
                            nullptr, 0, kernels, 2, &step),
            NSA_OK);
  std::atomic<int> wrong{0};
  auto work = [&](int64_t seed) {
    GoodArguments arguments;
    auto *lens = static_cast<int64_t *>(arguments.lens.array.data);
    auto *sums = static_cast<const int32_t *>(arguments.sums.array.data);
    nsa_binding *binding;
    if (nsa_step_bind(step, arguments.list.data(), arguments.list.size(),
                      &binding) != NSA_OK) {
      ++wrong;
      return;
    }
    for (int64_t n = 0; n != numLaunches; ++n) {
      lens[0] = seed + n;
      int64_t sizes[] = {1 + n % 4, NSA_SIZE_AS_BOUND};
      if (nsa_binding_launch(binding, sizes, nullptr) != NSA_OK ||
          sums[0] != seed + n)
        ++wrong;
      if (n % 100)
        continue;
      // What failed on this thread is this thread's to read.
      sizes[0] = 100 + seed;
      std::string expected = "argument 'lens': expected shape[0] to be at "
                             "least " +
                             std::to_string(100 + seed) + " (bs) but got 4";
      if (nsa_binding_launch(binding, sizes, nullptr) != NSA_INVALID_ARGUMENT ||
          expected != nsa_last_error())
        ++wrong;
      // And a call that binds anew.
      if (nsa_step_launch(step, arguments.list.data(), arguments.list.size(),
                          nullptr) != NSA_OK)
        ++wrong;
    }
    nsa_binding_destroy(binding);
  };
  std::vector<std::thread> threads;
  for (int i = 0; i != numThreads; ++i)
    threads.emplace_back(work, i);
  for (std::thread &thread : threads)
    thread.join();
  EXPECT_EQ(wrong, 0);
  nsa_step_destroy(step);
}

/// Without a driver everybody learns so, at the same time.
TEST(ThreadsTest, DriverLookedForByAll) {
  std::vector<nsa_status> found(numThreads);
  std::vector<std::thread> threads;
  for (int i = 0; i != numThreads; ++i)
    threads.emplace_back([&, i] { found[i] = nsa_device_count(nullptr); });
  for (std::thread &thread : threads)
    thread.join();
  for (nsa_status status : found)
    EXPECT_EQ(status, found[0]);
}

} // namespace
