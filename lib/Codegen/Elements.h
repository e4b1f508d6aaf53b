//===- Elements.h - What elements are made of -------------------*- C++ -*-===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The meaning of every value operation, as code: one element at a time, and
// where it pays, a few consecutive elements at once. Indices from device memory
// are compared with the array's sizes before they are used as addresses, so no
// contents make a kernel leave an array.
//
// `XElements` is the operation `XOp` with methods that emit its elements. One
// without `emitElement` does not compile; what else it does not say is as
// `ElementsOf` has it.
//
//===----------------------------------------------------------------------===//

#ifndef NSA_LIB_CODEGEN_ELEMENTS_H
#define NSA_LIB_CODEGEN_ELEMENTS_H

#include "nsa/Codegen/Elements.h"

namespace nsa {

template <typename ConcreteOp> struct ElementsOf : ConcreteOp {
  using OpType = ConcreteOp;
  /// Not explicit: what comes of this needs no constructor.
  ElementsOf(Operation *op) : ConcreteOp(op) {}

  ConcreteOp getOp() { return *this; }
  ElementOpInterface getInterface() {
    return cast<ElementOpInterface>(this->getOperation());
  }

  /// Lane by lane.
  Value emitElements(ElementBuilder &builder, ValueRange indices,
                     int64_t width) {
    return builder.emitLanes(indices, width, [&](ValueRange lane) {
      return getInterface().emitElement(builder, lane);
    });
  }
  /// One point after the other.
  SmallVector<Value> emitPoints(MutableArrayRef<ElementBuilder> builders,
                                ArrayRef<SmallVector<Value>> points,
                                int64_t width) {
    SmallVector<Value> vectors;
    for (auto [builder, point] : llvm::zip_equal(builders, points))
      vectors.push_back(
          builder.elements(this->getOperation()->getResult(0), point, width));
    return vectors;
  }
  /// Nothing.
  SmallVector<Value> emitRow(ElementBuilder &, Value) { return {}; }
  /// All are, if none is dead.
  Value emitIsLive(ElementBuilder &, ValueRange) {
    assert(!this->hasDeadElements() && "expected to know which are read");
    return {};
  }
  /// One element after the other is compared, by halves.
  Value emitSearch(ElementBuilder &builder, ValueRange row, Value position) {
    Value result = this->getOperation()->getResult(0);
    return emitBinarySearch(builder, result, row, builder.index(0),
                            builder.size(Size::of(result, row.size())),
                            position);
  }
  /// Nothing can.
  bool canShareWith(ArrayRef<Operation *> others) { return others.empty(); }
  SmallVector<SmallVector<Value>> emitSharedTogether(ElementBuilder &builder,
                                                     ArrayRef<Operation *> ops,
                                                     Threads &threads) {
    return {getInterface().emitShared(builder, /*row=*/{}, threads)};
  }

  // What only operations of some interfaces are asked for.
  SmallVector<Value> emitShared(ElementBuilder &, ValueRange, Threads &) {
    llvm_unreachable("an operation that shares nothing");
  }
  Value emitPicked(ElementBuilder &, ValueRange, Value) {
    llvm_unreachable("an operation that picks nothing");
  }
  Value emitBase(ElementBuilder &, Value) {
    llvm_unreachable("an operation without rows of requests");
  }
  Value emitOfRequest(ElementBuilder &, Value, Value, Value) {
    llvm_unreachable("an operation without rows of requests");
  }
  Value emitSum(ElementBuilder &, Value, Value, int64_t) {
    llvm_unreachable("an operation without sums of requests");
  }
};

/// Elements that are made like vectors, as vectors of one.
template <typename ConcreteOp>
struct VectorElementsOf : ElementsOf<ConcreteOp> {
  Value emitElement(ElementBuilder &builder, ValueRange indices) {
    return builder.extract(
        this->getInterface().emitElements(builder, indices, 1), 0);
  }
};

/// Elements that follow from those of operands at the same indices, and vectors
/// from vectors: `emitFrom` asks its second argument for them.
template <typename Elements, typename ConcreteOp>
struct ElementwiseOf : ElementsOf<ConcreteOp> {
  Value emitElement(ElementBuilder &builder, ValueRange indices) {
    return static_cast<Elements *>(this)->emitFrom(
        builder, [&](Value value) { return builder.element(value, indices); });
  }
  Value emitElements(ElementBuilder &builder, ValueRange indices,
                     int64_t width) {
    return static_cast<Elements *>(this)->emitFrom(builder, [&](Value value) {
      return builder.elements(value, indices, width);
    });
  }
};

/// Elements of rows of requests, each computed from what its request starts
/// from.
template <typename ConcreteOp>
struct RequestElementsOf : ElementsOf<ConcreteOp> {
  Value emitElement(ElementBuilder &builder, ValueRange indices) {
    auto emit = [&](const ExpandedRow &place) {
      ElementOpInterface op = this->getInterface();
      Value base = op.emitBase(builder, place.request);
      return op.emitOfRequest(builder, place.request, base, place.number);
    };
    return builder.emitOfRow(this->getOp(), indices.front(), emit);
  }
};

/// What MLIR asks of `Elements`.
template <typename Elements>
struct ElementModel
    : ElementOpInterface::ExternalModel<ElementModel<Elements>,
                                        typename Elements::OpType> {
#define NSA_FORWARD(method)                                                    \
  template <typename... Args>                                                  \
  auto method(Operation *op, Args &&...args) const {                           \
    return Elements{{op}}.method(args...);                                     \
  }
  NSA_FORWARD(emitElement)
  NSA_FORWARD(emitElements)
  NSA_FORWARD(emitPoints)
  NSA_FORWARD(emitRow)
  NSA_FORWARD(emitIsLive)
  NSA_FORWARD(emitSearch)
  NSA_FORWARD(emitShared)
  NSA_FORWARD(canShareWith)
  NSA_FORWARD(emitSharedTogether)
  NSA_FORWARD(emitPicked)
  NSA_FORWARD(emitBase)
  NSA_FORWARD(emitOfRequest)
  NSA_FORWARD(emitSum)
#undef NSA_FORWARD
};

template <typename... Elements> void attach(MLIRContext &context) {
  (Elements::OpType::template attachInterface<ElementModel<Elements>>(context),
   ...);
}

// Those of each file.
void attachDequantElements(MLIRContext &context);
void attachExpansionElements(MLIRContext &context);
void attachMapElements(MLIRContext &context);
void attachPrefillElements(MLIRContext &context);
void attachStoredSumElements(MLIRContext &context);
void attachSumElements(MLIRContext &context);
void attachValueElements(MLIRContext &context);

} // namespace nsa

#endif // NSA_LIB_CODEGEN_ELEMENTS_H
