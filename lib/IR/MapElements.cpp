//===- MapElements.cpp - Elements that are given by a formula -------------===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// A formula is emitted operation by operation, each for all elements that a
// thread computes before the next, so that all loads of a read are in flight
// together. What does not depend on the innermost index is emitted once for a
// vector. A read along the innermost dimension is one access where memory
// allows; any other, one for each element.
//
//===----------------------------------------------------------------------===//

#include "Formula.h"

#include "nsa/IR/KernelParameters.h"
#include "nsa/IR/NSADialect.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/IR/Matchers.h"
#include "mlir/IR/TypeUtilities.h"

using namespace mlir;
using namespace nsa;

namespace {
class BodyEmitter {
public:
  /// `width` is that of a vector, or 0 for an element.
  BodyEmitter(FormulaOpInterface op, MutableArrayRef<ElementBuilder> builders,
             ArrayRef<SmallVector<Value>> points, int64_t width)
      : op(op), builders(builders), points(points),
        isVector(width > 0), numLanes(std::max<int64_t>(width, 1)) {}

  /// The elements at each point, or one that stands for all.
  SmallVector<SmallVector<Value>> emit();
  /// Says what `read` reads.
  void bind(ReadOp read, Value element) {
    bound[read] = as(read.getType(), element);
  }

private:
  /// What a value of the body is in each lane of a point: one, if it is the same
  /// in all.
  using Lanes = SmallVector<Value>;

  /// Whether `value` of the body depends on the innermost index.
  bool isVarying(Value value) const { return varying.contains(value); }
  bool isVarying(Operation *op) const {
    return llvm::any_of(op->getOperands(),
                        [&](Value operand) { return isVarying(operand); });
  }
  /// `value` in lane `lane` of point `point`.
  Value get(Value value, size_t point, int64_t lane);
  SmallVector<Value> get(ValueRange values, size_t point, int64_t lane);

  Lanes emitRead(ReadOp read, size_t point);
  /// The element at `indices`, or the fill where it is outside in one of
  /// `dims`.
  Value emitReadAt(ReadOp read, size_t point, ValueRange indices,
                   ArrayRef<unsigned> dims, int64_t lane);
  /// A read along the innermost dimension, or nothing where it is another one.
  std::optional<Lanes> emitRun(ReadOp read, size_t point);
  /// Whether `index` is inside dimension `dim` of `source` (i1).
  Value emitIsInside(size_t point, Value index, Value source, unsigned dim);
  Lanes getLanes(Value vector, Type type);
  /// `value` as a formula has it, or as memory does: bf16 is moved as 16 bits.
  Value as(Type type, Value value) {
    if (value.getType() == type)
      return value;
    return arith::BitcastOp::create(b(), loc(), type, value);
  }
  Value emitSearch(SearchOp search, size_t point, int64_t lane);

  OpBuilder &b() { return builders.front().b; }
  Location loc() { return op.getLoc(); }
  Value compare(arith::CmpIPredicate predicate, Value lhs, Value rhs) {
    return arith::CmpIOp::create(b(), loc(), predicate, lhs, rhs);
  }
  Value both(Value lhs, Value rhs) {
    if (!lhs || !rhs)
      return lhs ? lhs : rhs;
    return arith::AndIOp::create(b(), loc(), lhs, rhs);
  }

  FormulaOpInterface op;
  MutableArrayRef<ElementBuilder> builders;
  ArrayRef<SmallVector<Value>> points;
  /// Lanes of a vector may be past the last element.
  bool isVector;
  int64_t numLanes;
  llvm::DenseSet<Value> varying;
  llvm::DenseMap<Operation *, Value> bound;
  llvm::DenseMap<Value, SmallVector<Lanes>> values;
};
} // namespace

Value BodyEmitter::get(Value value, size_t point, int64_t lane) {
  auto it = values.find(value);
  if (it == values.end()) // a size, from outside
    return builders[point].lookup(value);
  const Lanes &lanes = it->second[point];
  return lanes.size() == 1 ? lanes.front() : lanes[lane];
}

SmallVector<Value> BodyEmitter::get(ValueRange values, size_t point,
                                   int64_t lane) {
  return llvm::map_to_vector(
      values, [&](Value value) { return get(value, point, lane); });
}

