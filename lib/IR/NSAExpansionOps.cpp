//===- NSAExpansionOps.cpp - How requests become rows ---------------------===//
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
// ExpansionOp
//===----------------------------------------------------------------------===//

/// expansion ::= `by` (integer | ssa-use) ((`within` | `padded` `to`) ssa-use)?
///               attr-dict (`:` type)?
ParseResult ExpansionOp::parse(OpAsmParser &parser, OperationState &result) {
  Builder &b = parser.getBuilder();
  OpAsmParser::UnresolvedOperand extend, bound;
  IntegerAttr constant;
  bool hasBound = false;
  if (parser.parseKeyword("by"))
    return failure();
  OptionalParseResult parsed = parser.parseOptionalOperand(extend);
  bool isUniform = !parsed.has_value();
  if (isUniform ? parser.parseAttribute(constant, b.getIntegerType(64))
                : ParseResult(*parsed))
    return failure();
  if (isUniform)
    result.addAttribute(getStaticExtendAttrName(result.name), constant);
  if (succeeded(parser.parseOptionalKeyword("padded"))) {
    result.addAttribute(getPaddedAttrName(result.name), b.getUnitAttr());
    hasBound = true;
    if (parser.parseKeyword("to") || parser.parseOperand(bound))
      return failure();
  } else if (succeeded(parser.parseOptionalKeyword("within"))) {
    hasBound = true;
    if (parser.parseOperand(bound))
      return failure();
  }
  Type type;
  if (parser.parseOptionalAttrDict(result.attributes) ||
      (!isUniform && (parser.parseColonType(type) ||
                      parser.resolveOperand(extend, type, result.operands))) ||
      (hasBound &&
       parser.resolveOperand(bound, b.getIndexType(), result.operands)))
    return failure();
  result.addAttribute(getOperandSegmentSizesAttrName(result.name),
                      b.getDenseI32ArrayAttr({!isUniform, hasBound}));
  result.addTypes(ExpansionType::get(parser.getContext()));
  return success();
}

void ExpansionOp::print(OpAsmPrinter &p) {
  p << " by ";
  if (isUniform())
    p << *getStaticExtend();
  else
    p << getExtend();
  if (getBound())
    p << (getPadded() ? " padded to " : " within ") << getBound();
  p.printOptionalAttrDict((*this)->getAttrs(),
                          {getStaticExtendAttrName(), getPaddedAttrName(),
                           getOperandSegmentSizesAttrName()});
  if (!isUniform())
    p << " : " << getExtend().getType();
}

LogicalResult ExpansionOp::verify() {
  if (bool(getExtend()) == getStaticExtend().has_value())
    return emitOpError() // (C1)
           << "expected the rows of a request either as an array or as a "
              "constant";
  if (isUniform() && int64_t(*getStaticExtend()) < 0)
    return emitOpError() // (C2)
           << "expected 0 or more rows for a request, but got "
           << int64_t(*getStaticExtend());
  if (!isUniform() && !getBound())
    return emitOpError() // (C3)
           << "expected a bound, because only the device knows how many rows "
              "there are";
  if (getPadded() && !getBound())
    return emitOpError("expected a bound to pad to"); // (C4)
  if (isUniform() && getBound() && !getPadded())
    return emitOpError() // (C5)
           << "expected no bound, because the host knows how many rows there "
              "are";
  if (getExtend() && !isPerRequest(getExtend()))
    return emitOpError() // (C6)
           << "expected an array that depends neither on a cumulative sum nor "
              "on an expansion";
  return success();
}

OpFoldResult ExpansionOp::getNumRows(OpBuilder &b, Location loc,
                                     OpFoldResult requests) {
  if (getBound())
    return getBound();
  AffineExpr rows = b.getAffineSymbolExpr(0) * int64_t(*getStaticExtend());
  return affine::makeComposedFoldedAffineApply(b, loc, rows, requests);
}

//===----------------------------------------------------------------------===//
// Types and shapes
//===----------------------------------------------------------------------===//

int64_t nsa::getStaticRows(Value expansion, int64_t requests) {
  // Other definitions are not known yet when a text is parsed in pieces.
  auto op = expansion.getDefiningOp<ExpansionOp>();
  if (!op || op.getBound() || ShapedType::isDynamic(requests))
    return ShapedType::kDynamic;
  return requests * *op.getStaticExtend();
}

static RankedTensorType getI32Tensor(MLIRContext *context,
                                     ArrayRef<int64_t> shape) {
  return RankedTensorType::get(shape, IntegerType::get(context, 32));
}

