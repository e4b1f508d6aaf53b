//===- KernelParameters.cpp - What a kernel is called with ----------------===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "nsa/Codegen/KernelParameters.h"

using namespace mlir;
using namespace nsa;

Type nsa::getStorageType(Type type) {
  return type.isBF16() ? IntegerType::get(type.getContext(), 16) : type;
}

MemRefType nsa::getKernelMemRefType(BlockArgument port) {
  if (auto memref = dyn_cast<MemRefType>(port.getType()))
    return MemRefType::Builder(memref).setElementType(
        getStorageType(memref.getElementType()));
  auto tensor = cast<RankedTensorType>(port.getType());
  SmallVector<int64_t> strides(tensor.getRank(), ShapedType::kDynamic);
  if (tensor.getRank() == 2)
    strides.back() = 1;
  if (StridedLayoutAttr layout = StepOp::getLayout(port))
    strides.assign(layout.getStrides().begin(), layout.getStrides().end());
  return MemRefType::get(
      tensor.getShape(), getStorageType(tensor.getElementType()),
      StridedLayoutAttr::get(port.getContext(), /*offset=*/0, strides));
}

SmallVector<BlockArgument> nsa::getKernelPorts(LaunchOp launch) {
  SmallVector<SegmentOp> segments(launch.getSegments());
  unsigned place = 0;
  llvm::SmallDenseMap<Value, unsigned> places;
  launch.walk(
      [&](ReadOp read) { places.try_emplace(read.getSource(), ++place); });
  for (SegmentOp segment : llvm::reverse(segments)) {
    ++place;
    for (CopyOp copy : segment.getCopies())
      for (Value destination : copy.getDestinations())
        places[destination] = place;
  }
  // A block of a row finds it without the number of rows.
  if (segments.size() == 1 && segments.front().getSizes().size() == 2) {
    std::optional<TilingAttr> tiling = segments.front().getTiling();
    if (tiling && tiling->getRows() == 1 && !tiling->getAcross())
      places.try_emplace(segments.front().getSizes().front(), ++place);
  }
  SmallVector<BlockArgument> ports = launch.getUsedPorts();
  llvm::stable_sort(ports, [&](BlockArgument lhs, BlockArgument rhs) {
    return places.lookup(lhs) < places.lookup(rhs);
  });
  return ports;
}

/// Whether elements are stored to places of `port` that are computed.
static bool isScattered(BlockArgument port) {
  return llvm::any_of(port.getUsers(), [](Operation *op) {
    auto copy = dyn_cast<CopyOp>(op);
    return copy && !copy.getPlaces().empty();
  });
}

SmallVector<SmallVector<BlockArgument, 0>>
nsa::getPresenceWords(ArrayRef<BlockArgument> ports) {
  SmallVector<SmallVector<BlockArgument, 0>> words;
  for (BlockArgument port : ports) {
    if (!StepOp::isOptional(port))
      continue;
    if (words.empty() || words.back().size() == 64)
      words.emplace_back();
    words.back().push_back(port);
  }
  return words;
}

SmallVector<KernelParameter>
nsa::getKernelParameters(ArrayRef<BlockArgument> ports) {
  using Field = KernelParameter::Field;
  SmallVector<KernelParameter> parameters;
  for (BlockArgument port : ports) {
    if (port.getType().isIndex()) {
      parameters.push_back({Field::Value, port, 0, {}});
      continue;
    }
    parameters.push_back({Field::Pointer, port, 0, {}});
    MemRefType type = getKernelMemRefType(port);
    SmallVector<int64_t> strides = type.getStridesAndOffset().first;
    for (auto [dim, stride] : llvm::enumerate(strides))
      if (ShapedType::isDynamic(stride))
        parameters.push_back({Field::Stride, port, unsigned(dim), {}});
    // Sizes are needed where they bound an index from device memory, and by
    // guards.
    bool hasGuards = StepOp::of(port).getGuards();
    bool isOut = StepOp::isOut(port.getType());
    for (int64_t dim = 0; dim < type.getRank(); ++dim)
      if (type.isDynamicDim(dim) && (hasGuards || isScattered(port) ||
                                     (!isOut && !StepOp::getExtent(port, dim))))
        parameters.push_back({Field::Size, port, unsigned(dim), {}});
  }
  for (auto &word : getPresenceWords(ports))
    parameters.push_back({Field::Presence, {}, 0, word});
  return parameters;
}
