//===- ScanSegment.cpp - Rows that one block walks ------------------------===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "CarriedLoads.h"
#include "SegmentLowering.h"
#include "Stores.h"

#include "mlir/Dialect/SCF/IR/SCF.h"

using namespace mlir;
using namespace nsa;

//===----------------------------------------------------------------------===//
// Rows
//===----------------------------------------------------------------------===//

/// Has `value` computed here: no optimisation moves it to its uses.
static void emitHere(Arith &math, Value value) {
  emitInstruction(math, "", math.toI64(value), /*constraints=*/"l");
}

namespace {
/// The parts of a `scan` segment that its lowerings order in time.
class ScanSegment {
public:
  explicit ScanSegment(SegmentOp segment);

  size_t getNumScans() { return scans.size(); }
  /// Computes where `row` is in some of the arrays that are written, here and
  /// not where it is stored. `builder` is for a GPU.
  void emitPlaces(ElementBuilder &builder, Value row) {
    // Strides are parameters, and a block waits for each line of those that it
    // is the first to read. Here it waits for lengths at the same time. Every
    // other one is enough: two are in a line at least, and the registers are
    // scarce.
    OpBuilder &b = builder.b;
    Location loc = builder.loc;
    SmallVector<Value> strided;
    for (ArrayRef<CopyOp> some : {ArrayRef(copies), ArrayRef(lastCopies)})
      for (CopyOp copy : some)
        for (Value destination : copy.getDestinations()) {
          auto type = cast<MemRefType>(builder.lookup(destination).getType());
          if (ShapedType::isDynamic(type.getStridesAndOffset().first.front()))
            strided.push_back(destination);
        }
    llvm::sort(strided, StepOp::isBefore);
    strided.erase(llvm::unique(strided), strided.end());
    constexpr size_t mostPlaces = 8;
    size_t count = std::min(strided.size(), 2 * mostPlaces);
    for (size_t number = 0; number < count; number += 2) {
      auto layout = memref::ExtractStridedMetadataOp::create(
          b, loc, builder.lookup(strided[number]));
      emitHere(builder, builder.mul(row, layout.getStrides().front()));
    }
  }

  /// The values that the scans add up, at `row`.
  SmallVector<Value> emitSources(ElementBuilder &builder, Value row) {
    return llvm::map_to_vector(scans, [&](SumOpInterface scan) {
      EmittedFor scope(builder, scan);
      return builder.element(scan.getSummed(), row);
    });
  }

  /// Stores all values at `row`, given what each scan adds up there and its sum
  /// of the rows before it; those that go on past the last row only, if it is
  /// not `isRow`, where that is not null.
  void emitStores(ElementBuilder &builder, Value row, ValueRange sources,
                  ValueRange sums, Value isRow = {}) {
    for (auto [scan, source, sum] : llvm::zip_equal(scans, sources, sums)) {
      builder.bind(scan.getSummed(), source);
      builder.bind(scan->getResult(0), sum);
    }
    // All values before the first store, so that no load has to wait for one.
    SmallVector<Value> last = emitValues(builder, lastCopies, row);
    builder.emitIf(isRow, [&] {
      ElementBuilder inner(builder.b, builder);
      storeValues(inner, copies, row, emitValues(inner, copies, row));
    });
    storeValues(builder, lastCopies, row, last);
  }

  /// Stores the values that go on past the last row there, given the sums.
  void emitLastStores(ElementBuilder &builder, Value row, ValueRange sums) {
    for (auto [scan, sum] : llvm::zip_equal(scans, sums))
      builder.bind(scan->getResult(0), sum);
    emitIfNotNegative(builder, size, [&] {
      storeValues(builder, lastCopies, row,
                  emitValues(builder, lastCopies, row));
    });
  }

private:
  SmallVector<Value> emitValues(ElementBuilder &builder,
                                ArrayRef<CopyOp> copies, Value row) {
    return llvm::map_to_vector(copies, [&](CopyOp copy) {
      return builder.element(copy.getValue(), row);
    });
  }

  void storeValues(ElementBuilder &builder, ArrayRef<CopyOp> copies, Value row,
                   ValueRange values) {
    for (auto [number, value] : llvm::enumerate(values)) {
      CopyOp copy = copies[number];
      emitIfCopied(builder, copy, row, [&, value = value] {
        storeElement(builder, copy, value, row);
      });
    }
  }

  Value size;
  SmallVector<SumOpInterface> scans;
  /// Those of rows alone, and those that go on past the last row.
  SmallVector<CopyOp> copies, lastCopies;
};
} // namespace

