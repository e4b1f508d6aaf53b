//===- Arguments.cpp - Checking arrays against a manifest -----------------===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Arguments.h"
#include "Driver.h"
#include "Error.h"

#include <algorithm>

using namespace nsa::runtime;

namespace {

constexpr int64_t maxSize = INT32_MAX;

std::string plural(int64_t count, const char *what) {
  return std::to_string(count) + " " + what + (count == 1 ? "" : "s");
}

std::string describe(const ArgumentSpec &spec) {
  if (!spec.isArray())
    return "a size";
  return "a " + std::to_string(spec.rank()) + "-d " + spec.dtypeName + " array";
}

bool isCuda(const nsa_array &array, const std::string &name) {
  switch (array.device_type) {
  case NSA_DEVICE_CPU:
  case NSA_DEVICE_CUDA_HOST:
    return false;
  case NSA_DEVICE_CUDA:
  case NSA_DEVICE_CUDA_MANAGED:
    return true;
  default:
    failArgument(NSA_INVALID_ARGUMENT, name,
                 "expected an array on a cpu or cuda device but got one on "
                 "DLPack device type ",
                 array.device_type);
  }
}

std::string deviceName(bool cuda, int device) {
  return cuda ? "cuda:" + std::to_string(device) : "cpu";
}

class Checker {
public:
  explicit Checker(const Manifest &manifest) : manifest(manifest) {
    result.arrays.resize(manifest.arguments.size());
    result.sizes.resize(manifest.sizes.size(), unsetSize);
    given.resize(manifest.arguments.size(), nullptr);
  }

  BoundArguments run(const nsa_argument *arguments, size_t numArguments) {
    match(arguments, numArguments);
    for (size_t i = 0, e = given.size(); i != e; ++i)
      if (const ArgumentSpec &spec = manifest.arguments[i]; spec.isArray())
        checkArray(spec, *given[i]->array, result.arrays[i]);
    checkOverlap();
    takeSizes();
    return std::move(result);
  }

private:
  void match(const nsa_argument *arguments, size_t numArguments);
  void checkArray(const ArgumentSpec &spec, const nsa_array &array,
                  Extent &extent);
  void checkDevice(const ArgumentSpec &spec, const nsa_array &array);
  void checkLayout(const ArgumentSpec &spec, const Extent &extent);
  void checkOverlap();
  void takeSizes();

