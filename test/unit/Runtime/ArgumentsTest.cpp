//===- ArgumentsTest.cpp - Every check of an argument ---------------------===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Each test spoils one thing in arguments that are otherwise right, expects the
// whole message, and that no kernel was called.
//
//===----------------------------------------------------------------------===//

#include "TestStep.h"

using namespace nsa::runtime::test;

namespace {

class ArgumentsTest : public StepTest {};

TEST_F(ArgumentsTest, Good) {
  ASSERT_EQ(launch(), NSA_OK) << nsa_last_error();
  EXPECT_EQ(Calls::first.size(), 1u);
  EXPECT_EQ(Calls::second.size(), 1u);
}

TEST_F(ArgumentsTest, Unknown) {
  arguments.list.push_back({"tabel", &arguments.table.array, 0});
  expectFailure(NSA_TYPE,
                "argument 'tabel': step 'gather' has no argument of that name");
}

TEST_F(ArgumentsTest, Missing) {
  arguments.remove("table");
  expectFailure(NSA_TYPE, "argument 'table': expected a 2-d int32 array but it "
                          "is missing");
}

TEST_F(ArgumentsTest, Twice) {
  arguments.list.push_back({"pool", &arguments.pool.array, 0});
  expectFailure(NSA_TYPE, "argument 'pool': given twice");
}

TEST_F(ArgumentsTest, SizeForArray) {
  arguments.remove("pool");
  arguments.list.push_back({"pool", nullptr, 3});
  expectFailure(NSA_TYPE,
                "argument 'pool': expected a 1-d int64 array but got a size");
}

TEST_F(ArgumentsTest, ArrayForSize) {
  arguments.remove("width");
  arguments.list.push_back({"width", &arguments.pool.array, 3});
  expectFailure(NSA_TYPE, "argument 'width': expected a size but got an array");
}

TEST_F(ArgumentsTest, DType) {
  arguments.lens.array.dtype_bits = 32;
  expectFailure(NSA_TYPE,
                "argument 'lens': expected dtype int64 but got int32");
}

TEST_F(ArgumentsTest, UnnamedDType) {
  arguments.lens.array.dtype_code = 77;
  expectFailure(NSA_TYPE,
                "argument 'lens': expected dtype int64 but got dtype(77, 64)");
}

TEST_F(ArgumentsTest, Rank) {
  arguments.pages.array.ndim = 1;
  expectFailure(NSA_INVALID_ARGUMENT,
                "argument 'pages': expected 2 dimensions but got 1");
}

TEST_F(ArgumentsTest, UnknownDevice) {
  arguments.pool.array.device_type = 8;
  expectFailure(
      NSA_INVALID_ARGUMENT,
      "argument 'pool': expected an array on a cpu or cuda device but "
      "got one on DLPack device type 8");
}

TEST_F(ArgumentsTest, OtherDevice) {
  arguments.table.array.device_type = NSA_DEVICE_CUDA;
  arguments.table.array.device_id = 1;
  expectFailure(
      NSA_INVALID_ARGUMENT,
      "argument 'table': expected an array on cpu like 'lens' but got "
      "one on cuda:1");
}

TEST_F(ArgumentsTest, PinnedMemoryIsOnTheCpu) {
  arguments.table.array.device_type = NSA_DEVICE_CUDA_HOST;
  EXPECT_EQ(launch(), NSA_OK) << nsa_last_error();
}

TEST_F(ArgumentsTest, ReadOnlyOut) {
  arguments.sums.array.flags = NSA_ARRAY_READ_ONLY;
  expectFailure(NSA_INVALID_ARGUMENT, "argument 'sums': expected a writable "
                                      "array but got a read-only one");
}

TEST_F(ArgumentsTest, ReadOnlyIn) {
  arguments.lens.array.flags = NSA_ARRAY_READ_ONLY;
  EXPECT_EQ(launch(), NSA_OK) << nsa_last_error();
}

TEST_F(ArgumentsTest, NegativeShape) {
  arguments.pool.shape[0] = -1;
  expectFailure(NSA_INVALID_ARGUMENT, "argument 'pool': expected sizes of at "
                                      "least 0 but got shape[0] = -1");
}

TEST_F(ArgumentsTest, FixedShape) {
  arguments.meta.shape = {2, 5};
  arguments.meta.strides = {5, 1};
  arguments.meta.sync();
  expectFailure(NSA_INVALID_ARGUMENT,
                "argument 'meta': expected shape[1] to be 4 but got 5");
}

TEST_F(ArgumentsTest, FixedStride) {
  arguments.table.strides = {20, 2};
  expectFailure(NSA_INVALID_ARGUMENT,
                "argument 'table': expected stride 1 in dimension 1 but got 2");
}

TEST_F(ArgumentsTest, Contiguous) {
  arguments.meta.strides = {8, 1};
  expectFailure(NSA_INVALID_ARGUMENT,
                "argument 'meta': expected stride 4 in dimension 0 but got 8");
}

TEST_F(ArgumentsTest, NullStridesAreContiguous) {
  arguments.meta.array.strides = nullptr;
  arguments.table.array.strides = nullptr;
  ASSERT_EQ(launch(), NSA_OK) << nsa_last_error();
  EXPECT_EQ(Calls::first[0][2], 1);
}

TEST_F(ArgumentsTest, StrideOfOneElementMeansNothing) {
  arguments.table.shape = {6, 1};
  arguments.table.strides = {1, 77};
  EXPECT_EQ(launch(), NSA_OK) << nsa_last_error();
}

TEST_F(ArgumentsTest, Alignment) {
  arguments.table.setOffset(4);
  expectFailure(NSA_INVALID_ARGUMENT,
                "argument 'table': expected an address aligned to 16 bytes but "
                "got one that is 4 past a multiple of it");
}

TEST_F(ArgumentsTest, ElementAlignmentByDefault) {
  arguments.pool.setOffset(4);
  expectFailure(
      NSA_INVALID_ARGUMENT,
      "argument 'pool': expected an address aligned to 8 bytes but got "
      "one that is 4 past a multiple of it");
}

TEST_F(ArgumentsTest, Null) {
  arguments.table.array.data = nullptr;
  expectFailure(NSA_INVALID_ARGUMENT, "argument 'table': expected the address "
                                      "of 60 elements but got null");
}

TEST_F(ArgumentsTest, NullWithoutElements) {
  for (TestArray *array : {&arguments.lens, &arguments.pool}) {
    array->shape[0] = 0;
    array->array.data = nullptr;
  }
  arguments.pages.shape[0] = 0;
  arguments.pages.array.data = nullptr;
  ASSERT_EQ(launch(), NSA_OK) << nsa_last_error();
  // bs is 0: no block of the first kernel is left, one of the second is.
  EXPECT_EQ(Calls::first.size(), 0u);
  EXPECT_EQ(Calls::second.size(), 1u);
}

TEST_F(ArgumentsTest, Requires) {
  arguments.setSize("bs", 5);
  expectFailure(NSA_INVALID_ARGUMENT,
                "argument 'lens': expected shape[0] to be "
                "at least 5 (bs) but got 4");
  arguments.setSize("bs", 4);
  arguments.sums.shape[0] = 4;
  expectFailure(NSA_INVALID_ARGUMENT,
                "argument 'sums': expected shape[0] to be "
                "at least 5 (bs + 1) but got 4");
  arguments.sums.shape[0] = 5;
  arguments.setSize("width", 17);
  expectFailure(NSA_INVALID_ARGUMENT,
                "argument 'pages': expected shape[1] to be at least 9 "
                "(ceildiv(width, 2)) but got 8");
}

TEST_F(ArgumentsTest, RequiresConstant) {
  arguments.table.shape[0] = 0;
  expectFailure(NSA_INVALID_ARGUMENT, "argument 'table': expected shape[0] to "
                                      "be at least 1 but got 0");
}

TEST_F(ArgumentsTest, SizeRange) {
  for (int64_t bad : {INT64_C(-1), INT64_C(2147483648), INT64_MAX}) {
    arguments.setSize("width", bad);
    expectFailure(NSA_INVALID_ARGUMENT,
                  "argument 'width': expected a size from 0 to 2147483647 but "
                  "got " +
                      std::to_string(bad));
  }
}

TEST_F(ArgumentsTest, SizeThatNothingNames) {
  arguments.remove("width");
  expectFailure(NSA_TYPE,
                "argument 'width': expected a size but it is missing");
}

TEST_F(ArgumentsTest, DimensionsThatDisagree) {
  arguments.pool.shape[0] = 3;
  expectFailure(
      NSA_INVALID_ARGUMENT,
      "argument 'bs': expected the dimensions that name it to agree, "
      "as it is not given, but lens.shape[0] is 4, pool.shape[0] is 3");
  arguments.setSize("bs", 3);
  EXPECT_EQ(launch(), NSA_OK) << nsa_last_error();
}

TEST_F(ArgumentsTest, OutOverlapsIn) {
  arguments.pages.array.data = arguments.table.array.data;
  expectFailure(NSA_INVALID_ARGUMENT,
                "argument 'pages': expected an array that "
                "overlaps no other but it overlaps "
                "'table'");
}

TEST_F(ArgumentsTest, InMayBeOutOfNothing) {
  arguments.pool.array.data = arguments.lens.array.data;
  EXPECT_EQ(launch(), NSA_OK) << nsa_last_error();
}

TEST_F(ArgumentsTest, OutOverlapsOut) {
  arguments.sums.array.data = arguments.pages.array.data;
  expectFailure(
      NSA_INVALID_ARGUMENT,
      "argument 'pages': expected an array that overlaps no other but "
      "it overlaps 'sums' without being the very same view");
}

TEST_F(ArgumentsTest, OutOverlapsItself) {
  arguments.sums.strides[0] = 0;
  expectFailure(NSA_INVALID_ARGUMENT,
                "argument 'sums': expected elements apart from each other but "
                "its strides make some of them overlap");
  arguments.sums.strides[0] = 1;
  arguments.pages.strides[0] = 7;
  expectFailure(NSA_INVALID_ARGUMENT,
                "argument 'pages': expected elements apart from each other but "
                "its strides make some of them overlap");
}

TEST_F(ArgumentsTest, InMayOverlapItself) {
  arguments.lens.strides[0] = 0;
  EXPECT_EQ(launch(), NSA_OK) << nsa_last_error();
}

TEST_F(ArgumentsTest, BeyondMemory) {
  arguments.lens.strides[0] = INT64_MAX / 2;
  expectFailure(NSA_INVALID_ARGUMENT,
                "argument 'lens': expected an array that fits into memory but "
                "its shape and strides reach beyond 2^62 bytes");
}

} // namespace
