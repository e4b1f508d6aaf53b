//===- StepSource.h - C that is made from a manifest ------------*- C++ -*-===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef NSA_LIB_TARGET_STEPSOURCE_H
#define NSA_LIB_TARGET_STEPSOURCE_H

#include "nsa/IR/LLVM.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/JSON.h"

namespace nsa {

namespace json = llvm::json;

//===----------------------------------------------------------------------===//
// What a manifest says (docs/Bundle.md)
//===----------------------------------------------------------------------===//

/// The members of `object`, which are there.
inline StringRef getText(const json::Object &object, StringRef key) {
  return *object.getString(key);
}
inline const json::Array &getList(const json::Object &object, StringRef key) {
  return *object.getArray(key);
}
/// A list of objects.
inline auto getObjects(const json::Object &object, StringRef key) {
  return llvm::map_range(getList(object, key),
                         [](const json::Value &value) -> const auto & {
                           return *value.getAsObject();
                         });
}

inline bool isSize(const json::Object &argument) {
  return getText(argument, "kind") == "size";
}
inline bool isOptional(const json::Object &argument) {
  return argument.getBoolean("optional").value_or(false);
}
/// The bits of "int32".
inline unsigned getBits(StringRef dtype) {
  unsigned bits = 0;
  dtype.drop_while(llvm::isAlpha).getAsInteger(10, bits);
  return bits;
}
/// A size or a stride that an array has to have, in C.
inline std::string getWanted(const json::Value &value) {
  if (auto constant = value.getAsInteger())
    return llvm::formatv("INT64_C({0})", *constant);
  return value.getAsString() ? "NSA_CONTIGUOUS" : "NSA_ANY";
}

//===----------------------------------------------------------------------===//
// Parts of a source
//===----------------------------------------------------------------------===//

/// The C of what a call is given, as formats of the argument's name {0} and a
/// dimension {1}: a size, an array's address (uint64_t), its sizes and strides.
struct CallNames {
  const char *size, *base, *shape, *stride;

  std::string getSize(StringRef name) const {
    return llvm::formatv(size, name);
  }
  std::string getBase(StringRef name) const {
    return llvm::formatv(base, name);
  }
  std::string getShape(StringRef name, int64_t dim) const {
    return llvm::formatv(shape, name, dim);
  }
  std::string getStride(StringRef name, int64_t dim) const {
    return llvm::formatv(stride, name, dim);
  }
};

/// The body of a C function that returns 1 if a call of the step passes every
/// check, with what the kernels take in `sizes` and their grids in `blocks`;
/// else 0, and the checks that go by tables have to decide. None for a step
/// that only those can check, as one of its size expressions may leave 64 bits.
std::optional<std::string> emitStraightChecks(const json::Object &manifest,
                                              const CallNames &names);

/// The C function NAME_try: a call of the step through tvm-ffi that passes
/// every check, from its tensors to its launches, without loops over tables. It
/// returns 0 without having done anything for what it does not know to pass,
/// which nsa_ffi_call has to see to. Empty for a step that only tables can
/// check.
std::string emitFFICall(const json::Object &manifest);

} // namespace nsa

#endif // NSA_LIB_TARGET_STEPSOURCE_H
