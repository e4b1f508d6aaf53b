//===- AccessesTest.cpp - What guards have recorded -----------------------===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "TestStep.h"
#include "nsa/Runtime/Runtime.h"

#include "gtest/gtest.h"

#include <algorithm>

using namespace nsa::runtime;

namespace {

constexpr size_t numRecords = 3, numWords = 4 * (1 + numRecords);
/// What the step's kernels record in, on the host.
int64_t buffer[numWords];

void kernel(void **) {}

/// The test's step, with guards.
std::string guardedManifest() {
  std::string text = test::manifestText;
  return text.insert(text.find("\"kernels\":"), R"("guards": {
    "buffer": "nsa_guards", "records": 3, "ops": [
      {"op": "nsa.step", "location": "a.mlir:1:1"},
      {"op": "nsa.copy", "location": ""}]}, )");
}

Step guardedStep() {
  return Step(guardedManifest(), "",
              {{"first", kernel},
               {"second", kernel},
               {"nsa_guards", reinterpret_cast<nsa_host_fn>(&buffer)}});
}

/// As Guards.cpp has it.
int64_t site(int64_t op, int64_t argument, int64_t dim, int64_t isStore) {
  return op | argument << 20 | dim << 56 | isStore << 60;
}

void record(size_t number, int64_t site, int64_t index, int64_t bound,
            int64_t thread) {
  int64_t words[] = {site, index, bound, thread};
  std::copy_n(words, 4, buffer + 4 * (1 + number));
  buffer[0] = static_cast<int64_t>(number) + 1;
}

TEST(Accesses, ToldOnce) {
  Step step = guardedStep();
  EXPECT_NO_THROW(step.checkAccesses());
  record(0, site(0, 2, 0, 0), -1, 5, int64_t(7) << 32 | 31);
  record(1, site(1, 7, 1, 1) | int64_t(1) << 40, int64_t(1) << 40, 12, -1);
  try {
    step.checkAccesses();
    FAIL() << "no error";
  } catch (const AccessError &error) {
    EXPECT_EQ(error.status(), NSA_WRONG_ACCESS);
    EXPECT_STREQ(
        error.what(),
        "step 'gather': nsa.step at a.mlir:1:1 loads from argument "
        "'lens' at index -1 of dimension 0, whose size is 5, in kernel "
        "'first', block 7, thread 31; the load gave 0 instead; 1 more "
        "access was wrong");
    EXPECT_EQ(error.argument(), "lens");
    EXPECT_EQ(error.count(), 2u);
    ASSERT_EQ(error.accesses().size(), 2u);
    const nsa_access &second = error.accesses()[1];
    EXPECT_STREQ(second.op, "nsa.copy");
    EXPECT_STREQ(second.location, "");
    EXPECT_STREQ(second.kernel, "second");
    EXPECT_EQ(second.is_store, 1);
    EXPECT_EQ(second.dim, 1);
    EXPECT_EQ(second.index, int64_t(1) << 40);
    EXPECT_EQ(second.bound, 12);
    EXPECT_EQ(second.block, -1);
    EXPECT_EQ(second.thread, -1);
  }
  EXPECT_NO_THROW(step.checkAccesses());
  for (int64_t word : buffer)
    EXPECT_EQ(word, 0);
}

TEST(Accesses, MoreThanRecords) {
  Step step = guardedStep();
  for (size_t i = 0; i < numRecords; ++i)
    record(i, site(1, 7, 0, 1), 100 + static_cast<int64_t>(i), 12, -1);
  buffer[0] = 1000;
  uint64_t count;
  size_t known;
  nsa_access one;
  EXPECT_EQ(
      nsa_step_check_accesses(step.get(), &one, 1, &known, &count, nullptr),
      NSA_WRONG_ACCESS);
  EXPECT_EQ(count, 1000u);
  EXPECT_EQ(known, 1u);
  EXPECT_EQ(one.index, 100);
  EXPECT_EQ(std::string(nsa_last_error()),
            "step 'gather': nsa.copy stores to argument '" +
                std::string(one.argument) +
                "' at index 100 of dimension 0, whose size is 12, in kernel "
                "'first' on the host; the store was skipped; 999 more were "
                "wrong");
  EXPECT_EQ(nsa_step_check_accesses(step.get(), nullptr, 0, nullptr, nullptr,
                                    nullptr),
            NSA_OK);
}

