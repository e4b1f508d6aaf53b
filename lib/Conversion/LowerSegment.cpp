//===- LowerSegment.cpp - The work of a segment, for any target -----------===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "LowerSegment.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace nsa;

//===----------------------------------------------------------------------===//
// Kernels
//===----------------------------------------------------------------------===//

LogicalResult nsa::verifyFormed(StepOp step) {
  for (Operation &op : step.getBody().front()) {
    if (isa<CopyMetadataOp>(op))
      return op.emitOpError("expected sets to be expanded; run "
                            "'nsa-expand-metadata-sets' before");
    if (isa<CopyOp>(op))
      return op.emitOpError("expected copies to be in launches; run "
                            "'nsa-form-launches' before");
  }
  for (LaunchOp launch : step.getLaunches()) {
    if (!launch.getThreads())
      return launch.emitOpError("expected a number of threads; run "
                                "'nsa-assign-tiles' before");
    for (SegmentOp segment : launch.getSegments())
      if (segment.getKind() != SegmentKind::Scan && !segment.getTiling())
        return segment.emitOpError("expected a tiling; run 'nsa-assign-tiles' "
                                   "before");
  }
  return success();
}

SmallVector<Type> nsa::getKernelArgumentTypes(ArrayRef<BlockArgument> ports) {
  auto types = llvm::map_to_vector(ports, [](BlockArgument port) -> Type {
    if (port.getType().isIndex())
      return port.getType();
    return getKernelMemRefType(port);
  });
  if (!ports.empty())
    types.append(getPresenceWords(ports).size(),
                 IntegerType::get(ports.front().getContext(), 64));
  return types;
}

/// Computes `size` in the kernel.
static void mapSize(ElementBuilder &builder, Value size, IRMapping &mapping) {
  if (mapping.contains(size))
    return;
  Operation *op = size.getDefiningOp();
  if (auto dim = dyn_cast<tensor::DimOp>(op)) {
    mapping.map(size, builder.dim(dim.getSource(), *dim.getConstantIndex()));
    return;
  }
  for (Value operand : op->getOperands())
    mapSize(builder, operand, mapping);
  builder.b.clone(*op, mapping);
}

void nsa::mapPorts(OpBuilder &b, LaunchOp launch, ArrayRef<BlockArgument> ports,
                   FunctionOpInterface kernel, IRMapping &mapping) {
  DenseMap<BlockArgument, SmallVector<int64_t>> sizes;
  for (const KernelParameter &parameter : getKernelParameters(ports))
    if (parameter.field == KernelParameter::Field::Size)
      sizes[parameter.port].push_back(parameter.dim);
  for (auto [number, port] : llvm::enumerate(ports)) {
    mapping.map(port, kernel.getArgument(number));
    if (port.getType().isIndex())
      continue;
    if (!StepOp::isOut(port.getType()))
      kernel.setArgAttr(number, readOnlyAttrName, b.getUnitAttr());
    if (sizes.contains(port))
      kernel.setArgAttr(number, sizesAttrName,
                        b.getDenseI64ArrayAttr(sizes[port]));
  }

  SmallVector<int64_t> optional;
  for (ArrayRef<BlockArgument> word : getPresenceWords(ports))
    for (BlockArgument port : word)
      optional.push_back(port.getArgNumber());
  if (!optional.empty())
    kernel->setAttr(presenceAttrName, b.getDenseI64ArrayAttr(optional));

  // Sizes are computed where they are first used, whatever order the text has
  // them in.
  ElementBuilder builder(b, launch.getLoc(), mapping, {});
  launch.walk<WalkOrder::PreOrder>([&](Operation *op) {
    for (Value operand : op->getOperands())
      // Others are of formulas.
      if (operand.getType().isIndex() &&
          !launch.getBody().isAncestor(operand.getParentRegion()))
        mapSize(builder, operand, mapping);
  });
}

//===----------------------------------------------------------------------===//
// Tiles
//===----------------------------------------------------------------------===//

static Value compare(ElementBuilder &builder, arith::CmpIPredicate predicate,
                     Value lhs, Value rhs) {
  return arith::CmpIOp::create(builder.b, builder.loc, predicate, lhs, rhs);
}

static Value add(ElementBuilder &builder, Value lhs, int64_t rhs) {
  if (rhs == 0)
    return lhs;
  return arith::AddIOp::create(builder.b, builder.loc, lhs,
                               builder.constantIndex(rhs));
}

