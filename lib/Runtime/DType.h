//===- DType.h - Element types of arrays ------------------------*- C++ -*-===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef NSA_LIB_RUNTIME_DTYPE_H
#define NSA_LIB_RUNTIME_DTYPE_H

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace nsa::runtime {

/// An element type as DLPack writes it.
struct DType {
  uint8_t code = 0;
  uint8_t bits = 0;

  bool operator==(const DType &other) const {
    return code == other.code && bits == other.bits;
  }

  /// The size of one element. Types narrower than a byte are not storable here.
  int64_t bytes() const { return (bits + 7) / 8; }
};

/// Whether an array of `given` may serve where `expected` is asked for. It may
/// if they are equal; `int8` stands for bytes, so any byte-sized integer or
/// float8 serves; `bfloat16` and `int16` serve each other and `uint16`, as
/// libraries without bfloat16 store it so.
bool isAccepted(DType expected, DType given);

/// "int32", "bfloat16", ...; nothing if there is no such type.
std::optional<DType> parseDType(std::string_view name);

/// The name of a type, "dtype(code, bits)" if it has none here.
std::string toString(DType type);

} // namespace nsa::runtime

#endif // NSA_LIB_RUNTIME_DTYPE_H
