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

#include "StepSource.h"

#include "llvm/ADT/StringMap.h"
#include "llvm/Support/MathExtras.h"
#include "llvm/Support/raw_ostream.h"

using namespace nsa;

/// Sizes and shapes that passed are no greater; results are far from 2^63.
static constexpr uint64_t maxSize = uint64_t(1) << 31;
static constexpr uint64_t limit = uint64_t(1) << 62;

namespace {
class Writer {
public:
  Writer(const json::Object &root, const CallNames &names)
      : root(root), names(names) {}

  std::optional<std::string> write() {
    size_t numArrays = 0;
    for (const json::Object &argument : getObjects(root, "arguments")) {
      arguments[getText(argument, "name")] = &argument;
      numArrays += !isSize(argument);
    }
    os << llvm::formatv("  nsa_region regions[{0}];\n"
                        "  size_t count = 0;\n"
                        "  uint64_t odd = 0;\n"
                        "  nsa_walk walk;\n",
                        std::max<size_t>(numArrays, 1));
    for (const json::Object &argument : getObjects(root, "arguments")) {
      if (isSize(argument))
        os << llvm::formatv("  odd |= (uint64_t){0} >> 31;\n",
                            names.getSize(getText(argument, "name")));
      else
        writeArray(argument);
    }
    os << "  if (odd)\n    return 0;\n";
    for (const json::Object &check : getObjects(root, "requires")) {
      StringRef name = getText(check, "argument");
      os << "  odd |= ";
      if (isOptional(*arguments.lookup(name)))
        os << names.getBase(name) << " != 0 && ";
      os << llvm::formatv("{0} < {1};\n",
                          names.getShape(name, *check.getInteger("dim")),
                          get(*check.get("at_least")).text);
    }
    for (auto [number, kernel] : llvm::enumerate(getObjects(root, "kernels")))
      writeKernel(kernel, number);
    size_t numSizes = 0;
    for (const json::Object &argument : getObjects(root, "arguments"))
      if (isSize(argument))
        os << llvm::formatv("  sizes[{0}] = {1};\n", numSizes++,
                            names.getSize(getText(argument, "name")));
    os << "  return !odd && nsa_are_apart(regions, count);\n";
    if (!isBounded)
      return std::nullopt;
    return body;
  }

private:
  /// C, and what its magnitude does not exceed.
  struct Expression {
    std::string text;
    uint64_t most;
  };

  /// A size expression; clears `isBounded` if it may leave 64 bits.
  Expression get(const json::Value &value) {
    if (auto constant = value.getAsInteger()) {
      uint64_t most = *constant < 0 ? -uint64_t(*constant) : *constant;
      isBounded &= most <= limit;
      return {llvm::formatv("INT64_C({0})", *constant), most};
    }
    if (auto size = value.getAsString())
      return {names.getSize(*size), maxSize};
    const json::Array &terms = *value.getAsArray();
    StringRef op = *terms[0].getAsString();
    if (op == "dim")
      return {names.getShape(*terms[1].getAsString(), *terms[2].getAsInteger()),
              maxSize};
    Expression lhs = get(terms[1]);
    if (op == "add" || op == "mul") {
      Expression rhs = get(terms[2]);
      uint64_t most = op == "add"
                          ? llvm::SaturatingAdd(lhs.most, rhs.most)
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

  void writeArray(const json::Object &argument) {
    StringRef name = getText(argument, "name");
    const json::Array &shape = getList(argument, "shape");
    const json::Array &strides = getList(argument, "strides");
    int64_t alignment = *argument.getInteger("alignment");
    isBounded &= llvm::isPowerOf2_64(alignment);
    os << "  nsa_walk_begin(&walk);\n";
    for (size_t dim = shape.size(); dim-- > 0;)
      os << llvm::formatv("  nsa_walk_dim(&walk, {0}, {1}, {2}, {3}, {4});\n",
                          names.getShape(name, dim), names.getStride(name, dim),
                          getWanted(shape[dim]), getWanted(strides[dim]),
                          int(getText(argument, "kind") == "out"));
    os << llvm::formatv("  odd |= nsa_walk_end(&walk, {0}, {1}, {2}, {3}, "
                        "regions, &count);\n",
                        names.getBase(name),
                        getBits(getText(argument, "dtype")) / 8, alignment,
                        int(isOptional(argument)));
    // Expressions may name the shape of an array that is not there.
    if (isOptional(argument))
      for (size_t dim = 0; dim < shape.size(); ++dim)
        os << llvm::formatv("  odd |= (uint64_t){0} >> 32;\n",
                            names.getShape(name, dim));
  }

  void writeKernel(const json::Object &kernel, size_t number) {
    os << llvm::formatv("  blocks[{0}] = 0;\n", number);
    for (const json::Object &segment : getObjects(kernel, "segments")) {
      const json::Array &tile = getList(segment, "tile");
      if (const json::Array *ports = segment.getArray("any_of"))
        os << "  if ("
           << llvm::join(llvm::map_range(*ports,
                                         [&](const json::Value &port) {
                                           return names.getBase(
                                                      *port.getAsString()) +
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

  const json::Object &root;
  const CallNames &names;
  llvm::StringMap<const json::Object *> arguments;
  bool isBounded = true;
  std::string body;
  llvm::raw_string_ostream os{body};
};
} // namespace

std::optional<std::string> nsa::emitStraightChecks(const json::Object &manifest,
                                                   const CallNames &names) {
  return Writer(manifest, names).write();
}
