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
#include "mlir/IR/Matchers.h"
#include "llvm/Config/llvm-config.h"
#include "llvm/Support/JSON.h"

using namespace mlir;
using namespace nsa;
namespace json = llvm::json;

//===----------------------------------------------------------------------===//
// Size expressions
//===----------------------------------------------------------------------===//

static StringRef getName(Value port) {
  auto argument = cast<BlockArgument>(port);
  return cast<StepOp>(argument.getOwner()->getParentOp()).getPortName(argument);
}

/// The extent of `port` in dimension `dim`, or nothing for the whole array.
static std::optional<json::Value> getExtent(Value port, unsigned dim) {
  auto argument = cast<BlockArgument>(port);
  auto step = cast<StepOp>(argument.getOwner()->getParentOp());
  BlockArgument extent = step.getExtent(argument, dim);
  if (!extent)
    return std::nullopt;
  if (int64_t offset = step.getExtentOffset(argument, dim))
    return json::Value(json::Array{"add", getName(extent), offset});
  return json::Value(getName(extent));
}

static FailureOr<json::Value> getSize(OpFoldResult size);

static FailureOr<json::Value> getAffine(AffineExpr expr,
                                        affine::AffineApplyOp op) {
  if (auto constant = dyn_cast<AffineConstantExpr>(expr))
    return json::Value(constant.getValue());
  if (auto dim = dyn_cast<AffineDimExpr>(expr))
    return getSize(op.getMapOperands()[dim.getPosition()]);
  if (auto symbol = dyn_cast<AffineSymbolExpr>(expr))
    return getSize(op.getMapOperands()[op.getAffineMap().getNumDims() +
                                       symbol.getPosition()]);
  auto binary = cast<AffineBinaryOpExpr>(expr);
  FailureOr<json::Value> lhs = getAffine(binary.getLHS(), op);
  FailureOr<json::Value> rhs = getAffine(binary.getRHS(), op);
  if (failed(lhs) || failed(rhs))
    return failure();
  StringRef name;
  switch (expr.getKind()) {
  case AffineExprKind::Add:
    name = "add";
    break;
  case AffineExprKind::Mul:
    name = "mul";
    break;
  case AffineExprKind::FloorDiv:
    name = "floordiv";
    break;
  case AffineExprKind::CeilDiv:
    name = "ceildiv";
    break;
  case AffineExprKind::Mod:
    name = "mod";
    break;
  default:
    llvm_unreachable("not a binary expression");
  }
  return json::Value(json::Array{name, std::move(*lhs), std::move(*rhs)});
}

static FailureOr<json::Value> getSize(OpFoldResult size) {
  if (std::optional<int64_t> constant = getConstantIntValue(size))
    return json::Value(*constant);
  auto value = cast<Value>(size);
  if (isa<BlockArgument>(value))
    return json::Value(getName(value));
  Operation *op = value.getDefiningOp();
  if (auto dim = dyn_cast<tensor::DimOp>(op))
    if (std::optional<int64_t> number = dim.getConstantIndex())
      if (isa<BlockArgument>(dim.getSource())) {
        if (std::optional<json::Value> extent =
                getExtent(dim.getSource(), *number))
          return *extent;
        return json::Value(
            json::Array{"dim", getName(dim.getSource()), *number});
      }
  if (auto apply = dyn_cast<affine::AffineApplyOp>(op))
    return getAffine(apply.getAffineMap().getResult(0), apply);
  op->emitError("expected a size to be a port, a constant, or an "
                "'affine.apply' of those, but got '")
      << op->getName() << "'";
  return failure();
}

//===----------------------------------------------------------------------===//
// The manifest
//===----------------------------------------------------------------------===//

namespace {
class ManifestBuilder {
public:
  ManifestBuilder(StepOp step, llvm::raw_ostream &os)
      : step(step), j(os, /*IndentSize=*/2) {}

  LogicalResult build(StringRef chip);

private:
  void addArgument(BlockArgument port);
  /// That dimension `dim` of `port` has at least `size` elements.
  LogicalResult addRequirement(Value port, unsigned dim, OpFoldResult size);
  LogicalResult addRequirements();
  LogicalResult addKernel(LaunchOp launch);
  void addGuards();
  LogicalResult addSegment(SegmentOp segment);

  void addDims(StringRef key, ArrayRef<json::Value> values) {
    j.attributeArray(key, [&] {
      for (const json::Value &value : values)
        j.value(value);
    });
  }

  StepOp step;
  json::OStream j;
};
} // namespace

static std::string getDType(ShapedType type) {
  if (type.getElementType().isBF16())
    return "bfloat16";
  if (type.getElementType().isF32())
    return "float32";
  return "int" + std::to_string(type.getElementTypeBitWidth());
}

