//===- ExpandSegment.cpp - The rows of requests ---------------------------===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "RequestRows.h"
#include "SegmentLowering.h"
#include "Tiles.h"

using namespace mlir;
using namespace nsa;

static bool isTable(SegmentOp segment) {
  return segment.getSizes().size() == 2;
}

//===----------------------------------------------------------------------===//
// A block of rows
//===----------------------------------------------------------------------===//

static void emitRowsOfBlock(KernelBlock &block, SegmentOp segment,
                            Value number) {
  RequestRows expand(segment, block.ports);
  ElementBuilder outer = block.at({});
  Value bound = expand.emitBound(outer);
  Value rows = block.index(segment.getTiling()->getRows());
  Value begin = block.mul(block.toIndex(number), rows);
  Value end = block.add(begin, rows);
  Value row = block.add(begin, block.thread);
  RowPlace place = emitRowSearch(block, expand, row, end);

  Value isRow = place.isRow;
  // The search is in 32 bits, which a bound that is a port fits.
  if (expand.isUniform())
    isRow = block.both(isRow, block.isInside(row, bound));
  block.emitIf(isRow, [&] {
    ElementBuilder atRequest = block.at(place.request);
    ElementBuilder atRow = block.at(row);
    Value inRequest = block.sub(row, place.first);
    expand.emitRow(atRow, row, place.request, inRequest,
                   expand.emitBases(atRequest, place.request), place.before);
  });
  if (expand.isPadded()) {
    Value isInside = block.isInside(row, bound);
    Value isPast = block.isOutside(row, place.numRows);
    block.emitIf(block.both(isPast, isInside), [&] {
      ElementBuilder builder = block.at(row);
      expand.emitPadding(builder, row, place.totals);
    });
  }
  // The extra block, past all rows, has seen all requests.
  Value isFirst = block.equal(block.thread, block.index(0));
  Value isExtra = block.isOutside(begin, bound);
  block.emitIf(block.both(isExtra, isFirst),
               [&] { expand.emitTotals(outer, place.numRows); });
}

//===----------------------------------------------------------------------===//
// A block of a table
//===----------------------------------------------------------------------===//

/// The first row of `request`.
static Value emitFirstRow(KernelBlock &block, RequestRows &expand,
                          Value request) {
  ElementBuilder outer = block.at({});
  Value bound = expand.emitBound(outer);
  if (expand.isUniform()) {
    Value first = block.mul(request, expand.emitCount(outer, request));
    return expand.isPadded() ? block.min(first, bound) : first;
  }
  // Rows saturate at the bound, which no int32 exceeds, so they never wrap.
  Value boundI32 = block.toI32(bound);
  auto combine = [&](size_t, Value lhs, Value rhs) {
    return block.minUnsigned(block.add(lhs, rhs), boundI32);
  };
  Value sum =
      block.emitFor(block.thread, request, block.index(block.threads.size),
                    block.i32(0), [&](Value other, Value carried) {
                      ElementBuilder builder = block.at(other);
                      Value count =
                          block.toI32(expand.emitCount(builder, other));
                      return combine(0, carried, count);
                    });
  Value buffer = addSharedMemory(
      block.kernel,
      getBlockScanBufferType(block.threads, 1, block.b.getI32Type()));
  return block.toIndex(
      emitBlockReduce(block, sum, /*kinds=*/{}, combine, block.threads, buffer)
          .front());
}

static void emitTableOfBlock(KernelBlock &block, SegmentOp segment,
                             Value number) {
  RequestRows expand(segment, block.ports);
  ElementBuilder outer = block.at({});
  auto [request, column] = block.emitRowAndColumn(segment, number);
  auto emitTileOf = [&, request = request, column = column](RowRange rows) {
    emitTile(block.b, segment, block.ports,
             block.emitPoints(segment, request, column, block.threads.size),
             segment.getTiling()->getWidth(), {rows});
  };
  Value first = emitFirstRow(block, expand, request);
  // All of a request's rows, and no others: their number is a constant.
  if (expand.isUniform() && !expand.isPadded())
    return emitTileOf({first, expand.emitCount(outer, request)});

  Value rest = block.sub(expand.emitBound(outer), first);
  auto emitCount = [&, request = request] {
    ElementBuilder builder = block.at(request);
    return block.min(expand.emitCount(builder, request), rest);
  };
  if (!expand.isPadded())
    return emitTileOf({first, emitCount()});
  Value isPadding = block.isOutside(request, expand.emitNumRequests(outer));
  Value count = block.emitIf(
      block.b.getIndexType(), isPadding, [&] { return rest; }, emitCount);
  emitTileOf({first, count, isPadding});
}