Value BodyEmitter::emitIsInside(size_t point, Value index, Value source,
                               unsigned dim) {
  // Unsigned, so that a negative index is too large.
  return compare(arith::CmpIPredicate::ult, index,
                 builders[point].size(Size::of(source, dim)));
}

Value BodyEmitter::emitReadAt(ReadOp read, size_t point, ValueRange indices,
                             ArrayRef<unsigned> dims, int64_t lane) {
  ElementBuilder &builder = builders[point];
  Value source = read.getSource();
  Value isInside;
  for (unsigned dim : dims)
    isInside = both(isInside, emitIsInside(point, indices[dim], source, dim));
  auto emitElement = [&] {
    return as(read.getType(), builder.element(source, indices));
  };
  if (!isInside)
    return emitElement();
  auto ifOp = scf::IfOp::create(b(), loc(), TypeRange(read.getType()), isInside,
                                /*withElseRegion=*/true);
  OpBuilder::InsertionGuard guard(b());
  b().setInsertionPointToStart(ifOp.thenBlock());
  scf::YieldOp::create(b(), loc(), emitElement());
  b().setInsertionPointToStart(ifOp.elseBlock());
  Value fill = read.getFill() ? get(read.getFill(), point, lane)
                              : Value(arith::ConstantOp::create(
                                    b(), loc(), b().getZeroAttr(read.getType())));
  scf::YieldOp::create(b(), loc(), fill);
  return ifOp.getResult(0);
}

BodyEmitter::Lanes BodyEmitter::getLanes(Value vector, Type type) {
  Lanes lanes;
  for (int64_t lane = 0; lane < numLanes; ++lane)
    lanes.push_back(
        as(type, vector::ExtractOp::create(b(), loc(), vector, lane)));
  return lanes;
}

std::optional<BodyEmitter::Lanes> BodyEmitter::emitRun(ReadOp read,
                                                     size_t point) {
  Value last = read.getIndices().back();
  auto outer = read.getIndices().drop_back();
  bool isTogether = llvm::none_of(
      outer, [&](Value index) { return isVarying(index); });
  if (!isVector || last != op.getArguments().back() || !isTogether ||
      read.getSource().getDefiningOp<SharedOpInterface>())
    return std::nullopt;
  // Sums and rows of expansions are asked for one by one, and only inside.
  if (dependsOnScan(read.getSource()) || getExpansion(read.getSource()))
    return std::nullopt;
  ElementBuilder &builder = builders[point];
  Value source = read.getSource();
  SmallVector<Value> indices = get(read.getIndices(), point, 0);
  Value isOuterInside;
  for (unsigned dim = 0; dim < outer.size(); ++dim)
    if (!read.isKnownInside(dim))
      isOuterInside =
          both(isOuterInside, emitIsInside(point, indices[dim], source, dim));
  bool isInside = read.isKnownInside(outer.size());
  if (!isOuterInside && isInside)
    return getLanes(builder.elements(source, indices, numLanes),
                    read.getType());
  if (!isa<BlockArgument>(source))
    return std::nullopt;
  Lanes lanes =
      getLanes(builder.load(source, indices, numLanes, isOuterInside),
               read.getType());
  // What is outside was loaded as 0.
  if (read.getFill() && !matchPattern(read.getFill(), m_Zero())) {
    for (auto [lane, value] : llvm::enumerate(lanes)) {
      Value isLane = isOuterInside;
      if (!isInside)
        isLane = both(isLane, emitIsInside(point, get(last, point, lane),
                                           source, outer.size()));
      value = arith::SelectOp::create(b(), loc(), isLane, value,
                                      get(read.getFill(), point, lane));
    }
  }
  return lanes;
}

BodyEmitter::Lanes BodyEmitter::emitRead(ReadOp read, size_t point) {
  if (Value element = bound.lookup(read))
    return {element};
  if (std::optional<Lanes> run = emitRun(read, point))
    return *run;
  bool isOfLanes = isVarying(read.getOperation());
  SmallVector<unsigned> dims;
  for (unsigned dim = 0; dim < read.getIndices().size(); ++dim)
    // A lane past the last element has no element to read.
    if (!read.isKnownInside(dim) ||
        (isVector && isVarying(read.getIndices()[dim])))
      dims.push_back(dim);
  Lanes lanes;
  for (int64_t lane = 0; lane < (isOfLanes ? numLanes : 1); ++lane)
    lanes.push_back(emitReadAt(
        read, point, get(read.getIndices(), point, lane), dims, lane));
  return lanes;
}

