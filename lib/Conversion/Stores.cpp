//===- Stores.cpp - Where the elements of a copy go -----------------------===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Stores.h"

#include "nsa/Codegen/KernelParameters.h"

#include "Kernel.h"

#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace nsa;

//===----------------------------------------------------------------------===//
// What is stored at all
//===----------------------------------------------------------------------===//

bool nsa::mayBeNegative(Value size) {
  if (std::optional<int64_t> constant = getConstantIntValue(size))
    return *constant < 0;
  return !isa<BlockArgument>(size) && !size.getDefiningOp<tensor::DimOp>();
}

void nsa::emitIfNotNegative(ElementBuilder &builder, Value size,
                            function_ref<void()> body) {
  if (!mayBeNegative(size))
    return body();
  Value zero = builder.index(0);
  builder.emitIf(builder.isAtLeast(builder.lookup(size), zero), body);
}

void nsa::emitIfCopied(ElementBuilder &builder, CopyOp copy, Value index,
                       function_ref<void()> body) {
  if (copy.getFrom() == 0)
    return body();
  Value from = builder.index(copy.getFrom());
  builder.emitIf(builder.isAtLeast(index, from), body);
}

/// Whether any of the arrays behind `ports`, which are optional, is there (i1):
/// bits of the kernel's last arguments.
static Value emitIsAnyThere(ElementBuilder &builder,
                            ArrayRef<BlockArgument> ports) {
  // Operations whose regions are being built are in no function yet.
  auto array = cast<BlockArgument>(builder.lookup(ports.front()));
  auto kernel = cast<FunctionOpInterface>(array.getOwner()->getParentOp());
  ArrayRef<int64_t> optional =
      kernel->getAttrOfType<DenseI64ArrayAttr>(presenceAttrName).asArrayRef();
  size_t numWords = llvm::divideCeil(optional.size(), 64);
  SmallVector<uint64_t> masks(numWords);
  for (BlockArgument port : ports) {
    size_t bit = llvm::find(optional, port.getArgNumber()) - optional.begin();
    masks[bit / 64] |= uint64_t(1) << (bit % 64);
  }
  Value any;
  for (auto [number, mask] : llvm::enumerate(masks)) {
    if (mask == 0)
      continue;
    Value word =
        kernel.getArgument(kernel.getNumArguments() - numWords + number);
    Value bits = builder.both(word, builder.i64(mask));
    Value isThere = builder.notEqual(bits, builder.zero(word.getType()));
    any = any ? builder.either(any, isThere) : isThere;
  }
  return any;
}

bool nsa::hasOptionalDestinations(CopyOp copy) {
  return llvm::any_of(copy.getDestinations(), StepOp::isOptional);
}

/// Whether the array behind `destination` is there (i1), or null for yes.
static Value emitIsThere(ElementBuilder &builder, Value destination) {
  if (!StepOp::isOptional(destination))
    return {};
  return emitIsAnyThere(builder, cast<BlockArgument>(destination));
}

void nsa::emitForDestinations(ElementBuilder &builder, CopyOp copy,
                              function_ref<void(Value)> body) {
  EmittedFor scope(builder, copy);
  auto emitEach = [&](ValueRange destinations) {
    for (Value destination : destinations)
      builder.emitIf(emitIsThere(builder, destination),
                     [&] { body(destination); });
  };
  // Of many arrays that may be missing mostly the first ones are there: one
  // look at the bits of the others is enough then.
  ValueRange destinations = copy.getDestinations();
  ValueRange others = destinations.drop_front();
  if (others.size() < 2 || !llvm::all_of(others, StepOp::isOptional))
    return emitEach(destinations);
  emitEach(destinations.take_front());
  auto ports = llvm::map_to_vector(
      others, [](Value other) { return cast<BlockArgument>(other); });
  builder.emitIf(emitIsAnyThere(builder, ports), [&] { emitEach(others); });
}