void ManifestBuilder::addArgument(BlockArgument port) {
  j.objectBegin();
  j.attribute("name", getName(port));
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
  // With an identity layout, a stride is dynamic because sizes are, not because
  // it is free.
  bool isContiguous = type.getLayout().isIdentity();
  SmallVector<json::Value> shape, strideValues, extents;
  for (int64_t dim = 0; dim < type.getRank(); ++dim) {
    if (type.isDynamicDim(dim))
      shape.push_back(nullptr);
    else
      shape.push_back(type.getDimSize(dim));
    if (!ShapedType::isDynamic(strides[dim]))
      strideValues.push_back(strides[dim]);
    else if (isContiguous)
      strideValues.push_back("contiguous");
    else
      strideValues.push_back(nullptr);
    extents.push_back(getExtent(port, dim).value_or(nullptr));
  }
  addDims("shape", shape);
  addDims("strides", strideValues);
  if (!isOut)
    addDims("extents", extents);
  j.attribute("alignment", step.getAlignment(port));
  if (step.isOptional(port))
    j.attribute("optional", true);
  if (step.isInOut(port))
    j.attribute("access", "inout");
  if (isOut && step.getPortValues())
    j.attribute("value", (*step.getPortValues())[port.getArgNumber()]);
  j.objectEnd();
}

LogicalResult ManifestBuilder::addRequirement(Value port, unsigned dim,
                                              OpFoldResult size) {
  FailureOr<json::Value> atLeast = getSize(size);
  if (failed(atLeast))
    return failure();
  j.object([&] {
    j.attribute("argument", getName(port));
    j.attribute("dim", dim);
    j.attribute("at_least", *atLeast);
  });
  return success();
}

LogicalResult ManifestBuilder::addRequirements() {
  for (BlockArgument port : step.getBody().getArguments())
    if (auto type = dyn_cast<RankedTensorType>(port.getType()))
      for (int64_t dim = 0; dim < type.getRank(); ++dim)
        if (step.getExtent(port, dim)) {
          OpBuilder b = OpBuilder::atBlockBegin(&step.getBody().front());
          if (failed(addRequirement(port, dim,
                                    getDimSize(b, step.getLoc(), port, dim))))
            return failure();
        }

  auto ofCache = [&](DequantPagedOp op) {
    int64_t bytes = op.getLayout().getPageBytes(op.getPageSize());
    return addRequirement(op.getCache(), 1,
                          Builder(op.getContext()).getIndexAttr(bytes));
  };
  auto ofTopk = [&](CombineIndicesOp op) {
    Value topk = op.getTopkIndices();
    return success(!topk ||
                   (succeeded(addRequirement(topk, 0, op.getQueries())) &&
                    succeeded(addRequirement(topk, 1, op.getMixedTopk()))));
  };
  auto ofCopy = [&](CopyOp copy) {
    // What is outside is dropped.
    if (!copy.getPlaces().empty())
      return success();
    OpBuilder b(copy);
    SmallVector<OpFoldResult> sizes =
        getSizes(b, copy.getLoc(), copy.getValue());
    for (Value destination : copy.getDestinations())
      for (auto [dim, size] : llvm::enumerate(sizes))
        if (failed(addRequirement(destination, dim, size)))
          return failure();
    return success();
  };
  return success(succeeded(verifyEach<DequantPagedOp>(step, ofCache)) &&
                 succeeded(verifyEach<CombineIndicesOp>(step, ofTopk)) &&
                 succeeded(verifyEach<CopyOp>(step, ofCopy)));
}

LogicalResult ManifestBuilder::addSegment(SegmentOp segment) {
  Grid grid = segment.getGrid();
  OpBuilder b(segment->getParentOp());
  FailureOr<json::Value> rows =
      getSize(grid.rows.materialize(b, segment.getLoc()));
  FailureOr<json::Value> columns =
      getSize(grid.columns.materialize(b, segment.getLoc()));
  if (failed(rows) || failed(columns))
    return failure();
  j.object([&] {
    j.attribute("rows", *rows);
    j.attribute("columns", *columns);
    j.attribute("tile", json::Array{grid.tileRows, grid.tileColumns});
    // Without any of these there is nothing to do.
    if (SmallVector<BlockArgument> ports = segment.getOptionalPorts();
        !ports.empty())
      j.attributeArray("any_of", [&] {
        for (BlockArgument port : ports)
          j.value(getName(port));
      });
  });
  return success();
}

LogicalResult ManifestBuilder::addKernel(LaunchOp launch) {
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
        if (parameter.field == Field::Presence) {
          j.attributeArray("arguments", [&] {
            for (BlockArgument port : parameter.ports)
              j.value(getName(port));
          });
          return;
        }
        j.attribute("argument", getName(parameter.port));
        if (parameter.field == Field::Stride || parameter.field == Field::Size)
          j.attribute("dim", parameter.dim);
      });
  });
  LogicalResult result = success();
  j.attributeArray("segments", [&] {
    for (SegmentOp segment : launch.getSegments())
      if (failed(addSegment(segment)))
        result = failure();
  });
  j.objectEnd();
  return result;
}

void ManifestBuilder::addGuards() {
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

LogicalResult ManifestBuilder::build(StringRef chip) {
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
  LogicalResult result = success();
  j.attributeArray("requires", [&] { result = addRequirements(); });
  j.attributeArray("kernels", [&] {
    for (LaunchOp launch : step.getLaunches())
      if (failed(addKernel(launch)))
        result = failure();
  });
  if (step.getGuards())
    addGuards();
  j.objectEnd();
  return result;
}

FailureOr<std::string> nsa::buildManifest(StepOp step, StringRef chip) {
  // On a copy, because computing the sizes of values adds operations.
  OwningOpRef<StepOp> copy = cast<StepOp>(step->clone());
  std::string text;
  llvm::raw_string_ostream os(text);
  if (failed(ManifestBuilder(*copy, os).build(chip)))
    return failure();
  os << '\n';
  return text;
}
