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
  using ConcreteOp::ConcreteOp;
  using OpType = ConcreteOp;

  ConcreteOp getOp() { return *this; }
  ElementOpInterface getInterface() {
    return llvm::cast<ElementOpInterface>(this->getOperation());
  }

  /// Lane by lane.
  mlir::Value emitElements(ElementBuilder &builder, mlir::ValueRange indices,
                           int64_t width) {
    return builder.emitLanes(indices, width, [&](mlir::ValueRange lane) {
      return getInterface().emitElement(builder, lane);
    });
  }
  /// One point after the other.
  llvm::SmallVector<mlir::Value>
  emitPoints(llvm::MutableArrayRef<ElementBuilder> builders,
             llvm::ArrayRef<llvm::SmallVector<mlir::Value>> points,
             int64_t width) {
    llvm::SmallVector<mlir::Value> vectors;
    for (auto [builder, point] : llvm::zip_equal(builders, points))
      vectors.push_back(
          builder.elements(this->getOperation()->getResult(0), point, width));
    return vectors;
  }
  /// Nothing.
  llvm::SmallVector<mlir::Value> emitRow(ElementBuilder &, mlir::Value) {
    return {};
  }
  /// All are, if none is dead.
  mlir::Value emitIsLive(ElementBuilder &, mlir::ValueRange) {
    assert(!this->hasDeadElements() && "expected to know which are read");
    return {};
  }
  /// One element after the other is compared, by halves.
  mlir::Value emitSearch(ElementBuilder &builder, mlir::ValueRange row,
                         mlir::Value position) {
    mlir::Value result = this->getOperation()->getResult(0);
    return emitBinarySearch(builder, result, row, builder.index(0),
                            builder.size(Size::of(result, row.size())),
                            position);
  }
  /// Nothing can.
  bool canShareWith(llvm::ArrayRef<mlir::Operation *> others) {
    return others.empty();
  }
  llvm::SmallVector<llvm::SmallVector<mlir::Value>>
  emitSharedTogether(ElementBuilder &builder,
                     llvm::ArrayRef<mlir::Operation *> ops, Threads &threads) {
    return {getInterface().emitShared(builder, /*row=*/{}, threads)};
  }

  // What only operations of some interfaces are asked for.
  llvm::SmallVector<mlir::Value> emitShared(ElementBuilder &, mlir::ValueRange,
                                            Threads &) {
    llvm_unreachable("an operation that shares nothing");
  }
  mlir::Value emitPicked(ElementBuilder &, mlir::ValueRange, mlir::Value) {
    llvm_unreachable("an operation that picks nothing");
  }
  mlir::Value emitBase(ElementBuilder &, mlir::Value) {
    llvm_unreachable("an operation without rows of requests");
  }
  mlir::Value emitOfRequest(ElementBuilder &, mlir::Value, mlir::Value,
                            mlir::Value) {
    llvm_unreachable("an operation without rows of requests");
  }
  mlir::Value emitSum(ElementBuilder &, mlir::Value, mlir::Value, int64_t) {
    llvm_unreachable("an operation without sums of requests");
  }
};

/// What MLIR asks of `Elements`.
template <typename Elements>
struct ElementModel
    : ElementOpInterface::ExternalModel<ElementModel<Elements>,
                                        typename Elements::OpType> {
  mlir::Value emitElement(mlir::Operation *op, ElementBuilder &builder,
                          mlir::ValueRange indices) const {
    return Elements(op).emitElement(builder, indices);
  }
  mlir::Value emitElements(mlir::Operation *op, ElementBuilder &builder,
                           mlir::ValueRange indices, int64_t width) const {
    return Elements(op).emitElements(builder, indices, width);
  }
  llvm::SmallVector<mlir::Value>
  emitPoints(mlir::Operation *op,
             llvm::MutableArrayRef<ElementBuilder> builders,
             llvm::ArrayRef<llvm::SmallVector<mlir::Value>> points,
             int64_t width) const {
    return Elements(op).emitPoints(builders, points, width);
  }
  llvm::SmallVector<mlir::Value>
  emitRow(mlir::Operation *op, ElementBuilder &builder, mlir::Value row) const {
    return Elements(op).emitRow(builder, row);
  }
  mlir::Value emitIsLive(mlir::Operation *op, ElementBuilder &builder,
                         mlir::ValueRange indices) const {
    return Elements(op).emitIsLive(builder, indices);
  }
  mlir::Value emitSearch(mlir::Operation *op, ElementBuilder &builder,
                         mlir::ValueRange row, mlir::Value position) const {
    return Elements(op).emitSearch(builder, row, position);
  }
  bool canShareWith(mlir::Operation *op,
                    llvm::ArrayRef<mlir::Operation *> others) const {
    return Elements(op).canShareWith(others);
  }
  llvm::SmallVector<llvm::SmallVector<mlir::Value>>
  emitSharedTogether(mlir::Operation *op, ElementBuilder &builder,
                     llvm::ArrayRef<mlir::Operation *> ops,
                     Threads &threads) const {
    return Elements(op).emitSharedTogether(builder, ops, threads);
  }
  llvm::SmallVector<mlir::Value> emitShared(mlir::Operation *op,
                                            ElementBuilder &builder,
                                            mlir::ValueRange row,
                                            Threads &threads) const {
    return Elements(op).emitShared(builder, row, threads);
  }
  mlir::Value emitPicked(mlir::Operation *op, ElementBuilder &builder,
                         mlir::ValueRange indices, mlir::Value element) const {
    return Elements(op).emitPicked(builder, indices, element);
  }
  mlir::Value emitBase(mlir::Operation *op, ElementBuilder &builder,
                       mlir::Value request) const {
    return Elements(op).emitBase(builder, request);
  }
  mlir::Value emitOfRequest(mlir::Operation *op, ElementBuilder &builder,
                            mlir::Value request, mlir::Value base,
                            mlir::Value number) const {
    return Elements(op).emitOfRequest(builder, request, base, number);
  }
  mlir::Value emitSum(mlir::Operation *op, ElementBuilder &builder,
                      mlir::Value base, mlir::Value count,
                      int64_t limit) const {
    return Elements(op).emitSum(builder, base, count, limit);
  }
};

template <typename... Elements> void attach(mlir::MLIRContext &context) {
  (Elements::OpType::template attachInterface<ElementModel<Elements>>(context),
   ...);
}

// Those of each file.
void attachDequantElements(mlir::MLIRContext &context);
void attachExpansionElements(mlir::MLIRContext &context);
void attachMapElements(mlir::MLIRContext &context);
void attachPrefillElements(mlir::MLIRContext &context);
void attachStoredSumElements(mlir::MLIRContext &context);
void attachSumElements(mlir::MLIRContext &context);
void attachValueElements(mlir::MLIRContext &context);

} // namespace nsa

#endif // NSA_LIB_CODEGEN_ELEMENTS_H
