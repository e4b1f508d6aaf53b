//===- SharedValues.h - What the elements of a segment share ----*- C++ -*-===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef NSA_LIB_CONVERSION_SHAREDVALUES_H
#define NSA_LIB_CONVERSION_SHAREDVALUES_H

#include "BlockScan.h"

#include "nsa/Codegen/Elements.h"

#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/IR/IRMapping.h"

namespace nsa {

/// The threads of a block.
class BlockThreads : public Threads {
public:
  /// Workgroup memory is taken from `memory`, which grows: a block runs one
  /// segment, so segments use the same.
  BlockThreads(mlir::gpu::GPUFuncOp kernel, const ThreadBlock &block,
               int64_t mostTiles, SmallVectorImpl<Value> &memory)
      : kernel(kernel), block(block), mostTiles(mostTiles), memory(memory) {}

  int64_t getSize() const override { return block.size; }
  int64_t getMostTiles() const override { return mostTiles; }
  Value emitThread(Arith &) override { return block.thread; }
  Value emitMemory(Arith &math, int64_t count, Type type) override;
  Sums emitSums(Arith &math, Value value) override;
  SmallVector<Value> emitReduce(Arith &math, ValueRange values, Kinds kinds,
                                Combine combine) override;
  void emitBarrier(Arith &math) override;
  NumberedValue emitFirstWithout(Arith &math, Value condition, Value value,
                                 Value most, Value half) override;

private:
  /// Memory that nothing of this segment is in.
  Value take(MemRefType type);

  mlir::gpu::GPUFuncOp kernel;
  ThreadBlock block;
  int64_t mostTiles;
  SmallVectorImpl<Value> &memory;
  llvm::DenseSet<Value> taken;
};

/// The only thread of a function on the host.
class HostThread : public Threads {
public:
  /// Memory is on the stack, from the beginning of `entry` on.
  HostThread(Block &entry, int64_t mostTiles)
      : entry(entry), mostTiles(mostTiles) {}

  int64_t getSize() const override { return 1; }
  int64_t getMostTiles() const override { return mostTiles; }
  Value emitThread(Arith &math) override { return math.index(0); }
  Value emitMemory(Arith &math, int64_t count, Type type) override;
  Sums emitSums(Arith &math, Value value) override {
    return {math.zero(value.getType()), value};
  }
  SmallVector<Value> emitReduce(Arith &, ValueRange values, Kinds,
                                Combine) override {
    return values;
  }
  void emitBarrier(Arith &) override {}
  NumberedValue emitFirstWithout(Arith &math, Value, Value value, Value,
                                 Value) override {
    return {math.index(0), value};
  }

private:
  Block &entry;
  int64_t mostTiles;
};

/// The most tiles for what the segments of `launch` share to fit a block.
int64_t getMostTiles(LaunchOp launch);

/// Emits what all elements of `segment` share, of arrays.
RowValues emitSharedValues(OpBuilder &b, SegmentOp segment,
                           const IRMapping &ports, Threads &threads);
/// Adds what the elements of its row `row` share, of tables, to `values`, which
/// `builder` has to have.
void emitSharedRow(ElementBuilder &builder, SegmentOp segment, Threads &threads,
                   Value row, RowValues &values);

} // namespace nsa

#endif // NSA_LIB_CONVERSION_SHAREDVALUES_H