/// The number of elements of `source`, from `begin` to `end` (index), that are
/// `position` or less, if they ascend; all below `begin` are.
static Value emitBinarySearch(ElementBuilder &builder, Value source,
                              ValueRange row, Value begin, Value end,
                              Value position) {
  OpBuilder &b = builder.b;
  Location loc = builder.loc;
  SmallVector<Value> initial = {begin, end};
  auto loop = scf::WhileOp::create(
      b, loc, TypeRange(ValueRange(initial)), initial,
      [&](OpBuilder &b, Location loc, ValueRange state) {
        Value isLeft = arith::CmpIOp::create(
            b, loc, arith::CmpIPredicate::ult, state[0], state[1]);
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
            ValueRange{arith::SelectOp::create(b, loc, isAtMost, next, state[0]),
                       arith::SelectOp::create(b, loc, isAtMost, state[1],
                                               middle)});
      });
  return loop.getResult(0);
}

Value BodyEmitter::emitSearch(SearchOp search, size_t point, int64_t lane) {
  ElementBuilder &builder = builders[point];
  Value source = search.getSource();
  Value position = get(search.getPosition(), point, lane);
  SmallVector<Value> row;
  if (search.getRow())
    row.push_back(get(search.getRow(), point, lane));
  auto emit = [&]() -> Value {
    if (auto scan = source.getDefiningOp<ScanOp>())
      return scan.emitSearch(builder, row, position);
    return emitBinarySearch(builder, source, row, builder.constantIndex(0),
                            builder.size(Size::of(source, row.size())),
                            position);
  };
  if (row.empty())
    return emit();
  auto ifOp = scf::IfOp::create(b(), loc(), TypeRange(b().getIndexType()),
                                emitIsInside(point, row.front(), source, 0),
                                /*withElseRegion=*/true);
  OpBuilder::InsertionGuard guard(b());
  b().setInsertionPointToStart(ifOp.thenBlock());
  scf::YieldOp::create(b(), loc(), emit());
  b().setInsertionPointToStart(ifOp.elseBlock());
  scf::YieldOp::create(b(), loc(), builder.constantIndex(0));
  return ifOp.getResult(0);
}

SmallVector<SmallVector<Value>> BodyEmitter::emit() {
  for (auto [number, index] : llvm::enumerate(op.getArguments())) {
    bool isInner = number + 1 == op.getArguments().size();
    if (isInner && isVector)
      varying.insert(index);
    SmallVector<Lanes> &lanesOf = values[index];
    for (auto [builder, point] : llvm::zip_equal(builders, points)) {
      Lanes &lanes = lanesOf.emplace_back();
      lanes.push_back(point[number]);
      for (int64_t lane = 1; isInner && lane < numLanes; ++lane)
        lanes.push_back(arith::AddIOp::create(b(), loc(), point[number],
                                              builder.constantIndex(lane)));
    }
  }
  for (Operation &inner : op->getRegion(0).front().without_terminator()) {
    bool isOfLanes = isVarying(&inner);
    if (isOfLanes)
      varying.insert(inner.getResult(0));
    SmallVector<Lanes> results;
    for (size_t point = 0; point < points.size(); ++point) {
      if (auto read = dyn_cast<ReadOp>(inner)) {
        results.push_back(emitRead(read, point));
        continue;
      }
      Lanes &lanes = results.emplace_back();
      for (int64_t lane = 0; lane < (isOfLanes ? numLanes : 1); ++lane) {
        if (auto search = dyn_cast<SearchOp>(inner))
          lanes.push_back(emitSearch(search, point, lane));
        else
          lanes.push_back(
              emitFormulaOp(b(), &inner,
                            get(inner.getOperands(), point, lane)));
      }
    }
    values[inner.getResult(0)] = std::move(results);
  }
  Type stored = getStorageType(op.getYielded().getType());
  SmallVector<SmallVector<Value>> elements;
  for (size_t point = 0; point < points.size(); ++point) {
    SmallVector<Value> &lanes = elements.emplace_back();
    for (int64_t lane = 0; lane < numLanes; ++lane)
      lanes.push_back(as(stored, get(op.getYielded(), point, lane)));
  }
  return elements;
}

Value MapOp::emitElement(ElementBuilder &builder, ValueRange indices) {
  SmallVector<Value> point(indices);
  return BodyEmitter(*this, builder, point, /*width=*/0).emit().front().front();
}

