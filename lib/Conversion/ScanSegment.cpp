//===- ScanSegment.cpp - Rows that one block walks ------------------------===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "SegmentLowering.h"
#include "Stores.h"

#include "mlir/Dialect/SCF/IR/SCF.h"

using namespace mlir;
using namespace nsa;

//===----------------------------------------------------------------------===//
// Rows
//===----------------------------------------------------------------------===//

namespace {
/// The parts of a `scan` segment that its lowerings order in time.
class ScanSegment {
public:
  explicit ScanSegment(SegmentOp segment);

  size_t getNumScans() { return scans.size(); }
  /// The values that the scans add up, at `row`.
  SmallVector<Value> emitSources(ElementBuilder &builder, Value row);
  /// Stores all values at `row`, given what each scan adds up there and its sum
  /// of the rows before it.
  void emitStores(ElementBuilder &builder, Value row, ValueRange sources,
                  ValueRange sums);
  /// Stores the values that go on past the last row there, given the sums.
  void emitLastStores(ElementBuilder &builder, Value row, ValueRange sums);

private:
  void emitCopies(ElementBuilder &builder, ArrayRef<CopyOp> copies, Value row);

  Value size;
  SmallVector<SumOpInterface> scans;
  SmallVector<CopyOp> copies, lastCopies;
};
} // namespace

ScanSegment::ScanSegment(SegmentOp segment)
    : size(segment.getSizes().front()),
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
    EmittedFor scope(builder, scan);
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
    emitIfCopied(builder, copy, row, [&, value = value] {
      storeElement(builder, copy, value, row);
    });
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

//===----------------------------------------------------------------------===//
// A block
//===----------------------------------------------------------------------===//

static void emitBlock(KernelBlock &block, SegmentOp segment, Value) {
  OpBuilder &b = block.b;
  Location loc = block.loc;
  ScanSegment scan(segment);
  size_t numScans = scan.getNumScans();
  Value buffer = addSharedMemory(
      block.kernel,
      getBlockScanBufferType(b.getContext(), block.threads, numScans));
  BlockThreads together = block.getThreads();
  RowValues shared = emitSharedValues(b, segment, block.ports, together);
  Value rows = block.lookup(segment.getSizes().front());
  Value zero = block.i32(0);
  auto emitSum = [&](OpBuilder &, size_t, Value lhs, Value rhs) {
    return block.add(lhs, rhs);
  };
  auto emitSources = [&](Value row) {
    auto ifOp = scf::IfOp::create(
        b, loc, block.less(row, rows),
        [&](OpBuilder &b, Location loc) {
          ElementBuilder builder = block.at(row);
          builder.setRow(&shared);
          scf::YieldOp::create(b, loc, scan.emitSources(builder, row));
        },
        [&](OpBuilder &b, Location loc) {
          scf::YieldOp::create(b, loc, SmallVector<Value>(numScans, zero));
        });
    return ifOp.getResults();
  };

  // Sums so far, what this round adds up, and the half of the buffer. A round
  // loads what the next one adds up, so that no round waits for memory.
  Value blockSize = block.index(block.threads.size);
  SmallVector<Value> carried(numScans, zero);
  llvm::append_range(carried, emitSources(block.thread));
  carried.push_back(block.index(0));
  auto loop = scf::ForOp::create(
      b, loc, block.index(0), rows, blockSize, carried,
      [&](OpBuilder &b, Location loc, Value first, ValueRange carried) {
        ValueRange sources = carried.slice(numScans, numScans);
        Value half = carried.back();
        Value row = block.add(first, block.thread);
        ValueRange nextSources = emitSources(block.add(row, blockSize));
        SmallVector<BlockSum> sums = emitBlockScan(b, loc, sources, emitSum,
                                                   block.threads, buffer, half);
        SmallVector<Value> before, next;
        for (auto [carry, sum] :
             llvm::zip(carried.take_front(numScans), sums)) {
          before.push_back(block.add(carry, sum.before));
          next.push_back(block.add(carry, sum.total));
        }
        block.emitIf(block.less(row, rows), [&] {
          ElementBuilder builder = block.at(row);
          builder.setRow(&shared);
          scan.emitStores(builder, row, sources, before);
        });
        llvm::append_range(next, nextSources);
        next.push_back(block.sub(block.index(1), half));
        scf::YieldOp::create(b, loc, next);
      });

  block.emitIf(block.equal(block.thread, block.index(0)), [&] {
    ElementBuilder builder = block.at(rows);
    builder.setRow(&shared);
    scan.emitLastStores(builder, rows, loop.getResults().take_front(numScans));
  });
}

//===----------------------------------------------------------------------===//
// A loop
//===----------------------------------------------------------------------===//

static void emitLoops(HostFunction &function, SegmentOp segment) {
  OpBuilder &b = function.b;
  Arith math(b, segment.getLoc());
  RowValues shared =
      emitSharedValues(b, segment, function.ports, function.thread);
  ScanSegment scan(segment);
  Value rows = function.ports.lookupOrDefault(segment.getSizes().front());
  SmallVector<Value> zeros(scan.getNumScans(), math.i32(0));
  auto loop = scf::ForOp::create(
      b, math.loc, math.index(0), rows, math.index(1), zeros,
      [&](OpBuilder &b, Location loc, Value row, ValueRange sums) {
        ElementBuilder builder(b, loc, function.ports, row);
        builder.setRow(&shared);
        SmallVector<Value> next = scan.emitSources(builder, row);
        scan.emitStores(builder, row, next, sums);
        for (auto [sum, source] : llvm::zip_equal(sums, next))
          source = math.add(sum, source);
        scf::YieldOp::create(b, loc, next);
      });
  ElementBuilder builder(b, math.loc, function.ports, rows);
  builder.setRow(&shared);
  scan.emitLastStores(builder, rows, loop.getResults());
}

const SegmentLowering nsa::scanLowering = {emitBlock, emitLoops};
