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
    State initial;
    initial.first = initial.half = initial.request = index(0);
    initial.sums.assign(numSums, i32(0));
    initial.found = initial.sums;
    SmallVector<Value> values = emitWhile(
        initial.pack(),
        [&](ValueRange values) {
          State state = State::unpack(values, numSums);
          Value isBefore = isInside(state.sums[0], end);
          return both(less(state.first, numRequests), isBefore);
        },
        [&](ValueRange values) {
          return emitRound(State::unpack(values, numSums)).pack();
        });
    State last = State::unpack(values, numSums);
    ArrayRef<Value> before = last.found, totals = last.sums;
    RowPlace place;
    place.isRow = isInside(row, totals.front());
    place.request = last.request;
    place.first = toIndex(before.front());
    place.before.assign(before.drop_front().begin(), before.end());
    place.numRows = toIndex(totals.front());
    place.totals.assign(totals.drop_front().begin(), totals.end());
    return place;
  }

private:
  /// What a round carries to the next one. Rows, which come first in `sums`,
  /// are unsigned and stop at the bound, which no int32 exceeds, so they never
  /// wrap.
  struct State {
    Value first;              // request of thread 0 (index)
    Value half;               // of the buffers (index)
    SmallVector<Value> sums;  // rows and scans before that request (i32)
    Value request;            // what was found so far (index)
    SmallVector<Value> found; // rows and scans before it (i32)

    SmallVector<Value> pack() const;
    static State unpack(ValueRange values, size_t numSums);
  };

  /// Emits a round; `b` is inside of the loop.
  State emitRound(const State &state) {
    Value request = add(state.first, block.thread);
    SmallVector<Threads::Sums> sums = emitBlockScan(
        *this, emitTerms(request),
        [&](size_t number, Value lhs, Value rhs) {
          return combine(number, lhs, rhs);
        },
        block.threads, scanBuffer, state.half);
    State next;
    for (auto [number, sum] : llvm::enumerate(sums)) {
      store(sum.before, before, {state.half, index(number), block.thread});
      next.sums.push_back(combine(number, state.sums[number], sum.total));
    }
    gpu::BarrierOp::create(b, loc);

    Value isBelow = isInside(row, next.sums[0]);
    Value isHere = both(isOutside(row, state.sums[0]), isBelow);
    SmallVector<Type> types = {b.getIndexType()};
    types.append(numSums, b.getI32Type());
    SmallVector<Value> found = emitIf(
        types, isHere,
        [&] {
          Value rest = sub(row, state.sums[0]);
          Value place = emitBisection(state.half, rest);
          // Requests past the last one have no rows, so none of them is found;
          // what loads depend on does not rest on sums alone.
          Value last = sub(numRequests, index(1));
          SmallVector<Value> found = {min(add(state.first, place), last)};
          for (auto [number, sum] : llvm::enumerate(state.sums)) {
            Value part = load(before, {state.half, index(number), place});
            found.push_back(combine(number, sum, part));
          }
          return found;
        },
        [&] {
          SmallVector<Value> kept = {state.request};
          llvm::append_range(kept, state.found);
          return kept;
        });
    next.first = add(state.first, index(block.threads.size));
    next.half = sub(index(1), state.half);
    next.request = found.front();
    llvm::append_range(next.found, llvm::drop_begin(found));
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

SmallVector<Value> RowSearch::State::pack() const {
  SmallVector<Value> values = {first, half, request};
  llvm::append_range(values, sums);
  llvm::append_range(values, found);
  return values;
}

RowSearch::State RowSearch::State::unpack(ValueRange values, size_t numSums) {
  ValueRange sums = values.drop_front(3);
  return {values[0], values[1], sums.take_front(numSums), values[2],
          sums.drop_front(numSums)};
}

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
