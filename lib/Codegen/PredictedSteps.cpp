//===- PredictedSteps.cpp - A recurrence by a warp at once ----------------===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

//
// The steps of a recurrence wait for one another. Many go on by the same stride
// for long, so each lane guesses the element that it starts from, takes its
// step, and what the lanes got says up to where the guesses were right: each is
// the element that the lane before got, from lane 0 on, which starts from a
// known one. A round makes one element at least, and a warp's if all were
// right. Nothing rests on guesses but the number of rounds.
//
// The stride is that of the first step, and changes where two steps in
// succession went on by another one: a single irregular step leaves it (a
// two-delta stride predictor).
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
  // All threads that are here are of the first warp.
  Value lane = threads.emitThread(builder.b, loc);
  Value laneAsElement = arith::IndexCastOp::create(builder.b, loc, type, lane);
  Value none =
      arith::ConstantOp::create(builder.b, loc, builder.b.getZeroAttr(type));
  // Elements so far, the last one, the stride, and how far the last step went.
  SmallVector<Value> initial = {builder.constantIndex(0), first, none, none};
  scf::WhileOp::create(
      builder.b, loc, TypeRange(ValueRange(initial)), initial,
      [&](OpBuilder &b, Location loc, ValueRange state) {
        Value isLeft = arith::CmpIOp::create(b, loc, arith::CmpIPredicate::slt,
                                             state[0], size);
        scf::ConditionOp::create(b, loc, isLeft, state);
      },
      [&](OpBuilder &b, Location loc, ValueRange state) {
        ElementBuilder inner(b, builder);
        using arith::CmpIPredicate;
        auto add = [&](Value lhs, Value rhs) -> Value {
          return arith::AddIOp::create(b, loc, lhs, rhs);
        };
        auto sub = [&](Value lhs, Value rhs) -> Value {
          return arith::SubIOp::create(b, loc, lhs, rhs);
        };
        auto min = [&](Value lhs, Value rhs) -> Value {
          return arith::MinSIOp::create(b, loc, lhs, rhs);
        };
        auto compare = [&](CmpIPredicate predicate, Value lhs,
                           Value rhs) -> Value {
          return arith::CmpIOp::create(b, loc, predicate, lhs, rhs);
        };
        Value done = state[0], element = state[1], stride = state[2];
        Value zero = inner.constantIndex(0), one = inner.constantIndex(1);
        Value guess =
            add(element, arith::MulIOp::create(b, loc, laneAsElement, stride));
        Value left = sub(sub(size, done), one);
        // Lanes past the last step take that one.
        Value step = add(done, min(lane, left));
        Value next = emitStep(inner, step, guess);
        Value isRight = compare(CmpIPredicate::eq, next, add(guess, stride));
        Value last = min(min(threads.emitLeading(b, loc, isRight),
                             inner.constantIndex(threads.getWarpSize() - 1)),
                         left);
        auto ifOp =
            scf::IfOp::create(b, loc, compare(CmpIPredicate::ule, lane, last),
                              /*withElseRegion=*/false);
        {
          OpBuilder::InsertionGuard guard(b);
          b.setInsertionPointToStart(ifOp.thenBlock());
          ElementBuilder made(b, inner);
          visit(made, add(step, one), next);
        }
        Value went = threads.emitFrom(b, loc, sub(next, guess), last);
        Value isAgain = arith::AndIOp::create(
            b, loc, compare(CmpIPredicate::eq, last, zero),
            compare(CmpIPredicate::eq, went, state[3]));
        Value isOther = arith::OrIOp::create(
            b, loc, isAgain, compare(CmpIPredicate::eq, done, zero));
        scf::YieldOp::create(
            b, loc,
            ValueRange{
                add(done, add(last, one)), threads.emitFrom(b, loc, next, last),
                arith::SelectOp::create(b, loc, isOther, went, stride), went});
      });
}
