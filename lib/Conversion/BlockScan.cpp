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

#include "nsa/Codegen/Arith.h"
#include "nsa/IR/NSADialect.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/Dialect/SCF/IR/SCF.h"

using namespace mlir;
using namespace nsa;

MemRefType nsa::getBlockScanBufferType(MLIRContext *context,
                                       const ThreadBlock &block, size_t count,
                                       Type type) {
  auto space =
      gpu::AddressSpaceAttr::get(context, gpu::AddressSpace::Workgroup);
  if (!type)
    type = IntegerType::get(context, 32);
  return MemRefType::get({2, int64_t(count), block.getNumWarps()}, type,
                         AffineMap(), space);
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
static std::pair<Value, Value> emitShuffleUp(OpBuilder &b, Location loc,
                                             Value value, Value lane,
                                             int64_t offset,
                                             const ThreadBlock &block) {
  auto shuffle = gpu::ShuffleOp::create(
      b, loc, value, arith::ConstantIntOp::create(b, loc, offset, 32),
      arith::ConstantIntOp::create(b, loc, block.warp, 32),
      gpu::ShuffleMode::UP);
  Value shuffled = shuffle.getShuffleResult();
  if (block.shuffleTells)
    return {shuffled, shuffle.getValid()};
  Value isThere =
      arith::CmpIOp::create(b, loc, arith::CmpIPredicate::uge, lane,
                            arith::ConstantIndexOp::create(b, loc, offset));
  return {shuffled, isThere};
}

/// The sum of `value` over this lane and those before it in the warp.
static Value emitWarpScan(OpBuilder &b, Location loc, Value value, Value lane,
                          const ThreadBlock &block,
                          function_ref<Value(Value, Value)> combine) {
  for (int64_t step = 1; step < block.warp; step *= 2) {
    auto [other, isThere] = emitShuffleUp(b, loc, value, lane, step, block);
    value =
        arith::SelectOp::create(b, loc, isThere, combine(other, value), value);
  }
  return value;
}

SmallVector<BlockSum> nsa::emitBlockScan(OpBuilder &b, Location loc,
                                         ValueRange values, CombineFn combine,
                                         const ThreadBlock &block, Value buffer,
                                         Value half) {
  auto index = [&](int64_t value) -> Value {
    return arith::ConstantIndexOp::create(b, loc, value);
  };
  Value warpSize = index(block.warp);
  Value warp = arith::DivUIOp::create(b, loc, block.thread, warpSize);
  Value lane = arith::RemUIOp::create(b, loc, block.thread, warpSize);

  SmallVector<Value> inclusive;
  for (auto [number, value] : llvm::enumerate(values))
    inclusive.push_back(emitWarpScan(
        b, loc, value, lane, block, [&, number = number](Value lhs, Value rhs) {
          return combine(b, number, lhs, rhs);
        }));
  Value isLast = arith::CmpIOp::create(b, loc, arith::CmpIPredicate::eq, lane,
                                       index(block.warp - 1));
  scf::IfOp::create(b, loc, isLast, [&](OpBuilder &b, Location loc) {
    for (auto [number, value] : llvm::enumerate(inclusive))
      memref::StoreOp::create(b, loc, value, buffer,
                              ValueRange{half, index(number), warp});
    scf::YieldOp::create(b, loc);
  });
  gpu::BarrierOp::create(b, loc);

  SmallVector<BlockSum> sums;
  for (auto [number, value] : llvm::enumerate(inclusive)) {
    Value zero =
        arith::ConstantOp::create(b, loc, b.getZeroAttr(value.getType()));
    // Sums that saturate cannot be had by taking the thread's own value away.
    auto [previous, isThere] = emitShuffleUp(b, loc, value, lane, 1, block);
    Value before = arith::SelectOp::create(b, loc, isThere, previous, zero);
    Value total = zero;
    for (int64_t other = 0; other < block.getNumWarps(); ++other) {
      Value sum = memref::LoadOp::create(
          b, loc, buffer, ValueRange{half, index(number), index(other)});
      total = combine(b, number, total, sum);
      Value isBefore = arith::CmpIOp::create(b, loc, arith::CmpIPredicate::ult,
                                             index(other), warp);
      Value part = arith::SelectOp::create(b, loc, isBefore, sum, zero);
      before = combine(b, number, before, part);
    }
    sums.push_back({before, total});
  }
  return sums;
}

Value nsa::emitWarpReduce(OpBuilder &b, Location loc, Value value, int64_t warp,
                          function_ref<Value(Value, Value)> combine) {
  Value width = arith::ConstantIntOp::create(b, loc, warp, 32);
  for (int64_t step = warp / 2; step > 0; step /= 2) {
    Value offset = arith::ConstantIntOp::create(b, loc, step, 32);
    auto shuffle = gpu::ShuffleOp::create(b, loc, value, offset, width,
                                          gpu::ShuffleMode::XOR);
    value = combine(value, shuffle.getShuffleResult());
  }
  return value;
}

SmallVector<Value> nsa::emitBlockReduce(OpBuilder &b, Location loc,
                                        ValueRange values, CombineFn combine,
                                        const ThreadBlock &block,
                                        Value buffer) {
  auto index = [&](int64_t value) -> Value {
    return arith::ConstantIndexOp::create(b, loc, value);
  };
  Value warpSize = index(block.warp);
  Value warp = arith::DivUIOp::create(b, loc, block.thread, warpSize);
  Value lane = arith::RemUIOp::create(b, loc, block.thread, warpSize);

  SmallVector<Value> partial;
  for (auto [number, value] : llvm::enumerate(values))
    partial.push_back(emitWarpReduce(
        b, loc, value, block.warp, [&, number = number](Value lhs, Value rhs) {
          return combine(b, number, lhs, rhs);
        }));
  Value isFirst =
      arith::CmpIOp::create(b, loc, arith::CmpIPredicate::eq, lane, index(0));
  scf::IfOp::create(b, loc, isFirst, [&](OpBuilder &b, Location loc) {
    for (auto [number, value] : llvm::enumerate(partial))
      memref::StoreOp::create(b, loc, value, buffer,
                              ValueRange{index(0), index(number), warp});
    scf::YieldOp::create(b, loc);
  });
  gpu::BarrierOp::create(b, loc);

  SmallVector<Value> results;
  for (size_t number = 0; number < values.size(); ++number) {
    Value result;
    for (int64_t other = 0; other < block.getNumWarps(); ++other) {
      Value part = memref::LoadOp::create(
          b, loc, buffer, ValueRange{index(0), index(number), index(other)});
      result = result ? combine(b, number, result, part) : part;
    }
    results.push_back(result);
  }
  return results;
}

std::pair<Value, Value>
nsa::emitBlockFirstWithout(OpBuilder &b, Location loc, Value condition,
                           Value value, Value most, const ThreadBlock &block,
                           Value counts, Value values, Value half) {
  Arith math(b, loc);
  // Threads are few, so 32 bits are enough for their numbers.
  Value thread = math.toI32(block.thread), warpSize = math.i32(block.warp);
  Value warp = math.divUnsigned(thread, warpSize);
  Value firstOfWarp = math.mul(warp, warpSize);
  Value lane = math.sub(thread, firstOfWarp);
  Value bound = math.toI32(math.min(most, math.index(block.size - 1)));

  // What of its lanes a warp would answer with, it leaves for all.
  Value all = math.i32(-1);
  Value ballot = NVVM::VoteSyncOp::create(
      b, loc, b.getI32Type(), all, condition, NVVM::VoteSyncKind::ballot);
  Value others = arith::XOrIOp::create(b, loc, ballot, all);
  Value count =
      LLVM::CountTrailingZerosOp::create(b, loc, b.getI32Type(), others,
                                         /*is_zero_poison=*/false);
  Value left = math.max(math.sub(bound, firstOfWarp), math.i32(0));
  Value picked = math.min(math.min(count, math.i32(block.warp - 1)), left);
  Value zero = math.index(0), ofWarp = math.toIndex(warp);
  scf::IfOp::create(b, loc, math.equal(lane, picked),
                    [&](OpBuilder &b, Location loc) {
                      Value place[] = {half, zero, ofWarp};
                      memref::StoreOp::create(b, loc, count, counts, place);
                      memref::StoreOp::create(b, loc, value, values, place);
                      scf::YieldOp::create(b, loc);
                    });
  gpu::BarrierOp::create(b, loc);

  Value first = math.i32(block.size - 1);
  for (int64_t other = block.getNumWarps() - 1; other >= 0; --other) {
    Value count = memref::LoadOp::create(
        b, loc, counts, ValueRange{half, zero, math.index(other)});
    Value isThere = math.compare(Arith::Predicate::slt, count, warpSize);
    first = math.select(isThere, math.add(count, math.i32(other * block.warp)),
                        first);
  }
  first = math.min(first, bound);
  Value found = memref::LoadOp::create(
      b, loc, values,
      ValueRange{half, zero, math.toIndex(math.divUnsigned(first, warpSize))});
  return {math.toIndex(first), found};
}
