//===- NSAValueOps.cpp - Types, shapes and checks of values and copies ----===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "nsa/IR/NSADialect.h"

#include "mlir/Dialect/Affine/IR/AffineOps.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"

using namespace mlir;
using namespace nsa;

//===----------------------------------------------------------------------===//
// Assembly
//===----------------------------------------------------------------------===//

/// size ::= ssa-use | integer
static ParseResult
parseSizeOrConstant(OpAsmParser &parser,
                    std::optional<OpAsmParser::UnresolvedOperand> &value,
                    IntegerAttr &constant) {
  OpAsmParser::UnresolvedOperand operand;
  OptionalParseResult parsed = parser.parseOptionalOperand(operand);
  if (parsed.has_value()) {
    value = operand;
    return *parsed;
  }
  return parser.parseAttribute(constant,
                               parser.getBuilder().getIntegerType(64));
}

static void printSizeOrConstant(OpAsmPrinter &p, Operation *, Value value,
                                IntegerAttr constant) {
  if (value)
    p << value;
  else
    p << constant.getInt();
}

//===----------------------------------------------------------------------===//
// Types
//===----------------------------------------------------------------------===//

static RankedTensorType getI32Tensor(MLIRContext *context,
                                     ArrayRef<int64_t> shape) {
  return RankedTensorType::get(shape, IntegerType::get(context, 32));
}

static int64_t getStaticSize(Value value, unsigned dim) {
  return cast<ShapedType>(value.getType()).getDimSize(dim);
}

LogicalResult SeqlensOp::inferReturnTypes(MLIRContext *context,
                                          std::optional<Location>,
                                          Adaptor adaptor,
                                          SmallVectorImpl<Type> &types) {
  types.push_back(getI32Tensor(context, getStaticSize(adaptor.getSource(), 0)));
  return success();
}

LogicalResult ClipSeqlensOp::inferReturnTypes(MLIRContext *,
                                              std::optional<Location>,
                                              Adaptor adaptor,
                                              SmallVectorImpl<Type> &types) {
  types.push_back(adaptor.getSource().getType());
  return success();
}

LogicalResult CuSeqlensOp::inferReturnTypes(MLIRContext *context,
                                            std::optional<Location>,
                                            Adaptor adaptor,
                                            SmallVectorImpl<Type> &types) {
  int64_t size = getStaticSize(adaptor.getSource(), 0);
  types.push_back(
      getI32Tensor(context, ShapedType::isDynamic(size) ? size : size + 1));
  return success();
}

LogicalResult PageTableOp::inferReturnTypes(MLIRContext *context,
                                            std::optional<Location>,
                                            Adaptor adaptor,
                                            SmallVectorImpl<Type> &types) {
  int64_t columns = adaptor.getStaticColumns().value_or(ShapedType::kDynamic);
  types.push_back(
      getI32Tensor(context, {getStaticSize(adaptor.getRows(), 0), columns}));
  return success();
}

LogicalResult RealPageTableOp::inferReturnTypes(MLIRContext *context,
                                                std::optional<Location>,
                                                Adaptor adaptor,
                                                SmallVectorImpl<Type> &types) {
  int64_t columns = getStaticSize(adaptor.getSource(), 1);
  if (!ShapedType::isDynamic(columns))
    columns = llvm::divideCeil(columns, int64_t(adaptor.getPageSize()));
  types.push_back(
      getI32Tensor(context, {getStaticSize(adaptor.getSource(), 0), columns}));
  return success();
}

LogicalResult DequantPagedOp::inferReturnTypes(MLIRContext *context,
                                               std::optional<Location>,
                                               Adaptor adaptor,
                                               SmallVectorImpl<Type> &types) {
  int64_t rows = getStaticSize(adaptor.getIds(), 0);
  types.push_back(RankedTensorType::get(
      {rows, adaptor.getLayout().getRowSize()}, BFloat16Type::get(context)));
  return success();
}

//===----------------------------------------------------------------------===//
// Shapes
//===----------------------------------------------------------------------===//

/// `expr` of one symbol, which is `size`.
static OpFoldResult applyToSize(OpBuilder &b, Location loc, AffineExpr expr,
                                OpFoldResult size) {
  return affine::makeComposedFoldedAffineApply(b, loc, expr, size);
}

LogicalResult SeqlensOp::reifyResultShapes(OpBuilder &b,
                                           ReifiedRankedShapedTypeDims &dims) {
  dims.push_back(getSizes(b, getLoc(), getSource()));
  return success();
}

LogicalResult
ClipSeqlensOp::reifyResultShapes(OpBuilder &b,
                                 ReifiedRankedShapedTypeDims &dims) {
  dims.push_back(getSizes(b, getLoc(), getSource()));
  return success();
}

LogicalResult
CuSeqlensOp::reifyResultShapes(OpBuilder &b,
                               ReifiedRankedShapedTypeDims &dims) {
  OpFoldResult size = getDimSize(b, getLoc(), getSource(), 0);
  dims.push_back(
      {applyToSize(b, getLoc(), b.getAffineSymbolExpr(0) + 1, size)});
  return success();
}

