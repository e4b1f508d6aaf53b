//===- Threads.h - Threads that compute together ----------------*- C++ -*-===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef NSA_CODEGEN_THREADS_H
#define NSA_CODEGEN_THREADS_H

#include "nsa/Codegen/Arith.h"

#include "mlir/Dialect/GPU/IR/GPUDialect.h"

namespace nsa {

/// The threads that compute what a segment's elements share: those of a block,
/// or the only one of a host. All of them get to each call.
class Threads {
public:
  /// Combines two values of the one with a number.
  using Combine = function_ref<Value(size_t, Value, Value)>;
  /// What upstream calls that, for each number.
  using Kinds = ArrayRef<mlir::gpu::AllReduceOperation>;

  virtual ~Threads() = default;

  /// Their number.
  virtual int64_t getSize() const = 0;
  /// The most tiles of which each thing that is shared may keep an element, so
  /// that all fit: a power of two.
  virtual int64_t getMostTiles() const = 0;
  /// Emits this thread's number (index).
  virtual Value emitThread(Arith &math) = 0;
  /// Emits memory that all of them see: a memref of `count` elements.
  virtual Value emitMemory(Arith &math, int64_t count, Type type) = 0;
  /// A sum over the threads before this one, and over all of them.
  struct Sums {
    Value before, total;
  };
  /// Emits the sums of `value`.
  virtual Sums emitSums(Arith &math, Value value) = 0;
  /// Emits the combination of each of `values`, of one type, over all threads.
  virtual SmallVector<Value> emitReduce(Arith &math, ValueRange values,
                                        Kinds kinds, Combine combine) = 0;
  /// What each has written is seen by all.
  virtual void emitBarrier(Arith &math) = 0;

  /// A thread's number (index), and a value that it has.
  struct NumberedValue {
    Value number, value;
  };
  /// Emits the first thread that does not have `condition`, or thread `most`
  /// (index, 0 or more) or the last one where all before it have, and its
  /// `value`. `half` is an index that is 0 and 1 in turn from call to call.
  virtual NumberedValue emitFirstWithout(Arith &math, Value condition,
                                         Value value, Value most,
                                         Value half) = 0;
};

} // namespace nsa

#endif // NSA_CODEGEN_THREADS_H
