//===- SumElements.cpp - Sums, recurrences and reductions -----------------===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "SumElements.h"

#include "FormulaBody.h"

#include "nsa/Codegen/FormulaCost.h"
#include "nsa/Codegen/Reductions.h"
#include "nsa/Codegen/RowVectors.h"

#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/IR/TypeUtilities.h"

using namespace mlir;
using namespace nsa;

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

/// The number of tiles of `size` elements.
Value emitTiles(Arith &math, Value size, Value shift) {
  Value rest = math.sub(math.shiftLeft(math.index(1), shift), math.index(1));
  return math.shiftRight(math.add(size, rest), shift);
}

/// The base-2 logarithm of the elements in a tile, of `size` elements in
/// `mostTiles` at most; `least` or more.
Value emitShift(Arith &math, Value size, int64_t mostTiles, Value least) {
  return math
      .emitWhile(
          least,
          [&](ValueRange shift) {
            return math.compare(Arith::Predicate::ugt,
                                emitTiles(math, size, shift.front()),
                                math.index(mostTiles));
          },
          [&](ValueRange shift) -> SmallVector<Value> {
            return {math.add(shift.front(), math.index(1))};
          })
      .front();
}

/// The sum of elements `begin` to `end` of `source`, in row `row`, after `sum`.
Value emitSumFrom(ElementBuilder &builder, Value source, ValueRange row,
                  Value begin, Value end, Value sum) {
  return builder.emitRolledFor(
      begin, end, builder.index(1), sum, [&](Value index, Value sum) {
        ElementBuilder inner(builder.b, builder);
        SmallVector<Value> indices(row);
        indices.push_back(index);
        return inner.add(sum, inner.element(source, indices));
      });
}

/// The number of elements of a row of `source`; sizes that the text computes
/// may be negative.
Value emitNumElements(ElementBuilder &builder, Value source) {
  int64_t rank = cast<ShapedType>(source.getType()).getRank();
  Value size = builder.size(Size::of(source, rank - 1));
  return builder.max(size, builder.index(0));
}

/// The sums of the first 0 to `width` elements of `source` from `indices` on,
/// of which those are none that `size` or more stand before.
SmallVector<Value> emitPrefixSums(ElementBuilder &builder, Value source,
                                  ValueRange indices, Value size,
                                  int64_t width) {
  Value zero = builder.zero(getElementTypeOrSelf(source.getType()));
  Value vector = builder.elements(source, indices, width);
  SmallVector<Value> sums = {zero};
  for (int64_t i = 0; i != width; ++i) {
    Value element = builder.extract(vector, i);
    Value isThere = builder.less(builder.add(indices.back(), i), size);
    element = builder.select(isThere, element, zero);
    sums.push_back(builder.add(sums.back(), element));
  }
  return sums;
}

/// The last of elements `begin` to `end` of `source` that can be added to `sum`
/// before it is more than `position`, or `end`.
Value emitWalk(ElementBuilder &builder, Value source, ValueRange row,
               Value begin, Value end, Value sum, Value position) {
  // One element after the other, as long as the sum is `position` or less.
  SmallVector<Value> initial = {begin, sum};
  auto loop = scf::WhileOp::create(
      builder.b, builder.loc, TypeRange(ValueRange(initial)), initial,
      [&](OpBuilder &b, Location loc, ValueRange state) {
        Value isLeft = builder.less(state[0], end);
        Value next = builder.emitIf(
            sum.getType(), isLeft,
            [&] {
              ElementBuilder inner(b, builder);
              SmallVector<Value> indices(row);
              indices.push_back(state[0]);
              return builder.add(state[1], inner.element(source, indices));
            },
            [&] { return state[1]; });
        Value isAtMost = builder.isAtMost(builder.toIndex(next), position);
        scf::ConditionOp::create(b, loc, builder.both(isLeft, isAtMost),
                                 ValueRange{state[0], next});
      },
      [&](OpBuilder &b, Location loc, ValueRange state) {
        Value next = builder.add(state[0], builder.index(1));
        scf::YieldOp::create(b, loc, ValueRange{next, state[1]});
      });
  return loop.getResult(0);
}

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
    return builder.load(before, tile);
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

