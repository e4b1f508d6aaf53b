//===- Caller.cpp - Calls that remember their bindings --------------------===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Caller.h"

namespace nb = nanobind;
using namespace nsa::python;

/// Bindings that are kept; past that, all are forgotten. An engine has one for
/// each captured batch size.
static constexpr size_t maxEntries = 1024;

static uint64_t hashOf(const std::vector<int64_t> &key) {
  uint64_t hash = 0x9E3779B97F4A7C15;
  for (int64_t word : key) {
    hash = (hash ^ static_cast<uint64_t>(word)) * 0xFF51AFD7ED558CCD;
    hash ^= hash >> 32;
  }
  return hash;
}

static void append(std::vector<int64_t> &key, const nsa_array &array) {
  key.push_back(reinterpret_cast<int64_t>(array.data));
  key.push_back(static_cast<int64_t>(array.device_type) << 48 ^
                static_cast<int64_t>(array.device_id) << 32 ^
                static_cast<int64_t>(array.flags) << 24 ^
                static_cast<int64_t>(array.ndim) << 16 ^
                static_cast<int64_t>(array.dtype_code) << 8 ^ array.dtype_bits);
  for (int32_t i = 0; i != array.ndim; ++i)
    key.push_back(array.shape[i]);
  // Without strides it is contiguous, which the shape tells.
  for (int32_t i = 0; array.strides && i != array.ndim; ++i)
    key.push_back(array.strides[i]);
}

Caller::Caller(nb::object prepare, nb::tuple arrays, nb::tuple sizes)
    : prepare(std::move(prepare)) {
  for (nb::handle name : arrays)
    arrayNames.push_back(nb::borrow(name));
  for (nb::handle name : sizes)
    sizeNames.push_back(nb::borrow(name));
}

const char *Caller::nameOf(size_t array) const {
  return PyUnicode_AsUTF8(arrayNames[array].ptr());
}

void Caller::describe(nb::list arrays) {
  key.clear();
  size_t number = 0;
  for (nb::handle object : arrays) {
    const dlpack::ExchangeApi *api = exchangeApiOf(Py_TYPE(object.ptr()));
    dlpack::Tensor tensor;
    if (api && api->tensorFromObject &&
        api->tensorFromObject(object.ptr(), &tensor) == 0) {
      nsa_array array{};
      array.data = static_cast<char *>(tensor.data) + tensor.byteOffset;
      array.device_type = tensor.device.type;
      array.device_id = tensor.device.id;
      array.dtype_code = tensor.dtype.code;
      array.dtype_bits = tensor.dtype.lanes == 1 ? tensor.dtype.bits : 0;
      array.ndim = tensor.ndim;
      array.shape = tensor.shape;
      array.strides = tensor.strides;
      append(key, array);
    } else {
      PyErr_Clear();
      append(key, ImportedArray(object, nameOf(number), "an array").get());
    }
    ++number;
  }
}

Caller::Entry &Caller::bind(nb::list arrays, uint64_t hash) {
  // Preparing runs Python, which may call this again.
  std::vector<int64_t> thisKey = key;
  std::vector<ImportedArray> imported;
  imported.reserve(arrayNames.size());
  size_t number = 0;
  for (nb::handle object : arrays)
    imported.emplace_back(object, nameOf(number++), "an array");
  int32_t type =
      imported.empty() ? NSA_DEVICE_CPU : imported.front().get().device_type;
  bool isCuda = type == NSA_DEVICE_CUDA || type == NSA_DEVICE_CUDA_MANAGED;
  nb::list described;
  for (const ImportedArray &array : imported)
    described.append(describeArray(array.get()));
  nb::object prepared = prepare(isCuda ? "cuda" : "cpu", described);
  nb::object made = prepared[0];
  const PyStep &step = nb::cast<const PyStep &>(made);

  std::vector<nsa_array> flat(imported.size());
  std::vector<int64_t> counts(imported.size(), 1);
  static constexpr int64_t one = 1;
  std::vector<nsa_argument> arguments;
  for (size_t i = 0; i != imported.size(); ++i) {
    nsa_array &array = flat[i];
    array = imported[i].get();
    bool isContiguous = array.ndim > 1;
    int64_t &count = counts[i];
    for (int32_t d = array.ndim - 1; d >= 0; --d) {
      if (array.strides && array.shape[d] != 1 && array.strides[d] != count)
        isContiguous = false;
      count *= array.shape[d];
    }
    const PyStep::Argument *argument = step.find(arrayNames[i]);
    isContiguous |= array.ndim > 1 && count == 0;
    if (argument && argument->rank == 1 && isContiguous) {
      array.ndim = 1;
      array.shape = &count;
      array.strides = &one;
    }
    arguments.push_back({nameOf(i), &array, 0});
  }
  nb::dict sizes = prepared[1];
  for (auto [name, size] : sizes) {
    const char *text = PyUnicode_AsUTF8(name.ptr());
    arguments.push_back({text, nullptr, sizeOf(size, text)});
  }
  Entry entry{std::move(thisKey), made, step.bind(arguments),
              StreamSource(),     {},   0};
  if (isCuda) {
    nb::object first = arrays[0];
    entry.source = StreamSource(first, imported.front().get().device_id);
  }
  entry.numSizes = step.sizeNames.size();
  for (const nb::object &name : sizeNames) {
    size_t place = 0;
    while (place != entry.numSizes &&
           PyUnicode_Compare(step.sizeNames[place].ptr(), name.ptr()) != 0)
      ++place;
    entry.places.push_back(place);
  }
  if (entries.size() >= maxEntries)
    entries.clear();
  entries.erase(hash);
  return entries.emplace(hash, std::move(entry)).first->second;
}

void Caller::call(nb::list arrays, nb::tuple sizes, nb::object stream) {
  if (arrays.size() != arrayNames.size() || sizes.size() != sizeNames.size())
    throw nb::type_error("expected an array and a size for each name");
  describe(arrays);
  uint64_t hash = hashOf(key);
  auto found = entries.find(hash);
  Entry &entry = found != entries.end() && found->second.key == key
                     ? found->second
                     : bind(arrays, hash);
  values.assign(entry.numSizes, NSA_SIZE_AS_BOUND);
  size_t number = 0;
  for (nb::handle size : sizes) {
    if (!size.is_none()) {
      int64_t value = sizeOf(size, PyUnicode_AsUTF8(sizeNames[number].ptr()));
      // A step need not have every size.
      if (entry.places[number] != entry.numSizes)
        values[entry.places[number]] = value;
    }
    ++number;
  }
  void *raw = !stream.is_none() ? streamOf(stream) : entry.source.current();
  nb::cast<const PyStep &>(entry.step)
      .launch(entry.binding, values.data(), raw);
}
