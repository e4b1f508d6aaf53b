//===- SumElements.cpp - Sums, recurrences and reductions -----------------===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Elements.h"
#include "FormulaBody.h"
#include "PredictedSteps.h"
#include "StoredSums.h"
#include "TileSearch.h"

#include "nsa/Codegen/Reductions.h"

#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/IR/TypeUtilities.h"

using namespace mlir;
using namespace nsa;

namespace {
struct ScanElements : ElementsOf<ScanOp> {
  using ElementsOf::ElementsOf;
  Value emitSearch(ElementBuilder &builder, ValueRange row, Value position);
  SmallVector<Value> emitShared(ElementBuilder &builder, ValueRange row,
                                Threads &threads);
  Value emitElement(ElementBuilder &builder, ValueRange indices);
  Value emitElements(ElementBuilder &builder, ValueRange indices,
                     int64_t width);

private:
  /// Fills `sums`, where each thread has one vector of `width` elements at
  /// most: what they read is on its way together.
  void emitVectorSums(ElementBuilder &builder, ValueRange row, Value sums,
                      Value size, int64_t width, Threads &threads);
  /// The same for any number of elements, by tiles.
  void emitTileSums(ElementBuilder &builder, ValueRange row, Value sums,
                    Value size, Value shift, Value numTiles, Threads &threads);
};

struct IterateElements : ElementsOf<IterateOp> {
  using ElementsOf::ElementsOf;
  Value emitSearch(ElementBuilder &builder, ValueRange row, Value position);
  SmallVector<Value> emitShared(ElementBuilder &builder, ValueRange,
                                Threads &threads);
  Value emitElement(ElementBuilder &builder, ValueRange indices);
  Value emitElements(ElementBuilder &builder, ValueRange indices,
                     int64_t width);
};

struct ReduceElements : ElementsOf<ReduceOp> {
  using ElementsOf::ElementsOf;
  bool canShareWith(ArrayRef<Operation *> others);
  SmallVector<SmallVector<Value>> emitSharedTogether(ElementBuilder &builder,
                                                     ArrayRef<Operation *> ops,
                                                     Threads &threads);
  SmallVector<Value> emitShared(ElementBuilder &builder, ValueRange row,
                                Threads &threads);
  Value emitElement(ElementBuilder &builder, ValueRange indices);
  Value emitElements(ElementBuilder &builder, ValueRange indices,
                     int64_t width);
};
} // namespace

void nsa::attachSumElements(MLIRContext &context) {
  attach<ScanElements, IterateElements, ReduceElements>(context);
}

//===----------------------------------------------------------------------===//
// Sums
//===----------------------------------------------------------------------===//
//
// What is shared of sums is an array of tiles' sums. A tile is one element, so
// that nothing is left to add up, until there are more than the array holds;
// then a power of two. Entry t is the sum of the elements before tile t, and
// the last entry that of all.
//
//===----------------------------------------------------------------------===//

/// The number of tiles of `size` elements.
static Value emitTiles(Arith &math, Value size, Value shift) {
  Value rest = math.sub(math.shiftLeft(math.index(1), shift), math.index(1));
  return math.shiftRight(math.add(size, rest), shift);
}

/// The base-2 logarithm of the elements in a tile, of `size` elements in
/// `mostTiles` at most; `least` or more.
static Value emitShift(Arith &math, Value size, int64_t mostTiles,
                       int64_t least = 0) {
  auto loop = scf::WhileOp::create(
      math.b, math.loc, TypeRange(math.b.getIndexType()), math.index(least),
      [&](OpBuilder &b, Location loc, ValueRange shift) {
        Value isTooMany = math.compare(Arith::Predicate::ugt,
                                       emitTiles(math, size, shift.front()),
                                       math.index(mostTiles));
        scf::ConditionOp::create(b, loc, isTooMany, shift);
      },
      [&](OpBuilder &b, Location loc, ValueRange shift) {
        Value next = math.add(shift.front(), math.index(1));
        scf::YieldOp::create(b, loc, next);
      });
  return loop.getResult(0);
}

