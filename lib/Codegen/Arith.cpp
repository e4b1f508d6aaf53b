//===- Arith.cpp - The arithmetic of emitted code -------------------------===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "nsa/Codegen/Arith.h"

#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/IR/TypeUtilities.h"

using namespace mlir;
using namespace nsa;

static Value emitConstant(Arith &math, Type type, TypedAttr value) {
  if (auto vector = dyn_cast<VectorType>(type))
    value = SplatElementsAttr::get(vector, Attribute(value));
  return math.apply<arith::ConstantOp>(value);
}

Value Arith::index(int64_t value) { return constant(b.getIndexType(), value); }
Value Arith::i32(int64_t value) { return constant(b.getI32Type(), value); }
Value Arith::i64(int64_t value) { return constant(b.getI64Type(), value); }
Value Arith::i1(bool value) { return constant(b.getI1Type(), value); }
Value Arith::zero(Type type) {
  return arith::ConstantOp::create(b, loc, b.getZeroAttr(type));
}

Value Arith::constant(Type type, int64_t value) {
  return emitConstant(*this, type,
                      b.getIntegerAttr(getElementTypeOrSelf(type), value));
}
Value Arith::constantFloat(Type type, double value) {
  return emitConstant(*this, type,
                      b.getFloatAttr(getElementTypeOrSelf(type), value));
}

Value Arith::toIndex(Value value) { return castIndex(b.getIndexType(), value); }
Value Arith::toIndexUnsigned(Value value) {
  return arith::IndexCastUIOp::create(b, loc, b.getIndexType(), value);
}

Value Arith::toI32(Value value) { return castIndex(b.getI32Type(), value); }

Value Arith::toI64(Value value) {
  return value.getType().isInteger(64) ? value
                                       : castIndex(b.getI64Type(), value);
}

Value Arith::castIndex(Type type, Value value) {
  return arith::IndexCastOp::create(b, loc, type, value);
}

Value Arith::add(Value lhs, int64_t rhs) {
  return rhs == 0 ? lhs : add(lhs, index(rhs));
}
Value Arith::clamp(Value value, int64_t low, int64_t high) {
  return max(min(value, index(high)), index(low));
}
Value Arith::compare(Predicate predicate, Value lhs, Value rhs) {
  return arith::CmpIOp::create(b, loc, predicate, lhs, rhs);
}
Value Arith::both(Value lhs, Value rhs) {
  if (!lhs || !rhs)
    return lhs ? lhs : rhs;
  return apply<arith::AndIOp>(lhs, rhs);
}
Value Arith::select(Value condition, Value lhs, Value rhs) {
  return arith::SelectOp::create(b, loc, condition, lhs, rhs);
}

Value Arith::splat(Value value, int64_t width) {
  auto type = VectorType::get(width, value.getType());
  return vector::BroadcastOp::create(b, loc, type, value);
}

Value Arith::extract(Value vector, int64_t lane) {
  return vector::ExtractOp::create(b, loc, vector, lane);
}

Value Arith::load(Value memref, ValueRange indices) {
  return memref::LoadOp::create(b, loc, memref, indices);
}
void Arith::store(Value value, Value memref, ValueRange indices) {
  memref::StoreOp::create(b, loc, value, memref, indices);
}

void Arith::emitIf(Value condition, function_ref<void()> then,
                   function_ref<void()> otherwise) {
  if (!condition)
    return then();
  auto ifOp = scf::IfOp::create(b, loc, condition, bool(otherwise));
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPoint(ifOp.thenYield());
  then();
  if (!otherwise)
    return;
  b.setInsertionPoint(ifOp.elseYield());
  otherwise();
}

Value Arith::emitIf(Type type, Value condition, function_ref<Value()> then,
                    function_ref<Value()> otherwise) {
  return emitIf(
             TypeRange(type), condition, [&] { return Values{then()}; },
             [&] { return Values{otherwise()}; })
      .front();
}

Arith::Values Arith::emitIf(TypeRange types, Value condition,
                            function_ref<Values()> then,
                            function_ref<Values()> otherwise) {
  // Also without types the blocks come without a yield.
  auto ifOp = scf::IfOp::create(b, loc, types, condition, /*addThenBlock=*/true,
                                /*addElseBlock=*/true);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(ifOp.thenBlock());
  scf::YieldOp::create(b, loc, then());
  b.setInsertionPointToStart(ifOp.elseBlock());
  scf::YieldOp::create(b, loc, otherwise());
  return ifOp.getResults();
}

void Arith::emitFor(Value begin, Value end, Value step,
                    function_ref<void(Value)> body) {
  auto loop = scf::ForOp::create(b, loc, begin, end, step);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPoint(loop.getBody()->getTerminator());
  body(loop.getInductionVar());
}

Arith::Values Arith::emitFor(Value begin, Value end, Value step,
                             ValueRange initial,
                             function_ref<Values(Value, ValueRange)> body) {
  auto loop = scf::ForOp::create(
      b, loc, begin, end, step, initial,
      [&](OpBuilder &b, Location loc, Value index, ValueRange carried) {
        scf::YieldOp::create(b, loc, body(index, carried));
      });
  return loop.getResults();
}

Value Arith::emitFor(Value begin, Value end, Value step, Value initial,
                     function_ref<Value(Value, Value)> body) {
  return emitFor(begin, end, step, ValueRange(initial),
                 [&](Value index, ValueRange carried) {
                   return Values{body(index, carried.front())};
                 })
      .front();
}

static void keepRolled(scf::ForOp loop) {
  MLIRContext *context = loop.getContext();
  auto unroll = LLVM::LoopUnrollAttr::get(
      context, /*disable=*/BoolAttr::get(context, true), /*count=*/{},
      /*runtimeDisable=*/{}, /*full=*/{}, /*followupUnrolled=*/{},
      /*followupRemainder=*/{}, /*followupAll=*/{});
  // Lowering hands attributes of the LLVM dialect on to branches.
  loop->setAttr("loop_annotation",
                LLVM::LoopAnnotationAttr::get(
                    context, /*disableNonforced=*/{}, /*vectorize=*/{},
                    /*interleave=*/{}, unroll, /*unrollAndJam=*/{}, /*licm=*/{},
                    /*distribute=*/{}, /*pipeline=*/{}, /*peeled=*/{},
                    /*unswitch=*/{}, /*mustProgress=*/{}, /*isVectorized=*/{},
                    /*startLoc=*/{}, /*endLoc=*/{}, /*parallelAccesses=*/{}));
}

void Arith::emitRolledFor(Value begin, Value end, Value step,
                          function_ref<void(Value)> body) {
  emitFor(begin, end, step, body);
  keepRolled(cast<scf::ForOp>(*std::prev(b.getInsertionPoint())));
}

Value Arith::emitRolledFor(Value begin, Value end, Value step, Value initial,
                           function_ref<Value(Value, Value)> body) {
  Value last = emitFor(begin, end, step, initial, body);
  keepRolled(last.getDefiningOp<scf::ForOp>());
  return last;
}

Arith::Values Arith::emitWhile(ValueRange initial,
                               function_ref<Value(ValueRange)> goesOn,
                               function_ref<Values(ValueRange)> next) {
  auto loop = scf::WhileOp::create(
      b, loc, TypeRange(initial), initial,
      [&](OpBuilder &b, Location loc, ValueRange state) {
        scf::ConditionOp::create(b, loc, goesOn(state), state);
      },
      [&](OpBuilder &b, Location loc, ValueRange state) {
        scf::YieldOp::create(b, loc, next(state));
      });
  return loop.getResults();
}
