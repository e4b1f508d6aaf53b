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

#include "TileSearch.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"

using namespace mlir;
using namespace nsa;

static Value i32(OpBuilder &b, Location loc, int64_t value) {
  return arith::ConstantIntOp::create(b, loc, value, 32);
}

static Value toI32(OpBuilder &b, Location loc, Value value) {
  return arith::IndexCastOp::create(b, loc, b.getI32Type(), value);
}

Value nsa::emitSearchStride(ElementBuilder &builder, Value numTiles) {
  Value count = toI32(builder.b, builder.loc, numTiles);
  auto times4 = [](OpBuilder &b, Location loc, Value value) -> Value {
    return arith::ShLIOp::create(b, loc, value, i32(b, loc, 2));
  };
  auto loop = scf::WhileOp::create(
      builder.b, builder.loc, TypeRange(builder.b.getI32Type()),
      i32(builder.b, builder.loc, 1),
      [&](OpBuilder &b, Location loc, ValueRange stride) {
        Value isSmall =
            arith::CmpIOp::create(b, loc, arith::CmpIPredicate::sle,
                                  times4(b, loc, stride.front()), count);
        scf::ConditionOp::create(b, loc, isSmall, stride);
      },
      [&](OpBuilder &b, Location loc, ValueRange stride) {
        scf::YieldOp::create(b, loc, times4(b, loc, stride.front()));
      });
  return loop.getResult(0);
}

Value nsa::emitTileSearch(ElementBuilder &builder, Value before, Value numTiles,
                          Value stride, Value position) {
  // Said again for whoever looks at an access alone.
  int64_t most = cast<MemRefType>(before.getType()).getDimSize(0) - 1;
  Value last = arith::MinUIOp::create(builder.b, builder.loc,
                                      toI32(builder.b, builder.loc, numTiles),
                                      i32(builder.b, builder.loc, most));
  SmallVector<Value> initial = {i32(builder.b, builder.loc, 0), stride};
  auto loop = scf::WhileOp::create(
      builder.b, builder.loc, TypeRange(ValueRange(initial)), initial,
      [&](OpBuilder &b, Location loc, ValueRange state) {
        Value isLeft = arith::CmpIOp::create(b, loc, arith::CmpIPredicate::ne,
                                             state[1], i32(b, loc, 0));
        scf::ConditionOp::create(b, loc, isLeft, state);
      },
      [&](OpBuilder &b, Location loc, ValueRange state) {
        Value tile = state[0];
        // Places past the last tile are the last one, so that nothing is
        // loaded from elsewhere, and nothing waits for a comparison.
        Value place = tile;
        SmallVector<Value> places;
        for (int64_t quarter = 1; quarter < 4; ++quarter) {
          place = arith::AddIOp::create(b, loc, place, state[1]);
          places.push_back(arith::MinUIOp::create(b, loc, place, last));
        }
        SmallVector<Value> sums;
        for (Value place : places)
          sums.push_back(memref::LoadOp::create(
              b, loc, before,
              arith::IndexCastUIOp::create(b, loc, b.getIndexType(), place)
                  .getResult()));
        for (auto [place, sum] : llvm::zip_equal(places, sums)) {
          Value index =
              arith::IndexCastOp::create(b, loc, b.getIndexType(), sum);
          Value isAtMost = arith::CmpIOp::create(
              b, loc, arith::CmpIPredicate::sle, index, position);
          tile = arith::SelectOp::create(b, loc, isAtMost, place, tile);
        }
        Value next = arith::ShRUIOp::create(b, loc, state[1], i32(b, loc, 2));
        scf::YieldOp::create(b, loc, ValueRange{tile, next});
      });
  return arith::IndexCastUIOp::create(
      builder.b, builder.loc, builder.b.getIndexType(), loop.getResult(0));
}

Value nsa::emitBinarySearch(ElementBuilder &builder, Value source,
                            ValueRange row, Value begin, Value end,
                            Value position, int64_t numProbes) {
  OpBuilder &b = builder.b;
  Location loc = builder.loc;
  Value zero = builder.i32(0), one = builder.i32(1);
  Value shift = builder.i32(llvm::Log2_64(numProbes + 1));
  Value endI32 = builder.toI32(end);
  Value last = builder.sub(endI32, one);
  Value first = builder.toI32(begin);
  // Elements that are known to be at most the position, and those left.
  SmallVector<Value> initial = {first,
                                builder.max(builder.sub(endI32, first), zero)};
  auto loop = scf::WhileOp::create(
      b, loc, TypeRange(ValueRange(initial)), initial,
      [&](OpBuilder &b, Location loc, ValueRange state) {
        Value isLeft = builder.compare(Arith::Predicate::ne, state[1], zero);
        scf::ConditionOp::create(b, loc, isLeft, state);
      },
      [&](OpBuilder &b, Location loc, ValueRange state) {
        ElementBuilder inner(b, builder);
        Value left = inner.shiftRight(state[1], shift);
        Value part = inner.add(left, one);
        // Places past the last element are that one: it tells the same.
        SmallVector<Value> ends, elements;
        Value place = state[0];
        for (int64_t probe = 0; probe < numProbes; ++probe) {
          place = inner.add(place, part);
          ends.push_back(place);
          Value probed =
              inner.apply<arith::MinUIOp>(inner.sub(place, one), last);
          SmallVector<Value> indices(row);
          indices.push_back(
              arith::IndexCastUIOp::create(b, loc, b.getIndexType(), probed));
          elements.push_back(inner.element(source, indices));
        }
        Value known = state[0];
        for (auto [end, element] : llvm::zip_equal(ends, elements)) {
          Value isAtMost = inner.compare(Arith::Predicate::sle,
                                         inner.toIndex(element), position);
          known = inner.select(isAtMost, end, known);
        }
        scf::YieldOp::create(b, loc, ValueRange{known, left});
      });
  Value found = builder.apply<arith::MinUIOp>(
      loop.getResult(0), builder.apply<arith::MaxUIOp>(first, endI32));
  return arith::IndexCastUIOp::create(b, loc, b.getIndexType(), found);
}
