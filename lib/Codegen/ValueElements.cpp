//===- ValueElements.cpp - Lengths and page tables -----------------------===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Elements.h"

#include "mlir/IR/TypeUtilities.h"

using namespace mlir;
using namespace nsa;

namespace {

struct CuSeqlensElements : ElementsOf<CuSeqlensOp> {
  /// Cumulative sums are bound where a scan passes; elsewhere they are added
  /// up.
  Value emitElement(ElementBuilder &builder, ValueRange indices) {
    return builder.sum(getSource(), indices.front());
  }
};

struct SeqlensElements : ElementwiseOf<SeqlensElements, SeqlensOp> {
  Value emitFrom(ElementBuilder &builder, function_ref<Value(Value)> get) {
    Value length = get(getSource());
    if (getElementTypeOrSelf(length).isInteger(64)) {
      Type type = builder.b.getI32Type();
      if (auto vector = dyn_cast<VectorType>(length.getType()))
        type = vector.clone(type);
      length = builder.apply<arith::TruncIOp>(type, length);
    }
    if (getPlus() == 0)
      return length;
    return builder.add(length,
                       builder.constant(length.getType(), int32_t(getPlus())));
  }
};

struct ClipSeqlensElements : ElementwiseOf<ClipSeqlensElements, ClipSeqlensOp> {
  Value emitFrom(ElementBuilder &builder, function_ref<Value(Value)> get) {
    Value length = get(getSource());
    return builder.min(length, builder.constant(length.getType(), getLimit()));
  }

  Value emitSum(ElementBuilder &builder, Value base, Value count,
                int64_t limit) {
    return cast<ElementOpInterface>(getSource().getDefiningOp())
        .emitSum(builder, base, count, std::min<int64_t>(limit, getLimit()));
  }
};

struct PageTableElements : VectorElementsOf<PageTableOp> {
  Value emitElements(ElementBuilder &builder, ValueRange indices,
                     int64_t width) {
    Value row = builder.toIndex(builder.element(getRows(), indices.front()));
    Value isRow = builder.isInside(row, builder.dim(getReqToToken(), 0));
    return builder.load(getReqToToken(), {row, indices.back()}, width, isRow);
  }

  Value emitIsLive(ElementBuilder &builder, ValueRange indices) {
    if (!getLive())
      return {};
    Value live = builder.toIndex(builder.element(getLive(), indices.front()));
    return builder.less(indices.back(), live);
  }
};

struct ContextLensElements : ElementsOf<ContextLensOp> {
  Value emitElement(ElementBuilder &builder, ValueRange indices) {
    return builder.element(getSource(), indices.front());
  }

  Value emitElements(ElementBuilder &builder, ValueRange indices,
                     int64_t width) {
    return builder.splat(emitElement(builder, indices), width);
  }
};

struct RealPageTableElements : ElementsOf<RealPageTableOp> {
  Value emitElement(ElementBuilder &builder, ValueRange indices) {
    // A lane past the last page has no token to load.
    Value tokens = builder.elements(
        getSource(), {indices[0], emitColumn(builder, indices)}, 1);
    return emitPicked(builder, indices, builder.extract(tokens, 0));
  }

  /// The page of `token` (i32).
  Value emitPicked(ElementBuilder &builder, ValueRange, Value token) {
    int32_t pageSize = getPageSize();
    if (!llvm::isPowerOf2_32(pageSize))
      return builder.apply<arith::FloorDivSIOp>(token, builder.i32(pageSize));
    return builder.apply<arith::ShRSIOp>(token,
                                         builder.i32(llvm::Log2_32(pageSize)));
  }

  Value emitIsLive(ElementBuilder &builder, ValueRange indices) {
    if (!hasDeadElements())
      return {};
    auto table = getSource().getDefiningOp<ElementOpInterface>();
    return table.emitIsLive(builder,
                            {indices[0], emitColumn(builder, indices)});
  }

private:
  /// That of a page's first token.
  Value emitColumn(ElementBuilder &builder, ValueRange indices) {
    return builder.mul(indices[1], builder.index(getPageSize()));
  }
};

} // namespace

void nsa::attachValueElements(MLIRContext &context) {
  attach<CuSeqlensElements, SeqlensElements, ClipSeqlensElements,
         PageTableElements, ContextLensElements, RealPageTableElements>(
      context);
}
