//===- ExpandMetadataSets.cpp - Sets of fields become ports and copies ----===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#define GEN_PASS_DEF_EXPANDMETADATASETS
#include "nsa/Transforms/Passes.h"

#include "nsa/IR/Metadata.h"

using namespace mlir;
using namespace nsa;

static bool isSet(Type type) {
  return isa<MetadataType, MetadataRefType>(type);
}

static uint32_t getFields(Type set) {
  if (auto source = dyn_cast<MetadataType>(set))
    return source.getFields();
  return cast<MetadataRefType>(set).getFields();
}

/// The type of the port for `field`: a tensor for a set that is read, else a
/// memref with the most general layout that the field's arrays have.
static Type getFieldType(MLIRContext *context, const MetadataField &field,
                         bool isOut) {
  auto element = IntegerType::get(context, 32);
  SmallVector<int64_t> shape(field.sizes.size(), ShapedType::kDynamic);
  if (!isOut)
    return RankedTensorType::get(shape, element);
  if (field.isContiguous)
    return MemRefType::get(shape, element);
  SmallVector<int64_t> strides(shape);
  if (strides.size() == 2)
    strides.back() = 1;
  return MemRefType::get(shape, element,
                         StridedLayoutAttr::get(context, 0, strides));
}

/// The port for `field` of `set`, which is read or written.
static Port getFieldPort(const MetadataField &field, const Port &set,
                         Type type) {
  // Whether it may be missing holds for each of them.
  Port port = {StringAttr::get(type.getContext(),
                               set.name.getValue() + "_" + field.name),
               {},
               {},
               set.attrs};
  auto source = dyn_cast<MetadataType>(type);
  if (!source)
    return port;
  bool isDecode = source.getMode() == MetadataMode::Decode;
  int64_t requests = set.extents[0], columns = set.extents[1];
  int64_t rows = isDecode ? requests : set.extents[2];
  // Elsewhere the source's array says how many rows there are.
  int64_t tableRows = isDecode ? requests : -1;
  const int64_t extents[] = {requests, rows, tableRows, columns, /*own=*/-1};
  for (const MetadataDim &dim : field.sizes) {
    port.extents.push_back(extents[static_cast<int>(dim.size)]);
    port.offsets.push_back(dim.plus);
  }
  // Where no dimension has one, there is nothing to print.
  if (llvm::all_of(port.extents, [](int64_t extent) { return extent < 0; })) {
    port.extents.clear();
    port.offsets.clear();
  }
  return port;
}

namespace {
class Expansion {
public:
  explicit Expansion(StepOp step) : step(step), block(step.getBody().front()) {}

  void run() {
    // Where a port that was there is now.
    SmallVector<int64_t> places;
    SmallVector<BlockArgument> arguments(block.getArguments());
    for (auto [argument, port] : llvm::zip_equal(arguments, step.getPorts())) {
      places.push_back(ports.size());
      if (isSet(argument.getType()))
        expandSet(argument, port);
      else
        ports.push_back(port);
    }
    for (Port &port : ports)
      for (int64_t &extent : port.extents)
        if (extent >= 0)
          extent = places[extent];
    expandCopies();
    block.eraseArguments(
        [](BlockArgument argument) { return isSet(argument.getType()); });
    step.setPorts(ports);
  }

private:
  void expandSet(BlockArgument set, const Port &port) {
    Type type = set.getType();
    SmallVector<Value> &values = fields[set];
    values.resize(getMetadataFields().size());
    unsigned at = set.getArgNumber();
    for (auto [bit, field] : llvm::enumerate(getMetadataFields())) {
      if (!(getFields(type) & (1u << bit)))
        continue;
      values[bit] = block.insertArgument(
          ++at, getFieldType(step.getContext(), field, StepOp::isOut(type)),
          set.getLoc());
      ports.push_back(getFieldPort(field, port, type));
    }
  }

  void expandCopies() {
    for (auto copy :
         llvm::make_early_inc_range(block.getOps<CopyMetadataOp>())) {
      OpBuilder b(copy);
      for (auto [bit, field] : llvm::enumerate(getMetadataFields())) {
        SmallVector<Value> destinations;
        for (Value set : copy.getDestinations())
          if (Value destination = fields[set][bit])
            destinations.push_back(destination);
        if (!destinations.empty())
          CopyOp::create(b, copy.getLoc(), fields[copy.getSource()][bit],
                         /*mask=*/Value(), /*places=*/ValueRange(),
                         destinations, field.from);
      }
      copy.erase();
    }
  }

  StepOp step;
  Block &block;
  /// Those that the step gets.
  SmallVector<Port> ports;
  /// For each set, the ports of its fields; null for a field that it lacks.
  DenseMap<Value, SmallVector<Value>> fields;
};
} // namespace

namespace {
struct ExpandMetadataSets
    : public nsa::impl::ExpandMetadataSetsBase<ExpandMetadataSets> {
  void runOnOperation() override {
    StepOp step = getOperation();
    if (llvm::any_of(step.getBody().front().getArgumentTypes(), isSet))
      Expansion(step).run();
    else
      markAllAnalysesPreserved();
  }
};
} // namespace
