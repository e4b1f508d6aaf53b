//===- ExpansionElements.cpp - Rows of requests --------------------------===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Elements.h"

#include "mlir/Dialect/Affine/IR/AffineOps.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/IR/TypeUtilities.h"

using namespace mlir;
using namespace nsa;

namespace {
struct ExpandSeqlensElements : ElementsOf<ExpandSeqlensOp> {
  using ElementsOf::ElementsOf;
  Value emitBase(ElementBuilder &builder, Value request);
  Value emitOfRequest(ElementBuilder &builder, Value, Value base, Value number);
  Value emitElement(ElementBuilder &builder, ValueRange indices);
  Value emitSum(ElementBuilder &builder, Value base, Value count,
                int64_t limit);
};

struct ExpandRowsElements : ElementsOf<ExpandRowsOp> {
  using ElementsOf::ElementsOf;
  Value emitElement(ElementBuilder &builder, ValueRange indices);
};
/// The segment of an expansion knows the number of rows.
struct TotalRowsElements : ElementsOf<TotalRowsOp> {
  using ElementsOf::ElementsOf;
  Value emitElement(ElementBuilder &, ValueRange) {
    llvm_unreachable("a number that its segment stores");
  }
};
} // namespace

void nsa::attachExpansionElements(MLIRContext &context) {
  attach<TotalRowsElements, ExpandSeqlensElements, ExpandRowsElements>(context);
}

//===----------------------------------------------------------------------===//
// Expansion
//===----------------------------------------------------------------------===//

Value nsa::emitCount(ExpansionOp expansion, ElementBuilder &builder,
                     Value request) {
  if (expansion.isUniform())
    return builder.constantIndex(*expansion.getStaticExtend());
  OpBuilder &b = builder.b;
  Location loc = builder.loc;
  Value count = arith::IndexCastOp::create(
      b, loc, b.getIndexType(),
      builder.element(expansion.getExtend(), request));
  count = arith::MinSIOp::create(b, loc, count,
                                 builder.lookup(expansion.getBound()));
  return arith::MaxSIOp::create(b, loc, count, builder.constantIndex(0));
}

ExpandedRow nsa::emitExpandedRow(ExpansionOp expansion, ElementBuilder &builder,
                                 Value requests, Value row) {
  OpBuilder &b = builder.b;
  Location loc = builder.loc;
  using arith::CmpIPredicate;
  auto compare = [&](CmpIPredicate predicate, Value lhs, Value rhs) -> Value {
    return arith::CmpIOp::create(b, loc, predicate, lhs, rhs);
  };
  if (expansion.isUniform()) {
    // Without rows for a request all rows are padding, which none belongs to.
    Value count = builder.constantIndex(
        std::max<int64_t>(*expansion.getStaticExtend(), 1));
    Value request = arith::DivUIOp::create(b, loc, row, count);
    Value number = arith::RemUIOp::create(b, loc, row, count);
    if (!expansion.getPadded())
      return {request, number, {}};
    if (*expansion.getStaticExtend() == 0)
      return {request, number, arith::ConstantIntOp::create(b, loc, 0, 1)};
    return {request, number, compare(CmpIPredicate::ult, request, requests)};
  }

  // One request after the other, until rows reach beyond this one. Counts are
  // int32, so 64 bits hold their sum.
  Value zero = builder.constantIndex(0);
  Value no = arith::ConstantIntOp::create(b, loc, 0, 1);
  SmallVector<Value> initial = {zero, zero, no};
  auto loop = scf::WhileOp::create(
      b, loc, TypeRange(ValueRange(initial)), initial,
      [&](OpBuilder &b, Location loc, ValueRange state) {
        Value isLeft = compare(CmpIPredicate::slt, state[0], requests);
        Value yes = arith::ConstantIntOp::create(b, loc, 1, 1);
        Value goesOn = arith::AndIOp::create(
            b, loc, isLeft, arith::XOrIOp::create(b, loc, state[2], yes));
        scf::ConditionOp::create(b, loc, goesOn, state);
      },
      [&](OpBuilder &b, Location loc, ValueRange state) {
        ElementBuilder inner(b, builder);
        Value next = arith::AddIOp::create(
            b, loc, state[1], emitCount(expansion, inner, state[0]));
        Value isHere = compare(CmpIPredicate::slt, row, next);
        Value after =
            arith::AddIOp::create(b, loc, state[0], builder.constantIndex(1));
        scf::YieldOp::create(
            b, loc,
            ValueRange{arith::SelectOp::create(b, loc, isHere, state[0], after),
                       arith::SelectOp::create(b, loc, isHere, state[1], next),
                       isHere});
      });
  Value number = arith::SubIOp::create(b, loc, row, loop.getResult(1));
  return {loop.getResult(0), number, loop.getResult(2)};
}