LogicalResult ExpandSeqlensOp::inferReturnTypes(MLIRContext *context,
                                                std::optional<Location>,
                                                Adaptor adaptor,
                                                SmallVectorImpl<Type> &types) {
  int64_t requests =
      cast<ShapedType>(adaptor.getSource().getType()).getDimSize(0);
  types.push_back(
      getI32Tensor(context, getStaticRows(adaptor.getExpansion(), requests)));
  return success();
}

LogicalResult ExpandRowsOp::inferReturnTypes(MLIRContext *context,
                                             std::optional<Location>,
                                             Adaptor adaptor,
                                             SmallVectorImpl<Type> &types) {
  auto type = cast<ShapedType>(adaptor.getSource().getType());
  types.push_back(getI32Tensor(
      context, {getStaticRows(adaptor.getExpansion(), type.getDimSize(0)),
                type.getDimSize(1)}));
  return success();
}

LogicalResult TotalRowsOp::inferReturnTypes(MLIRContext *context,
                                            std::optional<Location>, Adaptor,
                                            SmallVectorImpl<Type> &types) {
  types.push_back(getI32Tensor(context, 1));
  return success();
}

LogicalResult ContextLensOp::inferReturnTypes(MLIRContext *context,
                                              std::optional<Location>,
                                              Adaptor adaptor,
                                              SmallVectorImpl<Type> &types) {
  int64_t requests =
      cast<ShapedType>(adaptor.getSource().getType()).getDimSize(0);
  types.push_back(
      getI32Tensor(context, {requests, int64_t(adaptor.getColumns())}));
  return success();
}

LogicalResult
ExpandSeqlensOp::reifyResultShapes(OpBuilder &b,
                                   ReifiedRankedShapedTypeDims &dims) {
  auto expansion = getExpansion().getDefiningOp<ExpansionOp>();
  dims.push_back({expansion.getNumRows(
      b, getLoc(), getDimSize(b, getLoc(), getSource(), 0))});
  return success();
}

LogicalResult
ExpandRowsOp::reifyResultShapes(OpBuilder &b,
                                ReifiedRankedShapedTypeDims &dims) {
  auto expansion = getExpansion().getDefiningOp<ExpansionOp>();
  SmallVector<OpFoldResult> sizes = getSizes(b, getLoc(), getSource());
  sizes[0] = expansion.getNumRows(b, getLoc(), sizes[0]);
  dims.push_back(sizes);
  return success();
}

LogicalResult
TotalRowsOp::reifyResultShapes(OpBuilder &b,
                               ReifiedRankedShapedTypeDims &dims) {
  dims.push_back({b.getIndexAttr(1)});
  return success();
}

LogicalResult
ContextLensOp::reifyResultShapes(OpBuilder &b,
                                 ReifiedRankedShapedTypeDims &dims) {
  dims.push_back(
      {getDimSize(b, getLoc(), getSource(), 0), b.getIndexAttr(getColumns())});
  return success();
}

/// What `nsa.expand_seqlens` and `nsa.expand_rows` expect of their operands.
static LogicalResult verifyExpanded(Operation *op, Value source,
                                    ExpansionOp expansion) {
  if (!isPerRequest(source))
    return op->emitOpError() // (C1)
           << "expected a source that depends neither on a cumulative sum nor "
              "on an expansion";
  if (expansion.getExtend() && !haveSameRequests(source, expansion.getExtend()))
    return op->emitOpError() // (C2)
           << "expected a source with as many requests as the array of its "
              "expansion, with the same extent or static size";
  return success();
}

LogicalResult ExpandSeqlensOp::verify() {
  return verifyExpanded(*this, getSource(), nsa::getExpansion(getExpansion()));
}

LogicalResult ExpandRowsOp::verify() {
  return verifyExpanded(*this, getSource(), nsa::getExpansion(getExpansion()));
}

LogicalResult ContextLensOp::verify() {
  if (!isPerRequest(getSource()))
    return emitOpError() // (C2)
           << "expected a source that depends neither on a cumulative sum nor "
              "on an expansion";
  return success();
}

LogicalResult TotalRowsOp::verify() {
  if (nsa::getExpansion(getResult()).isUniform())
    return emitOpError() // (C1)
           << "expected an expansion by an array, because the host knows how "
              "many rows a constant gives";
  if (!llvm::all_of(getResult().getUsers(), llvm::IsaPred<CopyOp>))
    return emitOpError() // (C2)
           << "expected its result to be copied only";
  return success();
}
