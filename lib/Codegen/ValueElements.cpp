//===- ValueElements.cpp - Lengths and page tables -----------------------===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Elements.h"

#include "mlir/Dialect/Affine/IR/AffineOps.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/IR/TypeUtilities.h"

using namespace mlir;
using namespace nsa;

namespace {
struct CuSeqlensElements : ElementsOf<CuSeqlensOp> {
  using ElementsOf::ElementsOf;
  Value emitElement(ElementBuilder &builder, ValueRange indices);
};

struct SeqlensElements : ElementsOf<SeqlensOp> {
  using ElementsOf::ElementsOf;
  Value emitElement(ElementBuilder &builder, ValueRange indices);
  Value emitElements(ElementBuilder &builder, ValueRange indices,
                     int64_t width);
};

struct ClipSeqlensElements : ElementsOf<ClipSeqlensOp> {
  using ElementsOf::ElementsOf;
  Value emitElement(ElementBuilder &builder, ValueRange indices);
  Value emitElements(ElementBuilder &builder, ValueRange indices,
                     int64_t width);
  Value emitSum(ElementBuilder &builder, Value base, Value count,
                int64_t limit);
};

struct PageTableElements : ElementsOf<PageTableOp> {
  using ElementsOf::ElementsOf;
  Value emitElement(ElementBuilder &builder, ValueRange indices);
  Value emitIsLive(ElementBuilder &builder, ValueRange indices);
  Value emitElements(ElementBuilder &builder, ValueRange indices,
                     int64_t width);
};

struct ContextLensElements : ElementsOf<ContextLensOp> {
  using ElementsOf::ElementsOf;
  Value emitElement(ElementBuilder &builder, ValueRange indices);
  Value emitElements(ElementBuilder &builder, ValueRange indices,
                     int64_t width);
};

struct RealPageTableElements : ElementsOf<RealPageTableOp> {
  using ElementsOf::ElementsOf;
  Value emitPicked(ElementBuilder &builder, ValueRange, Value token);
  Value emitIsLive(ElementBuilder &builder, ValueRange indices);
  Value emitElement(ElementBuilder &builder, ValueRange indices);
};
} // namespace

void nsa::attachValueElements(MLIRContext &context) {
  attach<CuSeqlensElements, SeqlensElements, ClipSeqlensElements,
         PageTableElements, ContextLensElements, RealPageTableElements>(
      context);
}

//===----------------------------------------------------------------------===//
// Values
//===----------------------------------------------------------------------===//

/// Cumulative sums are bound where a scan passes; elsewhere they are added up.
Value CuSeqlensElements::emitElement(ElementBuilder &builder,
                                     ValueRange indices) {
  return builder.sum(getSource(), indices.front());
}

/// `value` in each element of an i32 or of a vector of i32.
static Value constantLike(ElementBuilder &builder, Type type, int32_t value) {
  TypedAttr attr = builder.b.getI32IntegerAttr(value);
  if (auto vector = dyn_cast<VectorType>(type))
    attr = DenseElementsAttr::get(vector, attr);
  return arith::ConstantOp::create(builder.b, builder.loc, attr);
}

/// For elements or vectors of them.
static Value emitSeqlens(ElementBuilder &builder, SeqlensOp op, Value length) {
  OpBuilder &b = builder.b;
  if (getElementTypeOrSelf(length).isInteger(64)) {
    Type type = b.getI32Type();
    if (auto vector = dyn_cast<VectorType>(length.getType()))
      type = vector.clone(type);
    length = arith::TruncIOp::create(b, op.getLoc(), type, length);
  }
  if (op.getPlus() == 0)
    return length;
  return builder.add(length,
                     constantLike(builder, length.getType(), op.getPlus()));
}

Value SeqlensElements::emitElement(ElementBuilder &builder,
                                   ValueRange indices) {
  return emitSeqlens(builder, *this, builder.element(getSource(), indices));
}

Value SeqlensElements::emitElements(ElementBuilder &builder, ValueRange indices,
                                    int64_t width) {
  return emitSeqlens(builder, *this,
                     builder.elements(getSource(), indices, width));
}

