//===- TileSearch.cpp - A search in what a block shares -------------------===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

//
// A search waits for each of its loads, so each round has three in flight,
// which say in which quarter to go on: half the rounds of a bisection. Tiles
// are few, so 32 bits are enough for their numbers.
//
//===----------------------------------------------------------------------===//

#include "SumElements.h"

using namespace mlir;
using namespace nsa;

Value nsa::emitSearchStride(ElementBuilder &builder, Value numTiles) {
  Value count = builder.toI32(numTiles);
  auto times4 = [&](Value value) {
    return builder.shiftLeft(value, builder.i32(2));
  };
  return builder
      .emitWhile(
          builder.i32(1),
          [&](ValueRange stride) {
            return builder.isAtMost(times4(stride.front()), count);
          },
          [&](ValueRange stride) -> SmallVector<Value> {
            return {times4(stride.front())};
          })
      .front();
}

Value nsa::emitTileSearch(ElementBuilder &builder, Value before, Value numTiles,
                          Value stride, Value position) {
  // Said again for whoever looks at an access alone.
  int64_t most = cast<MemRefType>(before.getType()).getDimSize(0) - 1;
  Value last = builder.minUnsigned(builder.toI32(numTiles), builder.i32(most));
  SmallVector<Value> found = builder.emitWhile(
      {builder.i32(0), stride},
      [&](ValueRange state) {
        return builder.notEqual(state[1], builder.i32(0));
      },
      [&](ValueRange state) -> SmallVector<Value> {
        Value tile = state[0];
        // Places past the last tile are the last one, so that nothing is
        // loaded from elsewhere, and nothing waits for a comparison.
        Value place = tile;
        SmallVector<Value> places;
        for (int64_t quarter = 1; quarter < 4; ++quarter) {
          place = builder.add(place, state[1]);
          places.push_back(builder.minUnsigned(place, last));
        }
        SmallVector<Value> sums;
        for (Value place : places)
          sums.push_back(memref::LoadOp::create(
              builder.b, builder.loc, before, builder.toIndexUnsigned(place)));
        for (auto [place, sum] : llvm::zip_equal(places, sums)) {
          Value isAtMost = builder.isAtMost(builder.toIndex(sum), position);
          tile = builder.select(isAtMost, place, tile);
        }
        return {tile, builder.shiftRight(state[1], builder.i32(2))};
      });
  return builder.toIndexUnsigned(found.front());
}

Value nsa::emitBinarySearch(ElementBuilder &builder, Value source,
                            ValueRange row, Value begin, Value end,
                            Value position, int64_t numProbes) {
  Value zero = builder.i32(0), one = builder.i32(1);
  Value shift = builder.i32(llvm::Log2_64(numProbes + 1));
  Value endI32 = builder.toI32(end);
  Value last = builder.sub(endI32, one);
  Value first = builder.toI32(begin);
  // Elements that are known to be at most the position, and those left.
  SmallVector<Value> state = builder.emitWhile(
      {first, builder.max(builder.sub(endI32, first), zero)},
      [&](ValueRange state) { return builder.notEqual(state[1], zero); },
      [&](ValueRange state) -> SmallVector<Value> {
        ElementBuilder inner(builder.b, builder);
        Value left = inner.shiftRight(state[1], shift);
        Value part = inner.add(left, one);
        // Places past the last element are that one: it tells the same.
        SmallVector<Value> ends, elements;
        Value place = state[0];
        for (int64_t probe = 0; probe < numProbes; ++probe) {
          place = inner.add(place, part);
          ends.push_back(place);
          Value probed = inner.minUnsigned(inner.sub(place, one), last);
          SmallVector<Value> indices(row);
          indices.push_back(inner.toIndexUnsigned(probed));
          elements.push_back(inner.element(source, indices));
        }
        Value known = state[0];
        for (auto [end, element] : llvm::zip_equal(ends, elements)) {
          Value isAtMost = inner.isAtMost(inner.toIndex(element), position);
          known = inner.select(isAtMost, end, known);
        }
        return {known, left};
      });
  return builder.toIndexUnsigned(builder.minUnsigned(
      state.front(), builder.apply<arith::MaxUIOp>(first, endI32)));
}