/// Emits `body` under `condition`.
static void emitIf(ElementBuilder &builder, Value condition,
                   function_ref<void()> body) {
  auto ifOp = scf::IfOp::create(builder.b, builder.loc, condition,
                                /*withElseRegion=*/false);
  OpBuilder::InsertionGuard guard(builder.b);
  builder.b.setInsertionPoint(ifOp.thenYield());
  body();
}

bool nsa::mayBeNegative(Value size) {
  if (std::optional<int64_t> constant = getConstantIntValue(size))
    return *constant < 0;
  return !isa<BlockArgument>(size) && !size.getDefiningOp<tensor::DimOp>();
}

void nsa::emitIfNotNegative(ElementBuilder &builder, Value size,
                            function_ref<void()> body) {
  if (!mayBeNegative(size))
    return body();
  emitIf(builder,
         compare(builder, arith::CmpIPredicate::sge, builder.lookup(size),
                 builder.constantIndex(0)),
         body);
}

static Value emitAnd(ElementBuilder &builder, Value lhs, Value rhs) {
  return arith::AndIOp::create(builder.b, builder.loc, lhs, rhs);
}

namespace {
/// The elements of a vector that a copy writes.
struct Written {
  /// Columns of the destination.
  int64_t from;
  Value end;
  /// Of the same vector, 0 for those that stay as they are; null for none.
  Value mask = {};

  /// Whether columns `first` to `last` are all among them.
  Value contain(ElementBuilder &builder, Value first, Value last) const {
    Value inside = compare(builder, arith::CmpIPredicate::slt, last, end);
    if (from == 0)
      return inside;
    Value after = compare(builder, arith::CmpIPredicate::sge, first,
                          builder.constantIndex(from));
    return emitAnd(builder, after, inside);
  }
  /// Whether lane `lane`, which is column `column`, is among them.
  Value containLane(ElementBuilder &builder, Value column, int64_t lane) const {
    Value inside = contain(builder, column, column);
    if (!mask)
      return inside;
    return emitAnd(builder, inside, isSet(builder, lane));
  }
  /// Whether the mask has `count` lanes that are set.
  Value isWhole(ElementBuilder &builder, int64_t count) const {
    Value all = isSet(builder, 0);
    for (int64_t lane = 1; lane < count; ++lane)
      all = emitAnd(builder, all, isSet(builder, lane));
    return all;
  }

private:
  Value isSet(ElementBuilder &builder, int64_t lane) const {
    Value flag = vector::ExtractOp::create(builder.b, builder.loc, mask, lane);
    Value zero = arith::ConstantOp::create(
        builder.b, builder.loc, builder.b.getZeroAttr(flag.getType()));
    return compare(builder, arith::CmpIPredicate::ne, flag, zero);
  }
};
} // namespace

void nsa::emitIfCopied(ElementBuilder &builder, CopyOp copy, Value index,
                       function_ref<void()> body) {
  if (copy.getFrom() == 0)
    return body();
  emitIf(builder,
         compare(builder, arith::CmpIPredicate::sge, index,
                 builder.constantIndex(copy.getFrom())),
         body);
}

/// Whether any of the arrays behind `ports`, which are optional, is there (i1):
/// bits of the kernel's last arguments.
static Value emitIsAnyThere(ElementBuilder &builder,
                            ArrayRef<BlockArgument> ports) {
  OpBuilder &b = builder.b;
  Location loc = builder.loc;
  // Operations whose regions are being built are in no function yet.
  auto array = cast<BlockArgument>(builder.lookup(ports.front()));
  auto kernel = cast<FunctionOpInterface>(array.getOwner()->getParentOp());
  ArrayRef<int64_t> optional =
      kernel->getAttrOfType<DenseI64ArrayAttr>(presenceAttrName).asArrayRef();
  size_t numWords = llvm::divideCeil(optional.size(), 64);
  SmallVector<uint64_t> masks(numWords);
  for (BlockArgument port : ports) {
    size_t bit = llvm::find(optional, port.getArgNumber()) - optional.begin();
    masks[bit / 64] |= uint64_t(1) << (bit % 64);
  }
  Value any;
  for (auto [number, mask] : llvm::enumerate(masks)) {
    if (mask == 0)
      continue;
    Value word =
        kernel.getArgument(kernel.getNumArguments() - numWords + number);
    Value bits = arith::AndIOp::create(
        b, loc, word, arith::ConstantIntOp::create(b, loc, int64_t(mask), 64));
    Value isThere = compare(builder, arith::CmpIPredicate::ne, bits,
                            arith::ConstantIntOp::create(b, loc, 0, 64));
    any = any ? arith::OrIOp::create(b, loc, any, isThere) : isThere;
  }
  return any;
}