  const Manifest &manifest;
  BoundArguments result;
  std::vector<const nsa_argument *> given;
  const ArgumentSpec *first = nullptr;
};

void Checker::match(const nsa_argument *arguments, size_t numArguments) {
  for (size_t i = 0; i != numArguments; ++i) {
    std::string name = arguments[i].name ? arguments[i].name : "";
    int64_t place = manifest.find(name);
    if (place < 0)
      failArgument(NSA_TYPE, name, "step '", manifest.step,
                   "' has no argument of that name");
    if (given[place])
      failArgument(NSA_TYPE, name, "given twice");
    const ArgumentSpec &spec = manifest.arguments[place];
    if (spec.isArray() != (arguments[i].array != nullptr))
      failArgument(NSA_TYPE, name, "expected ", describe(spec), " but got ",
                   arguments[i].array ? "an array" : "a size");
    given[place] = &arguments[i];
  }
  for (size_t i = 0, e = given.size(); i != e; ++i) {
    const ArgumentSpec &spec = manifest.arguments[i];
    if (spec.isArray() && !given[i])
      failArgument(NSA_TYPE, spec.name, "expected ", describe(spec),
                   " but it is missing");
  }
}

void Checker::checkDevice(const ArgumentSpec &spec, const nsa_array &array) {
  bool cuda = isCuda(array, spec.name);
  int device = cuda ? array.device_id : 0;
  if (cuda && device < 0)
    device = array.data ? Driver::get().deviceOf(array.data) : result.device;
  if (!first) {
    first = &spec;
    result.cuda = cuda;
    result.device = device;
  } else if (cuda != result.cuda || device != result.device) {
    failArgument(NSA_INVALID_ARGUMENT, spec.name, "expected an array on ",
                 deviceName(result.cuda, result.device), " like '", first->name,
                 "' but got one on ", deviceName(cuda, device));
  }
}

void Checker::checkArray(const ArgumentSpec &spec, const nsa_array &array,
                         Extent &extent) {
  DType dtype{array.dtype_code, array.dtype_bits};
  if (!isAccepted(spec.dtype, dtype))
    failArgument(NSA_TYPE, spec.name, "expected dtype ", spec.dtypeName,
                 " but got ", toString(dtype));
  if (array.ndim != spec.rank())
    failArgument(NSA_INVALID_ARGUMENT, spec.name, "expected ",
                 plural(spec.rank(), "dimension"), " but got ", array.ndim);
  checkDevice(spec, array);
  if (spec.kind == ArgumentKind::Out && (array.flags & NSA_ARRAY_READ_ONLY))
    failArgument(NSA_INVALID_ARGUMENT, spec.name,
                 "expected a writable array but got a read-only one");

  extent.base = reinterpret_cast<uintptr_t>(array.data);
  extent.itemSize = dtype.bytes();
  extent.shape.assign(array.shape, array.shape + array.ndim);
  extent.strides.resize(array.ndim);
  for (int64_t i = array.ndim - 1, stride = 1; i >= 0; --i) {
    if (array.shape[i] < 0)
      failArgument(NSA_INVALID_ARGUMENT, spec.name,
                   "expected sizes of at least 0 but got shape[", i,
                   "] = ", array.shape[i]);
    extent.strides[i] = array.strides ? array.strides[i] : stride;
    // Wraps only where isAddressable says no below.
    stride = static_cast<int64_t>(static_cast<uint64_t>(stride) *
                                  static_cast<uint64_t>(array.shape[i]));
  }
  if (!isAddressable(extent))
    failArgument(NSA_INVALID_ARGUMENT, spec.name,
                 "expected an array that fits into memory but its shape and "
                 "strides reach beyond 2^62 bytes");
  checkLayout(spec, extent);
}

void Checker::checkLayout(const ArgumentSpec &spec, const Extent &extent) {
  for (int64_t i = 0; i != spec.rank(); ++i)
    if (spec.shape[i] && *spec.shape[i] != extent.shape[i])
      failArgument(NSA_INVALID_ARGUMENT, spec.name, "expected shape[", i,
                   "] to be ", *spec.shape[i], " but got ", extent.shape[i]);
  if (extent.elements() == 0)
    return;

  int64_t contiguous = 1;
  for (int64_t i = spec.rank() - 1; i >= 0; --i) {
    std::optional<int64_t> stride =
        spec.contiguous[i] ? contiguous : spec.strides[i];
    contiguous *= extent.shape[i];
    if (stride && extent.shape[i] > 1 && *stride != extent.strides[i])
      failArgument(NSA_INVALID_ARGUMENT, spec.name, "expected stride ", *stride,
                   " in dimension ", i, " but got ", extent.strides[i]);
  }
  if (extent.base == 0)
    failArgument(NSA_INVALID_ARGUMENT, spec.name, "expected the address of ",
                 plural(extent.elements(), "element"), " but got null");
  if (extent.base % static_cast<uint64_t>(spec.alignment))
    failArgument(NSA_INVALID_ARGUMENT, spec.name,
                 "expected an address aligned to ",
                 plural(spec.alignment, "byte"), " but got one that is ",
                 extent.base % static_cast<uint64_t>(spec.alignment),
                 " past a multiple of it");
  if (spec.kind == ArgumentKind::Out && mayOverlapItself(extent))
    failArgument(NSA_INVALID_ARGUMENT, spec.name,
                 "expected elements apart from each other but its strides make "
                 "some of them overlap");
}

void Checker::checkOverlap() {
  std::vector<Region> regions;
  std::vector<size_t> places;
  for (size_t i = 0, e = given.size(); i != e; ++i) {
    const ArgumentSpec &spec = manifest.arguments[i];
    if (!spec.isArray())
      continue;
    regions.push_back(
        {&result.arrays[i], spec.kind == ArgumentKind::Out, spec.value});
    places.push_back(i);
  }
  auto pair = findOverlap(regions);
  if (!pair)
    return;
  // Blame the one that is written.
  auto [a, b] = *pair;
  if (!regions[b].written)
    std::swap(a, b);
  const ArgumentSpec &other = manifest.arguments[places[a]];
  failArgument(NSA_INVALID_ARGUMENT, manifest.arguments[places[b]].name,
               "expected an array that overlaps no other but it overlaps '",
               other.name, "'",
               !regions[a].written ? ""
               : regions[a].value == regions[b].value
                   ? " without being the very same view"
                   : ", to which another value is written");
}

void Checker::takeSizes() {
  for (size_t i = 0, e = result.sizes.size(); i != e; ++i) {
    int64_t place = manifest.sizes[i];
    if (given[place]) {
      checkSize(manifest.arguments[place], given[place]->size);
      result.sizes[i] = given[place]->size;
    }
  }
  // A size that is left out takes what all dimensions that name it agree on.
  std::vector<int64_t> found(result.sizes.size(), unsetSize);
  std::vector<bool> disagree(result.sizes.size(), false);
  for (size_t i = 0, e = given.size(); i != e; ++i) {
    const ArgumentSpec &spec = manifest.arguments[i];
    for (size_t dim = 0; dim != spec.extents.size(); ++dim) {
      if (!spec.extents[dim])
        continue;
      int64_t size = *spec.extents[dim];
      // Too small for its constant, a dimension names 0, and `requires` says
      // what is wrong with it.
      int64_t value = std::max<int64_t>(
          result.arrays[i].shape[dim] - spec.extentOffsets[dim], 0);
      if (value > maxSize || (found[size] != unsetSize && found[size] != value))
        disagree[size] = true;
      found[size] = value;
    }
  }
  for (size_t i = 0, e = result.sizes.size(); i != e; ++i)
    if (result.sizes[i] == unsetSize && !disagree[i])
      result.sizes[i] = found[i];
}

} // namespace

