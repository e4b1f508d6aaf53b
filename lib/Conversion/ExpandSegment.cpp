//===- ExpandSegment.cpp - The rows of requests, for any target -----------===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "ExpandSegment.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"

using namespace mlir;
using namespace nsa;

static constexpr int64_t maxI32 = std::numeric_limits<int32_t>::max();

//===----------------------------------------------------------------------===//
// Sums of consecutive numbers
//===----------------------------------------------------------------------===//

namespace {
/// Arithmetic on indices (64 bits).
struct Math {
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

/// The sum over all x < `y` of the length of a row for which it is x, modulo
/// 2^32 and up to a constant: x counts as min(x, limit), and for `causal` as 0
/// if it is negative. An x past int32 has wrapped: it is x - 2^32, negative.
static Value emitSumBelow(Math &math, ExpandKind kind, int64_t limit, Value y) {
  // limit for each x between the limit and the end of int32.
  Value clipped =
      math.mul(math.constant(limit), math.clamp(y, limit + 1, maxI32 + 1));
  if (kind == ExpandKind::Causal)
    return math.add(math.triangle(math.clamp(y, 0, limit + 1)), clipped);
  Value below = math.triangle(math.min(y, math.constant(limit + 1)));
  Value wrapped = math.triangle(math.max(y, math.constant(maxI32 + 1)));
  return math.add(math.add(below, clipped), wrapped);
}

/// The lengths that `scan` adds up, and the limit that clips them.
static std::pair<ExpandSeqlensOp, int64_t> getSummand(CuSeqlensOp scan) {
  Value source = scan.getSource();
  int64_t limit = maxI32;
  if (auto clip = source.getDefiningOp<ClipSeqlensOp>()) {
    limit = clip.getLimit();
    source = clip.getSource();
  }
  return {cast<ExpandSeqlensOp>(source.getDefiningOp()), limit};
}

//===----------------------------------------------------------------------===//
// ExpandSegment
//===----------------------------------------------------------------------===//

ExpandSegment::ExpandSegment(SegmentOp segment, const IRMapping &ports)
    : ports(ports), segment(segment), expansion(segment.getExpansion()),
      expands(segment.getBody().getOps<ExpandSeqlensOp>()),
      ranges(segment.getBody().getOps<TokenRangesOp>()),
      scans(segment.getBody().getOps<CuSeqlensOp>()) {
  for (CopyOp copy : segment.getCopies()) {
    if (copy.getValue().getDefiningOp<TotalRowsOp>())
      totalCopies.push_back(copy);
    else
      (dependsOnScan(copy.getValue()) ? scanCopies : rowCopies).push_back(copy);
  }
}

Value ExpandSegment::emitNumRequests(ElementBuilder &builder) {
  return builder.lookup(segment.getSizes().front());
}

Value ExpandSegment::emitBound(ElementBuilder &builder) {
  if (Value bound = expansion.getBound())
    return builder.lookup(bound);
  Math math{builder};
  return math.mul(emitNumRequests(builder),
                  math.constant(*expansion.getStaticExtend()));
}

Value ExpandSegment::emitCount(ElementBuilder &builder, Value request) {
  return expansion.emitCount(builder, request);
}

SmallVector<Value> ExpandSegment::emitBases(ElementBuilder &builder,
                                            Value request) {
  return llvm::map_to_vector(expands, [&](ExpandSeqlensOp op) {
    return op.emitBase(builder, request);
  });
}

SmallVector<Value> ExpandSegment::emitSums(ElementBuilder &builder,
                                           ValueRange bases, Value count) {
  Math math{builder};
  return llvm::map_to_vector(scans, [&](CuSeqlensOp scan) -> Value {
    auto [op, limit] = getSummand(scan);
    auto *it = llvm::find(expands, op);
    Value base = math.toIndex(bases[std::distance(expands.begin(), it)]);
    if (op.getKind() == ExpandKind::Broadcast)
      return math.toI32(math.mul(math.min(base, math.constant(limit)), count));
    Value end = emitSumBelow(math, op.getKind(), limit, math.add(base, count));
    Value begin = emitSumBelow(math, op.getKind(), limit, base);
    return math.toI32(math.sub(end, begin));
  });
}

void ExpandSegment::emitStores(ElementBuilder &builder, Value row,
                               ValueRange sums) {
  for (auto [scan, sum] : llvm::zip_equal(scans, sums))
    builder.bind(scan.getResult(), sum);
  Math math{builder};
  Value next = math.add(row, math.constant(1));
  auto store = [&](ArrayRef<CopyOp> copies, Value index) {
    for (CopyOp copy : copies) {
      Value element = builder.element(copy.getValue(), row);
      emitIfCopied(builder, copy, index, [&] {
        emitForDestinations(builder, copy, [&](Value destination) {
          memref::StoreOp::create(builder.b, builder.loc, element,
                                  builder.lookup(destination), index);
        });
      });
    }
  };
  store(rowCopies, row);
  // The sum of a row and those before it stands after it.
  store(scanCopies, next);
}

void ExpandSegment::emitRow(ElementBuilder &builder, Value row, Value request,
                            Value number, ValueRange bases, ValueRange before) {
  OpBuilder &b = builder.b;
  Location loc = builder.loc;
  Math math{builder};
  Value offset = math.toI32(number);
  for (auto [op, base] : llvm::zip_equal(expands, bases))
    builder.bind(op.getResult(), op.emitLength(builder, base, offset));
  for (TokenRangesOp op : ranges)
    builder.bind(op.getResult(), op.emitToken(builder, request, number));
  SmallVector<Value> sums =
      emitSums(builder, bases, math.add(number, math.constant(1)));
  for (auto [sum, rest] : llvm::zip_equal(sums, before))
    sum = arith::AddIOp::create(b, loc, sum, rest);
  emitStores(builder, row, sums);
}

void ExpandSegment::emitPadding(ElementBuilder &builder, Value row,
                                ValueRange sums) {
  Value zero = arith::ConstantIntOp::create(builder.b, builder.loc, 0, 32);
  for (ExpandSeqlensOp op : expands)
    builder.bind(op.getResult(), zero);
  for (TokenRangesOp op : ranges)
    builder.bind(op.getResult(), zero);
  emitStores(builder, row, sums);
}

void ExpandSegment::emitTotals(ElementBuilder &builder, Value numRows) {
  Math math{builder};
  Value first = math.constant(0);
  ElementBuilder atFirst(builder.b, builder.loc, ports, first);
  Value zero = arith::ConstantIntOp::create(builder.b, builder.loc, 0, 32);
  for (CuSeqlensOp scan : scans)
    atFirst.bind(scan.getResult(), zero);
  auto store = [&](CopyOp copy, Value element) {
    emitForDestinations(builder, copy, [&](Value destination) {
      memref::StoreOp::create(builder.b, builder.loc, element,
                              builder.lookup(destination), first);
    });
  };
  // A bound is a port.
  Value size =
      expansion.getBound() ? expansion.getBound() : segment.getSizes().front();
  // What is made from a sum begins with that of 0 rows.
  emitIfNotNegative(builder, size, [&] {
    for (CopyOp copy : scanCopies)
      if (copy.getFrom() == 0)
        store(copy, atFirst.element(copy.getValue(), first));
  });
  for (CopyOp copy : totalCopies)
    if (copy.getFrom() == 0)
      store(copy, math.toI32(numRows));
}
