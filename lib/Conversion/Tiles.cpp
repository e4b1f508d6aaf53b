//===- Tiles.cpp - The elements of a tile ---------------------------------===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Tiles.h"

#include "Stores.h"

#include "nsa/Codegen/GuardedOps.h"

#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace nsa;

/// Of as many arrays it is asked at once whether they are aligned. Their
/// addresses stay in registers until the last has been asked.
static constexpr size_t mostAsked = 4;

/// Stores what `op` picks from the `width` elements of `vector` at `point`, to
/// each row that `forEachRow` calls back with: from lane i, if its column is a
/// multiple of the stride.
static void
storePicked(ElementBuilder &builder, PickOpInterface op, Value vector,
            CopyOp copy, ArrayRef<Value> point,
            function_ref<void(function_ref<void(Value)>)> forEachRow,
            Value columns, int64_t width) {
  int64_t stride = op.getPickStride();
  Value strideValue = builder.index(stride);
  // Columns are multiples of `width`; if the stride is too, only lane 0 can be
  // picked.
  int64_t lanes = stride % width == 0 ? 1 : width;
  for (int64_t i = 0; i < lanes; ++i) {
    Value column = builder.add(point.back(), i);
    Value rest = builder.remUnsigned(column, strideValue);
    Value isPicked = builder.both(builder.equal(rest, builder.index(0)),
                                  builder.less(column, columns));
    builder.emitIf(isPicked, [&] {
      Value element = builder.extract(vector, i);
      Value number = builder.divUnsigned(column, strideValue);
      Value picked = cast<ElementOpInterface>(op.getOperation())
                         .emitPicked(builder, {point.front(), number}, element);
      forEachRow([&](Value row) {
        storeElement(builder, copy, picked, {row, number});
      });
    });
  }
}

namespace {
/// The elements of a value at a point, and whether anybody reads them (null for
/// yes).
struct TileValue {
  Value vector, isLive;
};

/// The copies of a `tile` or two-dimensional `expand` segment.
class TileEmitter : TileOptions {
public:
  TileEmitter(OpBuilder &b, SegmentOp segment, const IRMapping &ports,
              size_t rank, int64_t width, const TileOptions &options);

  /// Emits the values to store for each point.
  SmallVector<DenseMap<Value, TileValue>>
  emitValues(ArrayRef<SmallVector<Value>> points);
  void emitStores(ArrayRef<Value> point,
                  const DenseMap<Value, TileValue> &values);
  /// Emits what a warp takes of the tile for all threads.
  void emitTogether();

private:
  /// Whether a warp takes what `copy` picks from the tile: at most an element
  /// for each of its threads. It loads again what they are picked from, which
  /// is on its way, and stores neighbours. Each warp would store a few else,
  /// and memory is asked as often as there are warps.
  bool canTakeTogether(CopyOp copy) const;
  TileValue emitValue(Value value, ArrayRef<Value> point);
  /// The value for a point of an expansion, where it may be padding.
  TileValue emitRequestValue(Value value, ArrayRef<Value> point);
  /// The halves that this thread stores of its pair's vectors, given its own,
  /// and moves `column` to the first of them.
  Parts exchange(ElementBuilder &builder, Value vector, Value &column);
  /// Emits the stores of a copy to several arrays, which mostly are all
  /// aligned: those of up to `mostAsked` together, so that what is hardly ever
  /// executed does not stand between them. Returns false, and emits none, where
  /// a store depends on more than its column.
  bool emitAlignedStores(ElementBuilder &builder, CopyOp copy,
                         const Parts &parts, ArrayRef<Value> indices);
  /// Emits the stores of a copy to each of the rows.
  void emitRepeatedStores(ElementBuilder &builder, CopyOp copy,
                          const Parts &parts, Value column);

  OpBuilder &b;
  Location loc;
  const IRMapping &ports;
  int64_t width;
  /// Of the widest access.
  int64_t accessBytes;
  Value columns;
  /// Places are made from sums along a row then, mostly, as of lists that are
  /// compacted.
  bool areRowsShared;
  /// Copies of values over the segment's index space, and of what is picked
  /// from them.
  SmallVector<CopyOp> copies, pickedCopies;
  /// Of what is picked: what a warp takes for the tile.
  SmallVector<CopyOp> togetherCopies;
};
} // namespace

