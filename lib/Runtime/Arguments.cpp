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

using namespace nsa::runtime;

namespace {

std::string plural(int64_t count, const char *what) {
  return std::to_string(count) + " " + what + (count == 1 ? "" : "s");
}

std::string describe(const ArgumentSpec &spec) {
  if (!spec.isArray())
    return "a size";
  return "a " + std::to_string(spec.rank()) + "-d " + spec.dtypeName + " array";
}

bool isCuda(const nsa_array &array, const std::string &name) {
  int32_t type = array.device_type;
  bool cuda = type == NSA_DEVICE_CUDA || type == NSA_DEVICE_CUDA_MANAGED;
  if (!cuda && type != NSA_DEVICE_CPU && type != NSA_DEVICE_CUDA_HOST)
    failArgument(NSA_INVALID_ARGUMENT, name,
                 "expected an array on a cpu or cuda device but got one on "
                 "DLPack device type ",
                 type);
  return cuda;
}

std::string deviceName(bool cuda, int device) {
  return cuda ? "cuda:" + std::to_string(device) : "cpu";
}

class Checker {
public:
  explicit Checker(const Manifest &manifest) : manifest(manifest) {
    result.arrays.resize(manifest.arguments.size());
    regions.resize(manifest.arguments.size());
    result.sizes.resize(manifest.sizes.size(), NSA_SIZE_UNSET);
    size_t count = 0;
    for (const nsa_port &port : manifest.ports)
      count += 2 * static_cast<size_t>(port.ndim);
    // Never grown past this, as arrays point into it.
    result.numbers.reserve(count);
    given.resize(manifest.arguments.size(), nullptr);
  }

  BoundArguments run(const nsa_argument *arguments, size_t numArguments) {
    match(arguments, numArguments);
    for (size_t i = 0, e = given.size(); i != e; ++i)
      if (manifest.arguments[i].isArray()) {
        if (given[i])
          checkArray(i, *given[i]->array);
        else
          leaveOut(i);
      }
    nsa_signature step = manifest.signature();
    throwIfFailed(nsa_check_overlap(&step, result.arrays.data(), regions.data(),
                                    &message),
                  message);
    takeSizes(step);
    return std::move(result);
  }

private:
  void match(const nsa_argument *arguments, size_t numArguments) {
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
      if (spec.isArray() && !given[i] && !spec.isOptional)
        failArgument(NSA_TYPE, spec.name, "expected ", describe(spec),
                     " but it is missing");
    }
  }

  void checkArray(size_t place, const nsa_array &array) {
    const ArgumentSpec &spec = manifest.arguments[place];
    DType dtype{array.dtype_code, array.dtype_bits};
    if (!isAccepted(spec.dtype, dtype))
      failArgument(NSA_TYPE, spec.name, "expected dtype ", spec.dtypeName,
                   " but got ", toString(dtype));
    if (array.ndim != spec.rank())
      failArgument(NSA_INVALID_ARGUMENT, spec.name, "expected ",
                   plural(spec.rank(), "dimension"), " but got ", array.ndim);
    checkDevice(spec, array);
    if (spec.kind == NSA_KIND_OUT && (array.flags & NSA_ARRAY_READ_ONLY))
      failArgument(NSA_INVALID_ARGUMENT, spec.name,
                   "expected a writable array but got a read-only one");

    int64_t *shape = result.numbers.data() + result.numbers.size();
    int64_t *strides = shape + array.ndim;
    result.numbers.resize(result.numbers.size() +
                          2 * static_cast<size_t>(array.ndim));
    for (int64_t i = array.ndim - 1, stride = 1; i >= 0; --i) {
      shape[i] = array.shape[i];
      strides[i] = array.strides ? array.strides[i] : stride;
      // Wraps only where the check below says no.
      stride = static_cast<int64_t>(static_cast<uint64_t>(stride) *
                                    static_cast<uint64_t>(array.shape[i]));
    }
    result.arrays[place] = {reinterpret_cast<uintptr_t>(array.data),
                            dtype.bytes(), array.ndim, shape, strides};
    throwIfFailed(nsa_check_array(&manifest.ports[place], &result.arrays[place],
                                  &regions[place], &message),
                  message);
  }

  /// An optional array that is not given: null.
  void leaveOut(size_t place) {
    const ArgumentSpec &spec = manifest.arguments[place];
    size_t rank = static_cast<size_t>(spec.rank());
    int64_t *shape = result.numbers.data() + result.numbers.size();
    result.numbers.resize(result.numbers.size() + 2 * rank, 0);
    result.arrays[place] = {0, spec.dtype.bytes(), spec.rank(), shape,
                            shape + rank};
  }

  void checkDevice(const ArgumentSpec &spec, const nsa_array &array) {
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
                   deviceName(result.cuda, result.device), " like '",
                   first->name, "' but got one on ", deviceName(cuda, device));
    }
  }

  void takeSizes(const nsa_signature &step) {
    for (size_t i = 0, e = result.sizes.size(); i != e; ++i)
      if (const nsa_argument *size = given[manifest.sizes[i]]) {
        // That number stands for no size here.
        throwIfFailed(nsa_check_size(&manifest.ports[manifest.sizes[i]],
                                     size->size, &message),
                      message);
        result.sizes[i] = size->size;
      }
    throwIfFailed(nsa_resolve_sizes(&step, result.arrays.data(),
                                    result.sizes.data(), &message),
                  message);
  }

  const Manifest &manifest;
  BoundArguments result;
  std::vector<nsa_region> regions;
  std::vector<const nsa_argument *> given;
  const ArgumentSpec *first = nullptr;
  nsa_message message;
};

} // namespace

BoundArguments nsa::runtime::checkArguments(const Manifest &manifest,
                                            const nsa_argument *arguments,
                                            size_t numArguments) {
  return Checker(manifest).run(arguments, numArguments);
}