Value nsa::emitIsWanted(ElementBuilder &builder, SegmentOp segment) {
  SmallVector<BlockArgument> ports = segment.getOptionalPorts();
  return ports.empty() ? Value() : emitIsAnyThere(builder, ports);
}

void nsa::storeElement(ElementBuilder &builder, CopyOp copy, Value element,
                       ValueRange indices) {
  emitForDestinations(builder, copy, [&](Value destination) {
    builder.store(element, builder.lookup(destination), indices);
  });
}

//===----------------------------------------------------------------------===//
// Vectors
//===----------------------------------------------------------------------===//

Value Written::contain(Arith &math, Value first, Value last) const {
  Value inside = math.less(last, end);
  if (from == 0)
    return inside;
  return math.both(math.isAtLeast(first, math.index(from)), inside);
}

Value Written::containLane(Arith &math, Value column, int64_t lane) const {
  Value inside = contain(math, column, column);
  return mask ? math.both(inside, isSet(math, lane)) : inside;
}

Value Written::isWhole(Arith &math, int64_t count) const {
  Value all = isSet(math, 0);
  for (int64_t lane = 1; lane < count; ++lane)
    all = math.both(all, isSet(math, lane));
  return all;
}

Value Written::isSet(Arith &math, int64_t lane) const {
  Value flag = math.extract(mask, lane);
  return math.notEqual(flag, math.zero(flag.getType()));
}

Parts Parts::of(Arith &math, Value vector, int64_t bytes) {
  auto type = cast<VectorType>(vector.getType());
  int64_t width = type.getNumElements();
  int64_t part =
      std::min<int64_t>(width, bytes * 8 / type.getElementTypeBitWidth());
  if (part == width)
    return {{vector}, width};
  Parts parts = {{}, part};
  for (int64_t first = 0; first < width; first += part)
    parts.vectors.push_back(math.apply<vector::ExtractStridedSliceOp>(
        vector, ArrayRef<int64_t>{first}, ArrayRef<int64_t>{part},
        ArrayRef<int64_t>{1}));
  return parts;
}

/// Stores the elements that are columns, one by one.
static void storeLanes(ElementBuilder &builder, const Parts &parts,
                       Value destination, ValueRange indices,
                       const Written &written) {
  SmallVector<Value> lane(indices);
  for (auto it : llvm::enumerate(parts.vectors)) {
    Value vector = it.value();
    for (int64_t i = 0; i < parts.getWidth(); ++i) {
      int64_t offset = it.index() * parts.distance + i;
      lane.back() = builder.add(indices.back(), offset);
      builder.emitIf(written.containLane(builder, lane.back(), offset), [&] {
        builder.store(builder.extract(vector, i), destination, lane);
      });
    }
  }
}

void nsa::storeWide(ElementBuilder &builder, const Parts &parts,
                    Value destination, ValueRange indices) {
  int64_t bits = parts.getType().getElementTypeBitWidth();
  SmallVector<Value> place(indices);
  for (auto [number, vector] : llvm::enumerate(parts.vectors)) {
    place.back() = builder.add(indices.back(), number * parts.distance);
    vector::StoreOp::create(builder.b, builder.loc, vector, destination, place,
                            /*nontemporal=*/false,
                            llvm::MaybeAlign(parts.getWidth() * bits / 8));
  }
}

Value nsa::emitCanStoreWide(ElementBuilder &builder, const Parts &parts,
                            Value port, Value row) {
  if (parts.getWidth() == 1)
    return {};
  return builder.isRowAligned(port, row, parts.getWidth());
}