/// Whether the array behind `destination` is there (i1), or null for yes.
static Value emitIsThere(ElementBuilder &builder, Value destination) {
  auto port = cast<BlockArgument>(destination);
  if (!cast<StepOp>(port.getOwner()->getParentOp()).isOptional(port))
    return {};
  return emitIsAnyThere(builder, port);
}

void nsa::emitForDestinations(ElementBuilder &builder, CopyOp copy,
                              function_ref<void(Value)> body) {
  for (Value destination : copy.getDestinations()) {
    if (Value isThere = emitIsThere(builder, destination))
      emitIf(builder, isThere, [&] { body(destination); });
    else
      body(destination);
  }
}

Value nsa::emitIsWanted(ElementBuilder &builder, SegmentOp segment) {
  SmallVector<BlockArgument> ports = segment.getOptionalPorts();
  return ports.empty() ? Value() : emitIsAnyThere(builder, ports);
}

namespace {
/// A thread's elements, as vectors that one access can store.
struct Parts {
  SmallVector<Value> vectors;
  /// Columns from each to the next.
  int64_t distance;

  /// `vector` cut into parts that follow one another, of at most `bytes` bytes.
  static Parts of(ElementBuilder &builder, Value vector, int64_t bytes);

  VectorType getType() const {
    return cast<VectorType>(vectors.front().getType());
  }
  int64_t getWidth() const { return getType().getNumElements(); }
  /// Columns from the first part to the end of the last one.
  int64_t getSpan() const {
    return (vectors.size() - 1) * distance + getWidth();
  }
};
} // namespace

Parts Parts::of(ElementBuilder &builder, Value vector, int64_t bytes) {
  auto type = cast<VectorType>(vector.getType());
  int64_t width = type.getNumElements();
  int64_t part =
      std::min<int64_t>(width, bytes * 8 / type.getElementTypeBitWidth());
  if (part == width)
    return {{vector}, width};
  Parts parts = {{}, part};
  for (int64_t first = 0; first < width; first += part)
    parts.vectors.push_back(vector::ExtractStridedSliceOp::create(
        builder.b, builder.loc, vector, ArrayRef<int64_t>{first},
        ArrayRef<int64_t>{part}, ArrayRef<int64_t>{1}));
  return parts;
}

/// Stores the elements that are columns, one by one.
static void storeLanes(ElementBuilder &builder, const Parts &parts,
                       Value destination, ValueRange indices,
                       const Written &written) {
  SmallVector<Value> lane(indices);
  for (auto [number, vector] : llvm::enumerate(parts.vectors)) {
    for (int64_t i = 0; i < parts.getWidth(); ++i) {
      int64_t offset = number * parts.distance + i;
      lane.back() = add(builder, indices.back(), offset);
      emitIf(builder, written.containLane(builder, lane.back(), offset), [&] {
        Value element =
            vector::ExtractOp::create(builder.b, builder.loc, vector, i);
        memref::StoreOp::create(builder.b, builder.loc, element, destination,
                                lane);
      });
    }
  }
}

/// Stores all elements by the widest accesses.
static void storeWide(ElementBuilder &builder, const Parts &parts,
                      Value destination, ValueRange indices) {
  int64_t bits = parts.getType().getElementTypeBitWidth();
  SmallVector<Value> place(indices);
  for (auto [number, vector] : llvm::enumerate(parts.vectors)) {
    place.back() = add(builder, indices.back(), number * parts.distance);
    vector::StoreOp::create(builder.b, builder.loc, vector, destination, place,
                            /*nontemporal=*/false,
                            llvm::MaybeAlign(parts.getWidth() * bits / 8));
  }
}

/// Whether parts can be stored by the widest accesses to `row` of the array
/// behind `port`, or to every row where it is null. Null if they never can.
static Value emitCanStoreWide(ElementBuilder &builder, const Parts &parts,
                              Value port, Value row) {
  if (parts.getWidth() == 1)
    return {};
  return builder.isRowAligned(port, row, parts.getWidth());
}

