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

/// Whether `value`, made from a cumulative sum, has its last element, too.
static bool hasLastSum(Value value) {
  Operation *op = value.getDefiningOp();
  if (isa<CuSeqlensOp>(op))
    return true;
  return !isa<WindowBasesOp>(op) &&
         hasLastSum(*llvm::find_if(op->getOperands(), dependsOnScan));
}

ScanSegment::ScanSegment(SegmentOp segment, const IRMapping &ports)
    : ports(ports), size(segment.getSizes().front()),
      scans(segment.getBody().getOps<CuSeqlensOp>()),
      copies(segment.getCopies()) {
  for (CopyOp copy : copies)
    if (dependsOnScan(copy.getValue()) && hasLastSum(copy.getValue()))
      lastCopies.push_back(copy);
}

SmallVector<Value> ScanSegment::emitSources(ElementBuilder &builder,
                                            Value row) {
  return llvm::map_to_vector(scans, [&](CuSeqlensOp scan) {
    return builder.element(scan.getSource(), row);
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
    builder.bind(scan.getSource(), source);
    builder.bind(scan.getResult(), sum);
  }
  emitCopies(builder, copies, row);
}

void ScanSegment::emitLastStores(ElementBuilder &builder, Value row,
                                 ValueRange sums) {
  for (auto [scan, sum] : llvm::zip_equal(scans, sums))
    builder.bind(scan.getResult(), sum);
  emitIfNotNegative(builder, size,
                    [&] { emitCopies(builder, lastCopies, row); });
}
