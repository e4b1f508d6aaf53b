//===- ScanSegment.cpp - The copies of a scan segment ---------------------===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "ScanSegment.h"

#include "LowerSegment.h"

#include "mlir/Dialect/MemRef/IR/MemRef.h"

using namespace mlir;
using namespace nsa;

ScanSegment::ScanSegment(SegmentOp segment, const IRMapping &ports)
    : ports(ports), size(segment.getSizes().front()),
      scans(segment.getBody().getOps<SumOpInterface>()),
      copies(segment.getCopies()) {
  // What is as long as a sum has its last element, too.
  for (CopyOp copy : copies)
    if (dependsOnScan(copy.getValue()) &&
        !Size::of(copy.getValue(), 0).isSameAs(Size::of(size)))
      lastCopies.push_back(copy);
}

SmallVector<Value> ScanSegment::emitSources(ElementBuilder &builder,
                                            Value row) {
  return llvm::map_to_vector(scans, [&](SumOpInterface scan) {
    return builder.element(scan.getSummed(), row);
  });
}

void ScanSegment::emitCopies(ElementBuilder &builder, ArrayRef<CopyOp> copies,
                             Value row) {
  // All values before the first store, so that no load has to wait for one.
  SmallVector<Value> values = llvm::map_to_vector(copies, [&](CopyOp copy) {
    return builder.element(copy.getValue(), row);
  });
  for (auto [number, value] : llvm::enumerate(values)) {
    CopyOp copy = copies[number];
    auto store = [&, value = value] {
      emitForDestinations(builder, copy, [&](Value destination) {
        memref::StoreOp::create(builder.b, builder.loc, value,
                                builder.lookup(destination), row);
      });
    };
    emitIfCopied(builder, copy, row, store);
  }
}

void ScanSegment::emitStores(ElementBuilder &builder, Value row,
                             ValueRange sources, ValueRange sums) {
  for (auto [scan, source, sum] : llvm::zip_equal(scans, sources, sums)) {
    builder.bind(scan.getSummed(), source);
    builder.bind(scan->getResult(0), sum);
  }
  emitCopies(builder, copies, row);
}

void ScanSegment::emitLastStores(ElementBuilder &builder, Value row,
                                 ValueRange sums) {
  for (auto [scan, sum] : llvm::zip_equal(scans, sums))
    builder.bind(scan->getResult(0), sum);
  emitIfNotNegative(builder, size,
                    [&] { emitCopies(builder, lastCopies, row); });
}
