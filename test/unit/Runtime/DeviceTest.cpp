//===- DeviceTest.cpp - What the runtime says of devices ------------------===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Runs everywhere: on a machine without a driver it tests what is said then, on
// one with a device it launches on it.
//
//===----------------------------------------------------------------------===//

#include "DeviceModule.h"
#include "Driver.h"
#include "TestStep.h"

#include <dlfcn.h>

using namespace nsa::runtime;

namespace {

TEST(PtxNeeds, Parse) {
  PtxNeeds needs = PtxNeeds::parse("//\n.version 8.6\n.target sm_90a, x\n");
  EXPECT_EQ(needs.version, "8.6");
  EXPECT_EQ(needs.target, 90);
  EXPECT_EQ(needs.suffix, 'a');
  EXPECT_TRUE(needs.runsOn(90));
  EXPECT_FALSE(needs.runsOn(100));
  needs = PtxNeeds::parse(".version 8.8\n.target sm_120f\n");
  EXPECT_TRUE(needs.runsOn(121));
  EXPECT_FALSE(needs.runsOn(90));
  needs = PtxNeeds::parse(".version 7.0\n.target sm_80\n");
  EXPECT_TRUE(needs.runsOn(90));
  EXPECT_FALSE(needs.runsOn(75));
  // Of a cubin nothing is known here: the driver decides.
  EXPECT_TRUE(PtxNeeds::parse("\x7f"
                              "ELF.target sm_90")
                  .runsOn(80));
}

TEST(Device, Absent) {
  int32_t count = -1;
  nsa_status status = nsa_device_count(&count);
  if (status == NSA_OK)
    GTEST_SKIP() << "there is a device";
  EXPECT_EQ(count, 0);
  std::string message = nsa_last_error();
  if (status == NSA_NO_DRIVER) {
    EXPECT_NE(message.find("CUDA driver"), std::string::npos) << message;
  } else {
    EXPECT_EQ(status, NSA_NO_DEVICE);
    EXPECT_NE(message.find("device"), std::string::npos) << message;
  }
  // A step with PTX for CUDA arrays says the same, and the next one again.
  nsa_step *step;
  ASSERT_EQ(nsa_step_create(test::manifestText,
                            std::string(test::manifestText).size(), "ptx", 3,
                            test::hostKernels, 2, &step),
            NSA_OK);
  EXPECT_EQ(nsa_step_load(step, 0), status);
  EXPECT_EQ(nsa_step_load(step, 0), status);
  EXPECT_EQ(nsa_last_error(), message);
  // The host kernels stay usable.
  test::GoodArguments arguments;
  EXPECT_EQ(nsa_step_launch(step, arguments.list.data(), arguments.list.size(),
                            nullptr),
            NSA_OK);
  nsa_step_destroy(step);
}

class DeviceTest : public ::testing::Test {
protected:
  void SetUp() override {
    if (nsa_device_count(nullptr) != NSA_OK)
      GTEST_SKIP() << "no CUDA device: " << nsa_last_error();
  }
  void TearDown() override { nsa_step_destroy(step); }

  nsa_status create(const std::string &ptx) {
    std::string manifest =
        R"({"schema": 1, "step": "fill", "arguments": [
            {"name": "n", "kind": "size"},
            {"name": "x", "kind": "out", "dtype": "int32", "shape": [null],
             "strides": [null]}],
            "requires": [{"argument": "x", "dim": 0, "at_least": "n"}],
            "kernels": [{"name": "fill", "threads": 32, "parameters": [
              {"field": "pointer", "argument": "x"},
              {"field": "stride", "argument": "x", "dim": 0},
              {"field": "value", "argument": "n"}],
            "segments": [{"rows": 1, "columns": "n", "tile": [1, 32]}]}]})";
    return nsa_step_create(manifest.data(), manifest.size(), ptx.data(),
                           ptx.size(), nullptr, 0, &step);
  }

  nsa_step *step = nullptr;
};