void nsa::storeParts(ElementBuilder &builder, const Parts &parts, Value port,
                     ValueRange indices, const Written &written) {
  Value destination = builder.lookup(port);
  Value isAligned = emitCanStoreWide(
      builder, parts, port, indices.size() > 1 ? indices.front() : Value());
  if (!isAligned)
    return storeLanes(builder, parts, destination, indices, written);
  Value last = builder.add(indices.back(), parts.getSpan() - 1);
  Value isFull = written.contain(builder, indices.back(), last);
  if (written.mask)
    isFull = builder.both(isFull, written.isWhole(builder, parts.getSpan()));
  // Where every row is made of whole aligned vectors, there is nothing else.
  int64_t multiple = parts.vectors.size() * parts.distance;
  std::optional<int64_t> end = getConstantIntValue(written.end);
  bool isWhole = end && *end % multiple == 0 && written.from % multiple == 0 &&
                 !written.mask &&
                 getConstantIntValue(isAligned).value_or(0) != 0;
  auto storeRest = [&] {
    storeLanes(builder, parts, destination, indices, written);
  };
  builder.emitIf(
      builder.both(isFull, isAligned),
      [&] { storeWide(builder, parts, destination, indices); },
      isWhole ? function_ref<void()>() : storeRest);
}

/// Emits whether all lanes are stored, to `places` (of each lane) that follow
/// one another along an aligned row, or returns null where that cannot be.
static Value emitIsRun(ElementBuilder &builder, Value port,
                       ArrayRef<SmallVector<Value>> places, Value column,
                       const Written &written) {
  int64_t width = places.size();
  // A guard says of each element where it goes.
  if (width == 1 || StepOp::of(port).getGuards())
    return {};
  ArrayRef<Value> first = places.front();
  Value isRun = builder.isRowAligned(
      port, first.size() > 1 ? first.front() : Value(), width);
  if (!isRun)
    return {};
  Value rest = builder.both(first.back(), builder.index(width - 1));
  isRun = builder.both(isRun, builder.equal(rest, builder.index(0)));
  Value last = builder.add(column, width - 1);
  isRun = builder.both(isRun, written.contain(builder, column, last));
  if (written.mask)
    isRun = builder.both(isRun, written.isWhole(builder, width));
  for (int64_t i = 1; i < width; ++i)
    for (auto [dim, place] : llvm::enumerate(places[i])) {
      Value follows = first[dim];
      if (dim + 1 == first.size())
        follows = builder.add(follows, i);
      isRun = builder.both(isRun, builder.equal(place, follows));
    }
  for (auto [dim, place] : llvm::enumerate(first))
    isRun =
        builder.both(isRun, builder.isInside(place, builder.dim(port, dim)));
  // Aligned ones that begin inside wrap nowhere.
  Value end = builder.add(first.back(), width - 1);
  return builder.both(isRun,
                      builder.less(end, builder.dim(port, first.size() - 1)));
}

void nsa::storeScattered(ElementBuilder &builder, Value vector, Value port,
                         ValueRange places, Value column,
                         const Written &written, bool inRuns) {
  int64_t width = cast<VectorType>(vector.getType()).getNumElements();
  SmallVector<SmallVector<Value>> lanes(width);
  for (auto [i, indices] : llvm::enumerate(lanes))
    for (Value place : places)
      indices.push_back(builder.toIndex(builder.extract(place, i)));
  auto storeLane = [&](int64_t i) {
    Value isStored = written.containLane(builder, builder.add(column, i), i);
    // A negative one is too large as well.
    for (auto [dim, index] : llvm::enumerate(lanes[i]))
      isStored = builder.both(isStored,
                              builder.isInside(index, builder.dim(port, dim)));
    builder.emitIf(isStored, [&] {
      builder.store(builder.extract(vector, i), builder.lookup(port), lanes[i]);
    });
  };
  auto storeLanes = [&] {
    for (int64_t i = 0; i < width; ++i)
      storeLane(i);
  };
  Value isRun =
      inRuns ? emitIsRun(builder, port, lanes, column, written) : Value();
  if (!isRun) {
    storeLanes();
    return;
  }
  builder.emitIf(
      isRun,
      [&] {
        storeWide(builder, {{vector}, width}, builder.lookup(port),
                  lanes.front());
      },
      storeLanes);
}
