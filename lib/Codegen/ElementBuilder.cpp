//===- ElementBuilder.cpp - Emits elements of nsa values -----------------===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "nsa/Codegen/Elements.h"
#include "nsa/Codegen/GuardedOps.h"

#include "mlir/Dialect/Utils/StaticValueUtils.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace nsa;

Value ElementBuilder::lookup(Value value) const {
  return ports.lookupOrDefault(value);
}

Value ElementBuilder::size(OpFoldResult size) {
  if (auto value = dyn_cast<Value>(size))
    return lookup(value);
  return index(*getConstantIntValue(size));
}

Value ElementBuilder::size(const Size &size) {
  auto get = [&](const Size::Symbol &symbol) -> OpFoldResult {
    return symbol.dim < 0 ? lookup(symbol.value)
                          : dim(symbol.value, symbol.dim);
  };
  return this->size(size.materialize(b, loc, get));
}

Value ElementBuilder::dim(Value port, unsigned dim) {
  if (BlockArgument extent = StepOp::getExtent(port, dim))
    return add(lookup(extent), StepOp::getExtentOffset(port, dim));
  // What is read of an array that is written is as much as is written.
  if (StepOp::isInOut(port))
    for (Operation *user : port.getUsers())
      if (auto copy = dyn_cast<CopyOp>(user))
        return this->size(Size::of(copy.getValue(), dim));
  return memref::DimOp::create(b, loc, lookup(port), dim);
}

/// Loads one element. Its alignment is its size, which the launcher checks; the
/// default would be that of the host's ABI.
static Value emitLoad(OpBuilder &b, Location loc, Value memref,
                      ValueRange indices) {
  Type type = cast<MemRefType>(memref.getType()).getElementType();
  return memref::LoadOp::create(
      b, loc, memref, indices, /*nontemporal=*/false,
      llvm::MaybeAlign(type.getIntOrFloatBitWidth() / 8));
}

ElementBuilder::ElementBuilder(OpBuilder &b, const ElementBuilder &outer)
    : Arith(b, outer.loc), ports(outer.ports), point(outer.point),
      home(b.getInsertionBlock()), team(outer.team), condition(outer.condition),
      row(outer.row) {
  inherit(outer);
}

void ElementBuilder::inherit(const ElementBuilder &outer) {
  for (const auto &[hash, entries] : outer.known)
    for (Known entry : entries)
      if (outer.isVisible(entry.block)) {
        entry.block = nullptr;
        known[hash].push_back(std::move(entry));
      }
}

/// Never one of the two keys that a DenseMap keeps for itself.
static unsigned getHash(const void *of, ValueRange operands) {
  size_t hash = llvm::hash_combine(
      of, llvm::hash_combine_range(operands.begin(), operands.end()));
  return unsigned(hash) >> 1;
}

Value ElementBuilder::findKnown(
    unsigned hash, ValueRange operands,
    function_ref<bool(const Known &)> isSame) const {
  auto it = known.find(hash);
  if (it == known.end())
    return {};
  for (const Known &entry : it->second)
    if (llvm::equal(entry.operands, operands) && isVisible(entry.block) &&
        isSame(entry))
      return entry.result;
  return {};
}

Value ElementBuilder::findElements(Value value, ValueRange indices,
                                   int64_t width) const {
  return findKnown(getHash(value.getAsOpaquePointer(), indices), indices,
                   [&](const Known &entry) {
                     return dyn_cast<Value>(entry.of) == value &&
                            entry.width == width;
                   });
}

Value ElementBuilder::setElements(Value value, ValueRange indices,
                                  int64_t width, Value result) {
  known[getHash(value.getAsOpaquePointer(), indices)].push_back(
      {value, llvm::to_vector<2>(indices), width, result,
       b.getInsertionBlock()});
  return result;
}

Value ElementBuilder::findFormulaOp(Operation *op, ValueRange operands) const {
  return findKnown(getHash(op->getName().getAsOpaquePointer(), operands),
                   operands, [&](const Known &entry) {
                     auto *other = dyn_cast<Operation *>(entry.of);
                     return other && other->getName() == op->getName() &&
                            other->getResultTypes() == op->getResultTypes() &&
                            other->getAttrDictionary() ==
                                op->getAttrDictionary();
                   });
}