TileEmitter::TileEmitter(OpBuilder &b, SegmentOp segment,
                         const IRMapping &ports, size_t rank, int64_t width,
                         const TileOptions &options)
    : TileOptions(options), b(b), loc(segment.getLoc()), ports(ports),
      width(width), accessBytes(TargetAttr::of(segment).getAccessBytes()),
      columns(ports.lookupOrDefault(segment.getSizes()[rank - 1])),
      areRowsShared(segment.hasSharedRows()) {
  // Elements of rows and of columns are stored one after the other.
  for (CopyOp copy : segment.getCopies()) {
    if ((rank < segment.getSizes().size()) != segment.isOfRow(copy))
      continue;
    if (!segment.isPicked(copy))
      copies.push_back(copy);
    else if (canTakeTogether(copy))
      togetherCopies.push_back(copy);
    else
      pickedCopies.push_back(copy);
  }
}

static PickOpInterface getPick(CopyOp copy) {
  return getRequestValue(copy.getValue()).getDefiningOp<PickOpInterface>();
}

bool TileEmitter::canTakeTogether(CopyOp copy) const {
  if (!tile)
    return false;
  auto liveness = copy.getValue().getDefiningOp<LivenessOpInterface>();
  int64_t stride = getPick(copy).getPickStride();
  return !(liveness && liveness.hasDeadElements()) &&
         tile->columns % stride == 0 && tile->columns / stride <= tile->warp;
}

/// Emits whether anybody reads the elements of `value` at `point`, or returns
/// null for yes.
static Value emitIsLive(ElementBuilder &builder, Value value,
                        ArrayRef<Value> point) {
  Operation *op = value.getDefiningOp();
  return op ? cast<ElementOpInterface>(op).emitIsLive(builder, point) : Value();
}

TileValue TileEmitter::emitValue(Value value, ArrayRef<Value> point) {
  ElementBuilder builder(b, loc, ports, point, rowValues);
  Value isLive = emitIsLive(builder, value, point);
  // All or none of a vector, so that a live one has no made-up elements. Not a
  // branch: LLVM would move into it what else the loads need, to be loaded
  // after what decides instead of at the same time.
  builder.setCondition(isLive);
  return {builder.elements(value, point, width), isLive};
}

TileValue TileEmitter::emitRequestValue(Value value, ArrayRef<Value> point) {
  // A request past the last one has no elements to load.
  Type elementType = cast<ShapedType>(value.getType()).getElementType();
  auto type = VectorType::get(width, elementType);
  Arith math(b, loc);
  SmallVector<Value> results = math.emitIf(
      TypeRange{type, b.getI1Type()}, rows->isPadding,
      [&]() -> SmallVector<Value> { return {math.zero(type), math.i1(true)}; },
      [&]() -> SmallVector<Value> {
        TileValue result = emitValue(value, point);
        if (!result.isLive)
          result.isLive = math.i1(true);
        return {result.vector, result.isLive};
      });
  return {results[0], results[1]};
}

SmallVector<DenseMap<Value, TileValue>>
TileEmitter::emitValues(ArrayRef<SmallVector<Value>> points) {
  SmallVector<DenseMap<Value, TileValue>> values(points.size());
  // One for all values at a point, so that what they share is emitted once.
  SmallVector<ElementBuilder, 1> builders;
  for (const SmallVector<Value> &point : points) {
    ElementBuilder &builder =
        builders.emplace_back(b, loc, ports, point, rowValues);
    if (known)
      builder.inherit(*known);
  }
  for (CopyOp copy : copies) {
    // What is loaded for no other operation.
    for (ElementBuilder &builder : builders)
      builder.loc = getNamedLoc(copy);
    Value value = getRequestValue(copy.getValue());
    bool mayBePadding = rows && rows->isPadding;
    auto op = value.getDefiningOp<LivenessOpInterface>();
    if (mayBePadding || (op && op.hasDeadElements())) {
      for (auto [point, pointValues] : llvm::zip_equal(points, values))
        pointValues[value] = mayBePadding ? emitRequestValue(value, point)
                                          : emitValue(value, point);
      continue;
    }
    SmallVector<Value> vectors =
        ElementBuilder::elementsAt(builders, value, points, width);
    for (auto [pointValues, vector] : llvm::zip_equal(values, vectors))
      pointValues[value] = {vector, Value()};
  }
  // Masks and places, which are no copy's value.
  for (CopyOp copy : copies) {
    SmallVector<Value> others(copy.getPlaces());
    if (copy.getMask())
      others.push_back(copy.getMask());
    for (Value other : others) {
      if (values.front().contains(other))
        continue;
      auto op = other.getDefiningOp<LivenessOpInterface>();
      bool hasDead = op && op.hasDeadElements();
      for (auto [builder, point, pointValues] :
           llvm::zip_equal(builders, points, values))
        pointValues[other] =
            hasDead ? emitValue(other, point)
                    : TileValue{builder.elements(other, point, width), Value()};
    }
  }
  return values;
}

