//===- Arrays.h - Arrays that come from Python ------------------*- C++ -*-===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef NSA_PYTHON_ARRAYS_H
#define NSA_PYTHON_ARRAYS_H

#include "DLPack.h"
#include "nsa-c/runtime.h"

#include <nanobind/nanobind.h>

#include <string>
#include <string_view>
#include <vector>

namespace nsa::python {

/// Somebody's array, described and kept alive. To be destroyed with the GIL
/// held.
class ImportedArray {
public:
  /// Takes the description of `object` in the cheapest way that its type has:
  /// DLPack's C exchange API, the buffer protocol (CPU only), __dlpack__. Never
  /// synchronises a stream. `argument` and `expected` are for messages. Throws
  /// nanobind::python_error: TypeError or ValueError for what is no array or
  /// cannot be exported, and whatever else the exporter raises as it is.
  ImportedArray(nanobind::handle object, const char *argument,
                const std::string &expected);
  ~ImportedArray() { release(); }
  ImportedArray(ImportedArray &&other) noexcept;
  ImportedArray &operator=(ImportedArray &&) = delete;

  const nsa_array &get() const { return array; }

  /// Throws if what is written to it would be lost. That an array is read-only
  /// is for the runtime to say.
  void checkDestination(nanobind::handle object, const char *argument) const;

private:
  bool importExchange(nanobind::handle object);
  bool importBuffer(nanobind::handle object);
  bool importCapsule(nanobind::handle object);
  void release();

  nsa_array array{};
  bool isCopy = false;
  dlpack::ManagedTensor *managed = nullptr;
  dlpack::LegacyManagedTensor *legacy = nullptr;
  Py_buffer *buffer = nullptr;
  /// Of a buffer, whose strides are in bytes.
  std::vector<int64_t> shape, strides;
};

/// What DLPack says of an array; `flags` are DLPack's.
inline nsa_array arrayOf(const dlpack::Tensor &tensor, uint64_t flags) {
  nsa_array array{};
  array.data = tensor.data
                   ? static_cast<char *>(tensor.data) + tensor.byteOffset
                   : nullptr;
  array.device_type = tensor.device.type;
  array.device_id = tensor.device.id;
  array.dtype_code = tensor.dtype.code;
  // Vector elements are of no type that a step has: 0 bits match none.
  array.dtype_bits = tensor.dtype.lanes == 1 ? tensor.dtype.bits : 0;
  array.flags = flags & dlpack::flagReadOnly ? NSA_ARRAY_READ_ONLY : 0;
  array.ndim = tensor.ndim;
  array.shape = tensor.shape;
  array.strides = tensor.strides;
  return array;
}

/// Whether a type is of that package, as in "torch".
bool isOfPackage(PyTypeObject *type, std::string_view package);

/// What an array is, whoever has it: (dtype code, dtype bits, shape).
nanobind::tuple describeArray(const nsa_array &array);

constexpr const char *exchangeApiName = "__dlpack_c_exchange_api__";
/// The exchange API of an array type, or null.
const dlpack::ExchangeApi *exchangeApiOf(PyTypeObject *type);

} // namespace nsa::python

#endif // NSA_PYTHON_ARRAYS_H
