//===- BlockScan.cpp - Sums over the threads of a block -------------------===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Each warp adds up with shuffles and leaves its total in workgroup memory.
// After the barrier every thread reads all totals (a handful, the same address
// in all lanes) and adds those of the warps before its own.
//
//===----------------------------------------------------------------------===//

#include "BlockScan.h"

#include "nsa/IR/NSADialect.h"

#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"

using namespace mlir;
using namespace nsa;

MemRefType nsa::getSharedType(ArrayRef<int64_t> shape, Type type) {
  auto space = gpu::AddressSpaceAttr::get(type.getContext(),
                                          gpu::AddressSpace::Workgroup);
  return MemRefType::get(shape, type, AffineMap(), space);
}

MemRefType nsa::getBlockScanBufferType(const ThreadBlock &block, size_t count,
                                       Type type) {
  return getSharedType({2, int64_t(count), block.getNumWarps()}, type);
}

Value nsa::addSharedMemory(gpu::GPUFuncOp kernel, MemRefType type) {
  unsigned number = kernel.getNumWorkgroupAttributions();
  Value memory = kernel.addWorkgroupAttribution(type, kernel.getLoc());
  kernel.setWorkgroupAttributionAttr(
      number, LLVM::LLVMDialect::getAlignAttrName(),
      IntegerAttr::get(IntegerType::get(kernel.getContext(), 64),
                       TargetAttr::of(kernel).getAccessBytes()));
  return memory;
}

/// `value` of the lane `offset` before this one, and whether there is one.
static std::pair<Value, Value> emitShuffleUp(Arith &math, Value value,
                                             Value lane, int64_t offset,
                                             const ThreadBlock &block) {
  auto shuffle = gpu::ShuffleOp::create(math.b, math.loc, value, offset,
                                        block.warp, gpu::ShuffleMode::UP);
  Value shuffled = shuffle.getShuffleResult();
  if (block.shuffleTells)
    return {shuffled, shuffle.getValid()};
  return {shuffled, math.isOutside(lane, math.index(offset))};
}

/// The sum of `value` over this lane and those before it in the warp.
static Value emitWarpScan(Arith &math, Value value, Value lane,
                          const ThreadBlock &block,
                          function_ref<Value(Value, Value)> combine) {
  for (int64_t step = 1; step < block.warp; step *= 2) {
    auto [other, isThere] = emitShuffleUp(math, value, lane, step, block);
    value = math.select(isThere, combine(other, value), value);
  }
  return value;
}

/// The number of this thread's warp, and of its lane.
static std::pair<Value, Value> emitWarpAndLane(Arith &math,
                                               const ThreadBlock &block) {
  Value size = math.index(block.warp);
  Value warp = math.divUnsigned(block.thread, size);
  return {warp, math.remUnsigned(block.thread, size)};
}

/// Leaves what the thread of each warp that is `isOne` has of values in a half
/// of `buffer`, for all to see.
static void emitShare(Arith &math, Value isOne, ValueRange values, Value buffer,
                      Value half, Value warp) {
  math.emitIf(isOne, [&] {
    for (auto [number, value] : llvm::enumerate(values))
      math.store(value, buffer, {half, math.index(number), warp});
  });
  gpu::BarrierOp::create(math.b, math.loc);
}

SmallVector<Threads::Sums> nsa::emitBlockScan(Arith &math, ValueRange values,
                                              Threads::Combine combine,
                                              const ThreadBlock &block,
                                              Value buffer, Value half) {
  auto [warp, lane] = emitWarpAndLane(math, block);
  SmallVector<Value> inclusive;
  for (auto [number, value] : llvm::enumerate(values))
    inclusive.push_back(emitWarpScan(
        math, value, lane, block, [&, number = number](Value lhs, Value rhs) {
          return combine(number, lhs, rhs);
        }));
  emitShare(math, math.equal(lane, math.index(block.warp - 1)), inclusive,
            buffer, half, warp);

  SmallVector<Threads::Sums> sums;
  for (auto [number, value] : llvm::enumerate(inclusive)) {
    Value zero = math.zero(value.getType());
    // Sums that saturate cannot be had by taking the thread's own value away.
    auto [previous, isThere] = emitShuffleUp(math, value, lane, 1, block);
    Value before = math.select(isThere, previous, zero);
    Value total = zero;
    for (int64_t other = 0; other < block.getNumWarps(); ++other) {
      Value sum =
          math.load(buffer, {half, math.index(number), math.index(other)});
      total = combine(number, total, sum);
      Value isBefore =
          math.compare(Arith::Predicate::ult, math.index(other), warp);
      before = combine(number, before, math.select(isBefore, sum, zero));
    }
    sums.push_back({before, total});
  }
  return sums;
}