Parts TileEmitter::exchange(ElementBuilder &builder, Value vector,
                            Value &column) {
  auto type = cast<VectorType>(vector.getType());
  int64_t half = type.getNumElements() / 2;
  int64_t numWords = half * type.getElementTypeBitWidth() / 32;
  auto select = [&](Value inSecond, Value inFirst) -> Value {
    return builder.select(pair->isSecond, inSecond, inFirst);
  };
  Value words = builder.apply<vector::BitCastOp>(
      VectorType::get(2 * numWords, b.getI32Type()), vector);
  SmallVector<Value> ofFirst, ofSecond;
  for (int64_t i = 0; i < numWords; ++i) {
    Value low = builder.extract(words, i);
    Value high = builder.extract(words, numWords + i);
    Value other = pair->emitOther(b, select(low, high));
    ofFirst.push_back(select(other, low));
    ofSecond.push_back(select(high, other));
  }
  auto toPart = [&](ArrayRef<Value> words) {
    Value part = builder.apply<vector::FromElementsOp>(
        VectorType::get(numWords, b.getI32Type()), words);
    return builder.apply<vector::BitCastOp>(
        VectorType::get(half, type.getElementType()), part);
  };
  column = builder.sub(column, select(builder.index(half), builder.index(0)));
  return {{toPart(ofFirst), toPart(ofSecond)}, 2 * half};
}

/// Whether all elements are columns that are written, and all destinations take
/// them by the widest accesses, as `emitCanStoreWide` has it. None where one
/// never can.
static Value emitAreWide(ElementBuilder &builder, ValueRange destinations,
                         const Parts &parts, Value row, Value column,
                         const Written &written) {
  Value last = builder.add(column, parts.getSpan() - 1);
  Value areWide = written.contain(builder, column, last);
  for (Value destination : destinations) {
    Value isAligned = emitCanStoreWide(builder, parts, destination, row);
    if (!isAligned)
      return {};
    areWide = builder.both(areWide, isAligned);
  }
  return areWide;
}

void TileEmitter::emitRepeatedStores(ElementBuilder &builder, CopyOp copy,
                                     const Parts &parts, Value column) {
  Written written{int64_t(copy.getFrom()), columns};
  auto storeGeneral = [&](Value row) {
    emitForDestinations(builder, copy, [&](Value destination) {
      storeParts(builder, parts, destination, {row, column}, written);
    });
  };
  // Mostly the same holds for all destinations and rows. It is found out once,
  // which leaves a loop with nothing but stores.
  Value isWide = emitAreWide(builder, copy.getDestinations(), parts,
                             /*row=*/Value(), column, written);
  if (!isWide)
    return rows->emitLoop(builder, storeGeneral);
  auto storeAligned = [&](Value row) {
    emitForDestinations(builder, copy, [&](Value destination) {
      storeWide(builder, parts, builder.lookup(destination), {row, column});
    });
  };
  builder.emitIf(
      isWide, [&] { rows->emitLoop(builder, storeAligned); },
      [&] { rows->emitLoop(builder, storeGeneral); });
}

bool TileEmitter::emitAlignedStores(ElementBuilder &builder, CopyOp copy,
                                    const Parts &parts,
                                    ArrayRef<Value> indices) {
  if (copy.getDestinations().size() < 2 || !copy.isPlain() ||
      hasOptionalDestinations(copy))
    return false;
  Written written{int64_t(copy.getFrom()), columns};
  Value row = indices.size() > 1 ? indices.front() : Value();
  auto storeEach = [&](ValueRange destinations, bool areWide) {
    EmittedFor scope(builder, copy);
    for (Value destination : destinations) {
      if (areWide)
        storeWide(builder, parts, builder.lookup(destination), indices);
      else
        storeParts(builder, parts, destination, indices, written);
    }
  };
  ValueRange others = copy.getDestinations();
  while (!others.empty()) {
    ValueRange some = others.take_front(std::min(others.size(), mostAsked));
    others = others.drop_front(some.size());
    Value areWide =
        emitAreWide(builder, some, parts, row, indices.back(), written);
    if (areWide)
      builder.emitIf(
          areWide, [&] { storeEach(some, /*areWide=*/true); },
          [&] { storeEach(some, /*areWide=*/false); });
    else
      storeEach(some, /*areWide=*/false);
  }
  return true;
}

