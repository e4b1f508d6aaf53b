//===- StraightChecks.cpp - The checks of one step, as straight C ---------===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// What the end of nsa-c/checks.h describes, for one manifest.
//
//===----------------------------------------------------------------------===//

#include "StraightChecks.h"

#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/MathExtras.h"
#include "llvm/Support/raw_ostream.h"

using namespace nsa;
namespace json = llvm::json;
using llvm::StringRef;

namespace {
class Writer {
public:
  Writer(const json::Object &root, const CallNames &names)
      : root(root), names(names) {}

  std::optional<std::string> write();

private:
  /// C, and what its magnitude does not exceed.
  struct Expression {
    std::string text;
    uint64_t most;
  };

  const json::Array &list(StringRef key) { return *root.getArray(key); }
  bool isOptional(StringRef name) {
    return arguments.lookup(name)->getBoolean("optional").value_or(false);
  }
  /// A size expression; clears `isBounded` if it may leave 64 bits.
  Expression get(const json::Value &value);
  void writeArray(const json::Object &argument);
  void writeKernel(const json::Object &kernel, size_t number);

  std::string getBase(StringRef name) { return names.base(name); }
  std::string getShape(StringRef name, int64_t dim) {
    return names.shape(name, dim);
  }

  const json::Object &root;
  const CallNames &names;
  llvm::StringMap<const json::Object *> arguments;
  bool isBounded = true;
  std::string body;
  llvm::raw_string_ostream os{body};
};
} // namespace

/// Sizes and shapes that passed are no greater; results are far from 2^63.
static constexpr uint64_t maxSize = uint64_t(1) << 31;
static constexpr uint64_t limit = uint64_t(1) << 62;

Writer::Expression Writer::get(const json::Value &value) {
  if (auto constant = value.getAsInteger()) {
    uint64_t most = *constant < 0 ? -uint64_t(*constant) : *constant;
    isBounded &= most <= limit;
    return {llvm::formatv("INT64_C({0})", *constant), most};
  }
  if (auto size = value.getAsString())
    return {names.size(*size), maxSize};
  const json::Array &terms = *value.getAsArray();
  StringRef op = *terms[0].getAsString();
  if (op == "dim")
    return {getShape(*terms[1].getAsString(), *terms[2].getAsInteger()),
            maxSize};
  Expression lhs = get(terms[1]);
  if (op == "add" || op == "mul") {
    Expression rhs = get(terms[2]);
    uint64_t most = op == "add" ? llvm::SaturatingAdd(lhs.most, rhs.most)
                                : llvm::SaturatingMultiply(lhs.most, rhs.most);
    isBounded &= most <= limit;
    return {llvm::formatv("({0} {1} {2})", lhs.text, op == "add" ? '+' : '*',
                          rhs.text),
            most};
  }
  int64_t divisor = *terms[2].getAsInteger();
  // Rounding away from 0 adds at most one.
  return {llvm::formatv("nsa_{0}({1}, INT64_C({2}))", op, lhs.text, divisor),
          op == "mod" ? uint64_t(divisor) : lhs.most + 1};
}

/// What the manifest says of a size or a stride.
static std::string getWanted(const json::Value &value) {
  if (auto constant = value.getAsInteger())
    return llvm::formatv("INT64_C({0})", *constant);
  return value.getAsString() ? "NSA_CONTIGUOUS" : "NSA_ANY";
}

void Writer::writeArray(const json::Object &argument) {
  StringRef name = *argument.getString("name");
  const json::Array &shape = *argument.getArray("shape");
  const json::Array &strides = *argument.getArray("strides");
  int64_t alignment = *argument.getInteger("alignment");
  isBounded &= llvm::isPowerOf2_64(alignment);
  unsigned bits = 0;
  argument.getString("dtype")->drop_while(llvm::isAlpha).getAsInteger(10, bits);
  os << "  nsa_walk_begin(&walk);\n";
  for (size_t dim = shape.size(); dim-- > 0;)
    os << llvm::formatv("  nsa_walk_dim(&walk, {0}, {1}, {2}, {3}, {4});\n",
                        getShape(name, dim), names.stride(name, dim),
                        getWanted(shape[dim]), getWanted(strides[dim]),
                        int(*argument.getString("kind") == "out"));
  os << llvm::formatv("  odd |= nsa_walk_end(&walk, {0}, {1}, {2}, {3}, "
                      "regions, &count);\n",
                      getBase(name), bits / 8, alignment,
                      int(isOptional(name)));
  // Expressions may name the shape of an array that is not there.
  if (isOptional(name))
    for (size_t dim = 0; dim < shape.size(); ++dim)
      os << llvm::formatv("  odd |= (uint64_t){0} >> 32;\n",
                          getShape(name, dim));
}

