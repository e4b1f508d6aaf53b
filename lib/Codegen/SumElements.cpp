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
#include "TileSearch.h"

#include "nsa/Codegen/Reductions.h"

#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
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

namespace {
/// Arithmetic on indices.
struct SumEmitter {
  ElementBuilder &builder;

  OpBuilder &b() { return builder.b; }
  Location loc() { return builder.loc; }
  Value constant(int64_t value) { return builder.constantIndex(value); }
  template <typename Op> Value apply(Value lhs, Value rhs) {
    return Op::create(b(), loc(), lhs, rhs);
  }
  Value add(Value lhs, Value rhs) { return apply<arith::AddIOp>(lhs, rhs); }
  Value min(Value lhs, Value rhs) { return apply<arith::MinSIOp>(lhs, rhs); }
  Value zero(Type type) {
    return arith::ConstantOp::create(b(), loc(), b().getZeroAttr(type));
  }
  Value toIndex(Value value) {
    return arith::IndexCastOp::create(b(), loc(), b().getIndexType(), value);
  }

  /// The base-2 logarithm of the elements in a tile, of `size` elements in
  /// `mostTiles` at most.
  Value emitShift(Value size, int64_t mostTiles) {
    auto loop = scf::WhileOp::create(
        b(), loc(), TypeRange(b().getIndexType()), constant(0),
        [&](OpBuilder &b, Location loc, ValueRange shift) {
          ElementBuilder inner(b, builder);
          Value isTooMany = arith::CmpIOp::create(
              b, loc, arith::CmpIPredicate::ugt,
              SumEmitter{inner}.emitTiles(size, shift.front()),
              inner.constantIndex(mostTiles));
          scf::ConditionOp::create(b, loc, isTooMany, shift);
        },
        [&](OpBuilder &b, Location loc, ValueRange shift) {
          ElementBuilder inner(b, builder);
          Value next = arith::AddIOp::create(b, loc, shift.front(),
                                             inner.constantIndex(1));
          scf::YieldOp::create(b, loc, next);
        });
    return loop.getResult(0);
  }
  /// The number of tiles of `size` elements.
  Value emitTiles(Value size, Value shift) {
    Value rest = arith::SubIOp::create(
        b(), loc(), apply<arith::ShLIOp>(constant(1), shift), constant(1));
    return apply<arith::ShRUIOp>(add(size, rest), shift);
  }
  /// The sum of elements `begin` to `end` of `source`, in row `row`, after
  /// `sum`.
  Value emitSum(Value source, ValueRange row, Value begin, Value end,
                Value sum) {
    auto loop = scf::ForOp::create(
        b(), loc(), begin, end, constant(1), sum,
        [&](OpBuilder &b, Location loc, Value index, ValueRange sums) {
          ElementBuilder inner(b, builder);
          SmallVector<Value> indices(row);
          indices.push_back(index);
          Value next = arith::AddIOp::create(b, loc, sums.front(),
                                             inner.element(source, indices));
          scf::YieldOp::create(b, loc, next);
        });
    return loop.getResult(0);
  }
};

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
};
} // namespace

/// The number of elements of a row of `source`; sizes that the text computes
/// may be negative.
static Value emitNumElements(ElementBuilder &builder, Value source) {
  int64_t rank = cast<ShapedType>(source.getType()).getRank();
  Value size = builder.size(Size::of(source, rank - 1));
  return arith::MaxSIOp::create(builder.b, builder.loc, size,
                                builder.constantIndex(0));
}