Value nsa::emitWarpReduce(Arith &math, Value value, const ThreadBlock &block,
                          std::optional<gpu::AllReduceOperation> kind,
                          function_ref<Value(Value, Value)> combine) {
  if (kind && block.warpReduces && value.getType().isInteger(32))
    return math.apply<gpu::SubgroupReduceOp>(value, *kind, /*uniform=*/true);
  for (int64_t step = block.warp / 2; step > 0; step /= 2) {
    auto shuffle = gpu::ShuffleOp::create(math.b, math.loc, value, step,
                                          block.warp, gpu::ShuffleMode::XOR);
    value = combine(value, shuffle.getShuffleResult());
  }
  return value;
}

SmallVector<Value> nsa::emitBlockReduce(Arith &math, ValueRange values,
                                        Threads::Kinds kinds,
                                        Threads::Combine combine,
                                        const ThreadBlock &block,
                                        Value buffer) {
  auto [warp, lane] = emitWarpAndLane(math, block);
  SmallVector<Value> partial;
  for (auto [number, value] : llvm::enumerate(values))
    partial.push_back(emitWarpReduce(
        math, value, block,
        kinds.empty() ? std::nullopt : std::optional(kinds[number]),
        [&, number = number](Value lhs, Value rhs) {
          return combine(number, lhs, rhs);
        }));
  Value zero = math.index(0);
  emitShare(math, math.equal(lane, zero), partial, buffer, zero, warp);

  SmallVector<Value> results;
  for (size_t number = 0; number < values.size(); ++number) {
    Value result;
    for (int64_t other = 0; other < block.getNumWarps(); ++other) {
      Value part =
          math.load(buffer, {zero, math.index(number), math.index(other)});
      result = result ? combine(number, result, part) : part;
    }
    results.push_back(result);
  }
  return results;
}

Threads::NumberedValue nsa::emitBlockFirstWithout(Arith &math, Value condition,
                                                  Value value, Value most,
                                                  const ThreadBlock &block,
                                                  Value counts, Value values,
                                                  Value half) {
  // Threads are few, so 32 bits are enough for their numbers.
  Value thread = math.toI32(block.thread), warpSize = math.i32(block.warp);
  Value warp = math.divUnsigned(thread, warpSize);
  Value firstOfWarp = math.mul(warp, warpSize);
  Value lane = math.sub(thread, firstOfWarp);
  Value bound = math.toI32(math.min(most, math.index(block.size - 1)));
  // What of its lanes a warp would answer with, it leaves for all.
  Value all = math.i32(-1);
  Type i32 = math.b.getI32Type();
  Value ballot = math.apply<NVVM::VoteSyncOp>(i32, all, condition,
                                              NVVM::VoteSyncKind::ballot);
  Value others = math.apply<arith::XOrIOp>(ballot, all);
  Value count = math.apply<LLVM::CountTrailingZerosOp>(
      i32, others, /*is_zero_poison=*/false);
  Value left = math.max(math.sub(bound, firstOfWarp), math.i32(0));
  Value picked = math.min(math.min(count, math.i32(block.warp - 1)), left);
  Value zero = math.index(0), ofWarp = math.toIndex(warp);
  math.emitIf(math.equal(lane, picked), [&] {
    math.store(count, counts, {half, zero, ofWarp});
    math.store(value, values, {half, zero, ofWarp});
  });
  gpu::BarrierOp::create(math.b, math.loc);

  Value first = math.i32(block.size - 1);
  for (int64_t other = block.getNumWarps() - 1; other >= 0; --other) {
    Value count = math.load(counts, {half, zero, math.index(other)});
    Value isThere = math.less(count, warpSize);
    first = math.select(isThere, math.add(count, math.i32(other * block.warp)),
                        first);
  }
  first = math.min(first, bound);
  Value ofFirst = math.toIndex(math.divUnsigned(first, warpSize));
  Value found = math.load(values, {half, zero, ofFirst});
  return {math.toIndex(first), found};
}
