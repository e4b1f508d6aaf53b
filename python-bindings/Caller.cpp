//===- Caller.cpp - Calls that remember their bindings --------------------===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Caller.h"
#include "Errors.h"

#include <algorithm>

namespace nb = nanobind;
using namespace nsa::python;

/// Bindings that are kept; past that, all are forgotten. An engine has one for
/// each captured batch size.
static constexpr size_t maxEntries = 1024;

/// Four lanes, as each word waits for the one before it in its lane.
template <typename Key> static uint64_t hashOf(const Key &key) {
  uint64_t lanes[] = {0x9E3779B97F4A7C15, 1, 2, 3};
  size_t at = 0;
  auto mix = [](uint64_t &hash, uint64_t word) {
    hash = (hash ^ word) * 0xFF51AFD7ED558CCD;
    hash ^= hash >> 32;
  };
  for (int64_t word : key)
    mix(lanes[at++ % 4], static_cast<uint64_t>(word));
  for (size_t lane = 1; lane != 4; ++lane)
    mix(lanes[0], lanes[lane]);
  return lanes[0];
}

/// What an array is, but for its address and extents; among it, by bits of
/// their own up to a rank of 255, how many words of a key these take.
static int64_t kindOf(const nsa_array &array) {
  return static_cast<int64_t>(array.device_type) << 48 ^
         static_cast<int64_t>(array.device_id) << 32 ^
         static_cast<int64_t>(array.strides != nullptr) << 31 ^
         static_cast<int64_t>(array.flags) << 24 ^
         static_cast<int64_t>(array.ndim) << 16 ^
         static_cast<int64_t>(array.dtype_code) << 8 ^ array.dtype_bits;
}

/// The library whose stream is current, as a word of a key: an array of another
/// one may lie where an array of this one was. A binding holds the type.
static int64_t sourceOf(const Objects &arrays) {
  return arrays.size() != 0
             ? reinterpret_cast<int64_t>(Py_TYPE(arrays.begin()[0]))
             : 0;
}

template <typename Key> static void append(Key &key, const nsa_array &array) {
  key.push_back(reinterpret_cast<int64_t>(array.data));
  key.push_back(kindOf(array));
  for (int32_t i = 0; i != array.ndim; ++i)
    key.push_back(array.shape[i]);
  // Without strides it is contiguous, which the shape tells.
  for (int32_t i = 0; array.strides && i != array.ndim; ++i)
    key.push_back(array.strides[i]);
}

/// Past the words that begin at `at`, if these are of that array; null if not.
static inline const int64_t *skipSame(const int64_t *at,
                                      const nsa_array &array) {
  if (at[0] != reinterpret_cast<int64_t>(array.data) ||
      at[1] != kindOf(array) || static_cast<uint32_t>(array.ndim) > 255)
    return nullptr;
  at += 2;
  for (int32_t i = 0; i != array.ndim; ++i)
    if (*at++ != array.shape[i])
      return nullptr;
  for (int32_t i = 0; array.strides && i != array.ndim; ++i)
    if (*at++ != array.strides[i])
      return nullptr;
  return at;
}

Caller::Caller(nb::object prepare, nb::tuple arrays, nb::tuple sizes)
    : prepare(std::move(prepare)) {
  for (nb::handle name : arrays)
    arrayNames.push_back(nb::borrow(name));
  for (nb::handle name : sizes)
    sizeNames.push_back(nb::borrow(name));
}

const char *Caller::nameOf(size_t array) const {
  return utf8Of(arrayNames[array]);
}

bool Caller::areOf(const Entry &entry, const Objects &arrays) const {
  Describer describer = entry.describer;
  const int64_t *at = entry.key.data();
  if (*at++ != sourceOf(arrays))
    return false;
  // As many as when it was made, and each is found whole or not at all.
  for (nb::handle object : arrays) {
    nsa_array array;
    if (!describer.describe(object, array)) {
      PyErr_Clear(); // Caller::describe says what to make of it
      return false;
    }
    at = skipSame(at, array);
    if (!at)
      return false;
  }
  return true;
}

void Caller::describe(const Objects &arrays, Key &key,
                      Exported &exported) const {
  key.push_back(sourceOf(arrays));
  size_t number = 0;
  // Arrays of this operation are of one type, most likely, which `known` holds.
  std::shared_ptr<Entry> known = latest;
  Describer describer = known ? known->describer : Describer();
  for (nb::handle object : arrays) {
    nsa_array array;
    if (describer.describe(object, array)) {
      append(key, array);
    } else {
      if (PyErr_Occurred() && !isRefusal())
        throw nb::python_error();
      PyErr_Clear();
      exported.emplace_back(number,
                            ImportedArray(object, nameOf(number), "an array"));
      append(key, exported.back().second.get());
    }
    ++number;
  }
}