/// Elements that are asked for one by one: lanes of a vector past the last
/// element have the last one.
template <typename ConcreteOp>
struct ScalarElementsOf : ElementsOf<ConcreteOp> {
  Value emitElements(ElementBuilder &builder, ValueRange indices,
                     int64_t width) {
    Value value = this->getResult();
    unsigned dim = indices.size() - 1;
    Value last =
        builder.add(builder.size(Size::of(value, dim)), builder.index(-1));
    return builder.emitLanes(indices, width, [&](ValueRange lane) {
      SmallVector<Value> inside(lane);
      inside.back() = builder.min(lane.back(), last);
      return builder.element(value, inside);
    });
  }
};

struct ScanElements : ScalarElementsOf<ScanOp> {
  SmallVector<Value> emitShared(ElementBuilder &builder, ValueRange row,
                                Threads &threads) {
    Type type = getElementType();
    Value size = emitNumElements(builder, getSource());
    Value shift = emitShift(builder, size, threads.getMostTiles(),
                            emitLeastShift(builder, size, threads));
    Value numTiles = emitTiles(builder, size, shift);
    Value sums = threads.emitMemory(builder, threads.getMostTiles() + 1, type);
    int64_t width = 128 / type.getIntOrFloatBitWidth();
    bool isTable = !row.empty() && getSource().getDefiningOp<MapOp>();
    if (!isTable || getSums() || threads.getSize() == 1 ||
        threads.getSize() * width > threads.getMostTiles()) {
      emitTileSums(builder, row, sums, size, shift, numTiles, threads);
    } else {
      Value isShort = builder.compare(Arith::Predicate::ule, size,
                                      builder.index(threads.getSize() * width));
      builder.emitIf(
          isShort,
          [&] {
            ElementBuilder inner(builder.b, builder);
            emitVectorSums(inner, row, sums, size, width, threads);
          },
          [&] {
            ElementBuilder inner(builder.b, builder);
            emitTileSums(inner, row, sums, size, shift, numTiles, threads);
          });
    }
    return {sums, shift, numTiles, emitSearchStride(builder, numTiles)};
  }

  Value emitElement(ElementBuilder &builder, ValueRange indices) {
    ValueRange row = indices.drop_back();
    Value count = indices.back();
    if (getInclusive())
      count = builder.add(count, builder.index(1));
    std::optional<SharedTiles> tiles = SharedTiles::find(builder, *this, row);
    auto emitFrom = [&](Value begin, Value sum) {
      return getSums()
                 ? emitStoredSum(builder, *this, begin, count, sum)
                 : emitSumFrom(builder, getSource(), row, begin, count, sum);
    };
    if (!tiles)
      return emitFrom(builder.index(0), builder.zero(getElementType()));
    auto emitFromTile = [&] {
      Value tile = builder.shiftRight(count, tiles->shift);
      return emitFrom(builder.shiftLeft(tile, tiles->shift),
                      tiles->emitBefore(builder, tile));
    };
    // The sum of all is there.
    if (count == builder.size(Size::of(getSource(), row.size())))
      return tiles->emitBefore(builder, tiles->numTiles);
    if (getSums())
      return emitFromTile();
    return tiles->emitByTile(
        builder, getElementType(),
        [&] { return tiles->emitBefore(builder, count); }, emitFromTile);
  }

  Value emitSearch(ElementBuilder &builder, ValueRange row, Value position) {
    Value size = emitNumElements(builder, getSource());
    Value zero = builder.index(0), one = builder.index(1);
    Value last;
    if (std::optional<SharedTiles> tiles =
            SharedTiles::find(builder, *this, row)) {
      // The last tile that begins with `position` or less.
      Value tile = emitTileSearch(builder, tiles->before, tiles->numTiles,
                                  tiles->stride, position);
      Value first = builder.shiftLeft(tile, tiles->shift);
      auto emitInTile = [&] {
        Value begin = builder.min(first, size);
        // The sum after the tile is more than that.
        Value next = builder.shiftLeft(builder.add(tile, one), tiles->shift);
        Value end = builder.min(builder.add(next, builder.index(-1)), size);
        return emitWalk(builder, getSource(), row, begin, end,
                        tiles->emitBefore(builder, tile), position);
      };
      last = getSums()
                 ? emitStoredSearch(builder, *this, first, size,
                                    tiles->emitBefore(builder, tile), position)
                 : tiles->emitByTile(
                       builder, builder.b.getIndexType(), [&] { return tile; },
                       emitInTile);
    } else {
      Value sum = builder.zero(getElementType());
      last =
          getSums()
              ? emitStoredSearch(builder, *this, zero, size, sum, position)
              : emitWalk(builder, getSource(), row, zero, size, sum, position);
    }
    // The first of the exclusive sums is 0.
    Value isSome = builder.isAtLeast(position, zero);
    Value count = getInclusive() ? last : builder.add(last, one);
    return builder.select(isSome, count, zero);
  }

private:
  Type getElementType() { return getElementTypeOrSelf(getType()); }