SmallVector<Value> ScanElements::emitShared(ElementBuilder &builder,
                                            ValueRange row, Threads &threads) {
  SumEmitter math{builder};
  OpBuilder &b = builder.b;
  Location loc = getLoc();
  Type type = getElementTypeOrSelf(getType());
  Value size = emitNumElements(builder, getSource());
  Value shift = math.emitShift(size, threads.getMostTiles());
  Value numTiles = math.emitTiles(size, shift);
  Value sums = threads.emitMemory(b, loc, threads.getMostTiles() + 1, type);
  Value thread = threads.emitThread(b, loc);
  Value numThreads = math.constant(threads.getSize());
  // The sum of each tile, by threads in turn, so that they load together.
  scf::ForOp::create(
      b, loc, thread, numTiles, numThreads, {},
      [&](OpBuilder &b, Location loc, Value tile, ValueRange) {
        ElementBuilder inner(b, builder);
        SumEmitter math{inner};
        Value first = math.apply<arith::ShLIOp>(tile, shift);
        Value last = math.min(
            math.apply<arith::ShLIOp>(math.add(tile, math.constant(1)), shift),
            size);
        Value sum =
            math.emitSum(getSource(), row, first, last, math.zero(type));
        memref::StoreOp::create(b, loc, sum, sums, tile);
        scf::YieldOp::create(b, loc);
      });
  threads.emitBarrier(b, loc);
  // Each thread adds up tiles that stand together, and puts sums in their
  // place.
  Value perThread = arith::CeilDivUIOp::create(b, loc, numTiles, numThreads);
  Value begin =
      math.min(math.apply<arith::MulIOp>(thread, perThread), numTiles);
  Value end = math.min(math.add(begin, perThread), numTiles);
  auto addUp = [&](Value initial, bool replace) -> Value {
    auto loop = scf::ForOp::create(
        b, loc, begin, end, math.constant(1), initial,
        [&](OpBuilder &b, Location loc, Value tile, ValueRange carried) {
          Value sum = memref::LoadOp::create(b, loc, sums, tile);
          if (replace)
            memref::StoreOp::create(b, loc, carried.front(), sums, tile);
          Value next = arith::AddIOp::create(b, loc, carried.front(), sum);
          scf::YieldOp::create(b, loc, next);
        });
    return loop.getResult(0);
  };
  Value before =
      threads.emitSumBefore(b, loc, addUp(math.zero(type), /*replace=*/false));
  Value after = addUp(before, /*replace=*/true);
  Value isLast = arith::CmpIOp::create(b, loc, arith::CmpIPredicate::eq, thread,
                                       math.add(numThreads, math.constant(-1)));
  scf::IfOp::create(b, loc, isLast, [&](OpBuilder &b, Location loc) {
    memref::StoreOp::create(b, loc, after, sums, numTiles);
    scf::YieldOp::create(b, loc);
  });
  threads.emitBarrier(b, loc);
  return {sums, shift, numTiles, emitSearchStride(builder, numTiles)};
}

Value ScanElements::emitElement(ElementBuilder &builder, ValueRange indices) {
  SumEmitter math{builder};
  ValueRange row = indices.drop_back();
  Value count = indices.back();
  if (getInclusive())
    count = math.add(count, math.constant(1));
  std::optional<SharedTiles> shared = SharedTiles::find(builder, *this, row);
  if (!shared)
    return math.emitSum(getSource(), row, math.constant(0), count,
                        math.zero(getElementTypeOrSelf(getType())));
  Value tile = math.apply<arith::ShRUIOp>(count, shared->shift);
  Value sum =
      memref::LoadOp::create(builder.b, builder.loc, shared->before, tile);
  return math.emitSum(getSource(), row,
                      math.apply<arith::ShLIOp>(tile, shared->shift), count,
                      sum);
}

/// Lanes of a vector past the last element have the last one.
static Value emitScalars(ElementBuilder &builder, Value value,
                         ValueRange indices, int64_t width) {
  SumEmitter math{builder};
  unsigned dim = indices.size() - 1;
  Value last = math.add(builder.size(Size::of(value, dim)), math.constant(-1));
  return builder.emitLanes(indices, width, [&](ValueRange lane) {
    SmallVector<Value> inside(lane);
    inside.back() = math.min(lane.back(), last);
    return builder.element(value, inside);
  });
}

Value ScanElements::emitElements(ElementBuilder &builder, ValueRange indices,
                                 int64_t width) {
  return emitScalars(builder, getResult(), indices, width);
}