/// For elements or vectors of them.
static Value emitClip(ElementBuilder &builder, ClipSeqlensOp op, Value length) {
  return builder.min(length,
                     constantLike(builder, length.getType(), op.getLimit()));
}

Value ClipSeqlensElements::emitElement(ElementBuilder &builder,
                                       ValueRange indices) {
  return emitClip(builder, *this, builder.element(getSource(), indices));
}

Value ClipSeqlensElements::emitElements(ElementBuilder &builder,
                                        ValueRange indices, int64_t width) {
  return emitClip(builder, *this,
                  builder.elements(getSource(), indices, width));
}

Value ClipSeqlensElements::emitSum(ElementBuilder &builder, Value base,
                                   Value count, int64_t limit) {
  return cast<ElementOpInterface>(getSource().getDefiningOp())
      .emitSum(builder, base, count, std::min<int64_t>(limit, getLimit()));
}

/// The row of `req_to_token` for row `indices[0]` of the result, and whether it
/// is one.
static std::pair<Value, Value>
emitTokenRow(PageTableOp op, ElementBuilder &builder, ValueRange indices) {
  Value row = builder.toIndex(builder.element(op.getRows(), indices.front()));
  Value isRow = builder.isInside(row, builder.dim(op.getReqToToken(), 0));
  return {row, isRow};
}

Value PageTableElements::emitElement(ElementBuilder &builder,
                                     ValueRange indices) {
  Value lanes = emitElements(builder, indices, 1);
  return vector::ExtractOp::create(builder.b, getLoc(), lanes, 0);
}

Value PageTableElements::emitIsLive(ElementBuilder &builder,
                                    ValueRange indices) {
  if (!getLive())
    return {};
  Value live = builder.toIndex(builder.element(getLive(), indices.front()));
  return builder.less(indices.back(), live);
}

Value PageTableElements::emitElements(ElementBuilder &builder,
                                      ValueRange indices, int64_t width) {
  auto [row, isRow] = emitTokenRow(*this, builder, indices);
  return builder.load(getReqToToken(), {row, indices.back()}, width, isRow);
}

Value ContextLensElements::emitElement(ElementBuilder &builder,
                                       ValueRange indices) {
  return builder.element(getSource(), indices.front());
}

Value ContextLensElements::emitElements(ElementBuilder &builder,
                                        ValueRange indices, int64_t width) {
  Value length = emitElement(builder, indices);
  return vector::BroadcastOp::create(
      builder.b, getLoc(), VectorType::get(width, length.getType()), length);
}

/// The page of `token` (i32).
static Value emitPage(ElementBuilder &builder, RealPageTableOp op,
                      Value token) {
  int32_t pageSize = op.getPageSize();
  if (llvm::isPowerOf2_32(pageSize))
    return builder.apply<arith::ShRSIOp>(token,
                                         builder.i32(llvm::Log2_32(pageSize)));
  return builder.apply<arith::FloorDivSIOp>(token, builder.i32(pageSize));
}

Value RealPageTableElements::emitPicked(ElementBuilder &builder, ValueRange,
                                        Value token) {
  return emitPage(builder, getOp(), token);
}

Value RealPageTableElements::emitIsLive(ElementBuilder &builder,
                                        ValueRange indices) {
  if (!hasDeadElements())
    return {};
  auto table = getSource().getDefiningOp<ElementOpInterface>();
  Value token = builder.mul(indices[1], builder.index(getPageSize()));
  return table.emitIsLive(builder, {indices[0], token});
}

Value RealPageTableElements::emitElement(ElementBuilder &builder,
                                         ValueRange indices) {
  Value token = builder.mul(indices[1], builder.index(getPageSize()));
  // A lane past the last page has no token to load.
  Value tokens = builder.elements(getSource(), {indices[0], token}, 1);
  return emitPage(builder, getOp(),
                  vector::ExtractOp::create(builder.b, getLoc(), tokens, 0));
}
