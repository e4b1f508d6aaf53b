//===- BindingTest.cpp - Binding once, launching often --------------------===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "TestStep.h"

using namespace nsa::runtime::test;

namespace {

class BindingTest : public StepTest {
protected:
  void bind() {
    nsa_binding_destroy(binding);
    binding = nullptr;
    ASSERT_EQ(nsa_step_bind(step, arguments.list.data(), arguments.list.size(),
                            &binding),
              NSA_OK)
        << nsa_last_error();
  }
  nsa_status launchBound(int64_t bs, int64_t width) {
    int64_t sizes[] = {bs, width};
    return nsa_binding_launch(binding, sizes, nullptr);
  }
  void TearDown() override {
    nsa_binding_destroy(binding);
    StepTest::TearDown();
  }

  nsa_binding *binding = nullptr;
};

TEST_F(BindingTest, Parameters) {
  arguments.lens.strides[0] = -1;
  bind();
  ASSERT_EQ(nsa_binding_launch(binding, nullptr, nullptr), NSA_OK);
  auto address = [](const TestArray &array) {
    return reinterpret_cast<int64_t>(array.array.data);
  };
  EXPECT_EQ(Calls::first[0],
            (std::vector<int64_t>{4, address(arguments.lens), -1, 10,
                                  address(arguments.sums)}));
  EXPECT_EQ(Calls::second[0], std::vector<int64_t>{5});
}

TEST_F(BindingTest, WhatALaunchWouldDo) {
  nsa_step *bare;
  ASSERT_EQ(nsa_step_create(manifestText, std::string(manifestText).size(),
                            nullptr, 0, nullptr, 0, &bare),
            NSA_OK);
  arguments.lens.strides[0] = -1;
  // Arrays on the CPU, and no kernel for them.
  ASSERT_EQ(nsa_step_check(bare, arguments.list.data(), arguments.list.size(),
                           &binding),
            NSA_OK)
      << nsa_last_error();
  nsa_step_destroy(bare);
  int64_t sizes[] = {3, NSA_SIZE_AS_BOUND};
  ASSERT_EQ(nsa_binding_prepare(binding, sizes), NSA_OK);
  nsa_kernel_launch kernel;
  ASSERT_EQ(nsa_binding_kernel(binding, 0, &kernel), NSA_OK);
  EXPECT_STREQ(kernel.name, hostKernels[0].name);
  EXPECT_EQ(std::vector<int64_t>(kernel.parameters,
                                 kernel.parameters + kernel.num_parameters),
            (std::vector<int64_t>{
                3, reinterpret_cast<int64_t>(arguments.lens.array.data), -1, 10,
                reinterpret_cast<int64_t>(arguments.sums.array.data)}));
  EXPECT_EQ(nsa_binding_kernel(binding, 2, &kernel), NSA_INVALID_ARGUMENT);
  EXPECT_STREQ(nsa_last_error(),
               "argument 'index': expected one of 2 kernels but got 2");

  // A batch of none: the grid that has a block for each request has none.
  sizes[0] = 0;
  ASSERT_EQ(nsa_binding_prepare(binding, sizes), NSA_OK);
  sizes[0] = 5;
  EXPECT_EQ(nsa_binding_prepare(binding, sizes), NSA_INVALID_ARGUMENT);

  size_t found = 0;
  for (size_t i = 0, e = nsa_step_num_arguments(step); i != e; ++i) {
    nsa_array array;
    nsa_argument_info info;
    ASSERT_EQ(nsa_step_argument(step, i, &info), NSA_OK);
    ASSERT_EQ(nsa_binding_array(binding, i, &array), NSA_OK);
    if (info.kind == NSA_KIND_SIZE) {
      EXPECT_EQ(array.ndim, 0);
      EXPECT_EQ(array.data, nullptr);
    } else if (std::string(info.name) == "lens") {
      ++found;
      EXPECT_EQ(array.data, arguments.lens.array.data);
      EXPECT_EQ(array.dtype_bits, 64);
      EXPECT_EQ(array.shape[0], 4);
      EXPECT_EQ(array.strides[0], -1);
    }
  }
  EXPECT_EQ(found, 1u);
  nsa_array array;
  EXPECT_EQ(nsa_binding_array(binding, 99, &array), NSA_INVALID_ARGUMENT);

  EXPECT_EQ(nsa_binding_launch(binding, nullptr, nullptr), NSA_NO_KERNEL);
  EXPECT_TRUE(Calls::first.empty() && Calls::second.empty());
}

TEST_F(BindingTest, SizesOfALaunch) {
  bind();
  ASSERT_EQ(launchBound(2, 7), NSA_OK);
  ASSERT_EQ(launchBound(NSA_SIZE_AS_BOUND, 9), NSA_OK);
  ASSERT_EQ(launchBound(3, NSA_SIZE_AS_BOUND), NSA_OK);
  EXPECT_EQ(Calls::first[0][0], 2);
  EXPECT_EQ(Calls::first[1][0], 4);
  EXPECT_EQ(Calls::first[2][0], 3);
  EXPECT_EQ(Calls::second[0][0], 7);
  EXPECT_EQ(Calls::second[1][0], 9);
  EXPECT_EQ(Calls::second[2][0], 5);
}

TEST_F(BindingTest, SizesMayComeLate) {
  arguments.remove("width");
  bind();
  EXPECT_EQ(nsa_binding_launch(binding, nullptr, nullptr), NSA_TYPE);
  EXPECT_STREQ(nsa_last_error(),
               "argument 'width': expected a size but it is missing");
  EXPECT_EQ(Calls::count(), 0u);
  EXPECT_EQ(launchBound(NSA_SIZE_AS_BOUND, 3), NSA_OK);
  EXPECT_EQ(Calls::count(), 2u);
}

TEST_F(BindingTest, EveryCheckBeforeTheFirstKernel) {
  bind();
  // Only the second kernel's sizes are wrong.
  EXPECT_EQ(launchBound(1, 17), NSA_INVALID_ARGUMENT);
  EXPECT_EQ(launchBound(1, -1), NSA_INVALID_ARGUMENT);
  EXPECT_EQ(launchBound(INT64_C(1) << 31, 1), NSA_INVALID_ARGUMENT);
  EXPECT_EQ(Calls::count(), 0u);
  // And the binding is as good as before.
  EXPECT_EQ(launchBound(1, 1), NSA_OK);
  EXPECT_EQ(Calls::count(), 2u);
}

TEST_F(BindingTest, SizesAgain) {
  bind();
  // What has been checked is not checked again; what has failed is.
  for (int round = 0; round != 3; ++round) {
    ASSERT_EQ(launchBound(2, 7), NSA_OK);
    ASSERT_EQ(launchBound(2, 7), NSA_OK);
    EXPECT_EQ(launchBound(2, 17), NSA_INVALID_ARGUMENT);
    EXPECT_EQ(launchBound(2, 17), NSA_INVALID_ARGUMENT);
  }
  ASSERT_EQ(launchBound(2, 7), NSA_OK);
  ASSERT_EQ(Calls::first.size(), 7u);
  ASSERT_EQ(Calls::second.size(), 7u);
  for (int call = 0; call != 7; ++call) {
    EXPECT_EQ(Calls::first[call][0], 2);
    EXPECT_EQ(Calls::second[call][0], 7);
  }
}

TEST_F(BindingTest, NoBlocks) {
  bind();
  ASSERT_EQ(launchBound(0, 0), NSA_OK);
  EXPECT_EQ(Calls::count(), 0u);
  ASSERT_EQ(launchBound(0, 1), NSA_OK);
  EXPECT_EQ(Calls::first.size(), 0u);
  EXPECT_EQ(Calls::second.size(), 1u);
}

TEST_F(BindingTest, OutlivesItsStep) {
  bind();
  nsa_step_destroy(step);
  step = nullptr;
  EXPECT_EQ(launchBound(1, 1), NSA_OK);
  EXPECT_EQ(Calls::count(), 2u);
}

TEST_F(BindingTest, Device) {
  bind();
  int32_t type = -1, id = -1;
  nsa_binding_device(binding, &type, &id);
  EXPECT_EQ(type, NSA_DEVICE_CPU);
  EXPECT_EQ(id, 0);
  nsa_binding_device(binding, nullptr, nullptr);
}

void count(void **) { Calls::first.emplace_back(); }

/// A step with one kernel over one segment.
nsa_status launchSegment(const std::string &rows, const std::string &columns,
                         const std::string &tile, int64_t n) {
  std::string manifest =
      R"({"schema": 1, "step": "grid", "arguments": [
          {"name": "n", "kind": "size"}, {"name": "x", "kind": "in",
           "dtype": "int8", "shape": [null], "strides": [1]}],
          "kernels": [{"name": "k", "threads": 1, "parameters": [],
          "segments": [{"rows": )" +
      rows + R"(, "columns": )" + columns + R"(, "tile": )" + tile + "}]}]}";
  nsa_host_kernel kernel = {"k", count};
  nsa_step *step;
  if (nsa_status status = nsa_step_create(manifest.data(), manifest.size(),
                                          nullptr, 0, &kernel, 1, &step))
    return status;
  TestArray x(NSA_DTYPE_INT, 8, {1});
  nsa_argument arguments[] = {{"n", nullptr, n}, {"x", &x.array, 0}};
  nsa_status status = nsa_step_launch(step, arguments, 2, nullptr);
  nsa_step_destroy(step);
  return status;
}

TEST(Grid, Limits) {
  Calls::reset();
  // 2^31 - 1 blocks are fine, one more is not; nor is what 64 bits cannot hold.
  EXPECT_EQ(launchSegment(R"("n")", "1", "[1, 1]", INT32_MAX), NSA_OK);
  EXPECT_EQ(Calls::count(), 1u);
  EXPECT_EQ(launchSegment(R"("n")", "2", "[1, 1]", INT64_C(1) << 30),
            NSA_INVALID_ARGUMENT);
  EXPECT_STREQ(nsa_last_error(), "step 'grid': kernel 'k' would need more than "
                                 "2147483647 blocks for these sizes");
  EXPECT_EQ(launchSegment(R"(["mul", "n", "n"])", R"(["mul", "n", "n"])",
                          "[1, 1]", INT32_MAX),
            NSA_INVALID_ARGUMENT);
  EXPECT_EQ(launchSegment(R"(["mul", ["mul", "n", "n"], ["mul", "n", "n"]])",
                          "1", "[1, 1]", INT32_MAX),
            NSA_INVALID_ARGUMENT);
  EXPECT_STREQ(nsa_last_error(),
               "step 'grid': a size expression leaves 64 bits");
  // Tiles are rounded up without a sum that could wrap.
  EXPECT_EQ(launchSegment(R"("n")", "1", "[9223372036854775807, 1]", 5),
            NSA_OK);
  // Less than nothing is nothing.
  EXPECT_EQ(launchSegment(R"(["add", "n", -9])", "-4", "[1, 1]", 5), NSA_OK);
  EXPECT_EQ(Calls::count(), 2u);
}

TEST(NoKernel, HostKernelsMissing) {
  nsa_step *step;
  ASSERT_EQ(nsa_step_create(manifestText, std::string(manifestText).size(),
                            "ptx", 3, nullptr, 0, &step),
            NSA_OK);
  EXPECT_EQ(nsa_step_has_host_kernels(step), 0);
  GoodArguments arguments;
  EXPECT_EQ(nsa_step_launch(step, arguments.list.data(), arguments.list.size(),
                            nullptr),
            NSA_NO_KERNEL);
  EXPECT_STREQ(nsa_last_error(),
               "step 'gather' has no host kernels, but its arrays are on the "
               "cpu: compile it with nsa-compile --emit=host, or in Python for "
               "target \"cpu\"");
  nsa_step_destroy(step);
}

TEST(NoKernel, OneHostKernelMissing) {
  nsa_step *step = nullptr;
  EXPECT_EQ(nsa_step_create(manifestText, std::string(manifestText).size(),
                            nullptr, 0, hostKernels, 1, &step),
            NSA_INVALID_ARGUMENT);
  EXPECT_STREQ(nsa_last_error(),
               "step 'gather': expected a host kernel 'second' but it is "
               "missing");
  EXPECT_EQ(step, nullptr);
}

TEST(NoKernel, PtxMissing) {
  nsa_step *step;
  ASSERT_EQ(nsa_step_create(manifestText, std::string(manifestText).size(),
                            nullptr, 0, hostKernels, 2, &step),
            NSA_OK);
  GoodArguments arguments;
  for (TestArray *array : {&arguments.lens, &arguments.pool, &arguments.table,
                           &arguments.sums, &arguments.pages, &arguments.meta})
    array->array.device_type = NSA_DEVICE_CUDA;
  EXPECT_EQ(nsa_step_launch(step, arguments.list.data(), arguments.list.size(),
                            nullptr),
            NSA_NO_KERNEL);
  EXPECT_STREQ(
      nsa_last_error(),
      "step 'gather' has no PTX, but its arrays are on cuda:0: compile it with "
      "nsa-compile --emit=ptx, or in Python for target \"cuda\"");
  nsa_step_destroy(step);
}

} // namespace