BoundArguments nsa::runtime::checkArguments(const Manifest &manifest,
                                            const nsa_argument *arguments,
                                            size_t numArguments) {
  return Checker(manifest).run(arguments, numArguments);
}

void nsa::runtime::checkSize(const ArgumentSpec &argument, int64_t value) {
  if (value < 0 || value > maxSize)
    failArgument(NSA_INVALID_ARGUMENT, argument.name,
                 "expected a size from 0 to 2147483647 but got ", value);
}

void nsa::runtime::failUnsetSize(const Manifest &manifest, int64_t sizeIndex,
                                 const std::vector<Extent> &arrays) {
  const ArgumentSpec &size = manifest.arguments[manifest.sizes[sizeIndex]];
  std::string seen;
  for (size_t i = 0, e = arrays.size(); i != e; ++i) {
    const ArgumentSpec &spec = manifest.arguments[i];
    for (size_t dim = 0; dim != spec.extents.size(); ++dim)
      if (spec.extents[dim] == sizeIndex) {
        int64_t value = arrays[i].shape[dim];
        int64_t offset = spec.extentOffsets[dim];
        if (value - offset > maxSize)
          checkSize(size, value - offset);
        seen += (seen.empty() ? "" : ", ") + spec.name + ".shape[" +
                std::to_string(dim) + "] is " + std::to_string(value);
        if (offset)
          seen += " (" + size.name + " + " + std::to_string(offset) + ")";
      }
  }
  if (seen.empty())
    failArgument(NSA_TYPE, size.name, "expected a size but it is missing");
  failArgument(NSA_INVALID_ARGUMENT, size.name,
               "expected the dimensions that name it to agree, as it is not "
               "given, but ",
               seen);
}
