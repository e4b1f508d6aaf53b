//===- SharedValues.cpp - What the elements of a segment share ------------===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "SharedValues.h"

#include "mlir/IR/TypeUtilities.h"

using namespace mlir;
using namespace nsa;

//===----------------------------------------------------------------------===//
// BlockThreads
//===----------------------------------------------------------------------===//

Value BlockThreads::take(MemRefType type) {
  for (Value value : memory)
    if (value.getType() == type && taken.insert(value).second)
      return value;
  Value added = addSharedMemory(kernel, type);
  memory.push_back(added);
  taken.insert(added);
  return added;
}

Value BlockThreads::emitMemory(Arith &, int64_t count, Type type) {
  return take(getSharedType(count, type));
}

Threads::Sums BlockThreads::emitSums(Arith &math, Value value) {
  auto add = [&](size_t, Value lhs, Value rhs) { return math.add(lhs, rhs); };
  Value buffer =
      take(getBlockScanBufferType(block, /*count=*/1, value.getType()));
  return emitBlockScan(math, value, add, block, buffer, math.index(0)).front();
}

SmallVector<Value> BlockThreads::emitReduce(Arith &math, ValueRange values,
                                            Kinds kinds, Combine combine) {
  Value buffer = take(
      getBlockScanBufferType(block, values.size(), values.front().getType()));
  return emitBlockReduce(math, values, kinds, combine, block, buffer);
}

void BlockThreads::emitBarrier(Arith &math) {
  gpu::BarrierOp::create(math.b, math.loc);
}

Threads::NumberedValue BlockThreads::emitFirstWithout(Arith &math,
                                                      Value condition,
                                                      Value value, Value most,
                                                      Value half) {
  Value counts = take(getBlockScanBufferType(block, 1, math.b.getI32Type()));
  Value values = take(getBlockScanBufferType(block, 1, value.getType()));
  return emitBlockFirstWithout(math, condition, value, most, block, counts,
                               values, half);
}

//===----------------------------------------------------------------------===//
// HostThread
//===----------------------------------------------------------------------===//

Value HostThread::emitMemory(Arith &math, int64_t count, Type type) {
  OpBuilder::InsertionGuard guard(math.b);
  math.b.setInsertionPointToStart(&entry);
  return memref::AllocaOp::create(math.b, math.loc,
                                  MemRefType::get(count, type));
}

//===----------------------------------------------------------------------===//
// Segments
//===----------------------------------------------------------------------===//

int64_t nsa::getMostTiles(LaunchOp launch) {
  // Segments use the same memory: of each type, what one of them needs.
  llvm::SmallDenseMap<Type, int64_t> most;
  for (SegmentOp segment : launch.getSegments()) {
    llvm::SmallDenseMap<Type, int64_t> numbers;
    for (auto op : segment.getBody().getOps<SharedOpInterface>()) {
      Type type = getElementTypeOrSelf(op->getResult(0).getType());
      int64_t number = ++numbers[type];
      most[type] = std::max(most[type], number);
    }
  }
  int64_t bytes = 0;
  for (auto [type, number] : most)
    bytes += number * type.getIntOrFloatBitWidth() / 8;
  int64_t room = TargetAttr::of(launch).getTileBytes();
  // A vector of each thread, where more of them share rows (AssignTiles).
  int64_t tiles = std::max<int64_t>(1024, 4 * *launch.getThreads());
  while (tiles > 1 && (tiles + 1) * bytes > room)
    tiles /= 2;
  return tiles;
}

RowValues nsa::emitSharedValues(OpBuilder &b, SegmentOp segment,
                                const IRMapping &ports, Threads &threads) {
  RowValues values;
  SmallVector<Operation *> together;
  auto emitTogether = [&] {
    if (together.empty())
      return;
    ElementBuilder builder(b, segment.getLoc(), ports, {}, &values);
    auto first = cast<ElementOpInterface>(together.front());
    EmittedFor scope(builder, first);
    SmallVector<SmallVector<Value>> shared =
        first.emitSharedTogether(builder, together, threads);
    for (auto [op, ofOp] : llvm::zip_equal(together, shared))
      values[op] = ofOp;
    together.clear();
  };
  for (auto op : segment.getBody().getOps<SharedOpInterface>()) {
    if (op.getSharedRows())
      continue;
    if (!cast<ElementOpInterface>(op.getOperation()).canShareWith(together))
      emitTogether();
    together.push_back(op);
  }
  emitTogether();
  return values;
}

void nsa::emitSharedRow(ElementBuilder &builder, SegmentOp segment,
                        Threads &threads, Value row, RowValues &values) {
  for (auto op : segment.getBody().getOps<SharedOpInterface>()) {
    if (!segment.isSharedByRow(op))
      continue;
    EmittedFor scope(builder, op);
    SmallVector<Value> shared = {row};
    llvm::append_range(shared, cast<ElementOpInterface>(op.getOperation())
                                   .emitShared(builder, row, threads));
    values[op] = shared;
  }
}