void TileEmitter::emitStores(ArrayRef<Value> point,
                             const DenseMap<Value, TileValue> &values) {
  ElementBuilder builder(b, loc, ports, point);
  for (CopyOp copy : copies) {
    TileValue value = values.lookup(getRequestValue(copy.getValue()));
    builder.emitIf(value.isLive, [&] {
      SmallVector<Value> indices(point);
      Parts parts = pair ? exchange(builder, value.vector, indices.back())
                         : Parts::of(builder, value.vector, accessBytes);
      if (rows)
        return emitRepeatedStores(builder, copy, parts, indices.back());
      if (emitAlignedStores(builder, copy, parts, indices))
        return;
      Written written{int64_t(copy.getFrom()), columns};
      if (copy.getMask())
        written.mask = values.lookup(copy.getMask()).vector;
      auto places = llvm::map_to_vector(copy.getPlaces(), [&](Value place) {
        return values.lookup(place).vector;
      });
      emitForDestinations(builder, copy, [&](Value destination) {
        if (places.empty())
          storeParts(builder, parts, destination, indices, written);
        else
          storeScattered(builder, value.vector, destination, places,
                         indices.back(), written, areRowsShared);
      });
    });
  }
  auto forEachRow = [&](function_ref<void(Value)> body) {
    if (rows)
      return rows->emitLoop(builder, body);
    body(point.front());
  };
  for (CopyOp copy : pickedCopies) {
    PickOpInterface pick = getPick(copy);
    TileValue value = values.lookup(pick.getPickedFrom());
    builder.emitIf(value.isLive, [&] {
      storePicked(builder, pick, value.vector, copy, point, forEachRow, columns,
                  width);
    });
  }
}

void TileEmitter::emitTogether() {
  for (CopyOp copy : togetherCopies) {
    PickOpInterface pick = getPick(copy);
    int64_t stride = pick.getPickStride();
    ElementBuilder builder(b, loc, ports, tile->row, rowValues);
    Value number = builder.add(
        builder.divUnsigned(tile->first, builder.index(stride)), tile->thread);
    Value column = builder.mul(number, builder.index(stride));
    Value isPicked = builder.both(
        builder.isInside(tile->thread, builder.index(tile->columns / stride)),
        builder.less(column, columns));
    builder.emitIf(isPicked, [&] {
      Value element =
          builder.extract(builder.elements(pick.getPickedFrom(),
                                           {tile->row, column}, /*width=*/1),
                          0);
      Value picked = cast<ElementOpInterface>(pick.getOperation())
                         .emitPicked(builder, {tile->row, number}, element);
      storeElement(builder, copy, picked, {tile->row, number});
    });
  }
}

void RowRange::emitLoop(ElementBuilder &builder,
                        function_ref<void(Value)> body) const {
  Value one = builder.index(1);
  builder.emitFor(builder.index(0), count, one,
                  [&](Value number) { body(builder.add(first, number)); });
}

void nsa::emitTile(OpBuilder &b, SegmentOp segment, const IRMapping &ports,
                   ArrayRef<SmallVector<Value>> points, int64_t width,
                   const TileOptions &options) {
  TileEmitter emitter(b, segment, ports, points.front().size(), width, options);
  SmallVector<DenseMap<Value, TileValue>> values = emitter.emitValues(points);
  emitter.emitTogether();
  for (auto [point, pointValues] : llvm::zip_equal(points, values))
    emitter.emitStores(point, pointValues);
}

RowValues nsa::emitRowValues(OpBuilder &b, SegmentOp segment,
                             const IRMapping &ports, Value row,
                             std::optional<Team> team, RowValues values) {
  for (CopyOp copy : segment.getCopies()) {
    auto op = copy.getValue().getDefiningOp<ElementOpInterface>();
    if (!op || values.contains(op))
      continue;
    ElementBuilder builder(b, segment.getLoc(), ports, row, &values);
    if (team)
      builder.setTeam(*team);
    EmittedFor scope(builder, op);
    SmallVector<Value> shared = op.emitRow(builder, row);
    if (!shared.empty())
      shared.insert(shared.begin(), row);
    values[op] = shared;
  }
  return values;
}
