//===- FormulaBody.cpp - Emits the bodies of formulas ---------------------===//
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

#include "FormulaBody.h"

#include "nsa/Codegen/FormulaCost.h"
#include "nsa/Codegen/KernelParameters.h"
#include "nsa/Codegen/Reductions.h"

#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/IR/Matchers.h"

using namespace mlir;
using namespace nsa;

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

/// Whether a size may be negative: launchers check that `index` ports are not,
/// but not what the text computes.
static bool mayBeNegative(AffineExpr expr, ArrayRef<Size::Symbol> symbols) {
  if (auto constant = dyn_cast<AffineConstantExpr>(expr))
    return constant.getValue() < 0;
  if (auto symbol = dyn_cast<AffineSymbolExpr>(expr)) {
    const Size::Symbol &of = symbols[symbol.getPosition()];
    return of.dim < 0 && !isa<BlockArgument>(of.value);
  }
  auto binary = dyn_cast<AffineBinaryOpExpr>(expr);
  return !binary || mayBeNegative(binary.getLHS(), symbols) ||
         mayBeNegative(binary.getRHS(), symbols);
}

Value BodyEmitter::emitIsInside(size_t point, Value index, const Size &size) {
  // Unsigned, so that a negative index is too large.
  Value extent = builders[point].size(size);
  Size resolved = size.resolve();
  if (!resolved.isKnown() ||
      mayBeNegative(resolved.getExpr(), resolved.getSymbols()))
    extent = max(extent, this->index(0));
  return isInside(index, extent);
}

Value BodyEmitter::emitReadAt(ReadOp read, size_t point, int64_t lane) {
  ElementBuilder &builder = builders[point];
  EmittedFor scope(builder, read);
  Value source = read.getSource();
  SmallVector<Value> indices = get(read.getIndices(), point, lane);
  Value isInside;
  for (auto [dim, index] : llvm::enumerate(indices))
    // A lane past the last element has no element to read.
    if (!read.isKnownInside(dim) ||
        (isVector && isVarying(read.getIndices()[dim])))
      isInside =
          both(isInside, emitIsInside(point, index, read.getSourceSize(dim)));
  auto emitElement = [&] {
    return as(read.getType(), builder.element(source, indices));
  };
  if (!isInside)
    return emitElement();
  return emitIf(read.getType(), isInside, emitElement, [&] {
    return read.getFill() ? get(read.getFill(), point, lane)
                          : zero(read.getType());
  });
}

BodyEmitter::Lanes BodyEmitter::getLanes(Value vector, Type type) {
  Lanes lanes;
  for (int64_t lane = 0; lane < numLanes; ++lane)
    lanes.push_back(as(type, builders.front().once(extract(vector, lane))));
  return lanes;
}

bool nsa::dependsOn(Value value, Value index) {
  bool depends = value == index;
  walkOrigins(value, [&](Operation *op) {
    bool isOfFormula = op->getBlock() == index.getParentBlock();
    depends |= isOfFormula && llvm::is_contained(op->getOperands(), index);
    return isOfFormula;
  });
  return depends;
}

bool nsa::isOfRow(FormulaOpInterface formula, Operation *op) {
  Value inner = formula.getArguments().back();
  return llvm::none_of(op->getOperands(), [&](Value operand) {
    return dependsOn(operand, inner);
  });
}

StringRef nsa::getScalarReason(ReadOp read) {
  Value inner = read.getFormula().getArguments().back();
  Value source = read.getSource();
  auto outer = read.getIndices().drop_back();
  // One for all elements of a vector.
  if (llvm::none_of(read.getIndices(),
                    [&](Value index) { return dependsOn(index, inner); }))
    return {};
  if (read.getIndices().back() != inner)
    return "its last index is not the formula's own";
  if (llvm::any_of(outer, [&](Value index) { return dependsOn(index, inner); }))
    return "its row follows from the innermost index";
  if (source.getDefiningOp<SharedOpInterface>())
    return "a block makes its source by itself";
  // Sums and rows of expansions are asked for one by one, and only inside.
  if (dependsOnScan(source) || getExpansion(source))
    return "its source is made row by row";
  bool isInside = true;
  for (unsigned dim = 0; dim < read.getIndices().size(); ++dim)
    isInside &= read.isKnownInside(dim);
  if (!isInside && !isa<BlockArgument>(source))
    return "it may be outside of what is computed";
  return {};
}