/// Stores the elements that are written: by the widest accesses if all are and
/// the destination's row is aligned.
static void storeParts(ElementBuilder &builder, const Parts &parts, Value port,
                       ValueRange indices, const Written &written) {
  OpBuilder &b = builder.b;
  Location loc = builder.loc;
  Value destination = builder.lookup(port);
  Value isAligned = emitCanStoreWide(
      builder, parts, port, indices.size() > 1 ? indices.front() : Value());
  if (!isAligned)
    return storeLanes(builder, parts, destination, indices, written);
  Value last = add(builder, indices.back(), parts.getSpan() - 1);
  Value isFull = written.contain(builder, indices.back(), last);
  if (written.mask)
    isFull =
        emitAnd(builder, isFull, written.isWhole(builder, parts.getSpan()));
  // Where every row is made of whole aligned vectors, there is nothing else.
  int64_t multiple = parts.vectors.size() * parts.distance;
  std::optional<int64_t> end = getConstantIntValue(written.end);
  bool isWhole = end && *end % multiple == 0 && written.from % multiple == 0 &&
                 !written.mask &&
                 getConstantIntValue(isAligned).value_or(0) != 0;
  auto ifOp = scf::IfOp::create(
      b, loc, arith::AndIOp::create(b, loc, isFull, isAligned),
      /*withElseRegion=*/!isWhole);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPoint(ifOp.thenYield());
  storeWide(builder, parts, destination, indices);
  if (isWhole)
    return;
  b.setInsertionPoint(ifOp.elseYield());
  storeLanes(builder, parts, destination, indices, written);
}

/// Stores lane i of `vector` to the place in the array behind `port` that lane
/// i of each of `places` says, if it is inside.
static void storeScattered(ElementBuilder &builder, Value vector, Value port,
                           ValueRange places, Value column,
                           const Written &written) {
  OpBuilder &b = builder.b;
  Location loc = builder.loc;
  int64_t width = cast<VectorType>(vector.getType()).getNumElements();
  for (int64_t i = 0; i < width; ++i) {
    Value isStored = written.containLane(builder, add(builder, column, i), i);
    SmallVector<Value> indices;
    for (auto [dim, place] : llvm::enumerate(places)) {
      // A negative one is too large as well.
      Value index = arith::IndexCastOp::create(
          b, loc, b.getIndexType(),
          vector::ExtractOp::create(b, loc, place, i));
      isStored = emitAnd(builder, isStored,
                         compare(builder, arith::CmpIPredicate::ult, index,
                                 builder.dim(port, dim)));
      indices.push_back(index);
    }
    emitIf(builder, isStored, [&] {
      memref::StoreOp::create(b, loc,
                              vector::ExtractOp::create(b, loc, vector, i),
                              builder.lookup(port), indices);
    });
  }
}

