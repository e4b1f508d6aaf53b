//===- ExpandMetadataSets.cpp - Sets of fields become ports and copies ----===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "nsa/IR/Metadata.h"
#include "nsa/Transforms/Passes.h"

namespace nsa {
#define GEN_PASS_DEF_EXPANDMETADATASETS
#include "nsa/Transforms/Passes.h.inc"
} // namespace nsa

using namespace mlir;
using namespace nsa;

namespace {
/// A port of the step that is being made. Extents are values until every port
/// has its final number.
struct Port {
  std::string name;
  SmallVector<Value> extents;
  SmallVector<int64_t> offsets;
  DictionaryAttr attrs;
};
} // namespace

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

/// The extents of the port for `field` of a source with these sizes.
static void setExtents(Port &port, const MetadataField &field,
                       MetadataMode mode, ArrayRef<Value> sizes) {
  bool isDecode = mode == MetadataMode::Decode;
  Value requests = sizes[0], columns = sizes[1];
  Value rows = isDecode ? requests : sizes[2];
  // Elsewhere the source's array says how many rows there are.
  Value tableRows = isDecode ? requests : Value();
  const Value extents[] = {requests, rows, tableRows, columns, /*own=*/Value()};
  for (const MetadataDim &dim : field.sizes) {
    port.extents.push_back(extents[static_cast<int>(dim.size)]);
    port.offsets.push_back(dim.plus);
  }
  // Where no dimension has one, there is nothing to print.
  if (llvm::none_of(port.extents, [](Value extent) { return bool(extent); })) {
    port.extents.clear();
    port.offsets.clear();
  }
}

namespace {
class Expansion {
public:
  explicit Expansion(StepOp step) : step(step), block(step.getBody().front()) {}

  void run();

private:
  void readPorts();
  /// Puts the ports of a set's fields after it.
  void expandPort(unsigned number);
  void expandCopies();
  void writePorts();

  StepOp step;
  Block &block;
  /// One for each argument of the block.
  SmallVector<Port> ports;
  /// For each set, the ports of its fields; null for a field that it lacks.
  DenseMap<Value, SmallVector<Value>> fields;
};
} // namespace

void Expansion::readPorts() {
  for (BlockArgument argument : block.getArguments()) {
    Port &port = ports.emplace_back();
    unsigned number = argument.getArgNumber();
    port.name = step.getPortName(number).str();
    auto extents = cast<DenseI64ArrayAttr>(step.getExtents()[number]);
    for (auto [dim, extent] : llvm::enumerate(extents.asArrayRef())) {
      port.extents.push_back(extent < 0 ? Value() : block.getArgument(extent));
      port.offsets.push_back(step.getExtentOffset(argument, dim));
    }
    port.attrs = DictionaryAttr::get(step.getContext());
    if (std::optional<ArrayAttr> attrs = step.getPortAttrs())
      port.attrs = cast<DictionaryAttr>((*attrs)[number]);
  }
}

void Expansion::expandPort(unsigned number) {
  BlockArgument set = block.getArgument(number);
  bool isOut = StepOp::isOut(set.getType());
  SmallVector<Value> &values = fields[set];
  values.resize(getMetadataFields().size());
  unsigned at = number;
  for (auto [bit, field] : llvm::enumerate(getMetadataFields())) {
    if (!(getFields(set.getType()) & (1u << bit)))
      continue;
    values[bit] = block.insertArgument(
        ++at, getFieldType(step.getContext(), field, isOut), set.getLoc());
    Port port;
    port.name = ports[number].name + "_" + field.name.str();
    // Whether it may be missing holds for each of them.
    port.attrs = ports[number].attrs;
    if (!isOut)
      setExtents(port, field, cast<MetadataType>(set.getType()).getMode(),
                 ports[number].extents);
    ports.insert(ports.begin() + at, std::move(port));
  }
}

void Expansion::expandCopies() {
  for (auto copy : llvm::make_early_inc_range(block.getOps<CopyMetadataOp>())) {
    OpBuilder b(copy);
    for (auto [bit, field] : llvm::enumerate(getMetadataFields())) {
      SmallVector<Value> destinations;
      for (Value set : copy.getDestinations())
        if (Value destination = fields[set][bit])
          destinations.push_back(destination);
      if (!destinations.empty())
        CopyOp::create(b, copy.getLoc(), fields[copy.getSource()][bit],
                       /*mask=*/Value(), /*places=*/ValueRange(), destinations,
                       field.from);
    }
    copy.erase();
  }
}

void Expansion::writePorts() {
  Builder b(step.getContext());
  SmallVector<Attribute> names, extents, offsets, attrs;
  for (const Port &port : ports) {
    names.push_back(b.getStringAttr(port.name));
    extents.push_back(b.getDenseI64ArrayAttr(
        llvm::map_to_vector(port.extents, [](Value extent) -> int64_t {
          if (!extent)
            return -1;
          return cast<BlockArgument>(extent).getArgNumber();
        })));
    offsets.push_back(b.getDenseI64ArrayAttr(port.offsets));
    attrs.push_back(port.attrs);
  }
  step.setPortNamesAttr(b.getArrayAttr(names));
  step.setExtentsAttr(b.getArrayAttr(extents));
  step.setExtentOffsetsAttr(b.getArrayAttr(offsets));
  if (step.getPortAttrs())
    step.setPortAttrsAttr(b.getArrayAttr(attrs));
}

void Expansion::run() {
  readPorts();
  for (unsigned number = 0; number < block.getNumArguments(); ++number)
    if (isSet(block.getArgument(number).getType()))
      expandPort(number);
  expandCopies();
  for (unsigned number = block.getNumArguments(); number-- > 0;) {
    if (!isSet(block.getArgument(number).getType()))
      continue;
    block.eraseArgument(number);
    ports.erase(ports.begin() + number);
  }
  writePorts();
}

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