/// The value that the lengths of a request's rows start from (i32).
Value ExpandSeqlensElements::emitBase(ElementBuilder &builder, Value request) {
  OpBuilder &b = builder.b;
  Location loc = builder.loc;
  auto constant = [&](int64_t value) -> Value {
    return arith::ConstantIntOp::create(b, loc, value, 32);
  };
  Value length = builder.element(getSource(), request);
  if (getKind() == ExpandKind::Broadcast)
    return length;
  if (getKind() == ExpandKind::Causal) {
    auto expansion = getExpansion().getDefiningOp<ExpansionOp>();
    Value extend;
    if (expansion.isUniform()) {
      extend = constant(*expansion.getStaticExtend());
    } else {
      extend = builder.element(expansion.getExtend(), request);
      if (extend.getType().isInteger(64))
        extend = arith::TruncIOp::create(b, loc, b.getI32Type(), extend);
    }
    length = arith::SubIOp::create(b, loc, length, extend);
  }
  return arith::AddIOp::create(b, loc, length, constant(1));
}

Value ExpandSeqlensElements::emitOfRequest(ElementBuilder &builder, Value,
                                           Value base, Value number) {
  OpBuilder &b = builder.b;
  Location loc = builder.loc;
  Value offset = arith::IndexCastOp::create(b, loc, b.getI32Type(), number);
  if (getKind() == ExpandKind::Broadcast)
    return base;
  Value length = arith::AddIOp::create(b, loc, base, offset);
  if (getKind() == ExpandKind::Following)
    return length;
  return arith::MaxSIOp::create(b, loc, length,
                                arith::ConstantIntOp::create(b, loc, 0, 32));
}

Value ExpandSeqlensElements::emitElement(ElementBuilder &builder,
                                         ValueRange indices) {
  auto emit = [&](const ExpandedRow &place) {
    return emitOfRequest(builder, place.request,
                         emitBase(builder, place.request), place.number);
  };
  return builder.emitOfRow(getOp(), indices.front(), emit);
}

//===----------------------------------------------------------------------===//
// Sums over a request's rows
//===----------------------------------------------------------------------===//

namespace {
struct SumMath {
  ElementBuilder &builder;

  Value constant(int64_t value) { return builder.constantIndex(value); }
  template <typename Op> Value apply(Value lhs, Value rhs) {
    return Op::create(builder.b, builder.loc, lhs, rhs);
  }
  Value add(Value lhs, Value rhs) { return apply<arith::AddIOp>(lhs, rhs); }
  Value sub(Value lhs, Value rhs) { return apply<arith::SubIOp>(lhs, rhs); }
  Value mul(Value lhs, Value rhs) { return apply<arith::MulIOp>(lhs, rhs); }
  Value min(Value lhs, Value rhs) { return apply<arith::MinSIOp>(lhs, rhs); }
  Value max(Value lhs, Value rhs) { return apply<arith::MaxSIOp>(lhs, rhs); }
  Value clamp(Value value, int64_t low, int64_t high) {
    return max(min(value, constant(high)), constant(low));
  }
  Value toI32(Value value) {
    return arith::IndexCastOp::create(builder.b, builder.loc,
                                      builder.b.getI32Type(), value);
  }
  Value toIndex(Value value) {
    return arith::IndexCastOp::create(builder.b, builder.loc,
                                      builder.b.getIndexType(), value);
  }
  /// y * (y - 1) / 2 modulo 2^64: one of y and y - 1 is even, and halving that
  /// one first loses nothing.
  Value triangle(Value y) {
    Value half = apply<arith::ShRSIOp>(y, constant(1));
    Value odd = apply<arith::OrIOp>(sub(y, constant(1)), constant(1));
    return mul(half, odd);
  }
};
} // namespace

static constexpr int64_t maxI32 = std::numeric_limits<int32_t>::max();

/// The sum over all x < `y` of the length of a row for which it is x, modulo
/// 2^32 and up to a constant: x counts as min(x, limit), and for `causal` as 0
/// if it is negative. An x past int32 has wrapped: it is x - 2^32, negative.
static Value emitSumBelow(SumMath &math, ExpandKind kind, int64_t limit,
                          Value y) {
  // limit for each x between the limit and the end of int32.
  Value clipped =
      math.mul(math.constant(limit), math.clamp(y, limit + 1, maxI32 + 1));
  if (kind == ExpandKind::Causal)
    return math.add(math.triangle(math.clamp(y, 0, limit + 1)), clipped);
  Value below = math.triangle(math.min(y, math.constant(limit + 1)));
  Value wrapped = math.triangle(math.max(y, math.constant(maxI32 + 1)));
  return math.add(math.add(below, clipped), wrapped);
}

Value ExpandSeqlensElements::emitSum(ElementBuilder &builder, Value base,
                                     Value count, int64_t limit) {
  SumMath math{builder};
  base = math.toIndex(base);
  if (getKind() == ExpandKind::Broadcast)
    return math.toI32(math.mul(math.min(base, math.constant(limit)), count));
  Value end = emitSumBelow(math, getKind(), limit, math.add(base, count));
  Value begin = emitSumBelow(math, getKind(), limit, base);
  return math.toI32(math.sub(end, begin));
}

Value ExpandRowsElements::emitElement(ElementBuilder &builder,
                                      ValueRange indices) {
  auto emit = [&](const ExpandedRow &place) {
    return builder.element(getSource(), {place.request, indices.back()});
  };
  return builder.emitOfRow(getOp(), indices.front(), emit);
}
