//===- NSAPrefillOps.cpp - Types, shapes and checks of prefill values -----===//
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

/// FlashMLA's sparse prefill takes index rows of a multiple of this.
static constexpr int64_t widthAlignment = 128;

/// Indices are int32, and so is how many there are.
static constexpr int64_t mostTopk = std::numeric_limits<int32_t>::max();

//===----------------------------------------------------------------------===//
// Types and shapes
//===----------------------------------------------------------------------===//

static RankedTensorType getI32Tensor(MLIRContext *context,
                                     ArrayRef<int64_t> shape) {
  return RankedTensorType::get(shape, IntegerType::get(context, 32));
}

static int64_t getStaticSize(Value value) {
  return cast<ShapedType>(value.getType()).getDimSize(0);
}

/// The size of an array with an element for each request, given one with one
/// element more.
static int64_t getStaticRequests(Value offsets) {
  // An empty one is refused by the verifiers, which come later.
  int64_t size = getStaticSize(offsets);
  return size > 0 ? size - 1 : ShapedType::kDynamic;
}

static OpFoldResult getRequests(OpBuilder &b, Location loc, Value offsets) {
  return affine::makeComposedFoldedAffineApply(
      b, loc, b.getAffineSymbolExpr(0) - 1, getDimSize(b, loc, offsets, 0));
}

/// The width of a row of indices: `s0`, the top-k, plus the window, rounded up.
static AffineExpr getWidth(MLIRContext *context, int64_t window) {
  AffineExpr topk = getAffineSymbolExpr(0, context);
  return (topk + window).ceilDiv(widthAlignment) * widthAlignment;
}

LogicalResult WindowLensOp::inferReturnTypes(MLIRContext *,
                                             std::optional<Location>,
                                             Adaptor adaptor,
                                             SmallVectorImpl<Type> &types) {
  types.push_back(adaptor.getLengths().getType());
  return success();
}

LogicalResult WindowStartsOp::inferReturnTypes(MLIRContext *,
                                               std::optional<Location>,
                                               Adaptor adaptor,
                                               SmallVectorImpl<Type> &types) {
  types.push_back(adaptor.getLengths().getType());
  return success();
}

LogicalResult TokenRangesOp::inferReturnTypes(MLIRContext *context,
                                              std::optional<Location>,
                                              Adaptor adaptor,
                                              SmallVectorImpl<Type> &types) {
  types.push_back(
      getI32Tensor(context, getStaticRows(adaptor.getExpansion(),
                                          getStaticSize(adaptor.getRows()))));
  return success();
}

LogicalResult LookupOp::inferReturnTypes(MLIRContext *, std::optional<Location>,
                                         Adaptor adaptor,
                                         SmallVectorImpl<Type> &types) {
  types.push_back(adaptor.getIndices().getType());
  return success();
}

LogicalResult
CompressedBasesOp::inferReturnTypes(MLIRContext *context,
                                    std::optional<Location>, Adaptor,
                                    SmallVectorImpl<Type> &types) {
  types.push_back(getI32Tensor(context, ShapedType::kDynamic));
  return success();
}

LogicalResult WindowBasesOp::inferReturnTypes(MLIRContext *context,
                                              std::optional<Location>,
                                              Adaptor adaptor,
                                              SmallVectorImpl<Type> &types) {
  types.push_back(
      getI32Tensor(context, getStaticRequests(adaptor.getOffsets())));
  return success();
}

LogicalResult QueryRowsOp::inferReturnTypes(MLIRContext *context,
                                            std::optional<Location>,
                                            Adaptor adaptor,
                                            SmallVectorImpl<Type> &types) {
  types.push_back(
      getI32Tensor(context, getStaticRequests(adaptor.getQueryStartLoc())));
  return success();
}

LogicalResult CompressedIdsOp::inferReturnTypes(MLIRContext *context,
                                                std::optional<Location>,
                                                Adaptor adaptor,
                                                SmallVectorImpl<Type> &types) {
  types.push_back(getI32Tensor(
      context, {getStaticSize(adaptor.getRows()), ShapedType::kDynamic}));
  return success();
}

LogicalResult CombineIndicesOp::inferReturnTypes(MLIRContext *context,
                                                 std::optional<Location>,
                                                 Adaptor adaptor,
                                                 SmallVectorImpl<Type> &types) {
  int64_t width = ShapedType::kDynamic;
  std::optional<uint64_t> topk = adaptor.getStaticTopk();
  if (topk && *topk <= uint64_t(mostTopk))
    width = llvm::alignTo(*topk + adaptor.getWindow(), widthAlignment);
  types.push_back(getI32Tensor(context, {ShapedType::kDynamic, width}));
  return success();
}