LogicalResult
PageTableOp::reifyResultShapes(OpBuilder &b,
                               ReifiedRankedShapedTypeDims &dims) {
  dims.push_back({getDimSize(b, getLoc(), getRows(), 0), getMixedColumns()});
  return success();
}

LogicalResult
RealPageTableOp::reifyResultShapes(OpBuilder &b,
                                   ReifiedRankedShapedTypeDims &dims) {
  SmallVector<OpFoldResult> sizes = getSizes(b, getLoc(), getSource());
  AffineExpr pages = b.getAffineSymbolExpr(0).ceilDiv(getPageSize());
  dims.push_back({sizes[0], applyToSize(b, getLoc(), pages, sizes[1])});
  return success();
}

LogicalResult
DequantPagedOp::reifyResultShapes(OpBuilder &b,
                                  ReifiedRankedShapedTypeDims &dims) {
  dims.push_back({getDimSize(b, getLoc(), getIds(), 0),
                  b.getIndexAttr(getLayout().getRowSize())});
  return success();
}

//===----------------------------------------------------------------------===//
// Verification
//===----------------------------------------------------------------------===//

LogicalResult CuSeqlensOp::verify() {
  if (dependsOnScan(getSource()))
    return emitOpError() // (C2)
           << "expected a source that does not depend on another cumulative "
              "sum";
  return success();
}

OpFoldResult PageTableOp::getMixedColumns() {
  if (Value columns = getColumns())
    return columns;
  return IntegerAttr::get(IndexType::get(getContext()), *getStaticColumns());
}

LogicalResult PageTableOp::verify() {
  if (bool(getColumns()) == getStaticColumns().has_value())
    return emitOpError() // (C1)
           << "expected its number of columns either as a value or as a "
              "constant";
  if (int64_t(getStaticColumns().value_or(0)) < 0)
    return emitOpError() // (C2)
           << "expected 0 or more columns, but got "
           << int64_t(*getStaticColumns());
  if (!isPerRequest(getRows()) || (getLive() && !isPerRequest(getLive())))
    return emitOpError() // (C3)
           << "expected rows and live lengths that depend neither on a "
              "cumulative sum nor on an expansion";
  if (getLive() && !haveSameRequests(getRows(), getLive()))
    return emitOpError() // (C4)
           << "expected as many live lengths as rows, with the same extent or "
              "static size";
  return success();
}

LogicalResult DequantPagedOp::verify() {
  if (!isa<BlockArgument>(getCache()))
    return emitOpError() // (C3)
           << "expected the cache to be an 'in' port";
  int64_t bytes = getStaticSize(getCache(), 1);
  int64_t pageBytes = getLayout().getPageBytes(getPageSize());
  if (!ShapedType::isDynamic(bytes) && bytes < pageBytes)
    return emitOpError() // (C3)
           << "expected rows of the cache to hold a page of " << pageBytes
           << " bytes, but got " << getCache().getType();
  if (dependsOnScan(getIds()))
    return emitOpError() // (C4)
           << "expected ids that do not depend on a cumulative sum";
  return success();
}

LogicalResult CopyOp::verify() {
  auto step = (*this)->getParentOfType<StepOp>();
  if (!step)
    return emitOpError("expected to be inside of an 'nsa.step'"); // (C1)
  if (failed(step.verifyDestinations(*this, getDestinations())))
    return failure();
  auto valueType = cast<ShapedType>(getValue().getType());
  int64_t from = getFrom();
  if (from < 0 || (from != 0 && valueType.getRank() != 1))
    return emitOpError() // (C5)
           << "expected 'from' to be 0 or more, and 0 unless the value has "
              "rank 1, but got "
           << from << " for " << valueType;
  for (Value destination : getDestinations()) {
    StringRef name = step.getPortName(cast<BlockArgument>(destination));
    auto type = cast<ShapedType>(destination.getType());
    if (type.getRank() != valueType.getRank())
      return emitOpError() // (C3)
             << "expected destination '" << name << "' to have rank "
             << valueType.getRank() << " but got " << type;
    if (type.getElementType() != valueType.getElementType())
      return emitOpError() // (C6)
             << "expected destination '" << name
             << "' to have elements of type " << valueType.getElementType()
             << " but got " << type;
    for (int64_t dim = 0; dim < type.getRank(); ++dim)
      if (!type.isDynamicDim(dim) && !valueType.isDynamicDim(dim) &&
          type.getDimSize(dim) < valueType.getDimSize(dim))
        return emitOpError() // (C4)
               << "expected dimension " << dim << " of destination '" << name
               << "' to have at least " << valueType.getDimSize(dim)
               << " elements, but got " << type;
  }
  return success();
}

void CopyOp::getEffects(
    SmallVectorImpl<SideEffects::EffectInstance<MemoryEffects::Effect>>
        &effects) {
  for (OpOperand &destination : getDestinationsMutable())
    effects.emplace_back(MemoryEffects::Write::get(), &destination);
}

#define GET_OP_CLASSES
#include "nsa/IR/NSAOps.cpp.inc"
