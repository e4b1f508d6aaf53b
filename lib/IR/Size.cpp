//===- Size.cpp - How many elements values have ---------------------------===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "nsa/IR/Size.h"

#include "nsa/IR/NSADialect.h"

#include "mlir/Dialect/Affine/IR/AffineOps.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"

using namespace mlir;
using namespace nsa;

Size Size::constant(MLIRContext *context, int64_t value) {
  Size size;
  size.expr = getAffineConstantExpr(value, context);
  return size;
}

Size Size::of(Symbol symbol, MLIRContext *context) {
  Size size;
  size.expr = getAffineSymbolExpr(0, context);
  size.symbols.push_back(symbol);
  return size;
}

Size Size::of(Value index) { return of({index, -1}, index.getContext()); }

Size Size::of(Value array, unsigned dim) {
  int64_t size = cast<ShapedType>(array.getType()).getDimSize(dim);
  if (!ShapedType::isDynamic(size))
    return constant(array.getContext(), size);
  return of({array, dim}, array.getContext());
}

Size Size::with(AffineExpr expr) const {
  Size size = *this;
  size.expr = simplifyAffineExpr(expr, /*numDims=*/0, symbols.size());
  return size;
}

std::optional<int64_t> Size::getConstant() const {
  if (auto constant = dyn_cast_or_null<AffineConstantExpr>(expr))
    return constant.getValue();
  return std::nullopt;
}

std::optional<Size> Size::explain(const Symbol &symbol) {
  auto [value, dim] = symbol;
  if (auto port = dyn_cast<BlockArgument>(value)) {
    auto step = dyn_cast_or_null<StepOp>(port.getOwner()->getParentOp());
    if (dim < 0 || !step)
      return std::nullopt;
    BlockArgument extent = step.getExtent(port, dim);
    if (!extent)
      return std::nullopt;
    return of(extent) + step.getExtentOffset(port, dim);
  }
  Operation *op = value.getDefiningOp();
  if (dim >= 0) {
    auto valueOp = dyn_cast<ValueOpInterface>(op);
    if (!valueOp)
      return std::nullopt;
    return valueOp.getSizes()[dim];
  }
  if (std::optional<int64_t> number = getConstantIntValue(value))
    return constant(value.getContext(), *number);
  if (auto dimOp = dyn_cast<tensor::DimOp>(op)) {
    std::optional<int64_t> number = dimOp.getConstantIndex();
    auto type = dyn_cast<RankedTensorType>(dimOp.getSource().getType());
    if (!number || !type || *number < 0 || *number >= type.getRank())
      return std::nullopt;
    return of(dimOp.getSource(), *number);
  }
  auto apply = dyn_cast<affine::AffineApplyOp>(op);
  if (!apply)
    return std::nullopt;
  Size size;
  SmallVector<AffineExpr> exprs;
  for (Value operand : apply.getMapOperands())
    exprs.push_back(
        getAffineSymbolExpr(size.addSymbol({operand, -1}), op->getContext()));
  AffineMap map = apply.getAffineMap();
  ArrayRef<AffineExpr> all = exprs;
  size.expr = map.getResult(0).replaceDimsAndSymbols(
      all.take_front(map.getNumDims()), all.drop_front(map.getNumDims()));
  return size;
}

size_t Size::addSymbol(const Symbol &symbol) {
  auto *it = llvm::find(symbols, symbol);
  if (it == symbols.end())
    it = symbols.insert(it, symbol);
  return std::distance(symbols.begin(), it);
}

void Size::replaceSymbol(size_t number, const Size &inner) {
  MLIRContext *context = expr.getContext();
  Size result;
  auto getExpr = [&](const Symbol &symbol) {
    return getAffineSymbolExpr(result.addSymbol(symbol), context);
  };
  auto innerExprs = llvm::map_to_vector(inner.symbols, getExpr);
  AffineExpr innerExpr = inner.expr.replaceSymbols(innerExprs);
  SmallVector<AffineExpr> exprs;
  for (auto [other, symbol] : llvm::enumerate(symbols))
    exprs.push_back(other == number ? innerExpr : getExpr(symbol));
  result.expr = expr.replaceSymbols(exprs);
  *this = result.with(result.expr);
}

Size Size::resolve() const {
  Size size = *this;
  // Verifiers ask before they know that there are no cycles, and that not more
  // values than they allow are computed from one another.
  unsigned steps = 0;
  for (size_t number = 0; size.isKnown() && number < size.symbols.size();) {
    std::optional<Size> inner = explain(size.symbols[number]);
    if (!inner) {
      ++number;
      continue;
    }
    if (!inner->isKnown() || ++steps > 2 * ValueFacts::mostDepth)
      return {};
    size.replaceSymbol(number, *inner);
    number = 0;
  }
  // What does not depend on symbols does not have any.
  if (size.getConstant())
    size.symbols.clear();
  return size;
}

std::optional<int64_t> Size::getDifference(const Size &other) const {
  Size lhs = resolve(), rhs = other.resolve();
  if (!lhs.isKnown() || !rhs.isKnown())
    return std::nullopt;
  SmallVector<AffineExpr> exprs;
  for (const Symbol &symbol : rhs.symbols)
    exprs.push_back(
        getAffineSymbolExpr(lhs.addSymbol(symbol), lhs.expr.getContext()));
  Size difference = lhs.with(lhs.expr - rhs.expr.replaceSymbols(exprs));
  return difference.getConstant();
}

bool Size::isSameAs(const Size &other) const {
  return getDifference(other) == 0;
}

OpFoldResult
Size::materialize(OpBuilder &b, Location loc,
                  function_ref<OpFoldResult(const Symbol &)> get) const {
  Size size = resolve();
  assert(size.isKnown() && "values in a step have sizes that are known");
  if (std::optional<int64_t> constant = size.getConstant())
    return b.getIndexAttr(*constant);
  auto operands = llvm::map_to_vector(size.symbols, get);
  return affine::makeComposedFoldedAffineApply(
      b, loc, AffineMap::get(0, operands.size(), size.expr), operands);
}

OpFoldResult Size::materialize(OpBuilder &b, Location loc) const {
  return materialize(b, loc, [&](const Symbol &symbol) -> OpFoldResult {
    if (symbol.dim < 0)
      return symbol.value;
    return tensor::DimOp::create(b, loc, symbol.value, symbol.dim).getResult();
  });
}