LogicalResult CombineLensOp::inferReturnTypes(MLIRContext *context,
                                              std::optional<Location>, Adaptor,
                                              SmallVectorImpl<Type> &types) {
  types.push_back(getI32Tensor(context, ShapedType::kDynamic));
  return success();
}

LogicalResult
WindowLensOp::reifyResultShapes(OpBuilder &b,
                                ReifiedRankedShapedTypeDims &dims) {
  dims.push_back(getSizes(b, getLoc(), getLengths()));
  return success();
}

LogicalResult
WindowStartsOp::reifyResultShapes(OpBuilder &b,
                                  ReifiedRankedShapedTypeDims &dims) {
  dims.push_back(getSizes(b, getLoc(), getLengths()));
  return success();
}

LogicalResult
TokenRangesOp::reifyResultShapes(OpBuilder &b,
                                 ReifiedRankedShapedTypeDims &dims) {
  auto expansion = getExpansion().getDefiningOp<ExpansionOp>();
  dims.push_back({expansion.getNumRows(b, getLoc(),
                                       getDimSize(b, getLoc(), getRows(), 0))});
  return success();
}

LogicalResult LookupOp::reifyResultShapes(OpBuilder &b,
                                          ReifiedRankedShapedTypeDims &dims) {
  dims.push_back(getSizes(b, getLoc(), getIndices()));
  return success();
}

LogicalResult
CompressedBasesOp::reifyResultShapes(OpBuilder &,
                                     ReifiedRankedShapedTypeDims &dims) {
  dims.push_back({getRequests()});
  return success();
}

LogicalResult
WindowBasesOp::reifyResultShapes(OpBuilder &b,
                                 ReifiedRankedShapedTypeDims &dims) {
  dims.push_back({::getRequests(b, getLoc(), getOffsets())});
  return success();
}

LogicalResult
QueryRowsOp::reifyResultShapes(OpBuilder &b,
                               ReifiedRankedShapedTypeDims &dims) {
  dims.push_back({::getRequests(b, getLoc(), getQueryStartLoc())});
  return success();
}

LogicalResult
CompressedIdsOp::reifyResultShapes(OpBuilder &b,
                                   ReifiedRankedShapedTypeDims &dims) {
  dims.push_back({getDimSize(b, getLoc(), getRows(), 0), getColumns()});
  return success();
}

LogicalResult
CombineIndicesOp::reifyResultShapes(OpBuilder &b,
                                    ReifiedRankedShapedTypeDims &dims) {
  OpFoldResult width = affine::makeComposedFoldedAffineApply(
      b, getLoc(), getWidth(getContext(), getWindow()), getMixedTopk());
  dims.push_back({getQueries(), width});
  return success();
}

LogicalResult
CombineLensOp::reifyResultShapes(OpBuilder &,
                                 ReifiedRankedShapedTypeDims &dims) {
  dims.push_back({getQueries()});
  return success();
}

/// A size that is given as a value or as a constant.
static OpFoldResult getMixed(Operation *op, Value value,
                             std::optional<uint64_t> constant) {
  if (value)
    return value;
  return IntegerAttr::get(IndexType::get(op->getContext()), *constant);
}

OpFoldResult CombineIndicesOp::getMixedTopk() {
  return getMixed(*this, getTopk(), getStaticTopk());
}

OpFoldResult CombineLensOp::getMixedTopk() {
  return getMixed(*this, getTopk(), getStaticTopk());
}

//===----------------------------------------------------------------------===//
// Verification
//===----------------------------------------------------------------------===//

static LogicalResult verifyWindow(Operation *op, Value lengths, Value extends) {
  if (!isPerRequest(lengths) || !isPerRequest(extends) ||
      !haveSameRequests(lengths, extends))
    return op->emitOpError() // (C2)
           << "expected lengths and extends with an element for each request, "
              "with the same extent or static size";
  return success();
}

LogicalResult WindowLensOp::verify() {
  return verifyWindow(*this, getLengths(), getExtends());
}

LogicalResult WindowStartsOp::verify() {
  return verifyWindow(*this, getLengths(), getExtends());
}

LogicalResult TokenRangesOp::verify() {
  if (!isPerRequest(getRows()) || !isPerRequest(getStarts()))
    return emitOpError() // (C1)
           << "expected rows and starts that depend neither on a cumulative "
              "sum nor on an expansion";
  Value extend = nsa::getExpansion(getExpansion()).getExtend();
  if (!haveSameRequests(getRows(), getStarts()) ||
      (extend && !haveSameRequests(getRows(), extend)))
    return emitOpError() // (C2)
           << "expected as many rows as starts and as requests of the "
              "expansion, with the same extent or static size";
  if (!isa<BlockArgument>(getReqToToken()))
    return emitOpError() // (C3)
           << "expected req_to_token to be an 'in' port";
  return success();
}

