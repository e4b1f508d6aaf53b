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

static ElementOpInterface getElements(Operation *op) {
  return cast<ElementOpInterface>(op);
}

static Value toI32(ElementBuilder &builder, Value value) {
  return arith::IndexCastOp::create(builder.b, builder.loc,
                                    builder.b.getI32Type(), value);
}

//===----------------------------------------------------------------------===//
// ExpandSegment
//===----------------------------------------------------------------------===//

ExpandSegment::ExpandSegment(SegmentOp segment, const IRMapping &ports)
    : ports(ports), segment(segment), expansion(segment.getExpansion()),
      scans(segment.getBody().getOps<SumOpInterface>()) {
  for (auto op : segment.getBody().getOps<ExpandOpInterface>())
    if (op.isPerRow() && !op.getRepeated())
      rows.push_back(op);
  for (CopyOp copy : segment.getCopies()) {
    auto expanded = copy.getValue().getDefiningOp<ExpandOpInterface>();
    if (expanded && !expanded.isPerRow())
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
  return arith::MulIOp::create(
      builder.b, builder.loc, emitNumRequests(builder),
      builder.constantIndex(*expansion.getStaticExtend()));
}

Value ExpandSegment::emitCount(ElementBuilder &builder, Value request) {
  return nsa::emitCount(expansion, builder, request);
}

SmallVector<Value> ExpandSegment::emitBases(ElementBuilder &builder,
                                            Value request) {
  return llvm::map_to_vector(rows, [&](ExpandOpInterface op) {
    return getElements(op).emitBase(builder, request);
  });
}

SmallVector<Value> ExpandSegment::emitSums(ElementBuilder &builder,
                                           ValueRange bases, Value count) {
  return llvm::map_to_vector(scans, [&](SumOpInterface scan) {
    auto summed = scan.getSummed().getDefiningOp<RequestSumOpInterface>();
    auto *it = llvm::find(rows, summed.getSummand());
    Value base = bases[std::distance(rows.begin(), it)];
    constexpr int64_t noLimit = std::numeric_limits<int32_t>::max();
    return getElements(summed).emitSum(builder, base, count, noLimit);
  });
}

void ExpandSegment::emitStores(ElementBuilder &builder, Value row,
                               ValueRange sums) {
  for (auto [scan, sum] : llvm::zip_equal(scans, sums))
    builder.bind(scan->getResult(0), sum);
  Value next = arith::AddIOp::create(builder.b, builder.loc, row,
                                     builder.constantIndex(1));
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
  for (auto [op, base] : llvm::zip_equal(rows, bases))
    builder.bind(op->getResult(0),
                 getElements(op).emitOfRequest(builder, request, base, number));
  Value count = arith::AddIOp::create(b, loc, number, builder.constantIndex(1));
  SmallVector<Value> sums = emitSums(builder, bases, count);
  for (auto [sum, rest] : llvm::zip_equal(sums, before))
    sum = arith::AddIOp::create(b, loc, sum, rest);
  emitStores(builder, row, sums);
}

void ExpandSegment::emitPadding(ElementBuilder &builder, Value row,
                                ValueRange sums) {
  Value zero = arith::ConstantIntOp::create(builder.b, builder.loc, 0, 32);
  for (ExpandOpInterface op : rows)
    builder.bind(op->getResult(0), zero);
  emitStores(builder, row, sums);
}

void ExpandSegment::emitTotals(ElementBuilder &builder, Value numRows) {
  Value first = builder.constantIndex(0);
  ElementBuilder atFirst(builder.b, builder.loc, ports, first);
  Value zero = arith::ConstantIntOp::create(builder.b, builder.loc, 0, 32);
  for (SumOpInterface scan : scans)
    atFirst.bind(scan->getResult(0), zero);
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
      store(copy, toI32(builder, numRows));
}
