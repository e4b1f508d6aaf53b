//===- DLPack.h - The DLPack ABI, as far as it is used ----------*- C++ -*-===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// DLPack's structures in its ABI of version 1. Declared here so that building
// needs no header of another project.
//
//===----------------------------------------------------------------------===//

#ifndef NSA_PYTHON_DLPACK_H
#define NSA_PYTHON_DLPACK_H

#include <cstdint>

namespace nsa::python::dlpack {

struct Device {
  int32_t type;
  int32_t id;
};

struct DataType {
  uint8_t code;
  uint8_t bits;
  uint16_t lanes;
};

struct Tensor {
  void *data;
  Device device;
  int32_t ndim;
  DataType dtype;
  int64_t *shape;
  int64_t *strides;
  uint64_t byteOffset;
};

/// In a capsule "dltensor": before version 1.0.
struct LegacyManagedTensor {
  Tensor tensor;
  void *context;
  void (*deleter)(LegacyManagedTensor *);
};

struct Version {
  uint32_t major;
  uint32_t minor;
};

constexpr uint64_t flagReadOnly = 1;
/// What is exported is a copy, which nobody else sees.
constexpr uint64_t flagIsCopied = 2;

/// In a capsule "dltensor_versioned".
struct ManagedTensor {
  Version version;
  void *context;
  void (*deleter)(ManagedTensor *);
  uint64_t flags;
  Tensor tensor;
};

/// In a capsule "dlpack_exchange_api", the attribute __dlpack_c_exchange_api__
/// of a producer's array type: what __dlpack__ does, without a Python call.
struct ExchangeApi {
  Version version;
  ExchangeApi *previous;
  int (*allocate)(Tensor *, ManagedTensor **, void *,
                  void (*)(void *, const char *, const char *));
  int (*fromObject)(void *object, ManagedTensor **);
  int (*toObject)(ManagedTensor *, void **object);
  int (*tensorFromObject)(void *object, Tensor *);
  int (*currentStream)(int32_t deviceType, int32_t deviceId, void **stream);
};

} // namespace nsa::python::dlpack

#endif // NSA_PYTHON_DLPACK_H
