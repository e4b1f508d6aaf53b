//===- Manifest.h - What a launcher knows of a step -------------*- C++ -*-===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The manifest of docs/Bundle.md, parsed and validated: every name in it has
// become an index, every index is in range.
//
//===----------------------------------------------------------------------===//

#ifndef NSA_LIB_RUNTIME_MANIFEST_H
#define NSA_LIB_RUNTIME_MANIFEST_H

#include "DType.h"
#include "SizeExpr.h"
#include "nsa-c/checks.h"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace nsa::runtime {

/// The version of the manifest that this runtime reads.
constexpr int64_t manifestSchema = 1;

struct ArgumentSpec {
  std::string name;
  nsa_argument_kind kind = NSA_KIND_SIZE;
  /// The place among the size arguments, if it is one.
  int32_t sizeIndex = -1;

  // Of arrays only.
  DType dtype;
  std::string dtypeName;
  std::vector<nsa_dim> dims;
  int64_t alignment = 1;
  /// Which value is written to it: arrays of the same one may be one array.
  int64_t value = -1;
  /// Whether there may be no array.
  bool isOptional = false;

  bool isArray() const { return kind != NSA_KIND_SIZE; }
  int32_t rank() const { return static_cast<int32_t>(dims.size()); }
};

/// shape[dim] of `argument` is at least `atLeast`.
struct Require {
  int32_t argument;
  int32_t dim;
  SizeExpr atLeast;
};

struct ParameterSpec {
  enum class Field { Pointer, Stride, Size, Value, Presence };
  Field field;
  int64_t argument;
  int64_t dim = 0;
  /// Those whose presence its bits are.
  std::vector<int64_t> arguments;
};

struct SegmentSpec {
  SizeExpr rows;
  SizeExpr columns;
  int64_t tile[2];
  /// The arguments of which one has to be there, or none.
  std::vector<int32_t> anyOf;
};

struct KernelSpec {
  std::string name;
  int64_t threads;
  std::vector<ParameterSpec> parameters;
  std::vector<SegmentSpec> segments;
};

/// What the records of a step's guards are, and what their numbers stand for.
struct GuardsSpec {
  struct Op {
    std::string name;
    /// "FILE:LINE:COLUMN", or empty.
    std::string location;
  };
  /// The global that they are in.
  std::string buffer;
  int64_t numRecords = 0;
  std::vector<Op> ops;

  /// One more for the count; a record has four words.
  size_t bytes() const { return 32 * (1 + static_cast<size_t>(numRecords)); }
};

struct Manifest {
  std::string step;
  std::string chip;
  /// Whether its kernels wait for the one before them, so that they may be
  /// launched before that has ended.
  bool pdl = false;
  /// Nothing of a step that was compiled without guards.
  std::optional<GuardsSpec> guards;
  /// The file name of the PTX beside the manifest, "" if there is none.
  std::string ptx;
  /// The same for a cubin of `chip`, and for a shared library of host kernels.
  std::string cubin, host;
  std::vector<ArgumentSpec> arguments;
  /// Of each size argument, its place in `arguments`.
  std::vector<int32_t> sizes;
  std::vector<Require> requires_;
  std::vector<KernelSpec> kernels;
  /// The arguments and requirements as the checks take them. They point into
  /// what stands above.
  std::vector<nsa_port> ports;
  std::vector<nsa_requirement> requirements;

  Manifest() = default;
  Manifest(Manifest &&) = default;

  /// Throws a StatusError (NSA_MANIFEST) that says where and what.
  static Manifest parse(std::string_view json);

  /// Nothing of JSON of something else: of no schema and no step. Throws for
  /// what is no JSON, as nobody knows what that was to be.
  static std::optional<Manifest> parseUnlessForeign(std::string_view json);

  /// The place of an argument, -1 if there is none of that name.
  int64_t find(std::string_view name) const;
  /// Everything but the kernels, for the checks.
  nsa_signature signature() const;
};

} // namespace nsa::runtime

#endif // NSA_LIB_RUNTIME_MANIFEST_H