Value ScanElements::emitSearch(ElementBuilder &builder, ValueRange row,
                               Value position) {
  SumEmitter math{builder};
  OpBuilder &b = builder.b;
  Location loc = builder.loc;
  using arith::CmpIPredicate;
  auto isAtMostPosition = [&](OpBuilder &b, Location loc, Value sum) -> Value {
    Value index = arith::IndexCastOp::create(b, loc, b.getIndexType(), sum);
    return arith::CmpIOp::create(b, loc, CmpIPredicate::sle, index, position);
  };
  Value size = emitNumElements(builder, getSource());
  Value zero = math.constant(0), one = math.constant(1);
  Value begin = zero, end = size;
  Value sum = math.zero(getElementTypeOrSelf(getType()));
  if (std::optional<SharedTiles> shared =
          SharedTiles::find(builder, *this, row)) {
    // The last tile that begins with `position` or less.
    Value tile = emitTileSearch(builder, shared->before, shared->numTiles,
                                shared->stride, position);
    sum = memref::LoadOp::create(b, loc, shared->before, tile);
    begin = math.min(math.apply<arith::ShLIOp>(tile, shared->shift), size);
    // The sum after the tile is more than that.
    Value next = math.apply<arith::ShLIOp>(math.add(tile, one), shared->shift);
    end = math.min(math.add(next, math.constant(-1)), size);
  }
  // One element after the other, as long as the sum is `position` or less.
  SmallVector<Value> initial = {begin, sum};
  auto loop = scf::WhileOp::create(
      b, loc, TypeRange(ValueRange(initial)), initial,
      [&](OpBuilder &b, Location loc, ValueRange state) {
        Value isLeft =
            arith::CmpIOp::create(b, loc, CmpIPredicate::slt, state[0], end);
        auto next = scf::IfOp::create(b, loc, TypeRange(sum.getType()), isLeft,
                                      /*withElseRegion=*/true);
        {
          OpBuilder::InsertionGuard guard(b);
          b.setInsertionPointToStart(next.thenBlock());
          ElementBuilder inner(b, builder);
          SmallVector<Value> indices(row);
          indices.push_back(state[0]);
          Value more = arith::AddIOp::create(
              b, loc, state[1], inner.element(getSource(), indices));
          scf::YieldOp::create(b, loc, more);
          b.setInsertionPointToStart(next.elseBlock());
          scf::YieldOp::create(b, loc, state[1]);
        }
        Value goesOn = arith::AndIOp::create(
            b, loc, isLeft, isAtMostPosition(b, loc, next.getResult(0)));
        scf::ConditionOp::create(b, loc, goesOn,
                                 ValueRange{state[0], next.getResult(0)});
      },
      [&](OpBuilder &b, Location loc, ValueRange state) {
        Value next = arith::AddIOp::create(b, loc, state[0], one);
        scf::YieldOp::create(b, loc, ValueRange{next, state[1]});
      });
  Value last = loop.getResult(0);
  // The first of the exclusive sums is 0.
  Value isSome =
      arith::CmpIOp::create(b, loc, CmpIPredicate::sge, position, zero);
  Value count = getInclusive() ? last : math.add(last, one);
  return arith::SelectOp::create(b, loc, isSome, count, zero);
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
      builder.b, builder.loc, begin, end, builder.constantIndex(1), element,
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
  SumEmitter math{builder};
  OpBuilder &b = builder.b;
  Location loc = getLoc();
  Value size = arith::MaxSIOp::create(
      b, loc, builder.size(getIndexBounds().front()), math.constant(0));
  Value shift = math.emitShift(size, threads.getMostTiles());
  Value before = threads.emitMemory(b, loc, threads.getMostTiles() + 1,
                                    getElementTypeOrSelf(getType()));
  Value thread = threads.emitThread(b, loc);
  Value isInWarp =
      arith::CmpIOp::create(b, loc, arith::CmpIPredicate::ult, thread,
                            math.constant(threads.getWarpSize()));
  auto ifOp = scf::IfOp::create(b, loc, isInWarp, /*withElseRegion=*/false);
  {
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(ifOp.thenBlock());
    ElementBuilder inner(b, builder);
    Value first = emitFirst(inner, *this);
    auto emitIf = [&](OpBuilder &b, Value condition,
                      function_ref<void(OpBuilder &)> body) {
      scf::IfOp::create(b, loc, condition, [&](OpBuilder &b, Location loc) {
        body(b);
        scf::YieldOp::create(b, loc);
      });
    };
    Value isFirst = arith::CmpIOp::create(b, loc, arith::CmpIPredicate::eq,
                                          thread, math.constant(0));
    emitIf(b, isFirst, [&](OpBuilder &b) {
      memref::StoreOp::create(b, loc, first, before, math.constant(0));
    });
    emitPredictedSteps(
        inner, threads, size, first,
        [&](ElementBuilder &builder, Value step, Value element) {
          return emitStep(builder, *this, step, element);
        },
        [&](ElementBuilder &builder, Value number, Value element) {
          SumEmitter math{builder};
          OpBuilder &b = builder.b;
          Value tile = math.emitTiles(number, shift);
          Value isBegin = arith::CmpIOp::create(
              b, loc, arith::CmpIPredicate::eq,
              math.apply<arith::ShLIOp>(tile, shift), number);
          // Where the last element begins a tile, it is asked for there.
          Value isLast = arith::CmpIOp::create(b, loc, arith::CmpIPredicate::eq,
                                               number, size);
          emitIf(b, math.apply<arith::OrIOp>(isBegin, isLast),
                 [&](OpBuilder &b) {
                   memref::StoreOp::create(b, loc, element, before, tile);
                 });
        });
  }
  threads.emitBarrier(b, loc);
  Value numTiles = math.emitTiles(size, shift);
  return {before, shift, numTiles, emitSearchStride(builder, numTiles)};
}

