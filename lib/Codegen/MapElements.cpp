//===- MapElements.cpp - Elements of maps, and picks of them --------------===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Elements.h"
#include "FormulaBody.h"

#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace nsa;

namespace {
struct MapElements : ElementsOf<MapOp> {
  Value emitElement(ElementBuilder &builder, ValueRange indices) {
    SmallVector<Value> point(indices);
    return BodyEmitter(getOp(), builder, point, /*width=*/0)
        .emit()
        .front()
        .front();
  }

  Value emitElements(ElementBuilder &builder, ValueRange indices,
                     int64_t width) {
    SmallVector<Value> point(indices);
    return emitPoints(builder, point, width).front();
  }

  SmallVector<Value> emitPoints(MutableArrayRef<ElementBuilder> builders,
                                ArrayRef<SmallVector<Value>> points,
                                int64_t width) {
    OpBuilder &b = builders.front().b;
    SmallVector<Value> vectors;
    for (ArrayRef<Value> lanes :
         BodyEmitter(getOp(), builders, points, width).emit())
      vectors.push_back(vector::FromElementsOp::create(
          b, getLoc(), VectorType::get(width, lanes.front().getType()), lanes));
    return vectors;
  }

  Value emitPicked(ElementBuilder &builder, ValueRange indices, Value element) {
    SmallVector<Value> point(indices);
    BodyEmitter emitter(getOp(), builder, point, /*width=*/0);
    emitter.bind(getPickingRead(), element);
    return emitter.emit().front().front();
  }
};
} // namespace

void nsa::attachMapElements(MLIRContext &context) {
  attach<MapElements>(context);
}