  /// Whether what is added up is loaded in groups: it rests on nothing that is
  /// shared, which would be much code, and no elements of the launch are
  /// without sums, whose blocks would be fewer at a time by the registers.
  bool isInGroups(Threads &threads) {
    if (threads.getSize() == 1)
      return false;
    auto launch = getOp()->getParentOfType<LaunchOp>();
    bool hasGroups = llvm::all_of(launch.getSegments(), [](SegmentOp segment) {
      return !segment.getBody().getOps<SharedOpInterface>().empty();
    });
    walkOrigins(getSource(), [&](Operation *op) {
      hasGroups &= !isa<SharedOpInterface>(op);
      return hasGroups;
    });
    return hasGroups;
  }

  /// Whether steps of a recurrence look through tiles again and again.
  bool isAskedBySteps() {
    return llvm::any_of(getResult().getUsers(), [](Operation *user) {
      return user->getParentOfType<IterateOp>();
    });
  }

  /// The least logarithm of a tile's elements.
  Value emitLeastShift(ElementBuilder &builder, Value size, Threads &threads) {
    if (getSums())
      return builder.index(TileSumsOp::logTile);
    Value none = builder.index(0);
    if (!isInGroups(threads) || isAskedBySteps())
      return none;
    // Where tiles are more than one element, they are whole groups.
    Value areAll = builder.compare(Arith::Predicate::ule, size,
                                   builder.index(threads.getMostTiles()));
    return builder.select(areAll, none, builder.index(logGroup));
  }

  /// Fills `sums`, where each thread has one vector of `width` elements at
  /// most: what they read is on its way together.
  void emitVectorSums(ElementBuilder &builder, ValueRange row, Value sums,
                      Value size, int64_t width, Threads &threads) {
    Value thread = threads.emitThread(builder);
    SmallVector<Value> indices(row);
    indices.push_back(builder.mul(thread, builder.index(width)));
    Value first = indices.back();
    SmallVector<Value> before =
        emitPrefixSums(builder, getSource(), indices, size, width);
    Value ofOthers = threads.emitSums(builder, before.back()).before;
    // Past the last element there is nothing but the sum of all.
    builder.emitIf(builder.less(first, size), [&] {
      for (int64_t i = 0; i != width; ++i) {
        Value place = builder.add(first, i);
        builder.store(builder.add(ofOthers, before[i]), sums, place);
      }
    });
    // Which a vector that is not full has stored already.
    Value isLast = builder.equal(thread, builder.index(threads.getSize() - 1));
    Value rest = builder.both(size, builder.index(width - 1));
    Value isFull = builder.equal(rest, builder.index(0));
    builder.emitIf(builder.both(isLast, isFull), [&] {
      builder.store(builder.add(ofOthers, before.back()), sums, size);
    });
    threads.emitBarrier(builder);
  }

  /// Stores the sum of each tile, by threads in turn, so that they load
  /// together.
  void emitSumOfEachTile(ElementBuilder &builder, ValueRange row, Value sums,
                         Value size, Value shift, Value numTiles,
                         Threads &threads) {
    Type type = getElementType();
    Value logStored = builder.index(TileSumsOp::logTile);
    Value thread = threads.emitThread(builder);
    Value numThreads = builder.index(threads.getSize());
    auto emitEach = [&](function_ref<Value(Value, Value)> emitSum) {
      builder.emitFor(thread, numTiles, numThreads, [&](Value tile) {
        Value first = builder.shiftLeft(tile, shift);
        Value last = builder.min(
            builder.shiftLeft(builder.add(tile, builder.index(1)), shift),
            size);
        builder.store(emitSum(first, last), sums, tile);
      });
    };
    if (getSums())
      emitEach([&](Value first, Value last) {
        return emitStoredTiles(
            builder, *this, builder.shiftRight(first, logStored),
            emitTiles(builder, last, logStored), builder.zero(type));
      });
    else if (isInGroups(threads))
      builder.emitIf(
          builder.equal(shift, builder.index(0)),
          [&] {
            builder.emitRolledFor(thread, size, numThreads, [&](Value index) {
              ElementBuilder inner(builder.b, builder);
              SmallVector<Value> indices(row);
              indices.push_back(index);
              inner.store(inner.element(getSource(), indices), sums, index);
            });
          },
          [&] {
            emitEach([&](Value first, Value last) {
              return emitSumOfGroups(builder, getSource(), row, first, last,
                                     builder.zero(type));
            });
          });
    else
      emitEach([&](Value first, Value last) {
        return emitSumFrom(builder, getSource(), row, first, last,
                           builder.zero(type));
      });
  }

