//===- RequestRows.cpp - The rows of requests, for any target -----------===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "RequestRows.h"

#include "Stores.h"

using namespace mlir;
using namespace nsa;

static ElementOpInterface getElements(Operation *op) {
  return cast<ElementOpInterface>(op);
}

//===----------------------------------------------------------------------===//
// RequestRows
//===----------------------------------------------------------------------===//

RequestRows::RequestRows(SegmentOp segment, const IRMapping &ports)
    : ports(ports), segment(segment), expansion(segment.getExpansion()) {
  // Others are of requests, and what formulas read.
  for (auto scan : segment.getBody().getOps<SumOpInterface>())
    if (nsa::getExpansion(scan->getResult(0)))
      scans.push_back(scan);
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

Value RequestRows::emitNumRequests(ElementBuilder &builder) {
  return builder.lookup(segment.getSizes().front());
}

Value RequestRows::emitBound(ElementBuilder &builder) {
  if (Value bound = expansion.getBound())
    return builder.lookup(bound);
  return builder.mul(emitNumRequests(builder),
                     builder.index(*expansion.getStaticExtend()));
}

Value RequestRows::emitCount(ElementBuilder &builder, Value request) {
  return nsa::emitCount(expansion, builder, request);
}

SmallVector<Value> RequestRows::emitBases(ElementBuilder &builder,
                                          Value request) {
  return llvm::map_to_vector(rows, [&](ExpandOpInterface op) {
    return getElements(op).emitBase(builder, request);
  });
}

SmallVector<Value> RequestRows::emitSums(ElementBuilder &builder,
                                         ValueRange bases, Value count) {
  return llvm::map_to_vector(scans, [&](SumOpInterface scan) {
    auto summed = scan.getSummed().getDefiningOp<RequestSumOpInterface>();
    auto *it = llvm::find(rows, summed.getSummand());
    Value base = bases[std::distance(rows.begin(), it)];
    constexpr int64_t noLimit = std::numeric_limits<int32_t>::max();
    return getElements(summed).emitSum(builder, base, count, noLimit);
  });
}

void RequestRows::emitStores(ElementBuilder &builder, Value row,
                             ValueRange sums) {
  for (auto [scan, sum] : llvm::zip_equal(scans, sums))
    builder.bind(scan->getResult(0), sum);
  Value next = builder.add(row, builder.index(1));
  auto store = [&](ArrayRef<CopyOp> copies, Value index) {
    for (CopyOp copy : copies) {
      Value element = builder.element(copy.getValue(), row);
      emitIfCopied(builder, copy, index,
                   [&] { storeElement(builder, copy, element, index); });
    }
  };
  store(rowCopies, row);
  // The sum of a row and those before it stands after it.
  store(scanCopies, next);
}

void RequestRows::emitRow(ElementBuilder &builder, Value row, Value request,
                          Value number, ValueRange bases, ValueRange before) {
  for (auto [op, base] : llvm::zip_equal(rows, bases))
    builder.bind(op->getResult(0),
                 getElements(op).emitOfRequest(builder, request, base, number));
  Value count = builder.add(number, builder.index(1));
  SmallVector<Value> sums = emitSums(builder, bases, count);
  for (auto [sum, rest] : llvm::zip_equal(sums, before))
    sum = builder.add(sum, rest);
  emitStores(builder, row, sums);
}

void RequestRows::emitPadding(ElementBuilder &builder, Value row,
                              ValueRange sums) {
  Value zero = builder.i32(0);
  for (ExpandOpInterface op : rows)
    builder.bind(op->getResult(0), zero);
  emitStores(builder, row, sums);
}

void RequestRows::emitTotals(ElementBuilder &builder, Value numRows) {
  Value first = builder.index(0);
  ElementBuilder atFirst(builder.b, builder.loc, ports, first);
  Value zero = builder.i32(0);
  for (SumOpInterface scan : scans)
    atFirst.bind(scan->getResult(0), zero);
  auto store = [&](CopyOp copy, Value element) {
    storeElement(builder, copy, element, first);
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
      store(copy, builder.toI32(numRows));
}
