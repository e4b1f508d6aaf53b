//===- KernelParameters.h - What a kernel is called with --------*- C++ -*-===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef NSA_CODEGEN_KERNELPARAMETERS_H
#define NSA_CODEGEN_KERNELPARAMETERS_H

#include "nsa/IR/NSADialect.h"

namespace nsa {

/// One 8-byte parameter of a kernel. Kernels take pointers and just the strides
/// and sizes that types leave open, never memref descriptors: 16 backends would
/// not fit the parameter space otherwise.
struct KernelParameter {
  enum class Field {
    /// The base address of the array behind a port.
    Pointer,
    /// Its stride in dimension `dim`, in elements.
    Stride,
    /// Its size in dimension `dim`, in elements.
    Size,
    /// The value of an `index` port.
    Value,
    /// Which of `ports` have an array: bit i says it of the i-th.
    Presence
  };
  Field field;
  BlockArgument port;
  unsigned dim = 0;
  SmallVector<BlockArgument, 0> ports;

  static constexpr int64_t bytes = 8;
};

/// What elements of type `type` are in a kernel: bf16 is moved as 16 bits, so
/// that no target converts it on the way.
Type getStorageType(Type type);

/// The memref type that a kernel sees for a port: that of an `out` port, or for
/// an `in` port the layout that it states, else the most general one that ports
/// accept, with elements as `getStorageType` says.
MemRefType getKernelMemRefType(BlockArgument port);

/// The ports that the kernel of `launch` takes, in the order of its parameters:
/// first what it reads, formulas' arrays in the order of their reads, then what
/// it writes, by segment from the last one on; last the number of rows, where
/// no block needs it to find its own. A block waits for each line of parameters
/// that it is the first to read.
SmallVector<BlockArgument> getKernelPorts(LaunchOp launch);

/// The `optional` ones of `ports`, by the words of the kernel's presence
/// parameters.
SmallVector<SmallVector<BlockArgument, 0>>
getPresenceWords(ArrayRef<BlockArgument> ports);

/// The parameters of a kernel that uses `ports`, in the order in which they are
/// passed: for each port a pointer, its dynamic strides, and for an `in` port
/// the dynamic sizes that have no extent; all dynamic sizes in a step with
/// guards, and of a port that elements are stored to at computed places. Last,
/// words that say which `optional` ports are there, so that no block looks at
/// the address of an array that is not.
SmallVector<KernelParameter> getKernelParameters(ArrayRef<BlockArgument> ports);

/// The bytes that those parameters take.
inline int64_t getParameterBytes(ArrayRef<BlockArgument> ports) {
  return getKernelParameters(ports).size() * KernelParameter::bytes;
}

} // namespace nsa

#endif // NSA_CODEGEN_KERNELPARAMETERS_H