bool nsa::isIndirect(ReadOp read) {
  bool isFound = false;
  walkOrigins(read.getIndices(), [&](Operation *op) {
    bool isOfFormula = op->getBlock() == read->getBlock();
    isFound |=
        isOfFormula && isa<ReadOp>(op) && !isOfRow(read.getFormula(), op);
    return isOfFormula;
  });
  return isFound && isa<BlockArgument>(read.getSource());
}

bool nsa::isAtPoint(ReadOp read) {
  for (unsigned dim = 0; dim < read.getIndices().size(); ++dim)
    if (!read.isKnownInside(dim))
      return false;
  return llvm::equal(read.getIndices(), read.getFormula().getArguments());
}

std::optional<BodyEmitter::Lanes> BodyEmitter::emitRun(ReadOp read,
                                                       size_t point) {
  Value last = read.getIndices().back();
  auto outer = read.getIndices().drop_back();
  if (!isVector || last != op.getArguments().back())
    return std::nullopt;
  ElementBuilder &builder = builders[point];
  EmittedFor scope(builder, read);
  Value source = read.getSource();
  SmallVector<Value> indices = get(read.getIndices(), point, 0);
  // Sums that the threads of a block have in vectors.
  if (isAtPoint(read))
    if (Value known = builder.findElements(source, indices, numLanes))
      return getLanes(known, read.getType());
  if (!getScalarReason(read).empty())
    return std::nullopt;
  Value isOuterInside;
  for (unsigned dim = 0; dim < outer.size(); ++dim)
    if (!read.isKnownInside(dim))
      isOuterInside =
          both(isOuterInside,
               emitIsInside(point, indices[dim], read.getSourceSize(dim)));
  bool isInside = read.isKnownInside(outer.size());
  if (!isOuterInside && isInside)
    return getLanes(builder.elements(source, indices, numLanes),
                    read.getType());
  Lanes lanes = getLanes(builder.load(source, indices, numLanes, isOuterInside),
                         read.getType());
  // What is outside was loaded as 0.
  if (read.getFill() && !matchPattern(read.getFill(), m_Zero())) {
    for (auto [lane, value] : llvm::enumerate(lanes)) {
      Value isLane = isOuterInside;
      if (!isInside)
        isLane = both(isLane, emitIsInside(point, get(last, point, lane),
                                           read.getSourceSize(outer.size())));
      value = builder.select(isLane, value, get(read.getFill(), point, lane));
    }
  }
  return lanes;
}

BodyEmitter::Lanes BodyEmitter::emitRead(ReadOp read, size_t point) {
  if (Value element = bound.lookup(read))
    return {element};
  if (numLanes == 1)
    if (Value known = builders.front().findFormulaOp(
            read, get(read->getOperands(), point, 0)))
      return {known};
  if (std::optional<Lanes> run = emitRun(read, point))
    return *run;
  Lanes lanes;
  int64_t count = isVarying(read.getOperation()) ? numLanes : 1;
  // Each lane is read by itself, and only where it is inside: what they share
  // is loaded once and at once.
  if (count > 1)
    emitOuterOf(read, point, /*ofArrays=*/true);
  for (int64_t lane = 0; lane < count; ++lane)
    lanes.push_back(emitOp(read, point, lane));
  return lanes;
}

Value BodyEmitter::emitSearch(SearchOp search, size_t point, int64_t lane) {
  ElementBuilder &builder = builders[point];
  EmittedFor scope(builder, search);
  Value source = search.getSource();
  Value position = get(search.getPosition(), point, lane);
  SmallVector<Value> row;
  if (search.getRow())
    row.push_back(get(search.getRow(), point, lane));
  auto emit = [&] { return builder.search(source, row, position); };
  if (row.empty())
    return emit();
  return emitIf(b.getIndexType(),
                emitIsInside(point, row.front(), Size::of(source, 0)), emit,
                [&] { return builder.index(0); });
}

Value BodyEmitter::emitOp(Operation *inner, size_t point, int64_t lane) {
  SmallVector<Value> operands = get(inner->getOperands(), point, lane);
  // All builders are at the same place.
  if (Value known = builders.front().findFormulaOp(inner, operands))
    return known;
  Value result;
  if (auto read = dyn_cast<ReadOp>(inner))
    result = emitReadAt(read, point, lane);
  else if (auto search = dyn_cast<SearchOp>(inner))
    result = emitSearch(search, point, lane);
  else
    result = emitFormulaOp(b, inner, operands);
  builders.front().setFormulaOp(inner, operands, result);
  return result;
}