/// Stores what `op` picks from the `width` elements of `vector` at `point`, to
/// each row that `forEachRow` calls back with: from lane i, if its column is a
/// multiple of the stride.
static void
storePicked(ElementBuilder &builder, PickOpInterface op, Value vector,
            CopyOp copy, ArrayRef<Value> point,
            function_ref<void(function_ref<void(Value)>)> forEachRow,
            Value columns, int64_t width) {
  int64_t stride = op.getPickStride();
  Value strideValue = builder.constantIndex(stride);
  // Columns are multiples of `width`; if the stride is too, only lane 0 can be
  // picked.
  int64_t lanes = stride % width == 0 ? 1 : width;
  for (int64_t i = 0; i < lanes; ++i) {
    Value column = add(builder, point.back(), i);
    Value rest =
        arith::RemUIOp::create(builder.b, builder.loc, column, strideValue);
    Value isPicked = arith::AndIOp::create(
        builder.b, builder.loc,
        compare(builder, arith::CmpIPredicate::eq, rest,
                builder.constantIndex(0)),
        compare(builder, arith::CmpIPredicate::slt, column, columns));
    emitIf(builder, isPicked, [&] {
      Value element =
          vector::ExtractOp::create(builder.b, builder.loc, vector, i);
      Value number =
          arith::DivUIOp::create(builder.b, builder.loc, column, strideValue);
      Value picked = cast<ElementOpInterface>(op.getOperation())
                         .emitPicked(builder, {point.front(), number}, element);
      forEachRow([&](Value row) {
        emitForDestinations(builder, copy, [&](Value destination) {
          memref::StoreOp::create(builder.b, builder.loc, picked,
                                  builder.lookup(destination),
                                  ValueRange{row, number});
        });
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
class TileEmitter {
public:
  TileEmitter(OpBuilder &b, SegmentOp segment, const IRMapping &ports,
              int64_t width, std::optional<RowRange> rows,
              const RowValues *rowValues, const ThreadPair *pair,
              const ElementBuilder *known);

  /// Emits the values to store for each point.
  SmallVector<DenseMap<Value, TileValue>>
  emitValues(ArrayRef<SmallVector<Value>> points);
  void emitStores(ArrayRef<Value> point,
                  const DenseMap<Value, TileValue> &values);

private:
  TileValue emitValue(Value value, ArrayRef<Value> point);
  /// The value for a point of an expansion, where it may be padding.
  TileValue emitRequestValue(Value value, ArrayRef<Value> point);
  /// The halves that this thread stores of its pair's vectors, given its own,
  /// and moves `column` to the first of them.
  Parts exchange(ElementBuilder &builder, Value vector, Value &column);
  /// Emits the stores of a copy to each of the rows.
  void emitRepeatedStores(ElementBuilder &builder, CopyOp copy,
                          const Parts &parts, Value column);

  OpBuilder &b;
  Location loc;
  const IRMapping &ports;
  int64_t width;
  /// Of the widest access.
  int64_t accessBytes;
  std::optional<RowRange> rows;
  const RowValues *rowValues;
  const ThreadPair *pair;
  const ElementBuilder *known;
  Value columns;
  /// Copies of values over the segment's index space, and of what is picked
  /// from them.
  SmallVector<CopyOp> copies, pickedCopies;
};
} // namespace

TileEmitter::TileEmitter(OpBuilder &b, SegmentOp segment,
                         const IRMapping &ports, int64_t width,
                         std::optional<RowRange> rows,
                         const RowValues *rowValues, const ThreadPair *pair,
                         const ElementBuilder *known)
    : b(b), loc(segment.getLoc()), ports(ports), width(width),
      accessBytes(TargetAttr::of(segment).getAccessBytes()), rows(rows),
      rowValues(rowValues), pair(pair), known(known),
      columns(ports.lookupOrDefault(segment.getSizes().back())) {
  for (CopyOp copy : segment.getCopies())
    (segment.isPicked(copy) ? pickedCopies : copies).push_back(copy);
}

/// Emits whether anybody reads the elements of `value` at `point`, or returns
/// null for yes.
static Value emitIsLive(ElementBuilder &builder, Value value,
                        ArrayRef<Value> point) {
  Operation *op = value.getDefiningOp();
  return op ? cast<ElementOpInterface>(op).emitIsLive(builder, point) : Value();
}

TileValue TileEmitter::emitValue(Value value, ArrayRef<Value> point) {
  ElementBuilder builder(b, loc, ports, point);
  builder.setRow(rowValues);
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
  auto ifOp = scf::IfOp::create(b, loc, TypeRange{type, b.getI1Type()},
                                rows->isPadding, /*withElseRegion=*/true);
  OpBuilder::InsertionGuard guard(b);
  auto yield = [&](Block *block, function_ref<TileValue()> emit) {
    b.setInsertionPointToStart(block);
    TileValue result = emit();
    if (!result.isLive)
      result.isLive = arith::ConstantIntOp::create(b, loc, 1, 1);
    scf::YieldOp::create(b, loc, ValueRange{result.vector, result.isLive});
  };
  yield(ifOp.thenBlock(), [&]() -> TileValue {
    return {arith::ConstantOp::create(b, loc, b.getZeroAttr(type)), Value()};
  });
  yield(ifOp.elseBlock(), [&] { return emitValue(value, point); });
  return {ifOp.getResult(0), ifOp.getResult(1)};
}

SmallVector<DenseMap<Value, TileValue>>
TileEmitter::emitValues(ArrayRef<SmallVector<Value>> points) {
  SmallVector<DenseMap<Value, TileValue>> values(points.size());
  // One for all values at a point, so that what they share is emitted once.
  SmallVector<ElementBuilder> builders;
  for (const SmallVector<Value> &point : points) {
    ElementBuilder &builder = builders.emplace_back(b, loc, ports, point);
    builder.setRow(rowValues);
    if (known)
      builder.inherit(*known);
  }
  for (CopyOp copy : copies) {
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
    return arith::SelectOp::create(b, loc, pair->isSecond, inSecond, inFirst);
  };
  Value words = vector::BitCastOp::create(
      b, loc, VectorType::get(2 * numWords, b.getI32Type()), vector);
  SmallVector<Value> ofFirst, ofSecond;
  for (int64_t i = 0; i < numWords; ++i) {
    Value low = vector::ExtractOp::create(b, loc, words, i);
    Value high = vector::ExtractOp::create(b, loc, words, numWords + i);
    Value other = pair->emitOther(b, select(low, high));
    ofFirst.push_back(select(other, low));
    ofSecond.push_back(select(high, other));
  }
  auto toPart = [&](ArrayRef<Value> words) -> Value {
    Value part = vector::FromElementsOp::create(
        b, loc, VectorType::get(numWords, b.getI32Type()), words);
    return vector::BitCastOp::create(
        b, loc, VectorType::get(half, type.getElementType()), part);
  };
  column = arith::SubIOp::create(
      b, loc, column,
      select(builder.constantIndex(half), builder.constantIndex(0)));
  return {{toPart(ofFirst), toPart(ofSecond)}, 2 * half};
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
  Value last = add(builder, column, parts.getSpan() - 1);
  Value isWide = written.contain(builder, column, last);
  for (Value destination : copy.getDestinations()) {
    Value isAligned =
        emitCanStoreWide(builder, parts, destination, /*row=*/Value());
    if (!isAligned)
      return rows->emitLoop(builder, storeGeneral);
    isWide = arith::AndIOp::create(b, loc, isWide, isAligned);
  }
  auto ifOp = scf::IfOp::create(b, loc, isWide, /*withElseRegion=*/true);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPoint(ifOp.thenYield());
  rows->emitLoop(builder, [&](Value row) {
    emitForDestinations(builder, copy, [&](Value destination) {
      storeWide(builder, parts, builder.lookup(destination), {row, column});
    });
  });
  b.setInsertionPoint(ifOp.elseYield());
  rows->emitLoop(builder, storeGeneral);
}

void TileEmitter::emitStores(ArrayRef<Value> point,
                             const DenseMap<Value, TileValue> &values) {
  ElementBuilder builder(b, loc, ports, point);
  auto emitIfLive = [&](const TileValue &value, function_ref<void()> body) {
    if (value.isLive)
      emitIf(builder, value.isLive, body);
    else
      body();
  };
  for (CopyOp copy : copies) {
    TileValue value = values.lookup(getRequestValue(copy.getValue()));
    emitIfLive(value, [&] {
      SmallVector<Value> indices(point);
      Parts parts = pair ? exchange(builder, value.vector, indices.back())
                         : Parts::of(builder, value.vector, accessBytes);
      if (rows)
        return emitRepeatedStores(builder, copy, parts, indices.back());
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
                         indices.back(), written);
      });
    });
  }
  auto forEachRow = [&](function_ref<void(Value)> body) {
    if (rows)
      return rows->emitLoop(builder, body);
    body(point.front());
  };
  for (CopyOp copy : pickedCopies) {
    auto pick =
        getRequestValue(copy.getValue()).getDefiningOp<PickOpInterface>();
    TileValue value = values.lookup(pick.getPickedFrom());
    emitIfLive(value, [&] {
      storePicked(builder, pick, value.vector, copy, point, forEachRow, columns,
                  width);
    });
  }
}

void RowRange::emitLoop(ElementBuilder &builder,
                        function_ref<void(Value)> body) const {
  OpBuilder &b = builder.b;
  auto loop = scf::ForOp::create(b, builder.loc, builder.constantIndex(0),
                                 count, builder.constantIndex(1));
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPoint(loop.getBody()->getTerminator());
  body(arith::AddIOp::create(b, builder.loc, first, loop.getInductionVar()));
}

void nsa::emitTile(OpBuilder &b, SegmentOp segment, const IRMapping &ports,
                   ArrayRef<SmallVector<Value>> points, int64_t width,
                   std::optional<RowRange> rows, const RowValues *rowValues,
                   const ThreadPair *pair, const ElementBuilder *known) {
  TileEmitter emitter(b, segment, ports, width, rows, rowValues, pair, known);
  SmallVector<DenseMap<Value, TileValue>> values = emitter.emitValues(points);
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
    ElementBuilder builder(b, segment.getLoc(), ports, row);
    builder.setRow(&values);
    if (team)
      builder.setTeam(*team);
    SmallVector<Value> shared = op.emitRow(builder, row);
    values[op] = shared;
  }
  return values;
}