void ElementBuilder::setFormulaOp(Operation *op, ValueRange operands,
                                  Value result) {
  known[getHash(op->getName().getAsOpaquePointer(), operands)].push_back(
      {op, llvm::to_vector<2>(operands), /*width=*/0, result,
       b.getInsertionBlock()});
}

Value ElementBuilder::once(Value value) {
  Operation *op = value.getDefiningOp();
  if (Value known = findFormulaOp(op, op->getOperands())) {
    op->erase();
    return known;
  }
  setFormulaOp(op, op->getOperands(), value);
  return value;
}

void ElementBuilder::bind(Value value, Value scalar) {
  int64_t rank = cast<ShapedType>(value.getType()).getRank();
  setElements(value, ValueRange(point).take_front(rank), 0, scalar);
}

void ElementBuilder::bindElements(Value value, ValueRange indices,
                                  Value vector) {
  setElements(value, indices,
              cast<VectorType>(vector.getType()).getNumElements(), vector);
}

EmittedFor::EmittedFor(Arith &math, Operation *op)
    : math(math), before(math.loc) {
  math.loc = getNamedLoc(op);
}

Value ElementBuilder::element(Value value, ValueRange indices) {
  if (Value scalar = findElements(value, indices, 0))
    return scalar;
  Operation *op = value.getDefiningOp();
  if (!op)
    return setElements(value, indices, 0,
                       emitLoad(b, loc, lookup(value), indices));
  EmittedFor scope(*this, op);
  return setElements(value, indices, 0,
                     cast<ElementOpInterface>(op).emitElement(*this, indices));
}

Value ElementBuilder::emitLanes(ValueRange indices, int64_t width,
                                function_ref<Value(ValueRange)> emit) {
  SmallVector<Value> lanes;
  SmallVector<Value> lane(indices);
  for (int64_t i = 0; i < width; ++i) {
    if (i > 0)
      lane.back() = add(indices.back(), index(i));
    lanes.push_back(emit(lane));
  }
  auto type = VectorType::get(width, lanes.front().getType());
  return vector::FromElementsOp::create(b, loc, type, lanes);
}

Value ElementBuilder::isRowAligned(Value port, Value row, int64_t width) {
  Value memref = lookup(port);
  auto type = cast<MemRefType>(memref.getType());
  SmallVector<int64_t> strides = type.getStridesAndOffset().first;
  if (strides.back() != 1)
    return {};
  int64_t bytes = type.getElementTypeBitWidth() / 8;
  // What the text says of the base and the row stride need not be looked at.
  bool isBaseAligned = StepOp::getAlignment(port) % (bytes * width) == 0;
  bool areRowsAligned =
      type.getRank() == 1 ||
      (!ShapedType::isDynamic(strides[0]) && strides[0] % width == 0);
  if (isBaseAligned && areRowsAligned)
    return i1(1);
  Value address = apply<memref::ExtractAlignedPointerAsIndexOp>(memref);
  if (!areRowsAligned) {
    auto metadata = memref::ExtractStridedMetadataOp::create(b, loc, memref);
    Value offset = metadata.getStrides().front();
    if (row)
      offset = mul(row, offset);
    offset = mul(offset, index(bytes));
    if (isBaseAligned)
      address = offset;
    else if (row)
      address = add(address, offset);
    else // Aligned rows at an aligned distance: none of either's low bits.
      address = either(address, offset);
  }
  Value low = both(address, index(bytes * width - 1));
  return equal(low, index(0));
}

Value ElementBuilder::load(Value port, ValueRange indices, int64_t width,
                           Value isValid) {
  Value memref = lookup(port);
  Value column = indices.back();
  Value columns = dim(port, indices.size() - 1);
  Type elementType = cast<MemRefType>(memref.getType()).getElementType();

  auto isInside = [&](Value column) {
    Value inside = less(column, columns);
    return both(condition, both(isValid, inside));
  };
  auto loadLane = [&](ValueRange lane) -> Value {
    return emitIf(
        elementType, isInside(lane.back()),
        [&] { return emitLoad(b, loc, memref, lane); },
        [&] { return zero(elementType); });
  };
  if (width == 1)
    return emitLanes(indices, width, loadLane);
  Value isAligned =
      isRowAligned(port, indices.size() > 1 ? indices.front() : Value(), width);
  if (!isAligned)
    return emitLanes(indices, width, loadLane);
  Value last = add(column, index(width - 1));
  Value canLoadVector = both(isInside(last), isAligned);
  auto vectorType = VectorType::get(width, elementType);
  return emitIf(
      vectorType, canLoadVector,
      [&] {
        int64_t bytes = width * elementType.getIntOrFloatBitWidth() / 8;
        return apply<vector::LoadOp>(vectorType, memref, indices,
                                     /*nontemporal=*/false,
                                     llvm::MaybeAlign(bytes));
      },
      [&] { return emitLanes(indices, width, loadLane); });
}

