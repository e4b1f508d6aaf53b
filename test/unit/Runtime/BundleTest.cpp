//===- BundleTest.cpp - Loading directories -------------------------------===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "TestStep.h"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sys/stat.h>

using namespace nsa::runtime::test;
namespace fs = std::filesystem;

namespace {

class BundleTest : public ::testing::Test {
protected:
  void SetUp() override {
    std::string pattern = (fs::temp_directory_path() / "nsa-XXXXXX").string();
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    directory = pattern;
  }
  void TearDown() override {
    nsa_bundle_destroy(bundle);
    fs::remove_all(directory);
  }
  void write(const std::string &name, const std::string &contents) {
    std::ofstream(directory / name) << contents;
  }
  /// The test step by another name, with a PTX beside it.
  void writeStep(const std::string &name) {
    std::string text = manifestText;
    text.replace(text.find("gather"), 6, name);
    text.replace(text.find("\"chip\""), 0, "\"ptx\": \"" + name + ".ptx\", ");
    write(name + ".json", text);
    write(name + ".ptx", "ptx of " + name);
  }
  nsa_status load() { return nsa_bundle_load(directory.c_str(), &bundle); }
  void expectFailure(nsa_status status, const std::string &message) {
    EXPECT_EQ(load(), status);
    EXPECT_EQ(nsa_last_error(), message);
    EXPECT_EQ(bundle, nullptr);
  }

  fs::path directory;
  nsa_bundle *bundle = nullptr;
};

TEST_F(BundleTest, Good) {
  writeStep("two");
  writeStep("one");
  write("one.h", "no part of it");
  ASSERT_EQ(load(), NSA_OK) << nsa_last_error();
  ASSERT_EQ(nsa_bundle_num_steps(bundle), 2u);
  EXPECT_STREQ(nsa_step_name(nsa_bundle_step(bundle, 0)), "one");
  EXPECT_STREQ(nsa_step_name(nsa_bundle_step(bundle, 1)), "two");
  EXPECT_EQ(nsa_bundle_step(bundle, 2), nullptr);
  const nsa_step *step = nsa_bundle_find(bundle, "two");
  ASSERT_NE(step, nullptr);
  size_t size;
  const char *image = static_cast<const char *>(nsa_step_image(step, &size));
  EXPECT_EQ(std::string(image, size), "ptx of two");
  EXPECT_EQ(nsa_bundle_find(bundle, "three"), nullptr);
}

TEST_F(BundleTest, NoDirectory) {
  directory /= "nowhere";
  expectFailure(NSA_IO, directory.string() +
                            ": cannot be read: No such file or directory");
}

TEST_F(BundleTest, ForeignFiles) {
  writeStep("one");
  write("config.json", R"({"model_type": "deepseek_v32", "schemas": 1})");
  write("list.json", "[1, 2]");
  write("._one.json", "\x00\x05\x16");
  fs::create_directory(directory / "folder.json");
  ASSERT_EQ(mkfifo((directory / "pipe.json").c_str(), 0600), 0);
  ASSERT_EQ(load(), NSA_OK) << nsa_last_error();
  EXPECT_EQ(nsa_bundle_num_steps(bundle), 1u);
}

TEST_F(BundleTest, ForeignFilesOnly) {
  write("config.json", "{}");
  expectFailure(NSA_IO, directory.string() +
                            ": expected a bundle but it has no NAME.json");
}

TEST_F(BundleTest, NamedWhereItIsBroken) {
  // What was a manifest, or may have been one.
  for (const char *contents : {"{\"step\": \"x\"}", "{\"schema\": \"x\"}",
                               "{\xff", "", "{\"a\": \"\xff\"}"}) {
    write("broken.json", contents);
    EXPECT_EQ(load(), NSA_MANIFEST) << contents;
    EXPECT_EQ(std::string(nsa_last_error())
                  .find((directory / "broken.json").string() + ": manifest: "),
              0u)
        << nsa_last_error();
  }
  fs::remove(directory / "broken.json");
  fs::create_symlink("nowhere", directory / "dangling.json");
  expectFailure(NSA_IO, (directory / "dangling.json").string() +
                            ": cannot be read: No such file or directory");
}

TEST_F(BundleTest, Empty) {
  expectFailure(NSA_IO, directory.string() +
                            ": expected a bundle but it has no NAME.json");
}

TEST_F(BundleTest, PtxMissing) {
  writeStep("one");
  fs::remove(directory / "one.ptx");
  expectFailure(NSA_IO, (directory / "one.ptx").string() +
                            ": cannot be read: No such file or directory");
}

TEST_F(BundleTest, BadManifest) {
  writeStep("one");
  write("two.json", R"({"schema": 9})");
  expectFailure(
      NSA_MANIFEST,
      (directory / "two.json").string() +
          ": manifest: schema: expected 1 but got 9: this runtime does "
          "not know that version");
}

// For the address sanitizer as well (preset asan).
TEST_F(BundleTest, CutAnywhere) {
  writeStep("one");
  std::ifstream file(directory / "one.json");
  std::string text((std::istreambuf_iterator<char>(file)), {});
  text.resize(text.find_last_of('}') + 1);
  for (size_t length = 0; length < text.size(); ++length) {
    write("one.json", text.substr(0, length));
    EXPECT_EQ(load(), NSA_MANIFEST) << length;
    EXPECT_EQ(bundle, nullptr);
  }
}

TEST_F(BundleTest, ChangedAnywhere) {
  static constexpr char changes[] = "\"{}[],:0-9ae\\ \n\xff";
  writeStep("one");
  std::ifstream file(directory / "one.json");
  std::string text((std::istreambuf_iterator<char>(file)), {});
  size_t failures = 0;
  for (size_t at = 0; at < text.size(); ++at) {
    std::string changed = text;
    // The terminating null is one of the changes.
    changed[at] = changes[(7 * at) % sizeof(changes)];
    write("one.json", changed);
    failures += load() != NSA_OK;
    nsa_bundle_destroy(bundle);
    bundle = nullptr;
  }
  EXPECT_GT(failures, text.size() / 4);
  EXPECT_LT(failures, text.size());
}

TEST_F(BundleTest, SameStepTwice) {
  writeStep("one");
  fs::copy(directory / "one.json", directory / "other.json");
  expectFailure(NSA_MANIFEST,
                directory.string() + ": step 'one' is there twice");
}

} // namespace
