//===- TestStep.h - A step to test the runtime with -------------*- C++ -*-===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef NSA_TEST_UNIT_RUNTIME_TESTSTEP_H
#define NSA_TEST_UNIT_RUNTIME_TESTSTEP_H

#include "Error.h"
#include "nsa-c/runtime.h"

#include "gtest/gtest.h"

#include <string>
#include <vector>

namespace nsa::runtime::test {

/// A step with one of everything: two kernels, arrays of rank 1 and 2, fixed
/// and free shapes and strides, extents, alignment, requirements.
inline const char *manifestText = R"({
  "schema": 1,
  "step": "gather",
  "chip": "sm_80",
  "arguments": [
    {"name": "bs", "kind": "size"},
    {"name": "width", "kind": "size"},
    {"name": "lens", "kind": "in", "dtype": "int64", "shape": [null],
     "strides": [null], "extents": ["bs"], "alignment": 8},
    {"name": "pool", "kind": "in", "dtype": "int64", "shape": [null],
     "strides": [null], "extents": ["bs"]},
    {"name": "table", "kind": "in", "dtype": "int32", "shape": [null, null],
     "strides": [null, 1], "alignment": 16},
    {"name": "sums", "kind": "out", "dtype": "int32", "shape": [null],
     "strides": [null]},
    {"name": "pages", "kind": "out", "dtype": "int32", "shape": [null, null],
     "strides": [null, 1]},
    {"name": "meta", "kind": "out", "dtype": "uint8", "shape": [2, 4],
     "strides": ["contiguous", 1]}
  ],
  "requires": [
    {"argument": "lens", "dim": 0, "at_least": "bs"},
    {"argument": "sums", "dim": 0, "at_least": ["add", "bs", 1]},
    {"argument": "pages", "dim": 1, "at_least": ["ceildiv", "width", 2]},
    {"argument": "table", "dim": 0, "at_least": 1}
  ],
  "kernels": [
    {"name": "first", "threads": 256,
     "parameters": [
       {"field": "value", "argument": "bs"},
       {"field": "pointer", "argument": "lens"},
       {"field": "stride", "argument": "lens", "dim": 0},
       {"field": "size", "argument": "table", "dim": 1},
       {"field": "pointer", "argument": "sums"}],
     "segments": [
       {"rows": "bs", "columns": ["dim", "table", 1], "tile": [1, 4]}]},
    {"name": "second", "threads": 32,
     "parameters": [{"field": "value", "argument": "width"}],
     "segments": [
       {"rows": 1, "columns": "width", "tile": [1, 1024]},
       {"rows": "bs", "columns": 1, "tile": [32, 1]}]}
  ]
})";

/// What the host kernels were called with, since the last reset().
struct Calls {
  static inline std::vector<std::vector<int64_t>> first, second;

  static void reset() {
    first.clear();
    second.clear();
  }
  static size_t count() { return first.size() + second.size(); }
};

template <size_t count> std::vector<int64_t> read(void **parameters) {
  std::vector<int64_t> values;
  for (size_t i = 0; i != count; ++i)
    values.push_back(*static_cast<int64_t *>(parameters[i]));
  return values;
}

inline void firstKernel(void **parameters) {
  Calls::first.push_back(read<5>(parameters));
}
inline void secondKernel(void **parameters) {
  Calls::second.push_back(read<1>(parameters));
}

inline const nsa_host_kernel hostKernels[] = {{"first", firstKernel},
                                              {"second", secondKernel}};

/// An array and the memory behind it.
struct TestArray {
  std::vector<int64_t> shape, strides;
  std::vector<char> storage;
  nsa_array array{};

  TestArray(uint8_t code, uint8_t bits, std::vector<int64_t> dims)
      : shape(std::move(dims)) {
    int64_t elements = 1;
    strides.resize(shape.size());
    for (size_t i = shape.size(); i-- != 0;) {
      strides[i] = elements;
      elements *= shape[i];
    }
    storage.resize(static_cast<size_t>(elements) * bits / 8 + 64);
    array.device_type = NSA_DEVICE_CPU;
    array.dtype_code = code;
    array.dtype_bits = bits;
    array.ndim = static_cast<int32_t>(shape.size());
    setOffset(0);
    sync();
  }
  TestArray(const TestArray &) = delete;

  /// Puts element 0 at `bytes` past a multiple of 32.
  void setOffset(size_t bytes) {
    auto address = reinterpret_cast<uintptr_t>(storage.data());
    array.data = storage.data() + (32 - address % 32) % 32 + bytes;
  }
  void sync() {
    array.shape = shape.data();
    array.strides = strides.data();
  }
};

/// Arguments that pass every check, to be spoilt one at a time.
struct GoodArguments {
  TestArray lens{NSA_DTYPE_INT, 64, {4}};
  TestArray pool{NSA_DTYPE_INT, 64, {4}};
  TestArray table{NSA_DTYPE_INT, 32, {6, 10}};
  TestArray sums{NSA_DTYPE_INT, 32, {9}};
  TestArray pages{NSA_DTYPE_INT, 32, {4, 8}};
  TestArray meta{NSA_DTYPE_UINT, 8, {2, 4}};
  std::vector<nsa_argument> list{
      {"width", nullptr, 5},    {"lens", &lens.array, 0},
      {"pool", &pool.array, 0}, {"table", &table.array, 0},
      {"sums", &sums.array, 0}, {"pages", &pages.array, 0},
      {"meta", &meta.array, 0},
  };

  void setSize(const char *name, int64_t value) {
    for (nsa_argument &argument : list)
      if (std::string(argument.name) == name) {
        argument.size = value;
        return;
      }
    list.push_back({name, nullptr, value});
  }
  void remove(const std::string &name) {
    for (size_t i = 0; i != list.size(); ++i)
      if (name == list[i].name) {
        list.erase(list.begin() + static_cast<long>(i));
        return;
      }
  }
};

/// The step through the C ABI, as everybody else uses it.
class StepTest : public ::testing::Test {
protected:
  void SetUp() override {
    Calls::reset();
    ASSERT_EQ(nsa_step_create(manifestText, std::string(manifestText).size(),
                              nullptr, 0, hostKernels, 2, &step),
              NSA_OK)
        << nsa_last_error();
  }
  void TearDown() override { nsa_step_destroy(step); }

  nsa_status launch() {
    return nsa_step_launch(step, arguments.list.data(), arguments.list.size(),
                           nullptr);
  }
  /// A launch fails so, and nothing is launched.
  void expectFailure(nsa_status status, const std::string &message) {
    EXPECT_EQ(launch(), status);
    EXPECT_EQ(nsa_last_error(), message);
    EXPECT_EQ(Calls::count(), 0u);
  }

  nsa_step *step = nullptr;
  GoodArguments arguments;
};

} // namespace nsa::runtime::test

#endif // NSA_TEST_UNIT_RUNTIME_TESTSTEP_H