LogicalResult LookupOp::verify() {
  if (!isa<BlockArgument>(getTable()))
    return emitOpError("expected the table to be an 'in' port"); // (C1)
  return success();
}

LogicalResult WindowBasesOp::verify() {
  auto scan = getOffsets().getDefiningOp<CuSeqlensOp>();
  if (!scan || !isPerRequest(scan.getSource()))
    return emitOpError() // (C1)
           << "expected offsets to be an 'nsa.cu_seqlens' of an array with an "
              "element for each request";
  return success();
}

/// Whether an array has at least one element, whatever the sizes are.
static bool isNeverEmpty(Value value) {
  auto port = dyn_cast<BlockArgument>(value);
  if (!port)
    return false;
  auto step = dyn_cast<StepOp>(port.getOwner()->getParentOp());
  int64_t size = getStaticSize(port);
  if (!ShapedType::isDynamic(size))
    return size > 0;
  return step && step.getExtent(port, 0) && step.getExtentOffset(port, 0) > 0;
}

static LogicalResult verifyQueryStartLoc(Operation *op, Value value) {
  if (!isNeverEmpty(value))
    return op->emitOpError()
           << "expected query_start_loc to be an 'in' port with an extent of a "
              "size plus 1 or more, or with a static size of 1 or more";
  return success();
}

LogicalResult QueryRowsOp::verify() {
  return verifyQueryStartLoc(*this, getQueryStartLoc()); // (C1)
}

LogicalResult CompressedIdsOp::verify() {
  if (!isa<BlockArgument>(getTable()))
    return emitOpError("expected the table to be an 'in' port"); // (C1)
  if (!isPerRequest(getRows()))
    return emitOpError() // (C2)
           << "expected rows that depend neither on a cumulative sum nor on an "
              "expansion";
  return success();
}

static LogicalResult verifyTopk(Operation *op, Value topk,
                                std::optional<uint64_t> constant) {
  if (bool(topk) == constant.has_value())
    return op->emitOpError() // (C1)
           << "expected its top-k either as a value or as a constant";
  if (int64_t(constant.value_or(0)) < 0)
    return op->emitOpError() // (C1)
           << "expected a top-k of 0 or more, but got " << int64_t(*constant);
  if (int64_t(constant.value_or(0)) > mostTopk)
    return op->emitOpError() // (C1)
           << "expected a top-k of " << mostTopk << " or less, but got "
           << int64_t(*constant);
  return success();
}

static LogicalResult verifyQueryPos(Operation *op, Value queryPos,
                                    Value queries) {
  if (queryPos &&
      (!isa<BlockArgument>(queryPos) || !haveSameRequests(queries, queryPos)))
    return op->emitOpError() << "expected query_pos to be an 'in' port whose "
                                "extent is the number "
                                "of queries";
  return success();
}

LogicalResult CombineIndicesOp::verify() {
  if (failed(verifyTopk(*this, getTopk(), getStaticTopk())))
    return failure();
  if (failed(verifyQueryStartLoc(*this, getQueryStartLoc()))) // (C2)
    return failure();
  SmallVector<Value> arrays = {getLengths(), getGathers(),
                               getCompressedBases()};
  if (!getWindowBases().getDefiningOp<WindowBasesOp>())
    arrays.push_back(getWindowBases());
  auto hasRequests = [&](Value value) {
    return haveSameRequests(value, getQueryStartLoc(), /*more=*/1);
  };
  if (!llvm::all_of(arrays, isPerRequest) ||
      !llvm::all_of(arrays, hasRequests) || !hasRequests(getWindowBases()))
    return emitOpError() // (C3)
           << "expected lengths, gathers and bases with an element for each "
              "request, one less than query_start_loc";
  if (getTopkIndices() && !isa<BlockArgument>(getTopkIndices()))
    return emitOpError() // (C4)
           << "expected topk_indices to be an 'in' port";
  return verifyQueryPos(*this, getQueryPos(), getQueries()); // (C5)
}

LogicalResult CombineLensOp::verify() {
  if (failed(verifyTopk(*this, getTopk(), getStaticTopk())))
    return failure();
  if (failed(verifyQueryStartLoc(*this, getQueryStartLoc()))) // (C2)
    return failure();
  if (!isPerRequest(getLengths()) ||
      !haveSameRequests(getLengths(), getQueryStartLoc(), /*more=*/1))
    return emitOpError() // (C3)
           << "expected lengths with an element for each request, one less "
              "than query_start_loc";
  return verifyQueryPos(*this, getQueryPos(), getQueries()); // (C4)
}