static void emitBlock(KernelBlock &block, SegmentOp segment, Value number) {
  (isTable(segment) ? emitTableOfBlock : emitRowsOfBlock)(block, segment,
                                                          number);
}

//===----------------------------------------------------------------------===//
// Loops
//===----------------------------------------------------------------------===//

/// The number of rows of a request, given that of the requests before it.
static Value emitCount(ElementBuilder &builder, RequestRows &expand,
                       Value request, Value first) {
  Value rest = builder.sub(expand.emitBound(builder), first);
  return builder.min(expand.emitCount(builder, request), rest);
}

static void emitLoopsOfRows(HostFunction &function, SegmentOp segment) {
  OpBuilder &b = function.b;
  RequestRows expand(segment, function.ports);
  ElementBuilder outer(b, segment.getLoc(), function.ports, {});
  Location loc = outer.loc;
  Value zero = outer.index(0), one = outer.index(1);
  SmallVector<Value> initial(expand.getNumScans(), outer.i32(0));
  initial.push_back(zero); // the first row
  SmallVector<Value> totals = outer.emitFor(
      zero, expand.emitNumRequests(outer), one, initial,
      [&](Value request, ValueRange carried) {
        ElementBuilder builder(b, loc, function.ports, request);
        Value first = carried.back();
        ValueRange before = carried.drop_back();
        Value count = emitCount(builder, expand, request, first);
        SmallVector<Value> bases = expand.emitBases(builder, request);
        builder.emitFor(zero, count, one, [&](Value number) {
          Value row = builder.add(first, number);
          ElementBuilder inner(b, loc, function.ports, row);
          expand.emitRow(inner, row, request, number, bases, before);
        });
        SmallVector<Value> next = expand.emitSums(builder, bases, count);
        for (auto [sum, rest] : llvm::zip_equal(next, before))
          sum = builder.add(sum, rest);
        next.push_back(builder.add(first, count));
        return next;
      });
  Value numRows = totals.pop_back_val();
  expand.emitTotals(outer, numRows);
  if (!expand.isPadded())
    return;
  outer.emitFor(numRows, expand.emitBound(outer), one, [&](Value row) {
    ElementBuilder builder(b, loc, function.ports, row);
    expand.emitPadding(builder, row, totals);
  });
}

static void emitLoopsOfTable(HostFunction &function, SegmentOp segment) {
  OpBuilder &b = function.b;
  int64_t width = segment.getTiling()->getWidth();
  RequestRows expand(segment, function.ports);
  ElementBuilder outer(b, segment.getLoc(), function.ports, {});
  Value zero = outer.index(0), one = outer.index(1);
  Value columns = outer.lookup(segment.getSizes().back());
  auto emitColumns = [&](Value request, RowRange rows) {
    outer.emitFor(zero, columns, outer.index(width), [&](Value column) {
      emitTile(b, segment, function.ports, SmallVector<Value>{request, column},
               width, {rows});
    });
  };
  Value requests = expand.emitNumRequests(outer);
  Value first =
      outer.emitFor(zero, requests, one, zero, [&](Value request, Value first) {
        ElementBuilder builder(b, outer.loc, function.ports, request);
        Value count = emitCount(builder, expand, request, first);
        emitColumns(request, {first, count});
        return builder.add(first, count);
      });
  if (!expand.isPadded())
    return;
  Value count = outer.sub(expand.emitBound(outer), first);
  emitColumns(requests, {first, count, outer.i1(true)});
}

static void emitLoops(HostFunction &function, SegmentOp segment) {
  (isTable(segment) ? emitLoopsOfTable : emitLoopsOfRows)(function, segment);
}

template <> SegmentLowering nsa::getLoweringOf<SegmentKind::Expand>() {
  return {emitBlock, emitLoops};
}
