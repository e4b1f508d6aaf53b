//===- StoredSums.cpp - Sums that a launch before has made ----------------===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

//
// A tile of 32 elements has a stored sum. What is left of one is added up
// element by element, in groups.
//
//===----------------------------------------------------------------------===//

#include "SumElements.h"

#include "mlir/IR/TypeUtilities.h"

using namespace mlir;
using namespace nsa;

static Value getLogTile(Arith &math) { return math.index(TileSumsOp::logTile); }

//===----------------------------------------------------------------------===//
// Tiles
//===----------------------------------------------------------------------===//

namespace {
struct TileSumsElements : ElementsOf<TileSumsOp> {
  Value emitElement(ElementBuilder &builder, ValueRange indices) {
    Value tile = indices.front();
    Value shift = getLogTile(builder);
    Value end = builder.min(
        builder.shiftLeft(builder.add(tile, builder.index(1)), shift),
        builder.size(Size::of(getSource(), 0)));
    return emitSumOfGroups(builder, getSource(), {},
                           builder.shiftLeft(tile, shift), end,
                           builder.zero(getType().getElementType()));
  }
};
} // namespace

void nsa::attachStoredSumElements(MLIRContext &context) {
  attach<TileSumsElements>(context);
}

//===----------------------------------------------------------------------===//
// Sums that read them
//===----------------------------------------------------------------------===//

static Value emitTile(ElementBuilder &builder, ScanOp scan, Value tile) {
  return memref::LoadOp::create(builder.b, builder.loc,
                                builder.lookup(scan.getSums()), tile);
}

Value nsa::emitStoredTiles(ElementBuilder &builder, ScanOp scan, Value begin,
                           Value end, Value sum) {
  return builder.emitFor(
      begin, end, builder.index(1), sum, [&](Value tile, Value sum) {
        return builder.add(sum, emitTile(builder, scan, tile));
      });
}

Value nsa::emitStoredSum(ElementBuilder &builder, ScanOp scan, Value begin,
                         Value end, Value sum) {
  Value shift = getLogTile(builder);
  Value tile = builder.shiftRight(end, shift);
  Value tiles = emitStoredTiles(builder, scan, builder.shiftRight(begin, shift),
                                tile, sum);
  return emitSumOfGroups(builder, scan.getSource(), {},
                         builder.shiftLeft(tile, shift), end, tiles);
}

/// Goes on from `begin` as long as it is less than `end` and `emitNext` says
/// so, which gets a place and the sum before it; the place and the sum where
/// that ends.
static SmallVector<Value> emitWalk(
    ElementBuilder &builder, Value begin, Value end, Value sum,
    function_ref<SmallVector<Value>(ElementBuilder &, Value, Value)> emitNext) {
  return builder.emitWhile(
      {begin, sum, builder.i1(true)},
      [&](ValueRange state) {
        return builder.both(state[2], builder.isInside(state[0], end));
      },
      [&](ValueRange state) {
        ElementBuilder inner(builder.b, builder);
        return emitNext(inner, state[0], state[1]);
      });
}

Value nsa::emitStoredSearch(ElementBuilder &builder, ScanOp scan, Value begin,
                            Value size, Value sum, Value position) {
  auto isAtMostPosition = [&](ElementBuilder &builder, Value sum) {
    return builder.isAtMost(builder.toIndex(sum), position);
  };
  Value shift = getLogTile(builder);
  // Whole tiles.
  SmallVector<Value> tile = emitWalk(
      builder, builder.shiftRight(begin, shift),
      builder.shiftRight(size, shift), sum,
      [&](ElementBuilder &inner, Value tile, Value sum) -> SmallVector<Value> {
        Value next = inner.add(sum, emitTile(inner, scan, tile));
        Value isBefore = isAtMostPosition(inner, next);
        return {inner.select(isBefore, inner.add(tile, inner.index(1)), tile),
                inner.select(isBefore, next, sum), isBefore};
      });
  Value first = builder.minUnsigned(builder.shiftLeft(tile[0], shift), size);
  Value end =
      builder.min(builder.add(first, int64_t(1) << TileSumsOp::logTile), size);
  SmallVector<Value> place =
      emitWalk(builder, first, end, tile[1],
               [&](ElementBuilder &inner, Value place, Value sum) {
                 Value goesOn = inner.i1(true);
                 Value next = place, run = sum;
                 for (auto [number, element] : llvm::enumerate(
                          emitGroup(inner, scan.getSource(), {}, place, end))) {
                   run = inner.add(run, element);
                   goesOn = inner.both(goesOn, isAtMostPosition(inner, run));
                   next =
                       inner.select(goesOn, inner.add(place, number + 1), next);
                 }
                 // What is past the end is 0, and does not stop the walk.
                 return SmallVector<Value>{inner.min(next, end), run, goesOn};
               });
  return builder.min(place[0], size);
}