/// The operations of a formula in the order in which they are emitted. Where
/// reads of arrays wait for as many others each, by how many these are, so that
/// those reads are on their way together; else the text's.
static SmallVector<Operation *> getInOrder(FormulaOpInterface op) {
  SmallVector<Operation *> ops;
  // Twice the reads that have to be done, and one more for a read itself.
  llvm::SmallDenseMap<Operation *, unsigned> waits;
  llvm::SmallDenseSet<unsigned> ofReads;
  bool areTogether = false;
  for (Operation &inner : op->getRegion(0).front().without_terminator()) {
    unsigned most = 0;
    for (Value operand : inner.getOperands())
      most = std::max(most, waits.lookup(operand.getDefiningOp()));
    bool isRead = isa<ReadOp, SearchOp>(inner);
    waits[&inner] = llvm::alignTo(most, 2) + isRead;
    auto read = dyn_cast<ReadOp>(inner);
    if (read && isa<BlockArgument>(read.getSource()) && most > 0)
      areTogether |= !ofReads.insert(waits[&inner]).second;
    ops.push_back(&inner);
  }
  if (areTogether)
    llvm::stable_sort(ops, [&](Operation *lhs, Operation *rhs) {
      return waits.lookup(lhs) < waits.lookup(rhs);
    });
  return ops;
}

void BodyEmitter::emitInvariant(bool ofArrays) {
  for (Operation *inner : getInOrder(op)) {
    auto read = dyn_cast<ReadOp>(inner);
    bool isOther =
        isa<SearchOp>(inner) || (read && !isa<BlockArgument>(read.getSource()));
    if (!isVarying(inner) && !(ofArrays && isOther)) {
      for (size_t point = 0; point < points.size(); ++point)
        values[inner->getResult(0)].push_back({emitOp(inner, point, 0)});
      continue;
    }
    varying.insert(inner->getResult(0));
    for (size_t point = 0; read && point < points.size(); ++point)
      emitOuterOf(read, point, ofArrays);
  }
}

void BodyEmitter::emitOuterOf(ReadOp read, size_t point, bool ofArrays) {
  auto source = read.getSource().getDefiningOp<MapOp>();
  auto outer = read.getIndices().drop_back();
  if (!source ||
      llvm::any_of(outer, [&](Value index) { return isVarying(index); }))
    return;
  for (unsigned dim = 0; dim < outer.size(); ++dim)
    if (!read.isKnownInside(dim))
      return;
  nsa::emitOuter(builders[point], source, get(outer, point, 0), ofArrays);
}

void BodyEmitter::emitOuter(bool ofArrays) {
  for (auto [number, index] : llvm::enumerate(op.getArguments().drop_back()))
    for (ArrayRef<Value> point : points)
      values[index].push_back({point[number]});
  varying.insert(op.getArguments().back());
  emitInvariant(ofArrays);
}

void nsa::emitOuter(ElementBuilder &builder, MapOp op, ValueRange outer,
                    bool ofArrays) {
  SmallVector<Value> point(outer);
  point.push_back(Value());
  BodyEmitter(op, builder, point, /*width=*/0).emitOuter(ofArrays);
}

void BodyEmitter::emitAhead() {
  emitArguments();
  emitInvariant(/*ofArrays=*/true);
}

void nsa::emitAhead(ElementBuilder &builder, MapOp op, ValueRange indices) {
  SmallVector<Value> point(indices);
  BodyEmitter(op, builder, point, /*width=*/0).emitAhead();
}

/// The operations of the body of `value` that it rests on.
static llvm::SmallDenseSet<Operation *> getSlice(ValueRange values,
                                                 Block *body) {
  llvm::SmallDenseSet<Operation *> slice;
  walkOrigins(values, [&](Operation *op) {
    return op->getBlock() == body && slice.insert(op).second;
  });
  return slice;
}

/// Whether `value` is made without searches, and of arrays only.
static bool isCheap(Value value, Block *body) {
  return llvm::none_of(getSlice(value, body), [](Operation *op) {
    auto read = dyn_cast<ReadOp>(op);
    return isa<SearchOp>(op) || (read && read.getSource().getDefiningOp());
  });
}