/// The sum of elements `begin` to `end` of `source`, in row `row`, after `sum`.
static Value emitSumFrom(ElementBuilder &builder, Value source, ValueRange row,
                         Value begin, Value end, Value sum) {
  auto loop = scf::ForOp::create(
      builder.b, builder.loc, begin, end, builder.index(1), sum,
      [&](OpBuilder &b, Location loc, Value index, ValueRange sums) {
        ElementBuilder inner(b, builder);
        SmallVector<Value> indices(row);
        indices.push_back(index);
        Value next = inner.add(sums.front(), inner.element(source, indices));
        scf::YieldOp::create(b, loc, next);
      });
  return loop.getResult(0);
}

namespace {
/// What threads share of a scan or a recurrence.
struct SharedTiles {
  /// What there is before each tile, of the type of elements.
  Value before;
  /// The logarithm of a tile's elements, the number of tiles, and the first
  /// stride of searches.
  Value shift, numTiles, stride;

  static std::optional<SharedTiles> find(ElementBuilder &builder, Operation *op,
                                         ValueRange row) {
    ArrayRef<Value> shared = builder.getShared(op, row);
    if (shared.empty())
      return std::nullopt;
    return SharedTiles{shared[0], shared[1], shared[2], shared[3]};
  }

  /// Emits what there is before tile `tile`.
  Value emitBefore(ElementBuilder &builder, Value tile) const {
    return memref::LoadOp::create(builder.b, builder.loc, before, tile);
  }
  /// Emits the value of `ofElement` where a tile is one element, so that
  /// nothing is left to add up or to look through, else that of `ofTile`.
  Value emitByTile(ElementBuilder &builder, Type type,
                   function_ref<Value()> ofElement,
                   function_ref<Value()> ofTile) const {
    return builder.emitIf(type, builder.equal(shift, builder.index(0)),
                          ofElement, ofTile);
  }
};
} // namespace

/// The number of elements of a row of `source`; sizes that the text computes
/// may be negative.
static Value emitNumElements(ElementBuilder &builder, Value source) {
  int64_t rank = cast<ShapedType>(source.getType()).getRank();
  Value size = builder.size(Size::of(source, rank - 1));
  return builder.max(size, builder.index(0));
}

void ScanElements::emitVectorSums(ElementBuilder &builder, ValueRange row,
                                  Value sums, Value size, int64_t width,
                                  Threads &threads) {
  OpBuilder &b = builder.b;
  Location loc = getLoc();
  Value thread = threads.emitThread(b, loc);
  SmallVector<Value> indices(row);
  indices.push_back(builder.mul(thread, builder.index(width)));
  Value first = indices.back();
  Value zero = builder.zero(getElementTypeOrSelf(getType()));
  Value vector = builder.elements(getSource(), indices, width);
  SmallVector<Value> before = {zero};
  for (int64_t i = 0; i != width; ++i) {
    Value element = vector::ExtractOp::create(b, loc, vector, i);
    Value isThere = builder.less(builder.add(first, i), size);
    before.push_back(
        builder.add(before.back(), builder.select(isThere, element, zero)));
  }
  Value ofOthers = threads.emitSumBefore(b, loc, before.back());
  // Past the last element there is nothing but the sum of all.
  scf::IfOp::create(
      b, loc, builder.less(first, size), [&](OpBuilder &b, Location loc) {
        for (int64_t i = 0; i != width; ++i)
          memref::StoreOp::create(b, loc, builder.add(ofOthers, before[i]),
                                  sums, builder.add(first, i));
        scf::YieldOp::create(b, loc);
      });
  Value isLast = builder.equal(thread, builder.index(threads.getSize() - 1));
  scf::IfOp::create(b, loc, isLast, [&](OpBuilder &b, Location loc) {
    memref::StoreOp::create(b, loc, builder.add(ofOthers, before.back()), sums,
                            size);
    scf::YieldOp::create(b, loc);
  });
  threads.emitBarrier(b, loc);
}

