//===- RowSearch.cpp - The request that a row belongs to ------------------===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "RequestRows.h"

using namespace mlir;
using namespace nsa;

namespace {
/// The search; a method for each of its steps.
class RowSearch : Arith {
public:
  RowSearch(KernelBlock &block, RequestRows &expand, Value row, Value end);

  RowPlace emit() {
    // What a round carries to the next one: the request of thread 0, the half
    // of the buffers, the request that was found so far (index), rows and scans
    // before that of thread 0, and those before the one that was found (i32).
    // Rows, which come first, are unsigned and stop at the bound, which no
    // int32 exceeds, so they never wrap.
    SmallVector<Value> initial(3, index(0));
    initial.append(2 * numSums, i32(0));
    SmallVector<Value> last = emitWhile(
        initial,
        [&](ValueRange state) {
          Value isBefore = isInside(getSums(state).front(), end);
          return both(less(state[0], numRequests), isBefore);
        },
        [&](ValueRange state) { return emitRound(state); });
    ValueRange totals = getSums(last), before = getFound(last);
    return {isInside(row, totals.front()), last[2],
            toIndex(before.front()),       before.drop_front(),
            toIndex(totals.front()),       totals.drop_front()};
  }

private:
  ValueRange getSums(ValueRange state) const { return state.slice(3, numSums); }
  ValueRange getFound(ValueRange state) const {
    return state.drop_front(3 + numSums);
  }

  /// Emits a round; `b` is inside of the loop.
  SmallVector<Value> emitRound(ValueRange state) {
    Value first = state[0], half = state[1];
    ValueRange sums = getSums(state);
    SmallVector<Value> nextSums;
    for (auto [number, sum] : llvm::enumerate(emitBlockScan(
             *this, emitTerms(add(first, block.thread)),
             [&](size_t number, Value lhs, Value rhs) {
               return combine(number, lhs, rhs);
             },
             block.threads, scanBuffer, half))) {
      store(sum.before, before, {half, index(number), block.thread});
      nextSums.push_back(combine(number, sums[number], sum.total));
    }
    gpu::BarrierOp::create(b, loc);

    Value isBelow = isInside(row, nextSums[0]);
    Value isHere = both(isOutside(row, sums[0]), isBelow);
    SmallVector<Type> types = {b.getIndexType()};
    types.append(numSums, b.getI32Type());
    SmallVector<Value> found = emitIf(
        types, isHere,
        [&] {
          Value rest = sub(row, sums[0]);
          Value place = emitBisection(half, rest);
          // Requests past the last one have no rows, so none of them is found;
          // what loads depend on does not rest on sums alone.
          Value last = sub(numRequests, index(1));
          SmallVector<Value> found = {min(add(first, place), last)};
          for (auto [number, sum] : llvm::enumerate(sums)) {
            Value part = load(before, {half, index(number), place});
            found.push_back(combine(number, sum, part));
          }
          return found;
        },
        [&] {
          SmallVector<Value> kept = {state[2]};
          llvm::append_range(kept, getFound(state));
          return kept;
        });
    SmallVector<Value> next = {add(first, index(block.threads.size)),
                               sub(index(1), half), found.front()};
    llvm::append_range(next, nextSums);
    llvm::append_range(next, llvm::drop_begin(found));
    return next;
  }

  /// What the rows of request `request` add to rows and scans.
  SmallVector<Value> emitTerms(Value request) {
    SmallVector<Type> types(numSums, b.getI32Type());
    return emitIf(
        types, less(request, numRequests),
        [&] {
          ElementBuilder builder = block.at(request);
          Value count = expand.emitCount(builder, request);
          SmallVector<Value> terms = {toI32(count)};
          if (numSums > 1)
            llvm::append_range(
                terms, expand.emitSums(
                           builder, expand.emitBases(builder, request), count));
          return terms;
        },
        [&] { return SmallVector<Value>(numSums, i32(0)); });
  }

  /// The last thread of this round whose request begins at row `rest` of the
  /// round's or before (index).
  Value emitBisection(Value half, Value rest) {
    // Thread 0 begins at row 0, so there is one. Each step decides a bit.
    Value found = index(0);
    for (int64_t step = block.threads.size / 2; step > 0; step /= 2) {
      Value next = add(found, index(step));
      Value first = load(before, {half, index(0), next});
      found = select(compare(Predicate::ule, first, rest), next, found);
    }
    return found;
  }

  Value combine(size_t number, Value lhs, Value rhs) {
    Value sum = add(lhs, rhs);
    return number == 0 ? minUnsigned(sum, bound) : sum;
  }

  KernelBlock &block;
  RequestRows &expand;
  size_t numSums;
  Value numRequests, bound, row, end;
  /// Of the block's scan, and the sums before each thread's request.
  Value scanBuffer, before;
};
} // namespace

RowSearch::RowSearch(KernelBlock &block, RequestRows &expand, Value row,
                     Value end)
    : Arith(block), block(block), expand(expand),
      numSums(1 + expand.getNumScans()) {
  ElementBuilder outer = block.at({});
  numRequests = expand.emitNumRequests(outer);
  bound = toI32(expand.emitBound(outer));
  this->row = toI32(row);
  this->end = toI32(end);
  Type i32 = b.getI32Type();
  scanBuffer = addSharedMemory(
      block.kernel, getBlockScanBufferType(block.threads, numSums, i32));
  before = addSharedMemory(
      block.kernel,
      getSharedType({2, int64_t(numSums), block.threads.size}, i32));
}

RowPlace nsa::emitRowSearch(KernelBlock &block, RequestRows &expand, Value row,
                            Value end) {
  return RowSearch(block, expand, row, end).emit();
}