Value IterateElements::emitElement(ElementBuilder &builder,
                                   ValueRange indices) {
  SumEmitter math{builder};
  Value index = indices.front();
  std::optional<SharedTiles> shared =
      SharedTiles::find(builder, *this, /*row=*/{});
  if (!shared)
    return emitSteps(builder, *this, math.constant(0), index,
                     emitFirst(builder, *this));
  Value tile = math.apply<arith::ShRUIOp>(index, shared->shift);
  Value element =
      memref::LoadOp::create(builder.b, builder.loc, shared->before, tile);
  return emitSteps(builder, *this,
                   math.apply<arith::ShLIOp>(tile, shared->shift), index,
                   element);
}

Value IterateElements::emitSearch(ElementBuilder &builder, ValueRange row,
                                  Value position) {
  SumEmitter math{builder};
  OpBuilder &b = builder.b;
  Location loc = builder.loc;
  Value zero = math.constant(0), one = math.constant(1);
  Value size = arith::MaxSIOp::create(
      b, loc, builder.size(getIndexBounds().front()), zero);
  std::optional<SharedTiles> shared =
      SharedTiles::find(builder, *this, /*row=*/{});
  if (!shared)
    return emitBinarySearch(builder, getResult(), row, zero,
                            math.add(size, one), position);
  Value tile = emitTileSearch(builder, shared->before, shared->numTiles,
                              shared->stride, position);
  Value element = memref::LoadOp::create(b, loc, shared->before, tile);
  Value isSome = arith::CmpIOp::create(b, loc, arith::CmpIPredicate::sle,
                                       math.toIndex(element), position);
  auto emitBegin = [&](Value tile) {
    return math.min(math.apply<arith::ShLIOp>(tile, shared->shift), size);
  };
  Value begin = math.add(emitBegin(tile), one);
  Value end = emitBegin(math.add(tile, one));
  begin = arith::SelectOp::create(b, loc, isSome, begin, zero);
  end = arith::SelectOp::create(b, loc, isSome, end, zero);
  return emitBinarySearch(builder, getResult(), row, begin, end, position);
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