void ScanElements::emitTileSums(ElementBuilder &builder, ValueRange row,
                                Value sums, Value size, Value shift,
                                Value numTiles, Threads &threads) {
  OpBuilder &b = builder.b;
  Location loc = getLoc();
  Type type = getElementTypeOrSelf(getType());
  Value logStored = builder.index(TileSumsOp::logTile);
  Value thread = threads.emitThread(b, loc);
  Value numThreads = builder.index(threads.getSize());
  // The sum of each tile, by threads in turn, so that they load together.
  scf::ForOp::create(
      b, loc, thread, numTiles, numThreads, {},
      [&](OpBuilder &b, Location loc, Value tile, ValueRange) {
        ElementBuilder inner(b, builder);
        Value first = builder.shiftLeft(tile, shift);
        Value last = builder.min(
            builder.shiftLeft(builder.add(tile, builder.index(1)), shift),
            size);
        Value sum = builder.zero(type);
        if (getSums())
          sum = emitStoredTiles(builder, *this,
                                builder.shiftRight(first, logStored),
                                emitTiles(builder, last, logStored), sum);
        else
          sum = emitSumFrom(builder, getSource(), row, first, last, sum);
        memref::StoreOp::create(b, loc, sum, sums, tile);
        scf::YieldOp::create(b, loc);
      });
  threads.emitBarrier(b, loc);
  // Each thread adds up tiles that stand together, and puts sums in their
  // place.
  Value perThread = arith::CeilDivUIOp::create(b, loc, numTiles, numThreads);
  Value begin = builder.min(builder.mul(thread, perThread), numTiles);
  Value end = builder.min(builder.add(begin, perThread), numTiles);
  auto addUp = [&](Value initial, bool replace) -> Value {
    auto loop = scf::ForOp::create(
        b, loc, begin, end, builder.index(1), initial,
        [&](OpBuilder &b, Location loc, Value tile, ValueRange carried) {
          Value sum = memref::LoadOp::create(b, loc, sums, tile);
          if (replace)
            memref::StoreOp::create(b, loc, carried.front(), sums, tile);
          Value next = builder.add(carried.front(), sum);
          scf::YieldOp::create(b, loc, next);
        });
    return loop.getResult(0);
  };
  Value before = threads.emitSumBefore(
      b, loc, addUp(builder.zero(type), /*replace=*/false));
  Value after = addUp(before, /*replace=*/true);
  Value isLast =
      builder.equal(thread, builder.add(numThreads, builder.index(-1)));
  scf::IfOp::create(b, loc, isLast, [&](OpBuilder &b, Location loc) {
    memref::StoreOp::create(b, loc, after, sums, numTiles);
    scf::YieldOp::create(b, loc);
  });
  threads.emitBarrier(b, loc);
}

SmallVector<Value> ScanElements::emitShared(ElementBuilder &builder,
                                            ValueRange row, Threads &threads) {
  OpBuilder &b = builder.b;
  Location loc = getLoc();
  Type type = getElementTypeOrSelf(getType());
  Value size = emitNumElements(builder, getSource());
  Value shift = emitShift(builder, size, threads.getMostTiles(),
                          getSums() ? TileSumsOp::logTile : 0);
  Value numTiles = emitTiles(builder, size, shift);
  Value sums = threads.emitMemory(b, loc, threads.getMostTiles() + 1, type);
  auto emitTiles = [&](ElementBuilder &builder) {
    emitTileSums(builder, row, sums, size, shift, numTiles, threads);
  };
  int64_t width = 128 / type.getIntOrFloatBitWidth();
  bool isTable = !row.empty() && getSource().getDefiningOp<MapOp>();
  if (!isTable || getSums() || threads.getSize() == 1 ||
      threads.getSize() * width > threads.getMostTiles()) {
    emitTiles(builder);
  } else {
    Value isShort = builder.compare(Arith::Predicate::ule, size,
                                    builder.index(threads.getSize() * width));
    auto ifOp = scf::IfOp::create(b, loc, isShort, /*withElseRegion=*/true);
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPoint(ifOp.thenYield());
    ElementBuilder ofShort(b, builder);
    emitVectorSums(ofShort, row, sums, size, width, threads);
    b.setInsertionPoint(ifOp.elseYield());
    ElementBuilder ofLong(b, builder);
    emitTiles(ofLong);
  }
  return {sums, shift, numTiles, emitSearchStride(builder, numTiles)};
}