  /// The same for any number of elements, by tiles.
  void emitTileSums(ElementBuilder &builder, ValueRange row, Value sums,
                    Value size, Value shift, Value numTiles, Threads &threads) {
    emitSumOfEachTile(builder, row, sums, size, shift, numTiles, threads);
    threads.emitBarrier(builder);
    Value thread = threads.emitThread(builder);
    Value numThreads = builder.index(threads.getSize());
    // Each thread adds up tiles that stand together, and puts sums in their
    // place.
    Value perThread = builder.ceilDivUnsigned(numTiles, numThreads);
    Value begin = builder.min(builder.mul(thread, perThread), numTiles);
    Value end = builder.min(builder.add(begin, perThread), numTiles);
    auto addUp = [&](Value initial, bool replace) {
      return builder.emitRolledFor(begin, end, builder.index(1), initial,
                                   [&](Value tile, Value before) {
                                     Value sum = builder.load(sums, tile);
                                     if (replace)
                                       builder.store(before, sums, tile);
                                     return builder.add(before, sum);
                                   });
    };
    Value own = addUp(builder.zero(getElementType()), /*replace=*/false);
    Value before = threads.emitSums(builder, own).before;
    Value after = addUp(before, /*replace=*/true);
    Value isLast =
        builder.equal(thread, builder.add(numThreads, builder.index(-1)));
    builder.emitIf(isLast, [&] { builder.store(after, sums, numTiles); });
    threads.emitBarrier(builder);
  }
};

//===----------------------------------------------------------------------===//
// Recurrences
//===----------------------------------------------------------------------===//

/// Emits element `step + 1` from element `step`.
Value emitStep(ElementBuilder &builder, IterateOp op, Value step,
               Value element) {
  SmallVector<Value> point = {step, element};
  return BodyEmitter(op, builder, point, /*width=*/0).emit().front().front();
}

/// Emits element `end` from element `begin`, which is `element`.
Value emitSteps(ElementBuilder &builder, IterateOp op, Value begin, Value end,
                Value element) {
  return builder.emitFor(begin, end, builder.index(1), element,
                         [&](Value step, Value element) {
                           ElementBuilder inner(builder.b, builder);
                           return emitStep(inner, op, step, element);
                         });
}

Value emitFirst(ElementBuilder &builder, IterateOp op) {
  return builder.constant(getElementTypeOrSelf(op.getType()), op.getFirst());
}

struct IterateElements : ScalarElementsOf<IterateOp> {
  SmallVector<Value> emitShared(ElementBuilder &builder, ValueRange,
                                Threads &threads) {
    Value size =
        builder.max(builder.size(getIndexBounds().front()), builder.index(0));
    Value shift =
        emitShift(builder, size, threads.getMostTiles(), builder.index(0));
    Value before = threads.emitMemory(builder, threads.getMostTiles() + 1,
                                      getElementTypeOrSelf(getType()));
    Value thread = threads.emitThread(builder);
    Value first = emitFirst(builder, *this);
    Value isFirst = builder.equal(thread, builder.index(0));
    builder.emitIf(isFirst,
                   [&] { builder.store(first, before, builder.index(0)); });
    emitPredictedSteps(
        builder, threads, size, first,
        /*isNumbered=*/!getBody().front().getArgument(0).use_empty(),
        [&](ElementBuilder &builder, Value step, Value element) {
          return emitStep(builder, *this, step, element);
        },
        [&](Value number, Value element) {
          Value tile = emitTiles(builder, number, shift);
          Value isBegin = builder.equal(builder.shiftLeft(tile, shift), number);
          // Where the last element begins a tile, it is asked for there.
          Value isLast = builder.equal(number, size);
          builder.emitIf(builder.either(isBegin, isLast),
                         [&] { builder.store(element, before, tile); });
        });
    threads.emitBarrier(builder);
    Value numTiles = emitTiles(builder, size, shift);
    return {before, shift, numTiles, emitSearchStride(builder, numTiles)};
  }