std::optional<BodyEmitter::Bypass> BodyEmitter::findBypass() {
  if (!isVector || numLanes != 1 || !isa<MapOp>(op))
    return std::nullopt;
  Block *body = &op->getRegion(0).front();
  Bypass bypass;
  Value value = op.getYielded();
  while (Operation *cast = value.getDefiningOp()) {
    if (cast->getBlock() != body || cast->getNumOperands() != 1 ||
        isa<ReadOp, SearchOp>(cast))
      break;
    bypass.casts.push_back(cast);
    value = cast->getOperand(0);
  }
  std::reverse(bypass.casts.begin(), bypass.casts.end());
  auto select = value.getDefiningOp<arith::SelectOp>();
  if (!select || select->getBlock() != body || isCheap(select, body) ||
      !isCheap(select.getFalseValue(), body))
    return std::nullopt;
  bypass.otherwise = select.getFalseValue();
  SmallVector<Value> worklist = {select.getCondition()};
  while (!worklist.empty()) {
    Value condition = worklist.pop_back_val();
    if (auto both = condition.getDefiningOp<arith::AndIOp>())
      llvm::append_range(worklist, both->getOperands());
    else if (isCheap(condition, body))
      bypass.conditions.push_back(condition);
  }
  if (bypass.conditions.empty())
    return std::nullopt;
  return bypass;
}

void BodyEmitter::emitArguments() {
  for (auto [number, index] : llvm::enumerate(op.getArguments())) {
    bool isInner = number + 1 == op.getArguments().size();
    if (isInner && isVector)
      varying.insert(index);
    SmallVector<Lanes> &lanesOf = values[index];
    for (auto [builder, point] : llvm::zip_equal(builders, points)) {
      Lanes &lanes = lanesOf.emplace_back();
      lanes.push_back(point[number]);
      for (int64_t lane = 1; isInner && lane < numLanes; ++lane)
        lanes.push_back(builders.front().once(
            add(point[number], builders.front().once(this->index(lane)))));
    }
  }
}

void BodyEmitter::emitOpOfLanes(Operation *inner) {
  bool isOfLanes = isVarying(inner);
  if (isOfLanes)
    varying.insert(inner->getResult(0));
  SmallVector<Lanes> results;
  for (size_t point = 0; point < points.size(); ++point) {
    if (auto read = dyn_cast<ReadOp>(inner)) {
      results.push_back(emitRead(read, point));
      continue;
    }
    Lanes &lanes = results.emplace_back();
    for (int64_t lane = 0; lane < (isOfLanes ? numLanes : 1); ++lane)
      lanes.push_back(emitOp(inner, point, lane));
  }
  values[inner->getResult(0)] = std::move(results);
}

SmallVector<SmallVector<Value>> BodyEmitter::emitBypassed(Bypass bypass) {
  Block *body = &op->getRegion(0).front();
  SmallVector<Value> first(bypass.conditions);
  first.push_back(bypass.otherwise);
  auto slice = getSlice(first, body);
  SmallVector<Operation *> ops = getInOrder(op);
  for (Operation *inner : ops)
    if (slice.contains(inner))
      emitOpOfLanes(inner);
  Value isAny;
  for (size_t point = 0; point < points.size(); ++point) {
    Value isWanted;
    for (Value condition : bypass.conditions)
      isWanted = both(isWanted, get(condition, point, 0));
    isAny = isAny ? either(isAny, isWanted) : isWanted;
  }
  Type stored = getStorageType(op.getYielded().getType());
  SmallVector<Type> types(points.size(), stored);
  auto ifOp = scf::IfOp::create(b, loc, types, isAny,
                                /*withElseRegion=*/true);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(ifOp.elseBlock());
  SmallVector<Value> elements;
  for (size_t point = 0; point < points.size(); ++point) {
    Value element = get(bypass.otherwise, point, 0);
    for (Operation *cast : bypass.casts)
      element = emitFormulaOp(b, cast, element);
    elements.push_back(as(stored, element));
  }
  scf::YieldOp::create(b, loc, elements);
  b.setInsertionPointToStart(ifOp.thenBlock());
  elements.clear();
  for (Operation *inner : ops)
    if (!slice.contains(inner))
      emitOpOfLanes(inner);
  for (size_t point = 0; point < points.size(); ++point)
    elements.push_back(as(stored, get(op.getYielded(), point, 0)));
  scf::YieldOp::create(b, loc, elements);
  return llvm::map_to_vector(ifOp.getResults(), [](Value element) {
    return SmallVector<Value>{element};
  });
}

SmallVector<SmallVector<Value>> BodyEmitter::emit() {
  emitArguments();
  if (std::optional<Bypass> bypass = findBypass())
    return emitBypassed(std::move(*bypass));
  for (Operation *inner : getInOrder(op))
    emitOpOfLanes(inner);
  Type stored = getStorageType(op.getYielded().getType());
  SmallVector<SmallVector<Value>> elements;
  for (size_t point = 0; point < points.size(); ++point) {
    SmallVector<Value> &lanes = elements.emplace_back();
    for (int64_t lane = 0; lane < numLanes; ++lane)
      lanes.push_back(as(stored, get(op.getYielded(), point, lane)));
  }
  return elements;
}