Value ElementBuilder::elements(Value value, ValueRange indices, int64_t width) {
  if (Value vector = findElements(value, indices, width))
    return vector;
  Operation *op = value.getDefiningOp();
  if (!op)
    return setElements(value, indices, width, load(value, indices, width));
  EmittedFor scope(*this, op);
  return setElements(
      value, indices, width,
      cast<ElementOpInterface>(op).emitElements(*this, indices, width));
}

ExpandedRow ElementBuilder::expandedRow(ExpandOpInterface op, Value row) {
  auto expansion = op.getExpansion().getDefiningOp<ExpansionOp>();
  auto it = expandedRows.find({expansion, row});
  if (it != expandedRows.end() && isVisible(it->second.second))
    return it->second.first;
  Block *block = b.getInsertionBlock();
  EmittedFor scope(*this, expansion);
  ExpandedRow place =
      emitExpandedRow(expansion, *this, size(op.getNumRequests()), row);
  expandedRows[{expansion, row}] = {place, block};
  return place;
}

Value ElementBuilder::emitOfRow(ExpandOpInterface op, Value row,
                                function_ref<Value(const ExpandedRow &)> emit) {
  ExpandedRow place = expandedRow(op, row);
  if (!place.isRow)
    return emit(place);
  return emitIf(
      b.getI32Type(), place.isRow, [&] { return emit(place); },
      [&] { return i32(0); });
}

SmallVector<Value>
ElementBuilder::elementsAt(MutableArrayRef<ElementBuilder> builders,
                           Value value, ArrayRef<SmallVector<Value>> points,
                           int64_t width) {
  if (Operation *op = value.getDefiningOp()) {
    SmallVector<std::unique_ptr<EmittedFor>> scopes;
    for (ElementBuilder &builder : builders)
      scopes.push_back(std::make_unique<EmittedFor>(builder, op));
    return cast<ElementOpInterface>(op).emitPoints(builders, points, width);
  }
  SmallVector<Value> vectors;
  for (auto [builder, point] : llvm::zip_equal(builders, points))
    vectors.push_back(builder.elements(value, point, width));
  return vectors;
}

Value ElementBuilder::sum(Value value, Value count) {
  Value zero = i32(0);
  Value step = index(team ? team->size : 1);
  Value sum = emitFor(team ? team->thread : index(0), count, step, zero,
                      [&](Value index, Value sum) {
                        ElementBuilder inner(b, loc, ports, index);
                        return add(sum, inner.element(value, index));
                      });
  return team ? team->emitSum(b, sum) : sum;
}

Value ElementBuilder::search(Value value, ValueRange row, Value position) {
  if (Operation *op = value.getDefiningOp()) {
    EmittedFor scope(*this, op);
    return cast<ElementOpInterface>(op).emitSearch(*this, row, position);
  }
  // Elements of an array come from memory, which takes its time.
  return emitBinarySearch(*this, value, row, index(0),
                          size(Size::of(value, row.size())), position,
                          /*numProbes=*/3);
}

SmallVector<Value> ElementBuilder::rowValues(Operation *op, Value index) {
  // A formula may ask for another row than the one that threads are at.
  if (ArrayRef<Value> shared = getShared(op, index); !shared.empty())
    return SmallVector<Value>(shared);
  EmittedFor scope(*this, op);
  return cast<ElementOpInterface>(op).emitRow(*this, index);
}

ArrayRef<Value> ElementBuilder::getShared(Operation *op,
                                          ValueRange index) const {
  if (!row)
    return {};
  auto it = row->find(op);
  if (it == row->end())
    return {};
  ArrayRef<Value> shared = it->second;
  if (!llvm::equal(shared.take_front(index.size()), index))
    return {};
  return shared.drop_front(index.size());
}

Value ElementBuilder::isThere(Value value, Value row) {
  ExpandOpInterface op = getExpandOp(value);
  if (!op || op.getExpansion().getDefiningOp<ExpansionOp>().getPadded())
    return {};
  return expandedRow(op, row).isRow;
}