Value ScanElements::emitElement(ElementBuilder &builder, ValueRange indices) {
  ValueRange row = indices.drop_back();
  Value count = indices.back();
  if (getInclusive())
    count = builder.add(count, builder.index(1));
  std::optional<SharedTiles> shared = SharedTiles::find(builder, *this, row);
  if (!shared && getSums())
    return emitStoredSum(builder, *this, builder.index(0), count,
                         builder.zero(getElementTypeOrSelf(getType())));
  if (!shared)
    return emitSumFrom(builder, getSource(), row, builder.index(0), count,
                       builder.zero(getElementTypeOrSelf(getType())));
  if (getSums()) {
    Value tile = builder.shiftRight(count, shared->shift);
    return emitStoredSum(builder, *this, builder.shiftLeft(tile, shared->shift),
                         count, shared->emitBefore(builder, tile));
  }
  return shared->emitByTile(
      builder, getElementTypeOrSelf(getType()),
      [&] { return shared->emitBefore(builder, count); },
      [&] {
        Value tile = builder.shiftRight(count, shared->shift);
        return emitSumFrom(builder, getSource(), row,
                           builder.shiftLeft(tile, shared->shift), count,
                           shared->emitBefore(builder, tile));
      });
}

/// Lanes of a vector past the last element have the last one.
static Value emitScalars(ElementBuilder &builder, Value value,
                         ValueRange indices, int64_t width) {
  unsigned dim = indices.size() - 1;
  Value last =
      builder.add(builder.size(Size::of(value, dim)), builder.index(-1));
  return builder.emitLanes(indices, width, [&](ValueRange lane) {
    SmallVector<Value> inside(lane);
    inside.back() = builder.min(lane.back(), last);
    return builder.element(value, inside);
  });
}

Value ScanElements::emitElements(ElementBuilder &builder, ValueRange indices,
                                 int64_t width) {
  return emitScalars(builder, getResult(), indices, width);
}

/// The last of elements `begin` to `end` of `source` that can be added to `sum`
/// before it is more than `position`, or `end`.
static Value emitWalk(ElementBuilder &builder, Value source, ValueRange row,
                      Value begin, Value end, Value sum, Value position) {
  OpBuilder &b = builder.b;
  Location loc = builder.loc;
  // One element after the other, as long as the sum is `position` or less.
  SmallVector<Value> initial = {begin, sum};
  auto loop = scf::WhileOp::create(
      b, loc, TypeRange(ValueRange(initial)), initial,
      [&](OpBuilder &b, Location loc, ValueRange state) {
        Value isLeft = builder.less(state[0], end);
        auto next = scf::IfOp::create(b, loc, TypeRange(sum.getType()), isLeft,
                                      /*withElseRegion=*/true);
        {
          OpBuilder::InsertionGuard guard(b);
          b.setInsertionPointToStart(next.thenBlock());
          ElementBuilder inner(b, builder);
          SmallVector<Value> indices(row);
          indices.push_back(state[0]);
          Value more = builder.add(state[1], inner.element(source, indices));
          scf::YieldOp::create(b, loc, more);
          b.setInsertionPointToStart(next.elseBlock());
          scf::YieldOp::create(b, loc, state[1]);
        }
        Value isAtMost =
            builder.compare(Arith::Predicate::sle,
                            builder.toIndex(next.getResult(0)), position);
        scf::ConditionOp::create(b, loc, builder.both(isLeft, isAtMost),
                                 ValueRange{state[0], next.getResult(0)});
      },
      [&](OpBuilder &b, Location loc, ValueRange state) {
        Value next = builder.add(state[0], builder.index(1));
        scf::YieldOp::create(b, loc, ValueRange{next, state[1]});
      });
  return loop.getResult(0);
}