/// x[i] = i.
const char *fillPtx = R"(
.version 7.0
.target sm_50
.address_size 64
.visible .entry fill(.param .u64 x, .param .u64 stride, .param .u64 n) {
  .reg .pred %p;
  .reg .b32 %t, %b, %i;
  .reg .b64 %rx, %rs, %rn, %o, %i64;
  ld.param.u64 %rx, [x];
  ld.param.u64 %rs, [stride];
  ld.param.u64 %rn, [n];
  mov.u32 %t, %tid.x;
  mov.u32 %b, %ctaid.x;
  mad.lo.u32 %i, %b, 32, %t;
  cvt.u64.u32 %i64, %i;
  setp.ge.s64 %p, %i64, %rn;
  @%p bra DONE;
  mul.lo.s64 %o, %i64, %rs;
  shl.b64 %o, %o, 2;
  add.s64 %o, %rx, %o;
  cvta.to.global.u64 %o, %o;
  st.global.u32 [%o], %i;
DONE:
  ret;
}
)";

template <typename Function> Function driverFunction(const char *name) {
  void *library = dlopen("libcuda.so.1", RTLD_NOW);
  return reinterpret_cast<Function>(dlsym(library, name));
}

TEST_F(DeviceTest, Launch) {
  ASSERT_EQ(create(fillPtx), NSA_OK) << nsa_last_error();
  // Without a context of the caller's: loading makes the primary one.
  ASSERT_EQ(nsa_step_load(step, 0), NSA_OK) << nsa_last_error();
  Driver &driver = Driver::get();
  ContextScope scope(driver, driver.contextFor(0));
  auto allocate =
      driverFunction<CUresult (*)(CUdeviceptr *, size_t)>("cuMemAlloc_v2");
  auto release = driverFunction<CUresult (*)(CUdeviceptr)>("cuMemFree_v2");
  auto toHost = driverFunction<CUresult (*)(void *, CUdeviceptr, size_t)>(
      "cuMemcpyDtoH_v2");
  CUdeviceptr memory;
  ASSERT_EQ(allocate(&memory, 400), 0);
  int64_t shape = 50, stride = 2;
  nsa_array array{};
  array.data = reinterpret_cast<void *>(memory);
  array.device_type = NSA_DEVICE_CUDA;
  // Asks the driver.
  array.device_id = -1;
  array.dtype_code = NSA_DTYPE_INT;
  array.dtype_bits = 32;
  array.ndim = 1;
  array.shape = &shape;
  array.strides = &stride;
  nsa_argument arguments[] = {{"x", &array, 0}, {"n", nullptr, 50}};
  EXPECT_EQ(nsa_step_launch(step, arguments, 2, nullptr), NSA_OK)
      << nsa_last_error();
  int32_t host[100];
  ASSERT_EQ(toHost(host, memory, sizeof(host)), 0);
  for (int i = 0; i != 50; ++i)
    EXPECT_EQ(host[2 * i], i);
  release(memory);
}

TEST_F(DeviceTest, NoSuchDevice) {
  ASSERT_EQ(create(fillPtx), NSA_OK);
  EXPECT_EQ(nsa_step_load(step, 4711), NSA_NO_DEVICE);
  EXPECT_NE(std::string(nsa_last_error()).find("no CUDA device 4711"),
            std::string::npos);
}

TEST_F(DeviceTest, PtxForALaterChip) {
  ASSERT_EQ(create(".version 8.0\n.target sm_999\n"), NSA_OK);
  EXPECT_EQ(nsa_step_load(step, 0), NSA_UNSUPPORTED_PTX);
  EXPECT_NE(std::string(nsa_last_error()).find("its PTX is for sm_999 but"),
            std::string::npos)
      << nsa_last_error();
}

TEST_F(DeviceTest, PtxTooNew) {
  std::string ptx = fillPtx;
  ptx.replace(ptx.find("7.0"), 3, "99.0");
  ASSERT_EQ(create(ptx), NSA_OK);
  EXPECT_EQ(nsa_step_load(step, 0), NSA_UNSUPPORTED_PTX);
  EXPECT_NE(
      std::string(nsa_last_error()).find("PTX version 99.0 is newer than"),
      std::string::npos)
      << nsa_last_error();
}

TEST_F(DeviceTest, KernelMissing) {
  std::string ptx = fillPtx;
  ptx.replace(ptx.find("fill"), 4, "full");
  ASSERT_EQ(create(ptx), NSA_OK);
  EXPECT_EQ(nsa_step_load(step, 0), NSA_DRIVER);
  EXPECT_NE(std::string(nsa_last_error()).find("no kernel 'fill' in its image"),
            std::string::npos)
      << nsa_last_error();
}

} // namespace
