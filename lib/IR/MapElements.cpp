//===- MapElements.cpp - Elements of maps, and picks of them --------------===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "FormulaBody.h"

#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/IR/Matchers.h"

using namespace mlir;
using namespace nsa;

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