Value ScanElements::emitSearch(ElementBuilder &builder, ValueRange row,
                               Value position) {
  Value size = emitNumElements(builder, getSource());
  Value zero = builder.index(0), one = builder.index(1);
  Type type = getElementTypeOrSelf(getType());
  Value last;
  if (std::optional<SharedTiles> shared =
          SharedTiles::find(builder, *this, row)) {
    // The last tile that begins with `position` or less.
    Value tile = emitTileSearch(builder, shared->before, shared->numTiles,
                                shared->stride, position);
    Value first = builder.shiftLeft(tile, shared->shift);
    auto emitInTile = [&] {
      Value begin = builder.min(first, size);
      // The sum after the tile is more than that.
      Value next = builder.shiftLeft(builder.add(tile, one), shared->shift);
      Value end = builder.min(builder.add(next, builder.index(-1)), size);
      return emitWalk(builder, getSource(), row, begin, end,
                      shared->emitBefore(builder, tile), position);
    };
    last = getSums()
               ? emitStoredSearch(builder, *this, first, size,
                                  shared->emitBefore(builder, tile), position)
               : shared->emitByTile(
                     builder, builder.b.getIndexType(), [&] { return tile; },
                     emitInTile);
  } else if (getSums()) {
    last = emitStoredSearch(builder, *this, zero, size, builder.zero(type),
                            position);
  } else {
    last = emitWalk(builder, getSource(), row, zero, size, builder.zero(type),
                    position);
  }
  // The first of the exclusive sums is 0.
  Value isSome = builder.compare(Arith::Predicate::sge, position, zero);
  Value count = getInclusive() ? last : builder.add(last, one);
  return builder.select(isSome, count, zero);
}

//===----------------------------------------------------------------------===//
// Recurrences
//===----------------------------------------------------------------------===//

/// Emits element `step + 1` from element `step`.
static Value emitStep(ElementBuilder &builder, IterateOp op, Value step,
                      Value element) {
  SmallVector<Value> point = {step, element};
  return BodyEmitter(op, builder, point, /*width=*/0).emit().front().front();
}

/// Emits element `end` from element `begin`, which is `element`.
static Value emitSteps(ElementBuilder &builder, IterateOp op, Value begin,
                       Value end, Value element) {
  auto loop = scf::ForOp::create(
      builder.b, builder.loc, begin, end, builder.index(1), element,
      [&](OpBuilder &b, Location loc, Value step, ValueRange carried) {
        ElementBuilder inner(b, builder);
        scf::YieldOp::create(b, loc,
                             emitStep(inner, op, step, carried.front()));
      });
  return loop.getResult(0);
}

static Value emitFirst(ElementBuilder &builder, IterateOp op) {
  Type type = getElementTypeOrSelf(op.getType());
  return arith::ConstantOp::create(
      builder.b, builder.loc, type,
      IntegerAttr::get(type, APInt(64, op.getFirst(), /*isSigned=*/true)
                                 .sextOrTrunc(type.getIntOrFloatBitWidth())));
}

SmallVector<Value> IterateElements::emitShared(ElementBuilder &builder,
                                               ValueRange, Threads &threads) {
  OpBuilder &b = builder.b;
  Location loc = getLoc();
  Value size =
      builder.max(builder.size(getIndexBounds().front()), builder.index(0));
  Value shift = emitShift(builder, size, threads.getMostTiles());
  Value before = threads.emitMemory(b, loc, threads.getMostTiles() + 1,
                                    getElementTypeOrSelf(getType()));
  Value thread = threads.emitThread(b, loc);
  Value first = emitFirst(builder, *this);
  auto emitIf = [&](OpBuilder &b, Value condition,
                    function_ref<void(OpBuilder &)> body) {
    scf::IfOp::create(b, loc, condition, [&](OpBuilder &b, Location loc) {
      body(b);
      scf::YieldOp::create(b, loc);
    });
  };
  Value isFirst = builder.equal(thread, builder.index(0));
  emitIf(b, isFirst, [&](OpBuilder &b) {
    memref::StoreOp::create(b, loc, first, before, builder.index(0));
  });
  emitPredictedSteps(
      builder, threads, size, first,
      /*isNumbered=*/!getBody().front().getArgument(0).use_empty(),
      [&](ElementBuilder &builder, Value step, Value element) {
        return emitStep(builder, *this, step, element);
      },
      [&](ElementBuilder &builder, Value number, Value element) {
        OpBuilder &b = builder.b;
        Value tile = emitTiles(builder, number, shift);
        Value isBegin = builder.equal(builder.shiftLeft(tile, shift), number);
        // Where the last element begins a tile, it is asked for there.
        Value isLast = builder.equal(number, size);
        emitIf(b, builder.apply<arith::OrIOp>(isBegin, isLast),
               [&](OpBuilder &b) {
                 memref::StoreOp::create(b, loc, element, before, tile);
               });
      });
  threads.emitBarrier(b, loc);
  Value numTiles = emitTiles(builder, size, shift);
  return {before, shift, numTiles, emitSearchStride(builder, numTiles)};
}