ScanSegment::ScanSegment(SegmentOp segment)
    : size(segment.getSizes().front()),
      scans(segment.getBody().getOps<SumOpInterface>()) {
  // What is as long as a sum has its last element, too.
  for (CopyOp copy : segment.getCopies()) {
    bool goesOn = dependsOnScan(copy.getValue()) &&
                  !Size::of(copy.getValue(), 0).isSameAs(Size::of(size));
    (goesOn ? lastCopies : copies).push_back(copy);
  }
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
      getBlockScanBufferType(block.threads, numScans, b.getI32Type()));
  BlockThreads together = block.getThreads();
  RowValues shared = emitSharedValues(b, segment, block.ports, together);
  Value rows = block.lookup(segment.getSizes().front());
  Value zero = block.i32(0);
  auto emitSum = [&](size_t, Value lhs, Value rhs) {
    return block.add(lhs, rhs);
  };
  auto emitSources = [&](Value row) {
    return scf::IfOp::create(
        b, loc, block.less(row, rows),
        [&](OpBuilder &b, Location loc) {
          ElementBuilder builder = block.at(row, &shared);
          scf::YieldOp::create(b, loc, scan.emitSources(builder, row));
        },
        [&](OpBuilder &b, Location loc) {
          scf::YieldOp::create(b, loc, SmallVector<Value>(numScans, zero));
        });
  };

  // Sums so far, what this round's are made of, and the half of the buffer. A
  // round loads that of the next one, so that no round waits for memory, and
  // the first one waits only where its lengths are added up.
  Value blockSize = block.index(block.threads.size);
  SmallVector<Value> carried(numScans, zero);
  scf::IfOp firstSources = emitSources(block.thread);
  CarriedLoads loads(firstSources, block.thread);
  llvm::append_range(carried, firstSources.getResults());
  carried.push_back(block.index(0));
  SmallVector<Value> sums = block.emitFor(
      block.index(0), rows, blockSize, carried,
      [&](Value first, ValueRange carried) {
        ValueRange loaded = carried.drop_front(numScans).drop_back();
        Value half = carried.back();
        // The first row is a multiple of the block's size, which ranges do not
        // see of a loop.
        first = block.mul(block.divUnsigned(first, blockSize), blockSize);
        Value row = block.add(first, block.thread);
        // A size of the step is less than 2^31, so that its rows, and those of
        // the last round past it, have 32 bits and no sign: their products with
        // strides have two parts instead of three. A computed size may be any.
        if (isa<BlockArgument>(rows))
          row = block.toIndexUnsigned(block.toI32(row));
        ElementBuilder ofRow = block.at(row);
        scan.emitPlaces(ofRow, row);
        Value nextRow = block.add(row, blockSize);
        scf::IfOp nextSources = emitSources(nextRow);
        loads.cut(nextSources, nextRow);
        SmallVector<Value> sources =
            loads.emit(block, loaded, block.less(row, rows));
        SmallVector<Threads::Sums> sums =
            emitBlockScan(block, sources, emitSum, block.threads, buffer, half);
        SmallVector<Value> before, next;
        for (auto [carry, sum] :
             llvm::zip(carried.take_front(numScans), sums)) {
          before.push_back(block.add(carry, sum.before));
          next.push_back(block.add(carry, sum.total));
        }
        // The sum before the row past the last one is that of all.
        block.emitIf(block.isAtMost(row, rows), [&] {
          ElementBuilder builder = block.at(row, &shared);
          scan.emitStores(builder, row, sources, before, block.less(row, rows));
        });
        llvm::append_range(next, nextSources.getResults());
        next.push_back(block.sub(block.index(1), half));
        return next;
      });

  // No round has that row where the last one is full, and where there is none.
  Value first = block.remUnsigned(block.max(rows, block.index(0)), blockSize);
  Value isFull = block.equal(first, block.index(0));
  Value isFirst = block.equal(block.thread, block.index(0));
  block.emitIf(block.both(isFull, isFirst), [&] {
    ElementBuilder builder = block.at(rows, &shared);
    scan.emitLastStores(builder, rows, ArrayRef(sums).take_front(numScans));
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
  Value one = math.index(1), zero = math.index(0);
  SmallVector<Value> sums =
      math.emitFor(zero, rows, one, zeros, [&](Value row, ValueRange sums) {
        ElementBuilder builder(b, math.loc, function.ports, row, &shared);
        SmallVector<Value> next = scan.emitSources(builder, row);
        scan.emitStores(builder, row, next, sums);
        for (auto [sum, source] : llvm::zip_equal(sums, next))
          source = math.add(sum, source);
        return next;
      });
  ElementBuilder builder(b, math.loc, function.ports, rows, &shared);
  scan.emitLastStores(builder, rows, sums);
}

template <> SegmentLowering nsa::getLoweringOf<SegmentKind::Scan>() {
  return {emitBlock, emitLoops};
}
