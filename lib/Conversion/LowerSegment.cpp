//===- LowerSegment.cpp - The work of a segment, for any target -----------===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "LowerSegment.h"

#include "nsa/Target/TargetModel.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace nsa;

//===----------------------------------------------------------------------===//
// Kernels
//===----------------------------------------------------------------------===//

SmallVector<Type> nsa::getKernelArgumentTypes(ArrayRef<BlockArgument> ports) {
  return llvm::map_to_vector(ports, [](BlockArgument port) -> Type {
    if (port.getType().isIndex())
      return port.getType();
    return getKernelMemRefType(port);
  });
}

void nsa::mapPorts(OpBuilder &b, LaunchOp launch,
                   ArrayRef<BlockArgument> ports, FunctionOpInterface kernel,
                   IRMapping &mapping) {
  DenseMap<BlockArgument, SmallVector<int64_t>> sizes;
  for (const KernelParameter &parameter : getKernelParameters(ports))
    if (parameter.field == KernelParameter::Field::Size)
      sizes[parameter.port].push_back(parameter.dim);
  for (auto [number, port] : llvm::enumerate(ports)) {
    mapping.map(port, kernel.getArgument(number));
    if (port.getType().isIndex())
      continue;
    if (!StepOp::isOut(port.getType()))
      kernel.setArgAttr(number, readOnlyAttrName, b.getUnitAttr());
    if (sizes.contains(port))
      kernel.setArgAttr(number, sizesAttrName,
                        b.getDenseI64ArrayAttr(sizes[port]));
  }

  // Sizes come before the launch, in order; a `tensor.dim` of a port becomes a
  // `memref.dim` of the argument.
  for (Operation &op : *launch->getBlock()) {
    if (&op == launch)
      break;
    if (isa<LaunchOp>(op) || !llvm::all_of(op.getOperands(), [&](Value value) {
          return mapping.contains(value);
        }))
      continue;
    if (auto dim = dyn_cast<tensor::DimOp>(op))
      mapping.map(dim.getResult(),
                  memref::DimOp::create(b, op.getLoc(),
                                        mapping.lookup(dim.getSource()),
                                        mapping.lookup(dim.getIndex()))
                      .getResult());
    else
      b.clone(op, mapping);
  }
}

//===----------------------------------------------------------------------===//
// Tiles
//===----------------------------------------------------------------------===//

static Value compare(ElementBuilder &builder, arith::CmpIPredicate predicate,
                     Value lhs, Value rhs) {
  return arith::CmpIOp::create(builder.b, builder.loc, predicate, lhs, rhs);
}

static Value add(ElementBuilder &builder, Value lhs, int64_t rhs) {
  if (rhs == 0)
    return lhs;
  return arith::AddIOp::create(builder.b, builder.loc, lhs,
                               builder.constantIndex(rhs));
}

/// Emits `body` under `condition`.
static void emitIf(ElementBuilder &builder, Value condition,
                   function_ref<void()> body) {
  auto ifOp = scf::IfOp::create(builder.b, builder.loc, condition,
                                /*withElseRegion=*/false);
  OpBuilder::InsertionGuard guard(builder.b);
  builder.b.setInsertionPoint(ifOp.thenYield());
  body();
}

/// Stores the lanes of `vector` that are columns, one by one.
static void storeLanes(ElementBuilder &builder, Value vector,
                       Value destination, ValueRange indices, Value columns,
                       int64_t width) {
  SmallVector<Value> lane(indices);
  for (int64_t i = 0; i < width; ++i) {
    lane.back() = add(builder, indices.back(), i);
    emitIf(builder,
           compare(builder, arith::CmpIPredicate::slt, lane.back(), columns),
           [&] {
             Value element =
                 vector::ExtractOp::create(builder.b, builder.loc, vector, i);
             memref::StoreOp::create(builder.b, builder.loc, element,
                                     destination, lane);
           });
  }
}

/// Stores the lanes of `vector` that are columns: by the widest accesses if all are
/// and the destination's row is aligned.
static void storeVector(ElementBuilder &builder, Value vector,
                        Value destination, ValueRange indices, Value columns,
                        int64_t width) {
  OpBuilder &b = builder.b;
  Location loc = builder.loc;
  auto type = cast<VectorType>(vector.getType());
  int64_t bits = type.getElementTypeBitWidth();
  int64_t part = std::min(width, TargetModel::vectorWidth(bits));
  Value isAligned =
      width > 1 ? builder.isRowAligned(destination, indices, part) : Value();
  if (!isAligned)
    return storeLanes(builder, vector, destination, indices, columns, width);
  Value isFull = compare(builder, arith::CmpIPredicate::slt,
                         add(builder, indices.back(), width - 1), columns);
  auto ifOp = scf::IfOp::create(
      b, loc, arith::AndIOp::create(b, loc, isFull, isAligned),
      /*withElseRegion=*/true);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPoint(ifOp.thenYield());
  SmallVector<Value> place(indices);
  for (int64_t first = 0; first < width; first += part) {
    Value lanes = vector;
    if (part < width)
      lanes = vector::ExtractStridedSliceOp::create(
          b, loc, vector, ArrayRef<int64_t>{first}, ArrayRef<int64_t>{part},
          ArrayRef<int64_t>{1});
    place.back() = add(builder, indices.back(), first);
    vector::StoreOp::create(b, loc, lanes, destination, place,
                            /*nontemporal=*/false,
                            llvm::MaybeAlign(part * bits / 8));
  }
  b.setInsertionPoint(ifOp.elseYield());
  storeLanes(builder, vector, destination, indices, columns, width);
}