Value MapOp::emitElements(ElementBuilder &builder, ValueRange indices,
                          int64_t width) {
  SmallVector<Value> point(indices);
  return emitPoints(builder, point, width).front();
}

SmallVector<Value> MapOp::emitPoints(MutableArrayRef<ElementBuilder> builders,
                                     ArrayRef<SmallVector<Value>> points,
                                     int64_t width) {
  OpBuilder &b = builders.front().b;
  SmallVector<Value> vectors;
  for (ArrayRef<Value> lanes :
       BodyEmitter(*this, builders, points, width).emit())
    vectors.push_back(vector::FromElementsOp::create(
        b, getLoc(), VectorType::get(width, lanes.front().getType()), lanes));
  return vectors;
}

/// The number that `index` is a multiple of `factor` by, or 0.
static int64_t getStride(Value index, Value factor) {
  auto product = index.getDefiningOp<arith::MulIOp>();
  APInt stride;
  if (!product || product.getLhs() != factor ||
      !matchPattern(product.getRhs(), m_ConstantInt(&stride)) ||
      !stride.isStrictlyPositive() || stride.getActiveBits() > 31)
    return 0;
  return stride.getSExtValue();
}

ReadOp MapOp::getPickingRead() {
  if (getArguments().size() != 2)
    return {};
  Value row = getArguments()[0], column = getArguments()[1];
  for (ReadOp read : getBody().getOps<ReadOp>()) {
    Value source = read.getSource();
    if (read.getIndices().size() != 2 || !source.getDefiningOp() ||
        source.getDefiningOp<SharedOpInterface>() ||
        read.getIndices()[0] != row)
      continue;
    int64_t stride = getStride(read.getIndices()[1], column);
    SmallVector<Size> sizes = getSizes();
    // All columns that are multiples of the stride, and no more.
    if (stride > 1 && sizes[0].isSameAs(Size::of(source, 0)) &&
        sizes[1].isSameAs(Size::of(source, 1).ceilDiv(stride)))
      return read;
  }
  return {};
}

Value MapOp::getPickedFrom() {
  ReadOp read = getPickingRead();
  return read ? read.getSource() : Value();
}

int64_t MapOp::getPickStride() {
  return getStride(getPickingRead().getIndices()[1], getArguments()[1]);
}

Value MapOp::emitPicked(ElementBuilder &builder, ValueRange indices,
                        Value element) {
  SmallVector<Value> point(indices);
  BodyEmitter emitter(*this, builder, point, /*width=*/0);
  emitter.bind(getPickingRead(), element);
  return emitter.emit().front().front();
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

/// The most tiles.
static constexpr int64_t mostTiles = 1024;

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

  /// The base-2 logarithm of the elements in a tile, of `size` elements.
  Value emitShift(Value size) {
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
  /// The logarithm of a tile's elements, and the number of tiles.
  Value shift, numTiles;

  static std::optional<SharedTiles> find(ElementBuilder &builder, Operation *op,
                                         ValueRange row) {
    ArrayRef<Value> shared = builder.getShared(op, row);
    if (shared.empty())
      return std::nullopt;
    return SharedTiles{shared[0], shared[1], shared[2]};
  }
};
} // namespace

/// The number of elements of a row of `source`; sizes that the text computes may
/// be negative.
static Value emitNumElements(ElementBuilder &builder, Value source) {
  int64_t rank = cast<ShapedType>(source.getType()).getRank();
  Value size = builder.size(Size::of(source, rank - 1));
  return arith::MaxSIOp::create(builder.b, builder.loc, size,
                                builder.constantIndex(0));
}

SmallVector<Value> ScanOp::emitShared(ElementBuilder &builder, ValueRange row,
                                      Threads &threads) {
  SumEmitter math{builder};
  OpBuilder &b = builder.b;
  Location loc = getLoc();
  Type type = getElementTypeOrSelf(getType());
  Value size = emitNumElements(builder, getSource());
  Value shift = math.emitShift(size);
  Value numTiles = math.emitTiles(size, shift);
  Value sums = threads.emitMemory(b, loc, mostTiles + 1, type);
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
  // Each thread adds up tiles that stand together, and puts sums in their place.
  Value perThread =
      arith::CeilDivUIOp::create(b, loc, numTiles, numThreads);
  Value begin = math.min(math.apply<arith::MulIOp>(thread, perThread), numTiles);
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
  Value isLast = arith::CmpIOp::create(
      b, loc, arith::CmpIPredicate::eq, thread,
      math.add(numThreads, math.constant(-1)));
  scf::IfOp::create(b, loc, isLast, [&](OpBuilder &b, Location loc) {
    memref::StoreOp::create(b, loc, after, sums, numTiles);
    scf::YieldOp::create(b, loc);
  });
  threads.emitBarrier(b, loc);
  return {sums, shift, numTiles};
}

