//===- Describer.h - Descriptions of arrays of a call -----------*- C++ -*-===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef NSA_PYTHON_DESCRIBER_H
#define NSA_PYTHON_DESCRIBER_H

#include "Arrays.h"

namespace nsa::python {

/// Describes arrays, mostly of one type, without having them exported.
class Describer {
public:
  Describer() = default;
  /// For arrays of that one's type, which has to live as long.
  explicit Describer(nanobind::handle array);

  /// False for one that has to be exported; an error may be set then.
  bool describe(nanobind::handle object, nsa_array &array);

  /// Whether arrays of its type are described by read().
  bool readsHandles() const { return function; }
  /// Describes one of its type, without running Python; false for any other.
  bool read(nanobind::handle object, nsa_array &array) const {
    dlpack::Tensor tensor;
    if (Py_TYPE(object.ptr()) != type || !readHandle(object, tensor))
      return false;
    array = arrayOf(tensor, /*flags=*/0);
    return true;
  }

private:
  /// at::toDLPackNonOwning; `handle` is an at::Tensor.
  using Function = void (*)(const void *handle, dlpack::Tensor *);

  void take(PyTypeObject *newType);
  bool ask(nanobind::handle object, dlpack::Tensor &tensor) const;
  bool readHandle(nanobind::handle object, dlpack::Tensor &tensor) const {
    if (!function)
      return false;
    try {
      function(reinterpret_cast<const char *>(object.ptr()) + place, &tensor);
      return true;
    } catch (...) {
      return false; // no memory of its own; an export says so
    }
  }

  PyTypeObject *type = nullptr;
  const dlpack::ExchangeApi *api = nullptr;
  /// Null where objects of `type` are described by `api`.
  Function function = nullptr;
  /// Where they have their handle.
  size_t place = 0;
};

} // namespace nsa::python

#endif // NSA_PYTHON_DESCRIBER_H