/// Stores the pages among the `width` tokens of `vector`: lane i, if its column
/// is a multiple of the page size.
static void storePages(ElementBuilder &builder, RealPageTableOp op,
                       Value vector, ValueRange destinations,
                       ValueRange indices, Value columns, int64_t width) {
  int64_t pageSize = op.getPageSize();
  Value pageSizeValue = builder.constantIndex(pageSize);
  // Columns are multiples of `width`; if pages are too, only lane 0 can start
  // one.
  int64_t lanes = pageSize % width == 0 ? 1 : width;
  for (int64_t i = 0; i < lanes; ++i) {
    Value column = add(builder, indices.back(), i);
    Value rest = arith::RemUIOp::create(builder.b, builder.loc, column,
                                        pageSizeValue);
    Value isPage = arith::AndIOp::create(
        builder.b, builder.loc,
        compare(builder, arith::CmpIPredicate::eq, rest,
                builder.constantIndex(0)),
        compare(builder, arith::CmpIPredicate::slt, column, columns));
    emitIf(builder, isPage, [&] {
      Value token =
          vector::ExtractOp::create(builder.b, builder.loc, vector, i);
      Value page = op.emitPage(builder.b, token);
      Value number = arith::DivUIOp::create(builder.b, builder.loc, column,
                                            pageSizeValue);
      for (Value destination : destinations)
        memref::StoreOp::create(builder.b, builder.loc, page,
                                builder.lookup(destination),
                                ValueRange{indices.front(), number});
    });
  }
}

void nsa::emitTile(OpBuilder &b, SegmentOp segment, const IRMapping &ports,
                   ArrayRef<SmallVector<Value>> points, int64_t width) {
  // Values that are copied over the segment's index space, and pages that are
  // picked from them.
  SmallVector<CopyOp> copies, pageCopies;
  llvm::SmallDenseSet<Value> copied;
  for (CopyOp copy : segment.getCopies())
    copied.insert(copy.getValue());
  for (CopyOp copy : segment.getCopies()) {
    auto pages = copy.getValue().getDefiningOp<RealPageTableOp>();
    bool isPicked = pages && copied.contains(pages.getSource());
    (isPicked ? pageCopies : copies).push_back(copy);
  }

  Location loc = segment.getLoc();
  Value columns = ports.lookupOrDefault(segment.getSizes().back());
  SmallVector<ElementBuilder> builders;
  for (const SmallVector<Value> &point : points)
    builders.emplace_back(b, loc, ports, point);
  DenseMap<Value, SmallVector<Value>> vectors;
  for (CopyOp copy : copies)
    vectors[copy.getValue()] =
        ElementBuilder::elementsAt(builders, copy.getValue(), points, width);
  for (auto [number, point] : llvm::enumerate(points)) {
    ElementBuilder builder(b, loc, ports, point);
    for (CopyOp copy : copies)
      for (Value destination : copy.getDestinations())
        storeVector(builder, vectors[copy.getValue()][number],
                    builder.lookup(destination), point, columns, width);
    for (CopyOp copy : pageCopies) {
      auto pages = copy.getValue().getDefiningOp<RealPageTableOp>();
      storePages(builder, pages, vectors[pages.getSource()][number],
                 copy.getDestinations(), point, columns, width);
    }
  }
}

//===----------------------------------------------------------------------===//
// Scans
//===----------------------------------------------------------------------===//

ScanSegment::ScanSegment(SegmentOp segment, const IRMapping &ports)
    : ports(ports), scans(segment.getBody().getOps<CuSeqlensOp>()) {
  for (CopyOp copy : segment.getCopies())
    (dependsOnScan(copy.getValue()) ? scanCopies : plainCopies)
        .push_back(copy);
}

SmallVector<Value> ScanSegment::emitSources(ElementBuilder &builder,
                                            Value row) {
  return llvm::map_to_vector(scans, [&](CuSeqlensOp scan) {
    return builder.element(scan.getSource(), row);
  });
}

void ScanSegment::emitStores(ElementBuilder &builder, ArrayRef<CopyOp> copies,
                             Value row) {
  // All values before the first store, so that no load has to wait for one.
  SmallVector<Value> values = llvm::map_to_vector(copies, [&](CopyOp copy) {
    return builder.element(copy.getValue(), row);
  });
  for (auto [number, value] : llvm::enumerate(values)) {
    CopyOp copy = copies[number];
    for (Value destination : copy.getDestinations())
      memref::StoreOp::create(builder.b, builder.loc, value,
                              builder.lookup(destination), row);
  }
}

void ScanSegment::emitPlainStores(ElementBuilder &builder, Value row) {
  emitStores(builder, plainCopies, row);
}

void ScanSegment::emitScanStores(ElementBuilder &builder, Value row,
                                 ValueRange sums) {
  for (auto [scan, sum] : llvm::zip_equal(scans, sums))
    builder.bind(scan.getResult(), sum);
  emitStores(builder, scanCopies, row);
}