void Writer::writeKernel(const json::Object &kernel, size_t number) {
  os << llvm::formatv("  blocks[{0}] = 0;\n", number);
  for (const json::Value &value : *kernel.getArray("segments")) {
    const json::Object &segment = *value.getAsObject();
    const json::Array &tile = *segment.getArray("tile");
    if (const json::Array *ports = segment.getArray("any_of"))
      os << "  if ("
         << llvm::join(llvm::map_range(*ports,
                                       [&](const json::Value &port) {
                                         return getBase(*port.getAsString()) +
                                                " != 0";
                                       }),
                       " || ")
         << ")\n  ";
    os << llvm::formatv("  blocks[{0}] += nsa_tiles({1}, {2}, {3}, {4});\n",
                        number, get(*segment.get("rows")).text,
                        get(*segment.get("columns")).text,
                        *tile[0].getAsInteger(), *tile[1].getAsInteger());
  }
  os << llvm::formatv("  odd |= blocks[{0}] > NSA_MAX_SIZE;\n", number);
}

std::optional<std::string> Writer::write() {
  size_t numArrays = 0;
  for (const json::Value &value : list("arguments")) {
    const json::Object &argument = *value.getAsObject();
    arguments[*argument.getString("name")] = &argument;
    numArrays += *argument.getString("kind") != "size";
  }
  os << llvm::formatv("  nsa_region regions[{0}];\n"
                      "  size_t count = 0;\n"
                      "  uint64_t odd = 0;\n"
                      "  nsa_walk walk;\n",
                      std::max<size_t>(numArrays, 1));
  for (const json::Value &value : list("arguments")) {
    const json::Object &argument = *value.getAsObject();
    if (*argument.getString("kind") == "size")
      os << llvm::formatv("  odd |= (uint64_t){0} >> 31;\n",
                          names.size(*argument.getString("name")));
    else
      writeArray(argument);
  }
  os << "  if (odd)\n    return 0;\n";
  for (const json::Value &value : list("requires")) {
    const json::Object &check = *value.getAsObject();
    StringRef name = *check.getString("argument");
    os << "  odd |= ";
    if (isOptional(name))
      os << getBase(name) << " != 0 && ";
    os << llvm::formatv("{0} < {1};\n",
                        getShape(name, *check.getInteger("dim")),
                        get(*check.get("at_least")).text);
  }
  for (auto [number, kernel] : llvm::enumerate(list("kernels")))
    writeKernel(*kernel.getAsObject(), number);
  size_t numSizes = 0;
  for (const json::Value &value : list("arguments")) {
    const json::Object &argument = *value.getAsObject();
    if (*argument.getString("kind") == "size")
      os << llvm::formatv("  sizes[{0}] = {1};\n", numSizes++,
                          names.size(*argument.getString("name")));
  }
  os << "  return !odd && nsa_are_apart(regions, count);\n";
  if (!isBounded)
    return std::nullopt;
  return body;
}

CallNames nsa::getMemberNames() {
  return {[](StringRef name) -> std::string {
            return llvm::formatv("args->{0}", name);
          },
          [](StringRef name) -> std::string {
            return llvm::formatv("(uint64_t)(uintptr_t)args->{0}.data", name);
          },
          [](StringRef name, int64_t dim) -> std::string {
            return llvm::formatv("args->{0}.size[{1}]", name, dim);
          },
          [](StringRef name, int64_t dim) -> std::string {
            return llvm::formatv("args->{0}.stride[{1}]", name, dim);
          }};
}

std::optional<std::string> nsa::emitStraightChecks(const json::Object &manifest,
                                                   const CallNames &names) {
  return Writer(manifest, names).write();
}
