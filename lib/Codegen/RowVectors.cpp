//===- RowVectors.cpp - Sums of rows that stay with threads --------------===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "nsa/Codegen/RowVectors.h"

#include "nsa/Codegen/FormulaCost.h"
#include "nsa/Codegen/Reductions.h"

#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/IR/TypeUtilities.h"

using namespace mlir;
using namespace nsa;

//===----------------------------------------------------------------------===//
// Where
//===----------------------------------------------------------------------===//

/// Whether `source` is a formula of as many columns as `segment`, so that what
/// is made from it has vectors where the segment's elements have them.
static bool hasVectors(SegmentOp segment, Value source) {
  auto map = source.getDefiningOp<MapOp>();
  return map && map.getSizes().size() == 2 &&
         Size::of(source, 1).isSameAs(Size::of(segment.getSizes().back()));
}

static bool isTakenByVectors(SegmentOp segment, Operation *op) {
  if (auto scan = dyn_cast<ScanOp>(op))
    return !scan.getSums() && hasVectors(segment, scan.getSource());
  auto reduce = dyn_cast<ReduceOp>(op);
  return reduce && hasVectors(segment, reduce.getSource());
}

bool nsa::takesRowVectors(SegmentOp segment) {
  // What is emitted only where it is live is emitted by itself.
  for (auto op : segment.getBody().getOps<LivenessOpInterface>())
    if (op.hasDeadElements())
      return false;
  // Sums, and formulas that are made from them.
  llvm::SmallDenseSet<Value> sums;
  auto isMade = [&](Value value) { return sums.contains(value); };
  for (Operation &op : segment.getBody().front()) {
    if (auto shared = dyn_cast<SharedOpInterface>(op);
        shared && segment.isSharedByRow(shared)) {
      if (!isTakenByVectors(segment, &op))
        return false;
      if (isa<ScanOp>(op))
        sums.insert(op.getResult(0));
      continue;
    }
    bool isMadeFromSums = false;
    auto result = op.walk([&](Operation *inner) {
      auto read = dyn_cast<ReadOp>(inner);
      if (!llvm::any_of(inner->getOperands(), isMade))
        return WalkResult::advance();
      isMadeFromSums = true;
      bool isTaken = read ? isAtPoint(read) : isa<CopyOp>(inner);
      return isTaken ? WalkResult::advance() : WalkResult::interrupt();
    });
    if (result.wasInterrupted())
      return false;
    if (isMadeFromSums && !isa<CopyOp>(op))
      sums.insert(op.getResult(0));
  }
  return true;
}

bool nsa::hasRowSums(SegmentOp segment) {
  return llvm::any_of(segment.getBody().getOps<ScanOp>(),
                      [&](ScanOp op) { return segment.isSharedByRow(op); });
}

//===----------------------------------------------------------------------===//
// What
//===----------------------------------------------------------------------===//

namespace {
class RowEmitter {
public:
  RowEmitter(ElementBuilder &builder, ValueRange indices, int64_t width,
             Threads &threads)
      : builder(builder), indices(indices), width(width), threads(threads) {}

  void emitSums(ScanOp op);
  Value emitReduction(ReduceOp op);

private:
  ElementBuilder &builder;
  ValueRange indices;
  int64_t width;
  Threads &threads;
  /// By what was summed up.
  llvm::SmallDenseMap<Value, Value> totals;
};
} // namespace

void RowEmitter::emitSums(ScanOp op) {
  Value source = op.getSource();
  Value size = builder.size(Size::of(source, 1));
  Value zero = builder.zero(getElementTypeOrSelf(source.getType()));
  Value vector = builder.elements(source, indices, width);
  SmallVector<Value> before = {zero};
  for (int64_t i = 0; i != width; ++i) {
    Value isThere = builder.less(builder.add(indices.back(), i), size);
    Value element = builder.select(isThere, builder.extract(vector, i), zero);
    before.push_back(builder.add(before.back(), element));
  }
  Threads::Sums sums = threads.emitSums(builder, before.back());
  totals[source] = sums.total;
  SmallVector<Value> lanes;
  for (int64_t i = 0; i != width; ++i)
    lanes.push_back(
        builder.add(sums.before, before[op.getInclusive() ? i + 1 : i]));
  builder.bindElements(op.getResult(), indices,
                       vector::FromElementsOp::create(
                           builder.b, builder.loc,
                           VectorType::get(width, zero.getType()), lanes));
}

Value RowEmitter::emitReduction(ReduceOp op) {
  if (op.getKind() == ReduceKind::Add)
    if (Value total = totals.lookup(op.getSource()))
      return total;
  return emitReductionOfVectors(builder, op, indices, width, threads);
}

void nsa::emitRowVectors(ElementBuilder &builder, SegmentOp segment,
                         ValueRange indices, int64_t width, Threads &threads,
                         RowValues &values) {
  RowEmitter emitter(builder, indices, width, threads);
  llvm::SmallDenseSet<Operation *> emitted;
  auto emitSums = [&](ScanOp scan) {
    if (!emitted.insert(scan).second)
      return;
    EmittedFor scope(builder, scan);
    emitter.emitSums(scan);
  };
  for (auto op : segment.getBody().getOps<SharedOpInterface>()) {
    if (!segment.isSharedByRow(op))
      continue;
    if (auto scan = dyn_cast<ScanOp>(op.getOperation())) {
      emitSums(scan);
      continue;
    }
    // Where there are sums of the same elements, their total is known.
    auto reduce = cast<ReduceOp>(op.getOperation());
    for (Operation *user : reduce.getSource().getUsers())
      if (auto scan = dyn_cast<ScanOp>(user))
        emitSums(scan);
    EmittedFor scope(builder, reduce);
    values[reduce] = {indices.front(), emitter.emitReduction(reduce)};
  }
}
