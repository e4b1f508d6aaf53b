//===- BlockScan.h - Sums over the threads of a block -----------*- C++ -*-===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef NSA_LIB_CONVERSION_BLOCKSCAN_H
#define NSA_LIB_CONVERSION_BLOCKSCAN_H

#include "nsa/Codegen/Threads.h"

#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"

namespace nsa {

/// This thread, and the threads of its block.
struct ThreadBlock {
  /// Its number (index).
  Value thread;
  /// How many there are, in a block and in a warp.
  int64_t size, warp;
  /// See `#nsa.target`.
  bool shuffleTells, warpReduces;

  int64_t getNumWarps() const { return size / warp; }
};

/// The type of memory that the threads of a block share.
MemRefType getSharedType(ArrayRef<int64_t> shape, Type type);

/// That which `emitBlockScan` needs for `count` values of type `type`.
MemRefType getBlockScanBufferType(const ThreadBlock &block, size_t count,
                                  Type type);

/// Adds memory that the threads of a block share, aligned for vectors: LLVM
/// takes an array that says nothing to be, but the PTX does not say so.
Value addSharedMemory(mlir::gpu::GPUFuncOp kernel, MemRefType type);

/// Emits the sums of each of `values` (integers), added up by `combine`, which
/// is associative and commutative, with 0 as the neutral element, over the
/// block, with one barrier for all of them. All threads must get here. `half`
/// is an index that is 0 and 1 in turn from call to call: it picks a half of
/// `buffer`, so that a thread that is ahead by one call does not overwrite what
/// a slower one still reads, and no second barrier is needed.
SmallVector<Threads::Sums> emitBlockScan(Arith &math, ValueRange values,
                                         Threads::Combine combine,
                                         const ThreadBlock &block, Value buffer,
                                         Value half);

/// Emits the combination of `value` (i32) over a warp of `block`, which every
/// lane gets. `kind` is upstream's name for `combine`, if there is one.
Value emitWarpReduce(Arith &math, Value value, const ThreadBlock &block,
                     std::optional<mlir::gpu::AllReduceOperation> kind,
                     function_ref<Value(Value, Value)> combine);

/// Emits the combination of each of `values` (i32) over the block, which every
/// thread gets, with one barrier. All threads must get here. `kinds` has
/// upstream's names for what `combine` does, or is empty. `buffer` is of the
/// type that `emitBlockScan` takes, and used once.
SmallVector<Value> emitBlockReduce(Arith &math, ValueRange values,
                                   Threads::Kinds kinds,
                                   Threads::Combine combine,
                                   const ThreadBlock &block, Value buffer);

/// Emits `Threads::emitFirstWithout` of the threads of the block, with one
/// barrier. `counts` and `values` are of the types that `emitBlockScan` takes.
Threads::NumberedValue emitBlockFirstWithout(Arith &math, Value condition,
                                             Value value, Value most,
                                             const ThreadBlock &block,
                                             Value counts, Value values,
                                             Value half);

} // namespace nsa

#endif // NSA_LIB_CONVERSION_BLOCKSCAN_H
