//===- Manifest.cpp - What a launcher needs to know of a step -------------===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Manifest.h"

#include "nsa/Codegen/GuardedOps.h"
#include "nsa/Codegen/KernelParameters.h"

#include "mlir/Dialect/Affine/IR/AffineOps.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"
#include "llvm/Config/llvm-config.h"
#include "llvm/Support/JSON.h"

using namespace mlir;
using namespace nsa;
namespace json = llvm::json;

//===----------------------------------------------------------------------===//
// Size expressions
//===----------------------------------------------------------------------===//

/// The extent of `port` in dimension `dim`, or nothing for the whole array.
static std::optional<json::Value> getExtent(Value port, unsigned dim) {
  BlockArgument extent = StepOp::getExtent(port, dim);
  if (!extent)
    return std::nullopt;
  StringRef name = StepOp::getPortName(extent);
  if (int64_t offset = StepOp::getExtentOffset(port, dim))
    return json::Array{"add", name, offset};
  return name;
}

static json::Value getSize(OpFoldResult size);

static json::Value getAffine(AffineExpr expr, affine::AffineApplyOp op) {
  if (auto constant = dyn_cast<AffineConstantExpr>(expr))
    return constant.getValue();
  if (auto dim = dyn_cast<AffineDimExpr>(expr))
    return getSize(op.getMapOperands()[dim.getPosition()]);
  if (auto symbol = dyn_cast<AffineSymbolExpr>(expr))
    return getSize(op.getSymbolOperands()[symbol.getPosition()]);
  auto binary = cast<AffineBinaryOpExpr>(expr);
  // In the order of AffineExprKind.
  static constexpr StringLiteral names[] = {"add", "mul", "mod", "floordiv",
                                            "ceildiv"};
  static_assert(std::size(names) == size_t(AffineExprKind::CeilDiv) + 1);
  return json::Array{names[static_cast<size_t>(expr.getKind())],
                     getAffine(binary.getLHS(), op),
                     getAffine(binary.getRHS(), op)};
}

/// What verifiers of steps let pass for a size (`verifySize`).
static json::Value getSize(OpFoldResult size) {
  if (std::optional<int64_t> constant = getConstantIntValue(size))
    return *constant;
  auto value = cast<Value>(size);
  if (isa<BlockArgument>(value))
    return StepOp::getPortName(value);
  if (auto apply = value.getDefiningOp<affine::AffineApplyOp>())
    return getAffine(apply.getAffineMap().getResult(0), apply);
  auto dim = cast<tensor::DimOp>(value.getDefiningOp());
  int64_t number = *dim.getConstantIndex();
  if (std::optional<json::Value> extent = getExtent(dim.getSource(), number))
    return *extent;
  return json::Array{"dim", StepOp::getPortName(dim.getSource()), number};
}

//===----------------------------------------------------------------------===//
// The manifest
//===----------------------------------------------------------------------===//

static std::string getDType(ShapedType type) {
  if (type.getElementType().isBF16())
    return "bfloat16";
  if (type.getElementType().isF32())
    return "float32";
  return "int" + std::to_string(type.getElementTypeBitWidth());
}

namespace {
class ManifestBuilder {
public:
  ManifestBuilder(StepOp step, llvm::raw_ostream &os)
      : step(step), j(os, /*IndentSize=*/2) {}

  void build(StringRef chip) {
    j.objectBegin();
    j.attribute("schema", 1);
    j.attribute("step", step.getSymName());
    j.attributeObject("compiler", [&] {
      j.attribute("nsa", NSA_VERSION);
      j.attribute("llvm", LLVM_VERSION_STRING);
    });
    j.attribute("chip", chip);
    if (step.getPdl())
      j.attribute("pdl", true);
    j.attribute("ptx", (step.getSymName() + ".ptx").str());
    j.attributeArray("arguments", [&] {
      for (BlockArgument port : step.getBody().getArguments())
        addArgument(port);
    });
    j.attributeArray("requires", [&] { addRequirements(); });
    j.attributeArray("kernels", [&] {
      for (LaunchOp launch : step.getLaunches())
        addKernel(launch);
    });
    if (step.getGuards())
      addGuards();
    j.objectEnd();
  }

private:
  void addArgument(BlockArgument port) {
    j.objectBegin();
    j.attribute("name", StepOp::getPortName(port));
    if (port.getType().isIndex()) {
      j.attribute("kind", "size");
      j.objectEnd();
      return;
    }
    bool isOut = StepOp::isOut(port.getType());
    MemRefType type = getKernelMemRefType(port);
    j.attribute("kind", isOut ? "out" : "in");
    j.attribute("dtype", getDType(cast<ShapedType>(port.getType())));

    SmallVector<int64_t> strides = type.getStridesAndOffset().first;
    // With an identity layout, a stride is dynamic because sizes are, not
    // because it is free.
    bool isContiguous = type.getLayout().isIdentity();
    json::Array shape, strideValues, extents;
    for (auto [dim, size] : llvm::enumerate(type.getShape())) {
      shape.push_back(ShapedType::isDynamic(size) ? json::Value(nullptr)
                                                  : size);
      strideValues.push_back(!ShapedType::isDynamic(strides[dim]) ? strides[dim]
                             : isContiguous ? json::Value("contiguous")
                                            : nullptr);
      extents.push_back(getExtent(port, dim).value_or(nullptr));
    }
    j.attribute("shape", std::move(shape));
    j.attribute("strides", std::move(strideValues));
    if (!isOut)
      j.attribute("extents", std::move(extents));
    j.attribute("alignment", StepOp::getAlignment(port));
    if (StepOp::isOptional(port))
      j.attribute("optional", true);
    if (StepOp::isInOut(port))
      j.attribute("access", "inout");
    if (isOut && step.getPortValues())
      j.attribute("value", (*step.getPortValues())[port.getArgNumber()]);
    j.objectEnd();
  }