Value ScanOp::emitElement(ElementBuilder &builder, ValueRange indices) {
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

Value ScanOp::emitElements(ElementBuilder &builder, ValueRange indices,
                           int64_t width) {
  return emitScalars(builder, getResult(), indices, width);
}

Value ScanOp::emitSearch(ElementBuilder &builder, ValueRange row,
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
    SmallVector<Value> initial = {zero, shared->numTiles};
    auto loop = scf::WhileOp::create(
        b, loc, TypeRange(ValueRange(initial)), initial,
        [&](OpBuilder &b, Location loc, ValueRange state) {
          Value isLeft = arith::CmpIOp::create(b, loc, CmpIPredicate::ult,
                                               state[0], state[1]);
          scf::ConditionOp::create(b, loc, isLeft, state);
        },
        [&](OpBuilder &b, Location loc, ValueRange state) {
          ElementBuilder inner(b, builder);
          SumEmitter math{inner};
          // Rounded up, so that it ends.
          Value middle = math.apply<arith::ShRUIOp>(
              math.add(math.add(state[0], state[1]), one), one);
          Value isAtMost = isAtMostPosition(
              b, loc, memref::LoadOp::create(b, loc, shared->before, middle));
          Value low =
              arith::SelectOp::create(b, loc, isAtMost, middle, state[0]);
          Value high = arith::SelectOp::create(
              b, loc, isAtMost, state[1], math.add(middle, math.constant(-1)));
          scf::YieldOp::create(b, loc, ValueRange{low, high});
        });
    Value tile = loop.getResult(0);
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
        Value isLeft = arith::CmpIOp::create(b, loc, CmpIPredicate::slt,
                                             state[0], end);
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
  Value isSome = arith::CmpIOp::create(b, loc, CmpIPredicate::sge, position, zero);
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

/// Emits element `end` from element `begin`, which is `element`; `visit` gets
/// each before the next.
static Value
emitSteps(ElementBuilder &builder, IterateOp op, Value begin, Value end,
          Value element,
          function_ref<void(ElementBuilder &, Value, Value)> visit = {}) {
  auto loop = scf::ForOp::create(
      builder.b, builder.loc, begin, end, builder.constantIndex(1), element,
      [&](OpBuilder &b, Location loc, Value step, ValueRange carried) {
        ElementBuilder inner(b, builder);
        if (visit)
          visit(inner, step, carried.front());
        scf::YieldOp::create(b, loc,
                             emitStep(inner, op, step, carried.front()));
      });
  return loop.getResult(0);
}

static Value emitFirst(ElementBuilder &builder, IterateOp op) {
  Type type = getElementTypeOrSelf(op.getType());
  return arith::ConstantOp::create(
      builder.b, builder.loc, type,
      IntegerAttr::get(type,
                       APInt(64, op.getFirst(), /*isSigned=*/true)
                           .sextOrTrunc(type.getIntOrFloatBitWidth())));
}

std::optional<Size> IterateOp::getSharedRows() { return std::nullopt; }

SmallVector<Value> IterateOp::emitShared(ElementBuilder &builder, ValueRange,
                                         Threads &threads) {
  SumEmitter math{builder};
  OpBuilder &b = builder.b;
  Location loc = getLoc();
  Value size = arith::MaxSIOp::create(
      b, loc, builder.size(getIndexBounds().front()), math.constant(0));
  Value shift = math.emitShift(size);
  Value before = threads.emitMemory(b, loc, mostTiles + 1,
                                    getElementTypeOrSelf(getType()));
  Value isFirst =
      arith::CmpIOp::create(b, loc, arith::CmpIPredicate::eq,
                            threads.emitThread(b, loc), math.constant(0));
  auto ifOp = scf::IfOp::create(b, loc, isFirst, /*withElseRegion=*/false);
  {
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(ifOp.thenBlock());
    ElementBuilder inner(b, builder);
    Value last = emitSteps(
        inner, *this, math.constant(0), size, emitFirst(inner, *this),
        [&](ElementBuilder &builder, Value step, Value element) {
          SumEmitter math{builder};
          Value tile = math.apply<arith::ShRUIOp>(step, shift);
          Value isBegin = arith::CmpIOp::create(
              builder.b, loc, arith::CmpIPredicate::eq,
              math.apply<arith::ShLIOp>(tile, shift), step);
          auto ifOp = scf::IfOp::create(builder.b, loc, isBegin,
                                        /*withElseRegion=*/false);
          OpBuilder::InsertionGuard guard(builder.b);
          builder.b.setInsertionPointToStart(ifOp.thenBlock());
          memref::StoreOp::create(builder.b, loc, element, before, tile);
        });
    // Where the last element begins a tile, it is asked for there.
    SumEmitter innerMath{inner};
    memref::StoreOp::create(
        b, loc, last, before,
        innerMath.emitTiles(size, shift));
  }
  threads.emitBarrier(b, loc);
  return {before, shift, math.emitTiles(size, shift)};
}

Value IterateOp::emitElement(ElementBuilder &builder, ValueRange indices) {
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

Value IterateOp::emitElements(ElementBuilder &builder, ValueRange indices,
                              int64_t width) {
  return emitScalars(builder, getResult(), indices, width);
}

//===----------------------------------------------------------------------===//
// Reductions
//===----------------------------------------------------------------------===//

static Value emitCombine(OpBuilder &b, Location loc, ReduceKind kind, Value lhs,
                         Value rhs) {
  switch (kind) {
  case ReduceKind::Add:
    return arith::AddIOp::create(b, loc, lhs, rhs);
  case ReduceKind::Max:
    return arith::MaxSIOp::create(b, loc, lhs, rhs);
  case ReduceKind::Min:
    return arith::MinSIOp::create(b, loc, lhs, rhs);
  }
  llvm_unreachable("a ReduceKind");
}

/// Emits what elements `first`, `first + step` and so on of a row become.
static Value emitStrided(ElementBuilder &builder, ReduceOp op, ValueRange row,
                         Value first, int64_t step) {
  Type type = getElementTypeOrSelf(op.getType());
  unsigned bits = type.getIntOrFloatBitWidth();
  APInt neutral = APInt::getZero(bits);
  if (op.getKind() == ReduceKind::Max)
    neutral = APInt::getSignedMinValue(bits);
  if (op.getKind() == ReduceKind::Min)
    neutral = APInt::getSignedMaxValue(bits);
  OpBuilder &b = builder.b;
  Location loc = builder.loc;
  Value initial = arith::ConstantOp::create(
      b, loc, type, b.getIntegerAttr(type, neutral));
  auto loop = scf::ForOp::create(
      b, loc, first, emitNumElements(builder, op.getSource()),
      builder.constantIndex(step), initial,
      [&](OpBuilder &b, Location loc, Value index, ValueRange carried) {
        ElementBuilder inner(b, builder);
        SmallVector<Value> indices(row);
        indices.push_back(index);
        Value next =
            emitCombine(b, loc, op.getKind(), carried.front(),
                        inner.element(op.getSource(), indices));
        scf::YieldOp::create(b, loc, next);
      });
  return loop.getResult(0);
}

SmallVector<Value> ReduceOp::emitShared(ElementBuilder &builder, ValueRange row,
                                        Threads &threads) {
  OpBuilder &b = builder.b;
  Value part = emitStrided(builder, *this, row, threads.emitThread(b, getLoc()),
                           threads.getSize());
  return {threads.emitReduce(
      b, getLoc(), part, [&](OpBuilder &b, Value lhs, Value rhs) {
        return emitCombine(b, getLoc(), getKind(), lhs, rhs);
      })};
}

Value ReduceOp::emitElement(ElementBuilder &builder, ValueRange indices) {
  int64_t rank = cast<ShapedType>(getSource().getType()).getRank();
  ValueRange row = indices.take_front(rank - 1);
  ArrayRef<Value> shared = builder.getShared(*this, row);
  if (!shared.empty())
    return shared.front();
  return emitStrided(builder, *this, row, builder.constantIndex(0),
                     /*step=*/1);
}

Value ReduceOp::emitElements(ElementBuilder &builder, ValueRange indices,
                             int64_t width) {
  return emitScalars(builder, getResult(), indices, width);
}
