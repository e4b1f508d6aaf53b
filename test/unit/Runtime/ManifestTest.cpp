//===- ManifestTest.cpp - Manifests, good and bad -------------------------===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Manifest.h"
#include "Error.h"
#include "TestStep.h"

#include "gtest/gtest.h"

using namespace nsa::runtime;

namespace {

TEST(Manifest, Good) {
  Manifest manifest = Manifest::parse(test::manifestText);
  EXPECT_EQ(manifest.step, "gather");
  EXPECT_EQ(manifest.chip, "sm_80");
  EXPECT_FALSE(manifest.pdl);
  EXPECT_EQ(manifest.ptx, "");
  EXPECT_EQ(manifest.arguments.size(), 8u);
  EXPECT_EQ(manifest.sizes, (std::vector<int32_t>{0, 1}));
  const ArgumentSpec &lens = manifest.arguments[2];
  EXPECT_EQ(lens.dims[0].extent, 0);
  EXPECT_EQ(lens.alignment, 8);
  EXPECT_EQ(manifest.arguments[7].dims[0].stride, NSA_CONTIGUOUS);
  EXPECT_EQ(manifest.arguments[7].dims[1].stride, 1);
  EXPECT_EQ(manifest.requirements[1].at_least.length, 3);
  EXPECT_STREQ(manifest.ports[2].name, "lens");
}

/// The good manifest with the first `from` in it replaced.
std::string changed(const std::string &from, const std::string &to) {
  std::string text = test::manifestText;
  size_t at = text.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  return text.replace(at, from.size(), to);
}

void expectError(const std::string &text, const std::string &message) {
  try {
    Manifest::parse(text);
    FAIL() << "no error, but expected: " << message;
  } catch (const StatusError &error) {
    EXPECT_EQ(error.status, NSA_MANIFEST);
    EXPECT_EQ(std::string(error.what()), message);
  }
}

TEST(Manifest, DependentLaunches) {
  EXPECT_TRUE(Manifest::parse(changed("\"chip\":", "\"pdl\": true, \"chip\":")).pdl);
  EXPECT_FALSE(Manifest::parse(changed("\"chip\":", "\"pdl\": false, \"chip\":")).pdl);
  expectError(changed("\"chip\":", "\"pdl\": 1, \"chip\":"),
              "manifest: pdl: expected true or false but got 1");
}

TEST(Manifest, Guards) {
  EXPECT_FALSE(Manifest::parse(test::manifestText).guards);
  auto with = [](const std::string &guards) {
    return changed("\"chip\":", "\"guards\": " + guards + ", \"chip\":");
  };
  Manifest manifest =
      Manifest::parse(with(R"({"buffer": "b", "records": 2,
                               "ops": [{"op": "o", "location": "l"}]})"));
  ASSERT_TRUE(manifest.guards);
  EXPECT_EQ(manifest.guards->buffer, "b");
  EXPECT_EQ(manifest.guards->bytes(), 96u);
  ASSERT_EQ(manifest.guards->ops.size(), 1u);
  EXPECT_EQ(manifest.guards->ops[0].name, "o");
  EXPECT_EQ(manifest.guards->ops[0].location, "l");
  expectError(with("true"),
              "manifest: guards: expected an object but got true");
  expectError(with(R"({"buffer": "", "records": 2, "ops": []})"),
              "manifest: guards.buffer: expected the name of a global but got "
              "\"\"");
  expectError(with(R"({"buffer": "b", "records": -1, "ops": []})"),
              "manifest: guards.records: expected a number of records but got "
              "-1");
  expectError(with(R"({"buffer": "b", "records": 1, "ops": [{"op": "o"}]})"),
              "manifest: guards.ops[0]: expected a member 'location'");
}

TEST(Manifest, MalformedJson) {
  for (std::string text : {"", "{", "nonsense", "{\"schema\": 1,}", "\xff"})
    try {
      Manifest::parse(text);
      FAIL() << text;
    } catch (const StatusError &error) {
      EXPECT_EQ(error.status, NSA_MANIFEST);
      EXPECT_EQ(std::string(error.what()).find("manifest: malformed JSON: "),
                0u);
    }
  expectError(std::string(100000, '['), "manifest: nested too deeply");
  expectError("[]", "manifest: expected an object but got []");
}

TEST(Manifest, Schema) {
  expectError("{}", "manifest: expected a member 'schema'");
  expectError(R"({"schema": "1"})",
              "manifest: schema: expected an integer but got \"1\"");
  expectError(changed("\"schema\": 1", "\"schema\": 2"),
              "manifest: schema: expected 1 but got 2: this runtime does not "
              "know that version");
  // Whatever a later version holds.
  expectError(R"({"schema": 2})",
              "manifest: schema: expected 1 but got 2: this runtime does not "
              "know that version");
}

TEST(Manifest, UnknownMembersAreSkipped) {
  Manifest::parse(changed("\"schema\": 1", "\"schema\": 1, \"extra\": [{}]"));
}

TEST(Manifest, Members) {
  expectError(changed("\"step\": \"gather\",", ""),
              "manifest: expected a member 'step'");
  expectError(changed("\"step\": \"gather\"", "\"step\": 3"),
              "manifest: step: expected a string but got 3");
  expectError(changed("\"arguments\": [", "\"arguments\": 7, \"x\": ["),
              "manifest: arguments: expected an array but got 7");
  expectError(changed("\"step\"", "\"ptx\": \"../x.ptx\", \"step\""),
              "manifest: ptx: expected the name of a file beside the manifest "
              "but got \"../x.ptx\"");
}

TEST(Manifest, Arguments) {
  expectError(changed("\"name\": \"width\"", "\"name\": \"bs\""),
              "manifest: arguments[1].name: argument 'bs' is there twice");
  expectError(changed("\"kind\": \"in\"", "\"kind\": \"inout\""),
              "manifest: arguments[2].kind: expected \"size\", \"in\" or "
              "\"out\" but got \"inout\"");
  expectError(changed("int64", "int65"),
              "manifest: arguments[2].dtype: expected an element type but got "
              "\"int65\"");
  expectError(
      changed("\"shape\": [null]", "\"shape\": [-1]"),
      "manifest: arguments[2].shape[0]: expected a size or null but got "
      "-1");
  expectError(
      changed("\"shape\": [null]", "\"shape\": [1.0]"),
      "manifest: arguments[2].shape[0]: expected a size or null but got "
      "1.0");
  expectError(changed("\"strides\": [null]", "\"strides\": [null, 1]"),
              "manifest: arguments[2].strides: expected 1 strides but got 2");
  expectError(changed("\"contiguous\"", "\"dense\""),
              "manifest: arguments[7].strides[0]: expected a stride, null or "
              "\"contiguous\" but got \"dense\"");
  expectError(changed("\"extents\": [\"bs\"]", "\"extents\": [\"lens\"]"),
              "manifest: arguments[2].extents[0]: expected the name of a size "
              "argument but got \"lens\"");
  expectError(changed("\"extents\": [\"bs\"]", "\"extents\": []"),
              "manifest: arguments[2].extents: expected 1 extents but got 0");
  expectError(
      changed("\"alignment\": 8", "\"alignment\": 0"),
      "manifest: arguments[2].alignment: expected a number of bytes but "
      "got 0");
  expectError(changed("\"name\": \"width\"", "\"name\": \"\""),
              "manifest: arguments[1].name: expected a name but got \"\"");
  expectError(changed("\"shape\": [2, 4]",
                      "\"shape\": [1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, "
                      "1, 1]"),
              "manifest: arguments[7].shape: expected at most 16 dimensions");
  expectError(changed("\"alignment\": 8", "\"optional\": true"),
              "manifest: arguments[2].optional: expected only \"out\" arguments "
              "to be optional");
  expectError(changed("\"alignment\": 8", "\"access\": \"inout\""),
              "manifest: arguments[2].access: expected \"inout\", of an "
              "\"out\" argument that is not optional");
  expectError(changed("\"extents\": [\"bs\"]",
                      "\"extents\": [[\"mul\", \"bs\", 2]]"),
              "manifest: arguments[2].extents[0]: expected a size argument, "
              "[\"add\", a size argument, a constant] or null but got "
              "[\"mul\",\"bs\",2]");
}

TEST(Manifest, Requires) {
  expectError(changed("\"argument\": \"lens\", \"dim\": 0",
                      "\"argument\": \"bs\", \"dim\": 0"),
              "manifest: requires[0].argument: expected the name of an array "
              "argument but got \"bs\"");
  expectError(
      changed("\"argument\": \"lens\", \"dim\": 0",
              "\"argument\": \"lens\", \"dim\": 1"),
      "manifest: requires[0].dim: expected a dimension of 'lens', which "
      "has 1, but got 1");
}

TEST(Manifest, SizeExpressions) {
  auto withSize = [](const std::string &size) {
    return changed("\"at_least\": \"bs\"", "\"at_least\": " + size);
  };
  std::string at = "manifest: requires[0].at_least";
  std::string what =
      ": expected a constant, a size argument or an operation but got ";
  expectError(withSize("1.5"), at + what + "1.5");
  expectError(withSize("{}"), at + what + "{}");
  expectError(withSize("[\"add\", 1]"), at + what + "[\"add\",1]");
  expectError(withSize("\"nobody\""),
              at + ": expected the name of a size argument but got \"nobody\"");
  expectError(withSize("[\"sub\", \"bs\", 1]"),
              at + "[0]: expected an operation but got \"sub\"");
  expectError(withSize("[\"ceildiv\", \"bs\", 0]"),
              at + "[2]: expected a positive constant but got 0");
  expectError(withSize("[\"mod\", \"bs\", \"bs\"]"),
              at + "[2]: expected a positive constant but got \"bs\"");
  expectError(withSize("[\"dim\", \"bs\", 0]"),
              at +
                  "[1]: expected the name of an array argument but got \"bs\"");
  expectError(withSize("[\"dim\", \"table\", 2]"),
              at + "[2]: expected a dimension of 'table', which has 2, but got "
                   "2");
  expectError(withSize("18446744073709551615"),
              at + ": expected an integer but got 18446744073709551615");

  std::string deep = "\"bs\"", wide = "\"bs\"";
  for (int i = 0; i != 40; ++i)
    deep = "[\"mod\", " + deep + ", 7]";
  for (int i = 0; i != 6; ++i)
    wide = "[\"add\", " + wide + ", " + wide + "]";
  EXPECT_THROW(Manifest::parse(withSize(deep)), StatusError);
  expectError(withSize(wide), at + ": the size expression is too long");
}

TEST(Manifest, Kernels) {
  expectError(changed("\"name\": \"second\"", "\"name\": \"first\""),
              "manifest: kernels[1].name: kernel 'first' is there twice");
  expectError(
      changed("\"threads\": 256", "\"threads\": 1025"),
      "manifest: kernels[0].threads: expected 1 to 1024 threads but got "
      "1025");
  expectError(changed("\"field\": \"value\"", "\"field\": \"values\""),
              "manifest: kernels[0].parameters[0].field: expected \"pointer\", "
              "\"stride\", \"size\", \"value\" or \"presence\" but got "
              "\"values\"");
  expectError(changed("\"field\": \"value\", \"argument\": \"bs\"",
                      "\"field\": \"presence\", \"arguments\": []"),
              "manifest: kernels[0].parameters[0].arguments: expected 1 to 64 "
              "arguments but got []");
  expectError(
      changed("\"field\": \"value\", \"argument\": \"bs\"",
              "\"field\": \"value\", \"argument\": \"lens\""),
      "manifest: kernels[0].parameters[0].argument: expected the name of "
      "a size argument but got \"lens\"");
  expectError(changed("\"tile\": [1, 4]", "\"tile\": [1, 0]"),
              "manifest: kernels[0].segments[0].tile[1]: expected a positive "
              "size but got 0");
  expectError(
      changed("\"tile\": [1, 4]", "\"tile\": [1]"),
      "manifest: kernels[0].segments[0].tile: expected two sizes but got "
      "[1]");
}

} // namespace
