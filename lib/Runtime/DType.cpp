//===- DType.cpp - Element types of arrays --------------------------------===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "DType.h"
#include "nsa-c/runtime.h"

using namespace nsa::runtime;

namespace {

struct Named {
  const char *name;
  DType type;
};

constexpr Named table[] = {
    {"int8", {NSA_DTYPE_INT, 8}},
    {"int16", {NSA_DTYPE_INT, 16}},
    {"int32", {NSA_DTYPE_INT, 32}},
    {"int64", {NSA_DTYPE_INT, 64}},
    {"uint8", {NSA_DTYPE_UINT, 8}},
    {"uint16", {NSA_DTYPE_UINT, 16}},
    {"uint32", {NSA_DTYPE_UINT, 32}},
    {"uint64", {NSA_DTYPE_UINT, 64}},
    {"float16", {NSA_DTYPE_FLOAT, 16}},
    {"float32", {NSA_DTYPE_FLOAT, 32}},
    {"float64", {NSA_DTYPE_FLOAT, 64}},
    {"bfloat16", {NSA_DTYPE_BFLOAT, 16}},
    {"complex64", {NSA_DTYPE_COMPLEX, 64}},
    {"complex128", {NSA_DTYPE_COMPLEX, 128}},
    {"bool", {NSA_DTYPE_BOOL, 8}},
    {"float8_e4m3fn", {NSA_DTYPE_FLOAT8_E4M3FN, 8}},
    {"float8_e5m2", {NSA_DTYPE_FLOAT8_E5M2, 8}},
    {"float8_e8m0fnu", {NSA_DTYPE_FLOAT8_E8M0FNU, 8}},
};

} // namespace

std::optional<DType> nsa::runtime::parseDType(std::string_view name) {
  for (const Named &entry : table)
    if (name == entry.name)
      return entry.type;
  return std::nullopt;
}

bool nsa::runtime::isAccepted(DType expected, DType given) {
  if (expected == given)
    return true;
  if (expected.bits != given.bits || given.code == NSA_DTYPE_BOOL)
    return false;
  if (expected == DType{NSA_DTYPE_INT, 8})
    return true;
  auto isStorage = [](DType type) {
    return type.code == NSA_DTYPE_INT || type.code == NSA_DTYPE_UINT ||
           type.code == NSA_DTYPE_BFLOAT;
  };
  return expected.bits == 16 && isStorage(expected) && isStorage(given);
}

std::string nsa::runtime::toString(DType type) {
  for (const Named &entry : table)
    if (type == entry.type)
      return entry.name;
  return "dtype(" + std::to_string(type.code) + ", " +
         std::to_string(type.bits) + ")";
}