  /// That dimension `dim` of `port` has at least `size` elements.
  void addRequirement(Value port, unsigned dim, OpFoldResult size) {
    j.object([&] {
      j.attribute("argument", StepOp::getPortName(port));
      j.attribute("dim", dim);
      j.attribute("at_least", getSize(size));
    });
  }

  void addRequirements() {
    for (BlockArgument port : step.getBody().getArguments())
      if (auto type = dyn_cast<RankedTensorType>(port.getType()))
        for (int64_t dim = 0; dim < type.getRank(); ++dim)
          if (StepOp::getExtent(port, dim)) {
            OpBuilder b = OpBuilder::atBlockBegin(&step.getBody().front());
            addRequirement(port, dim,
                           Size::of(port, dim).materialize(b, step.getLoc()));
          }
    step.walk([&](DequantPagedOp op) {
      int64_t bytes = op.getLayout().getPageBytes(op.getPageSize());
      addRequirement(op.getCache(), 1,
                     Builder(op.getContext()).getIndexAttr(bytes));
    });
    step.walk([&](CombineIndicesOp op) {
      if (Value topk = op.getTopkIndices()) {
        addRequirement(topk, 0, op.getQueries());
        addRequirement(topk, 1, op.getMixedTopk());
      }
    });
    step.walk([&](CopyOp copy) {
      // What is outside is dropped.
      if (!copy.getPlaces().empty())
        return;
      OpBuilder b(copy);
      SmallVector<OpFoldResult> sizes =
          getSizes(b, copy.getLoc(), copy.getValue());
      for (Value destination : copy.getDestinations())
        for (auto [dim, size] : llvm::enumerate(sizes))
          addRequirement(destination, dim, size);
    });
  }

  void addKernel(LaunchOp launch) {
    j.objectBegin();
    j.attribute("name", launch.getSymName());
    j.attribute("threads", *launch.getThreads());
    j.attributeArray("parameters", [&] {
      for (const KernelParameter &parameter :
           getKernelParameters(getKernelPorts(launch)))
        j.object([&] {
          using Field = KernelParameter::Field;
          static constexpr StringLiteral names[] = {"pointer", "stride", "size",
                                                    "value", "presence"};
          j.attribute("field", names[static_cast<int>(parameter.field)]);
          if (parameter.field == Field::Presence)
            return addNames("arguments", parameter.ports);
          j.attribute("argument", StepOp::getPortName(parameter.port));
          if (parameter.field == Field::Stride ||
              parameter.field == Field::Size)
            j.attribute("dim", parameter.dim);
        });
    });
    j.attributeArray("segments", [&] {
      for (SegmentOp segment : launch.getSegments())
        addSegment(segment);
    });
    j.objectEnd();
  }

  void addGuards() {
    GuardedOps ops(step);
    j.attributeObject("guards", [&] {
      j.attribute("buffer", guardBufferName);
      j.attribute("records", guardNumRecords);
      j.attributeArray("ops", [&] {
        for (const GuardedOps::Entry &entry : ops.getEntries())
          j.object([&] {
            j.attribute("op", entry.op);
            // Names of files may be any bytes.
            j.attribute("location", json::fixUTF8(entry.getPlace()));
          });
      });
    });
  }

  void addSegment(SegmentOp segment) {
    Grid grid = segment.getGrid();
    OpBuilder b(segment->getParentOp());
    Location loc = segment.getLoc();
    j.object([&] {
      j.attribute("rows", getSize(grid.rows.materialize(b, loc)));
      j.attribute("columns", getSize(grid.columns.materialize(b, loc)));
      j.attribute("tile", json::Array{grid.tileRows, grid.tileColumns});
      // Without any of these there is nothing to do.
      if (SmallVector<BlockArgument> ports = segment.getOptionalPorts();
          !ports.empty())
        addNames("any_of", ports);
    });
  }

  void addNames(StringRef key, ArrayRef<BlockArgument> ports) {
    j.attributeArray(key, [&] {
      for (BlockArgument port : ports)
        j.value(StepOp::getPortName(port));
    });
  }

  StepOp step;
  json::OStream j;
};
} // namespace

std::string nsa::buildManifest(StepOp step, StringRef chip) {
  // On a copy, because computing the sizes of values adds operations.
  OwningOpRef<StepOp> copy = cast<StepOp>(step->clone());
  std::string text;
  llvm::raw_string_ostream os(text);
  ManifestBuilder(*copy, os).build(chip);
  os << '\n';
  return text;
}
