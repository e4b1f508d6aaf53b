//===- ExpansionElements.cpp - Rows of requests --------------------------===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Elements.h"

using namespace mlir;
using namespace nsa;

//===----------------------------------------------------------------------===//
// Expansion
//===----------------------------------------------------------------------===//

Value nsa::emitCount(ExpansionOp expansion, ElementBuilder &builder,
                     Value request) {
  if (expansion.isUniform())
    return builder.index(*expansion.getStaticExtend());
  Value count =
      builder.toIndex(builder.element(expansion.getExtend(), request));
  count = builder.min(count, builder.lookup(expansion.getBound()));
  return builder.max(count, builder.index(0));
}

ExpandedRow nsa::emitExpandedRow(ExpansionOp expansion, ElementBuilder &builder,
                                 Value requests, Value row) {
  if (expansion.isUniform()) {
    // Without rows for a request all rows are padding, which none belongs to.
    Value count =
        builder.index(std::max<int64_t>(*expansion.getStaticExtend(), 1));
    Value request = builder.divUnsigned(row, count);
    Value number = builder.remUnsigned(row, count);
    if (!expansion.getPadded())
      return {request, number, {}};
    if (*expansion.getStaticExtend() == 0)
      return {request, number, builder.i1(false)};
    return {request, number, builder.isInside(request, requests)};
  }

  // One request after the other, until rows reach beyond this one. Counts are
  // int32, so 64 bits hold their sum.
  Value zero = builder.index(0);
  SmallVector<Value> place = builder.emitWhile(
      {zero, zero, builder.i1(false)},
      [&](ValueRange state) {
        Value isLeft = builder.less(state[0], requests);
        Value yes = builder.i1(true);
        return builder.both(isLeft,
                            builder.apply<arith::XOrIOp>(state[2], yes));
      },
      [&](ValueRange state) -> SmallVector<Value> {
        ElementBuilder inner(builder.b, builder);
        Value next =
            builder.add(state[1], emitCount(expansion, inner, state[0]));
        Value isHere = builder.less(row, next);
        Value after = builder.add(state[0], builder.index(1));
        return {builder.select(isHere, state[0], after),
                builder.select(isHere, state[1], next), isHere};
      });
  return {place[0], builder.sub(row, place[1]), place[2]};
}

//===----------------------------------------------------------------------===//
// Sums over a request's rows
//===----------------------------------------------------------------------===//

/// y * (y - 1) / 2 modulo 2^64: one of y and y - 1 is even, and halving that
/// one first loses nothing.
static Value emitTriangle(Arith &math, Value y) {
  Value half = math.apply<arith::ShRSIOp>(y, math.index(1));
  Value odd =
      math.apply<arith::OrIOp>(math.sub(y, math.index(1)), math.index(1));
  return math.mul(half, odd);
}

static constexpr int64_t maxI32 = std::numeric_limits<int32_t>::max();

/// The sum over all x < `y` of the length of a row for which it is x, modulo
/// 2^32 and up to a constant: x counts as min(x, limit), and for `causal` as 0
/// if it is negative. An x past int32 has wrapped: it is x - 2^32, negative.
static Value emitSumBelow(Arith &math, ExpandKind kind, int64_t limit,
                          Value y) {
  // limit for each x between the limit and the end of int32.
  Value clipped =
      math.mul(math.index(limit), math.clamp(y, limit + 1, maxI32 + 1));
  if (kind == ExpandKind::Causal)
    return math.add(emitTriangle(math, math.clamp(y, 0, limit + 1)), clipped);
  Value below = emitTriangle(math, math.min(y, math.index(limit + 1)));
  Value wrapped = emitTriangle(math, math.max(y, math.index(maxI32 + 1)));
  return math.add(math.add(below, clipped), wrapped);
}

namespace {

/// The segment of an expansion knows the number of rows.
struct TotalRowsElements : ElementsOf<TotalRowsOp> {
  Value emitElement(ElementBuilder &, ValueRange) {
    llvm_unreachable("a number that its segment stores");
  }
};

struct ExpandSeqlensElements : RequestElementsOf<ExpandSeqlensOp> {
  /// The value that the lengths of a request's rows start from (i32).
  Value emitBase(ElementBuilder &builder, Value request) {
    Value length = builder.element(getSource(), request);
    if (getKind() == ExpandKind::Broadcast)
      return length;
    if (getKind() == ExpandKind::Causal) {
      auto expansion = getExpansion().getDefiningOp<ExpansionOp>();
      Value extend;
      if (expansion.isUniform()) {
        extend = builder.i32(*expansion.getStaticExtend());
      } else {
        extend = builder.element(expansion.getExtend(), request);
        if (extend.getType().isInteger(64))
          extend =
              builder.apply<arith::TruncIOp>(builder.b.getI32Type(), extend);
      }
      length = builder.sub(length, extend);
    }
    return builder.add(length, builder.i32(1));
  }

  Value emitOfRequest(ElementBuilder &builder, Value, Value base,
                      Value number) {
    Value offset = builder.toI32(number);
    if (getKind() == ExpandKind::Broadcast)
      return base;
    Value length = builder.add(base, offset);
    if (getKind() == ExpandKind::Following)
      return length;
    return builder.max(length, builder.i32(0));
  }

  Value emitSum(ElementBuilder &builder, Value base, Value count,
                int64_t limit) {
    Arith &math = builder;
    base = math.toIndex(base);
    if (getKind() == ExpandKind::Broadcast)
      return math.toI32(math.mul(math.min(base, math.index(limit)), count));
    Value end = emitSumBelow(math, getKind(), limit, math.add(base, count));
    Value begin = emitSumBelow(math, getKind(), limit, base);
    return math.toI32(math.sub(end, begin));
  }
};

struct ExpandRowsElements : ElementsOf<ExpandRowsOp> {
  Value emitElement(ElementBuilder &builder, ValueRange indices) {
    auto emit = [&](const ExpandedRow &place) {
      return builder.element(getSource(), {place.request, indices.back()});
    };
    return builder.emitOfRow(getOp(), indices.front(), emit);
  }
};

} // namespace

void nsa::attachExpansionElements(MLIRContext &context) {
  attach<TotalRowsElements, ExpandSeqlensElements, ExpandRowsElements>(context);
}
