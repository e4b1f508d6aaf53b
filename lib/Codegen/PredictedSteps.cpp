//===- PredictedSteps.cpp - A recurrence by a block at once ---------------===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

//
// The steps of a recurrence wait for one another. Many go on by the same stride
// for long, so each thread guesses the element that it starts from, takes its
// step, and what they got says up to where the guesses were right: each is
// the element that the thread before got, from the first one on, which starts
// from a known one. A round makes one element at least, and one for each thread
// if all were right. Nothing rests on guesses but the number of rounds.
//
// The stride is that of the first step, and changes where two steps in
// succession went on by another one: a single irregular step leaves it (a
// two-delta stride predictor). One that went nowhere changes it at once: it has
// come to an end.
//
// Where no stride holds, but steps are short and take nothing but an element,
// threads take a step from each of the next values instead, and the elements
// are followed through what they got.
//
//===----------------------------------------------------------------------===//

#include "SumElements.h"

#include "mlir/Dialect/SCF/IR/SCF.h"

using namespace mlir;
using namespace nsa;

namespace {
/// What threads made in a round.
struct Made {
  /// The thread that has the last element, this thread's, the last one, and
  /// the one that its step began with.
  Value last, mine, reached, from;
};
} // namespace

/// Follows elements from `element` on through `next`, which each thread has for
/// the value that many after it, as far as those values go, for `left` steps
/// and another one at most.
static Made emitFollowed(ElementBuilder &builder, Threads &threads,
                         Value element, Value next, Value left, Value half) {
  Type type = next.getType();
  int64_t size = threads.getSize();
  Value thread = threads.emitThread(builder);
  Value memory = threads.emitMemory(builder, 2 * size, type);
  Value begin = builder.mul(half, builder.index(size));
  builder.store(next, memory, builder.add(begin, thread));
  threads.emitBarrier(builder);
  Value most = builder.min(left, builder.index(size - 1));
  // The number of the step, the value that it begins with (from the first one
  // on), what it gets to, and what this thread has got.
  SmallVector<Value> initial = {builder.index(0), builder.index(0), next, next};
  auto loop = scf::WhileOp::create(
      builder.b, builder.loc, TypeRange(ValueRange(initial)), initial,
      [&](OpBuilder &b, Location loc, ValueRange state) {
        Value number = state[0], value = state[1];
        Value reached = builder.load(memory, builder.add(begin, value));
        Value mine =
            builder.select(builder.equal(number, thread), reached, state[3]);
        Value next = builder.toIndex(builder.sub(reached, element));
        // Values before the first one are too large as well.
        Value goesOn = builder.isInside(next, builder.index(size));
        goesOn = builder.both(goesOn, builder.notEqual(next, value));
        goesOn = builder.both(goesOn, builder.less(number, most));
        // What ends here says which step it was, what goes on where it got to.
        Value place = builder.select(goesOn, next, value);
        scf::ConditionOp::create(b, loc, goesOn,
                                 ValueRange{number, place, reached, mine});
      },
      [&](OpBuilder &b, Location loc, ValueRange state) {
        Value number = builder.add(state[0], builder.index(1));
        scf::YieldOp::create(b, loc,
                             ValueRange{number, state[1], state[2], state[3]});
      });
  Value from = builder.add(element, builder.castIndex(type, loop.getResult(1)));
  return {loop.getResult(0), loop.getResult(3), loop.getResult(2), from};
}

/// What threads made that took their steps from elements `stride` apart.
static Made emitGuessed(ElementBuilder &builder, Threads &threads,
                        Value element, Value stride, Value guess, Value next,
                        Value left, Value half) {
  Value isRight = builder.equal(next, builder.add(guess, stride));
  auto [last, reached] =
      threads.emitFirstWithout(builder, isRight, next, left, half);
  Value times = builder.castIndex(next.getType(), last);
  Value from = builder.add(element, builder.mul(times, stride));
  return {last, next, reached, from};
}

void nsa::emitPredictedSteps(
    ElementBuilder &builder, Threads &threads, Value size, Value first,
    bool isNumbered,
    function_ref<Value(ElementBuilder &, Value, Value)> emitStep,
    function_ref<void(Value, Value)> visit) {
  Type type = first.getType();
  Value thread = threads.emitThread(builder);
  Value asElement = builder.castIndex(type, thread);
  Value none = builder.zero(type);
  bool canFollow = !isNumbered && threads.getSize() > 1;
  // Elements so far, the last one, the stride, how far the last step went,
  // which half of what threads share is next, and whether elements are
  // followed.
  Value zero = builder.index(0), one = builder.index(1);
  builder.emitWhile(
      {zero, first, none, none, zero, builder.i1(false)},
      [&](ValueRange state) { return builder.less(state[0], size); },
      [&](ValueRange state) -> SmallVector<Value> {
        ElementBuilder inner(builder.b, builder);
        Value done = state[0], element = state[1], stride = state[2];
        Value half = state[4], isFollowed = state[5];
        Value apart = stride;
        if (canFollow) {
          Value oneApart = inner.castIndex(type, inner.index(1));
          apart = inner.select(isFollowed, oneApart, stride);
        }
        Value guess = inner.add(element, inner.mul(asElement, apart));
        Value left = inner.sub(inner.sub(size, done), one);
        // Threads past the last step take that one.
        Value step = inner.add(done, inner.min(thread, left));
        Value next = emitStep(inner, step, guess);
        Made made;
        auto emitGuess = [&] {
          return emitGuessed(inner, threads, element, stride, guess, next, left,
                             half);
        };
        if (canFollow) {
          auto pack = [](const Made &made) -> SmallVector<Value> {
            return {made.last, made.mine, made.reached, made.from};
          };
          SmallVector<Type> types = {inner.b.getIndexType(), type, type, type};
          SmallVector<Value> packed = inner.emitIf(
              types, isFollowed,
              [&] {
                return pack(
                    emitFollowed(inner, threads, element, next, left, half));
              },
              [&] { return pack(emitGuess()); });
          made = {packed[0], packed[1], packed[2], packed[3]};
        } else {
          made = emitGuess();
        }
        inner.emitIf(inner.compare(Arith::Predicate::ule, thread, made.last),
                     [&] { visit(inner.add(step, one), made.mine); });
        Value went = inner.sub(made.reached, made.from);
        Value isSteady =
            inner.either(inner.equal(went, state[3]), inner.equal(went, none));
        Value isOne = inner.equal(made.last, zero);
        Value isOther =
            inner.either(inner.both(isOne, isSteady), inner.equal(done, zero));
        Value follows = state[5];
        if (canFollow) {
          Value isNot = inner.apply<arith::XOrIOp>(isOther, inner.i1(true));
          // A round of guesses takes half the time, and makes a few as well.
          Value enough = inner.index(5);
          follows = inner.select(
              isFollowed,
              inner.compare(Arith::Predicate::ugt, made.last, enough),
              inner.both(isOne, isNot));
        }
        return {inner.add(done, inner.add(made.last, one)), made.reached,
                inner.select(isOther, went, stride),        went,
                inner.apply<arith::XOrIOp>(half, one),      follows};
      });
}