std::shared_ptr<Caller::Entry> Caller::bind(const Objects &arrays,
                                            Exported &exported) {
  Exported all;
  all.reserve(arrayNames.size());
  auto next = exported.begin();
  for (size_t i = 0; i != arrayNames.size(); ++i)
    if (next != exported.end() && next->first == i)
      all.push_back(std::move(*next++));
    else
      all.emplace_back(i,
                       ImportedArray(arrays.begin()[i], nameOf(i), "an array"));
  exported = std::move(all);
  Key key;
  key.push_back(sourceOf(arrays));
  std::vector<nsa_array> flat;
  for (const auto &[place, array] : exported) {
    append(key, array.get());
    flat.push_back(array.get());
  }

  int32_t type = flat.empty() ? NSA_DEVICE_CPU : flat.front().device_type;
  bool isCuda = type == NSA_DEVICE_CUDA || type == NSA_DEVICE_CUDA_MANAGED;
  nb::list described;
  for (const nsa_array &array : flat)
    described.append(describeArray(array));
  nb::object prepared = prepare(isCuda ? "cuda" : "cpu", described);
  nb::object made = prepared[0];
  const PyStep &step = nb::cast<const PyStep &>(made);

  std::vector<int64_t> counts(flat.size(), 1);
  static constexpr int64_t one = 1;
  std::vector<nsa_argument> arguments;
  for (size_t i = 0; i != flat.size(); ++i) {
    nsa_array &array = flat[i];
    bool isContiguous = array.ndim > 1;
    int64_t &count = counts[i];
    for (int32_t d = array.ndim - 1; d >= 0; --d) {
      if (array.strides && array.shape[d] != 1 && array.strides[d] != count)
        isContiguous = false;
      count *= array.shape[d];
    }
    const PyStep::Argument *argument = step.find(arrayNames[i]);
    if (argument && argument->isOutput)
      exported[i].second.checkDestination(arrays.begin()[i], nameOf(i));
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
    const char *text = utf8Of(name);
    arguments.push_back({text, nullptr, sizeOf(size, text)});
  }
  auto entry = std::make_shared<Entry>(
      Entry{{key.begin(), key.end()}, made, step, step.bind(arguments)});
  if (arrays.size() != 0) {
    nb::handle first = arrays.begin()[0];
    entry->type = nb::borrow((PyObject *)Py_TYPE(first.ptr()));
    entry->describer = Describer(first);
  }
  if (isCuda)
    entry->source = StreamSource(arrays.begin()[0], flat.front().device_id);
  // A host kernel may be a Python function.
  entry->runsNoPython =
      isCuda && entry->describer.readsHandles() && !entry->source.runsPython();
  entry->numSizes = step.sizeNames.size();
  for (const nb::object &name : sizeNames) {
    size_t place = 0;
    while (place != entry->numSizes &&
           PyUnicode_Compare(step.sizeNames[place].ptr(), name.ptr()) != 0)
      ++place;
    entry->places.push_back(place);
  }
  // Old entries go when this is done: the end of a step may run Python.
  std::unordered_map<uint64_t, std::shared_ptr<Entry>> forgotten;
  if (entries.size() >= maxEntries)
    std::swap(entries, forgotten);
  std::shared_ptr<Entry> replaced = entry;
  std::swap(entries[hashOf(key)], replaced);
  return entry;
}

std::shared_ptr<Caller::Entry> Caller::find(const Objects &arrays,
                                            Exported &exported) {
  Key key;
  describe(arrays, key, exported);
  auto found = entries.find(hashOf(key));
  if (found != entries.end() &&
      std::equal(key.begin(), key.end(), found->second->key.begin(),
                 found->second->key.end()))
    return found->second;
  return bind(arrays, exported);
}

void Caller::launch(Entry &entry, const nb::tuple &sizes,
                    nb::handle stream) const {
  CallBuffer<16> values;
  values.assign(entry.numSizes, NSA_SIZE_AS_BOUND);
  for (size_t i = 0, e = sizeNames.size(); i != e; ++i) {
    nb::handle size = itemOf(sizes, i);
    if (size.is_none())
      continue;
    int64_t value = sizeOf(size, utf8Of(sizeNames[i]));
    // A step need not have every size.
    if (entry.places[i] != entry.numSizes)
      values[entry.places[i]] = value;
  }
  void *raw = !stream.is_none() ? streamOf(stream) : entry.source.current();
  entry.step.launch(entry.binding, values.data(), raw);
}

/// What is read without running Python: None, or an integer and nothing else.
static bool isPlain(nb::handle value) {
  return value.is_none() || PyLong_CheckExact(value.ptr());
}

bool Caller::launchKnown(const Objects &arrays, const nb::tuple &sizes,
                         nb::handle stream) {
  Entry *entry = latest.get();
  if (!entry || !entry->runsNoPython || arrays.size() != arrayNames.size() ||
      sizes.size() != sizeNames.size() || !isPlain(stream))
    return false;
  for (size_t i = 0, e = sizeNames.size(); i != e; ++i)
    if (!isPlain(itemOf(sizes, i)))
      return false;
  const int64_t *at = entry->key.data() + 1;
  for (PyObject *object : arrays) {
    nsa_array array;
    at = entry->describer.read(object, array) ? skipSame(at, array) : nullptr;
    if (!at)
      return false;
  }
  launch(*entry, sizes, stream);
  return true;
}

void Caller::call(const Objects &arrays, const nb::tuple &sizes,
                  nb::handle stream) {
  if (arrays.size() != arrayNames.size() || sizes.size() != sizeNames.size())
    throw nb::type_error("expected an array and a size for each name");
  if (launchKnown(arrays, sizes, stream))
    return;
  HeldObjects held(arrays);
  Exported exported;
  std::shared_ptr<Entry> entry = latest;
  if (!entry || !areOf(*entry, held)) {
    entry = find(held, exported);
    latest = entry;
  }
  launch(*entry, sizes, stream);
}