Value IterateElements::emitElement(ElementBuilder &builder,
                                   ValueRange indices) {
  Value index = indices.front();
  std::optional<SharedTiles> shared =
      SharedTiles::find(builder, *this, /*row=*/{});
  if (!shared)
    return emitSteps(builder, *this, builder.index(0), index,
                     emitFirst(builder, *this));
  return shared->emitByTile(
      builder, getElementTypeOrSelf(getType()),
      [&] { return shared->emitBefore(builder, index); },
      [&] {
        Value tile = builder.shiftRight(index, shared->shift);
        return emitSteps(builder, *this, builder.shiftLeft(tile, shared->shift),
                         index, shared->emitBefore(builder, tile));
      });
}

Value IterateElements::emitSearch(ElementBuilder &builder, ValueRange row,
                                  Value position) {
  Value zero = builder.index(0), one = builder.index(1);
  Value size = builder.max(builder.size(getIndexBounds().front()), zero);
  std::optional<SharedTiles> shared =
      SharedTiles::find(builder, *this, /*row=*/{});
  if (!shared)
    return emitBinarySearch(builder, getResult(), row, zero,
                            builder.add(size, one), position);
  Value tile = emitTileSearch(builder, shared->before, shared->numTiles,
                              shared->stride, position);
  Value element = shared->emitBefore(builder, tile);
  Value isSome = builder.compare(Arith::Predicate::sle,
                                 builder.toIndex(element), position);
  Value count = shared->emitByTile(
      builder, builder.b.getIndexType(), [&] { return builder.add(tile, one); },
      [&] {
        auto emitBegin = [&](Value tile) {
          return builder.min(builder.shiftLeft(tile, shared->shift), size);
        };
        Value begin = builder.add(emitBegin(tile), one);
        Value end = emitBegin(builder.add(tile, one));
        return emitBinarySearch(builder, getResult(), row, begin, end,
                                position);
      });
  return builder.select(isSome, count, zero);
}

Value IterateElements::emitElements(ElementBuilder &builder, ValueRange indices,
                                    int64_t width) {
  return emitScalars(builder, getResult(), indices, width);
}

//===----------------------------------------------------------------------===//
// Reductions
//===----------------------------------------------------------------------===//

static SmallVector<ReduceOp> toReductions(ArrayRef<Operation *> ops) {
  return llvm::map_to_vector(ops, llvm::CastTo<ReduceOp>);
}

SmallVector<Value> ReduceElements::emitShared(ElementBuilder &builder,
                                              ValueRange row,
                                              Threads &threads) {
  return emitReductions(builder, getOp(), row, threads);
}

bool ReduceElements::canShareWith(ArrayRef<Operation *> others) {
  return llvm::all_of(others, llvm::IsaPred<ReduceOp>) &&
         canReduceWith(getOp(), toReductions(others));
}

SmallVector<SmallVector<Value>> ReduceElements::emitSharedTogether(
    ElementBuilder &builder, ArrayRef<Operation *> ops, Threads &threads) {
  return llvm::map_to_vector(
      emitReductions(builder, toReductions(ops), /*row=*/{}, threads),
      [](Value value) { return SmallVector<Value>{value}; });
}

Value ReduceElements::emitElement(ElementBuilder &builder, ValueRange indices) {
  int64_t rank = cast<ShapedType>(getSource().getType()).getRank();
  ValueRange row = indices.take_front(rank - 1);
  ArrayRef<Value> shared = builder.getShared(*this, row);
  return shared.empty() ? emitReduction(builder, getOp(), row) : shared.front();
}

Value ReduceElements::emitElements(ElementBuilder &builder, ValueRange indices,
                                   int64_t width) {
  return emitScalars(builder, getResult(), indices, width);
}
