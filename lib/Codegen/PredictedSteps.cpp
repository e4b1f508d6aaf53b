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
//===----------------------------------------------------------------------===//

#include "PredictedSteps.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/SCF/IR/SCF.h"

using namespace mlir;
using namespace nsa;

void nsa::emitPredictedSteps(
    ElementBuilder &builder, Threads &threads, Value size, Value first,
    function_ref<Value(ElementBuilder &, Value, Value)> emitStep,
    function_ref<void(ElementBuilder &, Value, Value)> visit) {
  Location loc = builder.loc;
  Type type = first.getType();
  Value thread = threads.emitThread(builder.b, loc);
  Value asElement = arith::IndexCastOp::create(builder.b, loc, type, thread);
  Value none = builder.zero(type);
  // Elements so far, the last one, the stride, how far the last step went, and
  // which half of what threads share is next.
  Value zero = builder.index(0), one = builder.index(1);
  SmallVector<Value> initial = {zero, first, none, none, zero};
  scf::WhileOp::create(
      builder.b, loc, TypeRange(ValueRange(initial)), initial,
      [&](OpBuilder &b, Location loc, ValueRange state) {
        Value isLeft = builder.less(state[0], size);
        scf::ConditionOp::create(b, loc, isLeft, state);
      },
      [&](OpBuilder &b, Location loc, ValueRange state) {
        ElementBuilder inner(b, builder);
        Value done = state[0], element = state[1], stride = state[2];
        Value guess = inner.add(element, inner.mul(asElement, stride));
        Value left = inner.sub(inner.sub(size, done), one);
        // Threads past the last step take that one.
        Value step = inner.add(done, inner.min(thread, left));
        Value next = emitStep(inner, step, guess);
        Value isRight = inner.equal(next, inner.add(guess, stride));
        auto [last, reached] = threads.emitFirstWithout(b, loc, isRight, next,
                                                        left, state[4]);
        auto ifOp = scf::IfOp::create(
            b, loc, inner.compare(Arith::Predicate::ule, thread, last),
            /*withElseRegion=*/false);
        {
          OpBuilder::InsertionGuard guard(b);
          b.setInsertionPointToStart(ifOp.thenBlock());
          ElementBuilder made(b, inner);
          visit(made, inner.add(step, one), next);
        }
        Value before = inner.add(
            element,
            inner.mul(arith::IndexCastOp::create(b, loc, type, last), stride));
        Value went = inner.sub(reached, before);
        Value isSteady = inner.apply<arith::OrIOp>(
            inner.equal(went, state[3]), inner.equal(went, none));
        Value isAgain = inner.both(inner.equal(last, zero), isSteady);
        Value isOther =
            inner.apply<arith::OrIOp>(isAgain, inner.equal(done, zero));
        scf::YieldOp::create(
            b, loc,
            ValueRange{inner.add(done, inner.add(last, one)), reached,
                       inner.select(isOther, went, stride), went,
                       inner.apply<arith::XOrIOp>(state[4], one)});
      });
}
