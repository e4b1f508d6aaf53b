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
                            Value position) {
  OpBuilder &b = builder.b;
  Location loc = builder.loc;
  SmallVector<Value> initial = {begin, end};
  auto loop = scf::WhileOp::create(
      b, loc, TypeRange(ValueRange(initial)), initial,
      [&](OpBuilder &b, Location loc, ValueRange state) {
        Value isLeft = arith::CmpIOp::create(b, loc, arith::CmpIPredicate::ult,
                                             state[0], state[1]);
        scf::ConditionOp::create(b, loc, isLeft, state);
      },
      [&](OpBuilder &b, Location loc, ValueRange state) {
        ElementBuilder inner(b, builder);
        Value middle = arith::ShRUIOp::create(
            b, loc, arith::AddIOp::create(b, loc, state[0], state[1]),
            inner.constantIndex(1));
        SmallVector<Value> indices(row);
        indices.push_back(middle);
        Value element = arith::IndexCastOp::create(
            b, loc, b.getIndexType(), inner.element(source, indices));
        Value isAtMost = arith::CmpIOp::create(
            b, loc, arith::CmpIPredicate::sle, element, position);
        Value next =
            arith::AddIOp::create(b, loc, middle, inner.constantIndex(1));
        scf::YieldOp::create(
            b, loc,
            ValueRange{
                arith::SelectOp::create(b, loc, isAtMost, next, state[0]),
                arith::SelectOp::create(b, loc, isAtMost, state[1], middle)});
      });
  return loop.getResult(0);
}