  Value emitElement(ElementBuilder &builder, ValueRange indices) {
    Value index = indices.front();
    std::optional<SharedTiles> tiles =
        SharedTiles::find(builder, *this, /*row=*/{});
    if (!tiles)
      return emitSteps(builder, *this, builder.index(0), index,
                       emitFirst(builder, *this));
    return tiles->emitByTile(
        builder, getElementTypeOrSelf(getType()),
        [&] { return tiles->emitBefore(builder, index); },
        [&] {
          Value tile = builder.shiftRight(index, tiles->shift);
          return emitSteps(builder, *this,
                           builder.shiftLeft(tile, tiles->shift), index,
                           tiles->emitBefore(builder, tile));
        });
  }

  Value emitSearch(ElementBuilder &builder, ValueRange row, Value position) {
    Value zero = builder.index(0), one = builder.index(1);
    Value size = builder.max(builder.size(getIndexBounds().front()), zero);
    std::optional<SharedTiles> tiles =
        SharedTiles::find(builder, *this, /*row=*/{});
    if (!tiles)
      return emitBinarySearch(builder, getResult(), row, zero,
                              builder.add(size, one), position);
    Value tile = emitTileSearch(builder, tiles->before, tiles->numTiles,
                                tiles->stride, position);
    Value element = tiles->emitBefore(builder, tile);
    Value isSome = builder.isAtMost(builder.toIndex(element), position);
    Value count = tiles->emitByTile(
        builder, builder.b.getIndexType(),
        [&] { return builder.add(tile, one); },
        [&] {
          auto emitBegin = [&](Value tile) {
            return builder.min(builder.shiftLeft(tile, tiles->shift), size);
          };
          Value begin = builder.add(emitBegin(tile), one);
          Value end = emitBegin(builder.add(tile, one));
          return emitBinarySearch(builder, getResult(), row, begin, end,
                                  position);
        });
    return builder.select(isSome, count, zero);
  }
};

//===----------------------------------------------------------------------===//
// Reductions
//===----------------------------------------------------------------------===//

struct ReduceElements : ScalarElementsOf<ReduceOp> {
  SmallVector<Value> emitShared(ElementBuilder &builder, ValueRange row,
                                Threads &threads) {
    return emitReductions(builder, getOp(), row, threads);
  }

  bool canShareWith(ArrayRef<Operation *> others) {
    return llvm::all_of(others, llvm::IsaPred<ReduceOp>) &&
           canReduceWith(getOp(), toReductions(others));
  }

  SmallVector<SmallVector<Value>> emitSharedTogether(ElementBuilder &builder,
                                                     ArrayRef<Operation *> ops,
                                                     Threads &threads) {
    return llvm::map_to_vector(
        emitReductions(builder, toReductions(ops), /*row=*/{}, threads),
        [](Value value) { return SmallVector<Value>{value}; });
  }

  Value emitElement(ElementBuilder &builder, ValueRange indices) {
    int64_t rank = cast<ShapedType>(getSource().getType()).getRank();
    ValueRange row = indices.take_front(rank - 1);
    ArrayRef<Value> shared = builder.getShared(*this, row);
    return shared.empty() ? emitReduction(builder, getOp(), row)
                          : shared.front();
  }

  Value emitElements(ElementBuilder &builder, ValueRange indices,
                     int64_t width) {
    // What threads made together is the element that is asked for.
    int64_t rank = cast<ShapedType>(getSource().getType()).getRank();
    ArrayRef<Value> shared =
        builder.getShared(*this, indices.take_front(rank - 1));
    return shared.empty()
               ? ScalarElementsOf::emitElements(builder, indices, width)
               : builder.splat(shared.front(), width);
  }

private:
  static SmallVector<ReduceOp> toReductions(ArrayRef<Operation *> ops) {
    return llvm::map_to_vector(ops, llvm::CastTo<ReduceOp>);
  }
};

} // namespace

//===----------------------------------------------------------------------===//
// Rows of which each thread has a vector
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
  SmallVector<Value> before =
      emitPrefixSums(builder, source, indices, size, width);
  Threads::Sums sums = threads.emitSums(builder, before.back());
  totals[source] = sums.total;
  SmallVector<Value> lanes;
  for (int64_t i = 0; i != width; ++i)
    lanes.push_back(
        builder.add(sums.before, before[op.getInclusive() ? i + 1 : i]));
  builder.bindElements(
      op.getResult(), indices,
      builder.apply<vector::FromElementsOp>(
          VectorType::get(width, lanes.front().getType()), lanes));
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

void nsa::attachSumElements(MLIRContext &context) {
  attach<ScanElements, IterateElements, ReduceElements>(context);
}