TEST(Accesses, TwoElementsOfOnePlace) {
  Step step = guardedStep();
  // One more that was not looked at than were wrong.
  record(0, site(0, 6, 0, 1) | int64_t(1) << 61, 4, 12, int64_t(1) << 32 | 5);
  record(1, site(1, 7, 1, 1) | int64_t(1) << 61, 3 * 12 + 7, 12, -1);
  buffer[1] = 3;
  nsa_access accesses[2];
  uint64_t count, unclaimed;
  size_t known;
  EXPECT_EQ(nsa_step_check_accesses(step.get(), accesses, 2, &known, &count,
                                    &unclaimed),
            NSA_WRONG_ACCESS);
  EXPECT_EQ(std::string(nsa_last_error()),
            "step 'gather': nsa.step at a.mlir:1:1: two elements go to one "
            "place of argument '" +
                std::string(accesses[0].argument) +
                "', index 4, in kernel 'first', block 1, thread 5; the later "
                "one was not stored; 1 more access was wrong");
  EXPECT_EQ(count, 2u);
  EXPECT_EQ(unclaimed, 3u);
  ASSERT_EQ(known, 2u);
  EXPECT_EQ(accesses[0].is_taken, 1);
  EXPECT_EQ(accesses[0].row, -1);
  EXPECT_EQ(accesses[1].is_taken, 1);
  EXPECT_EQ(accesses[1].row, 3);
  EXPECT_EQ(accesses[1].index, 7);
  EXPECT_EQ(accesses[1].bound, 12);
  // What is not looked at is no error, and told of once.
  buffer[1] = 7;
  EXPECT_EQ(step.checkAccesses(), 7u);
  EXPECT_EQ(step.checkAccesses(), 0u);
  record(0, site(1, 7, 1, 1) | int64_t(1) << 61, 3 * 12 + 7, 12, -1);
  try {
    step.checkAccesses();
    FAIL() << "no error";
  } catch (const AccessError &error) {
    EXPECT_NE(std::string(error.what()).find("', index [3, 7], in kernel"),
              std::string::npos);
  }
}

TEST(Accesses, OfAnotherCompilation) {
  Step step = guardedStep();
  for (int64_t wrong : {site(2, 6, 0, 1), site(1, 99, 0, 1),
                        site(1, 6, 0, 1) | int64_t(2) << 40}) {
    record(0, wrong, 4, 12, -1);
    try {
      step.checkAccesses();
      FAIL() << "no error";
    } catch (const std::exception &error) {
      EXPECT_NE(std::string(error.what())
                    .find("a record of its guards speaks of what the manifest "
                          "does not have"),
                std::string::npos);
    }
  }
}

TEST(Accesses, WithoutRoomForRecords) {
  std::string text = guardedManifest();
  text.replace(text.find("\"records\": 3"), 12, "\"records\": 0");
  Step step(text, "",
            {{"first", kernel},
             {"second", kernel},
             {"nsa_guards", reinterpret_cast<nsa_host_fn>(&buffer)}});
  buffer[0] = 5;
  try {
    step.checkAccesses();
    FAIL() << "no error";
  } catch (const AccessError &error) {
    EXPECT_EQ(error.count(), 5u);
    EXPECT_STREQ(error.what(), "step 'gather': 5 wrong accesses were skipped");
  }
  EXPECT_NO_THROW(step.checkAccesses());
}

TEST(Accesses, CopiedRecords) {
  Step step = guardedStep();
  std::vector<int64_t> words(numWords);
  auto check = [&](size_t bytes) {
    return nsa_step_check_records(step.get(), words.data(), bytes, nullptr, 0,
                                  nullptr, nullptr, nullptr);
  };
  EXPECT_EQ(check(8 * numWords), NSA_OK);
  EXPECT_EQ(check(8 * numWords - 1), NSA_INVALID_ARGUMENT);
  EXPECT_STREQ(nsa_last_error(),
               "argument 'buffer': expected 128 bytes but got 127");
  EXPECT_EQ(nsa_step_check_records(step.get(), nullptr, 0, nullptr, 0, nullptr,
                                   nullptr, nullptr),
            NSA_INVALID_ARGUMENT);
  words[0] = 1;
  words[4] = site(1, 2, 0, 0);
  EXPECT_EQ(check(8 * numWords), NSA_WRONG_ACCESS);
  // What the manifest does not have.
  for (int64_t wrong : {site(2, 2, 0, 0), site(1, 8, 0, 0),
                        site(1, 2, 0, 0) | int64_t(2) << 40}) {
    words[4] = wrong;
    EXPECT_EQ(check(8 * numWords), NSA_INVALID_ARGUMENT);
    EXPECT_NE(std::string(nsa_last_error()).find("different compilations"),
              std::string::npos);
  }
}

TEST(Accesses, Refused) {
  Step plain(test::manifestText, "");
  EXPECT_EQ(nsa_step_check_accesses(plain.get(), nullptr, 0, nullptr, nullptr,
                                    nullptr),
            NSA_INVALID_ARGUMENT);
  EXPECT_STREQ(
      nsa_last_error(),
      "step 'gather' was compiled without guards, so nothing is known of its "
      "accesses: compile it with nsa-compile --guards, in Python with "
      "guards=True, or write 'attributes {guards}' on the step");
  EXPECT_EQ(
      nsa_step_check_accesses(nullptr, nullptr, 0, nullptr, nullptr, nullptr),
      NSA_INVALID_ARGUMENT);
  try {
    Step step(guardedManifest(), "", {{"first", kernel}, {"second", kernel}});
    FAIL() << "no error";
  } catch (const Error &error) {
    EXPECT_STREQ(error.what(), "step 'gather': expected a host kernel "
                               "'nsa_guards' but it is missing");
  }
  EXPECT_STREQ(nsa_status_name(NSA_WRONG_ACCESS), "NSA_WRONG_ACCESS");
}

} // namespace
