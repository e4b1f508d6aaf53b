//===- Reductions.cpp - Reductions that a block makes together ------------===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "nsa/Codegen/Reductions.h"

#include "FormulaBody.h"

#include "mlir/IR/TypeUtilities.h"

using namespace mlir;
using namespace nsa;

static Value emitCombine(Arith &math, ReduceKind kind, Value lhs, Value rhs) {
  return kind == ReduceKind::Add   ? math.add(lhs, rhs)
         : kind == ReduceKind::Max ? math.max(lhs, rhs)
                                   : math.min(lhs, rhs);
}

static gpu::AllReduceOperation getUpstreamKind(ReduceOp op) {
  using Kind = gpu::AllReduceOperation;
  return op.getKind() == ReduceKind::Add   ? Kind::ADD
         : op.getKind() == ReduceKind::Max ? Kind::MAXSI
                                           : Kind::MINSI;
}

static Size getNumElements(ReduceOp op) {
  Value source = op.getSource();
  return Size::of(source, cast<ShapedType>(source.getType()).getRank() - 1);
}

/// What a reduction of no elements is, for each of `ops`.
static SmallVector<Value> emitNeutral(ElementBuilder &builder,
                                      ArrayRef<ReduceOp> ops) {
  return llvm::map_to_vector(ops, [&](ReduceOp op) -> Value {
    Type type = getElementTypeOrSelf(op.getType());
    unsigned bits = type.getIntOrFloatBitWidth();
    APInt neutral = APInt::getZero(bits);
    if (op.getKind() == ReduceKind::Max)
      neutral = APInt::getSignedMinValue(bits);
    if (op.getKind() == ReduceKind::Min)
      neutral = APInt::getSignedMaxValue(bits);
    return builder.constant(type, neutral.getSExtValue());
  });
}

/// How many elements of a row a thread takes at once: of a formula the vector
/// that an access moves, so that what they read is on its way together.
static int64_t getWidth(ArrayRef<ReduceOp> ops) {
  int64_t width = 4;
  for (ReduceOp op : ops) {
    Type type = getElementTypeOrSelf(op.getType());
    bool isTable = cast<ShapedType>(op.getSource().getType()).getRank() == 2;
    if (!isTable || !op.getSource().getDefiningOp<MapOp>())
      return 1;
    width = std::min<int64_t>(width, 128 / type.getIntOrFloatBitWidth());
  }
  return width;
}

/// Emits what `value` and the `width` elements from `indices` on become, of
/// which those are none that `size` or more stand before.
static Value emitCombineVector(ElementBuilder &builder, ReduceOp op,
                               ValueRange indices, int64_t width, Value size,
                               Value value, Value neutral,
                               bool isFirstThere = true) {
  Value vector = builder.elements(op.getSource(), indices, width);
  for (int64_t i = 0; i != width; ++i) {
    Value element = builder.extract(vector, i);
    if (i != 0 || !isFirstThere)
      element = builder.select(
          builder.less(builder.add(indices.back(), i), size), element, neutral);
    value = emitCombine(builder, op.getKind(), value, element);
  }
  return value;
}

/// Emits what the elements of a row become that a thread takes of `numThreads`
/// with numbers from 0 on, for each of `ops`, which are of as many elements.
static SmallVector<Value> emitStrided(ElementBuilder &builder,
                                      ArrayRef<ReduceOp> ops, ValueRange row,
                                      Value thread, int64_t numThreads) {
  SmallVector<Value> initial = emitNeutral(builder, ops);
  // Sizes that the text computes may be negative.
  Value size =
      builder.max(builder.size(getNumElements(ops.front())), builder.index(0));
  for (ReduceOp op : ops)
    if (auto map = op.getSource().getDefiningOp<MapOp>())
      emitOuter(builder, map, row);
  int64_t width = numThreads > 1 ? getWidth(ops) : 1;
  return builder.emitFor(
      builder.mul(thread, builder.index(width)), size,
      builder.index(numThreads * width), initial,
      [&](Value index, ValueRange carried) {
        ElementBuilder inner(builder.b, builder);
        SmallVector<Value> indices(row), next;
        indices.push_back(index);
        for (auto [op, value, neutral] :
             llvm::zip_equal(ops, carried, initial)) {
          ReduceOp reduce = op;
          next.push_back(
              width == 1
                  ? emitCombine(inner, reduce.getKind(), value,
                                inner.element(reduce.getSource(), indices))
                  : emitCombineVector(inner, reduce, indices, width, size,
                                      value, neutral));
        }
        return next;
      });
}

/// Whether what `op` computes rests on one of `others`.
static bool restsOn(Operation *op, ArrayRef<ReduceOp> others) {
  bool isOnOne = false;
  walkOrigins(getInputs(op), [&](Operation *next) {
    isOnOne |= llvm::is_contained(others, next);
    return !isOnOne;
  });
  return isOnOne;
}

bool nsa::canReduceWith(ReduceOp op, ArrayRef<ReduceOp> others) {
  if (others.empty())
    return true;
  ReduceOp first = others.front();
  return getElementTypeOrSelf(op.getType()) ==
             getElementTypeOrSelf(first.getType()) &&
         getNumElements(op).isSameAs(getNumElements(first)) &&
         !restsOn(op, others);
}

SmallVector<Value> nsa::emitReductions(ElementBuilder &builder,
                                       ArrayRef<ReduceOp> ops, ValueRange row,
                                       Threads &threads) {
  // Each thread makes the only element, and waits for no other.
  if (getNumElements(ops.front()).getConstant() == 1) {
    SmallVector<Value> index(row);
    index.push_back(builder.index(0));
    return llvm::map_to_vector(ops, [&](ReduceOp op) {
      return builder.element(op.getSource(), index);
    });
  }
  return threads.emitReduce(
      builder,
      emitStrided(builder, ops, row, threads.emitThread(builder),
                  threads.getSize()),
      llvm::map_to_vector(ops, getUpstreamKind),
      [&](size_t number, Value lhs, Value rhs) {
        return emitCombine(builder, ReduceOp(ops[number]).getKind(), lhs, rhs);
      });
}

Value nsa::emitReductionOfVectors(ElementBuilder &builder, ReduceOp op,
                                  ValueRange indices, int64_t width,
                                  Threads &threads) {
  Value size = builder.size(getNumElements(op));
  Value neutral = emitNeutral(builder, op).front();
  Value own = emitCombineVector(builder, op, indices, width, size, neutral,
                                neutral, /*isFirstThere=*/false);
  return threads
      .emitReduce(builder, own, getUpstreamKind(op),
                  [&](size_t, Value lhs, Value rhs) {
                    return emitCombine(builder, op.getKind(), lhs, rhs);
                  })
      .front();
}

Value nsa::emitReduction(ElementBuilder &builder, ReduceOp op, ValueRange row) {
  return emitStrided(builder, op, row, builder.index(0), /*numThreads=*/1)
      .front();
}
