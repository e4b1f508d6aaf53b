//===- NSAPrefillOps.cpp - Types, shapes and checks of prefill values -----===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "nsa/IR/NSADialect.h"

using namespace mlir;
using namespace nsa;

/// FlashMLA's sparse prefill takes index rows of a multiple of this.
static constexpr int64_t widthAlignment = 128;

/// Indices are int32, and so is how many there are.
static constexpr int64_t mostTopk = std::numeric_limits<int32_t>::max();

//===----------------------------------------------------------------------===//
// Sizes
//===----------------------------------------------------------------------===//

SmallVector<Size> TokenRangesOp::getResultSizes(Adaptor adaptor) {
  return {
      getExpandedRows(adaptor.getExpansion(), Size::of(adaptor.getRows(), 0))};
}

SmallVector<Size> CompressedIdsOp::getResultSizes(Adaptor adaptor) {
  return {Size::of(adaptor.getRows(), 0), Size::of(adaptor.getColumns())};
}

SmallVector<Size> CombineIndicesOp::getResultSizes(Adaptor adaptor) {
  Size topk;
  if (Value value = adaptor.getTopk())
    topk = Size::of(value);
  else if (std::optional<uint64_t> constant = adaptor.getStaticTopk();
           constant && *constant <= uint64_t(mostTopk))
    topk = Size::constant(adaptor.getQueries().getContext(), *constant);
  Size width =
      (topk + adaptor.getWindow()).ceilDiv(widthAlignment) * widthAlignment;
  return {Size::of(adaptor.getQueries()), width};
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

static LogicalResult verifyWindow(Operation *op, Value lengths, Value extends,
                                  const ValueFacts &facts) {
  if (!facts.isPerRequest(lengths) || !facts.isPerRequest(extends) ||
      !haveSameRequests(lengths, extends))
    return op->emitOpError() // (C2)
           << "expected lengths and extends with an element for each request, "
              "with the same extent or static size";
  return success();
}

LogicalResult WindowLensOp::verifyInputs(const ValueFacts &facts) {
  return verifyWindow(*this, getLengths(), getExtends(), facts);
}

LogicalResult WindowStartsOp::verifyInputs(const ValueFacts &facts) {
  return verifyWindow(*this, getLengths(), getExtends(), facts);
}

LogicalResult TokenRangesOp::verifyInputs(const ValueFacts &facts) {
  if (failed(facts.verifyPerRequest(*this, {getRows(), getStarts()}, // (C1)
                                    "rows and starts that depend")))
    return failure();
  Value extend = facts.getExpansion(getExpansion()).getExtend();
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

LogicalResult LookupOp::verifyInputs(const ValueFacts &) {
  if (!isa<BlockArgument>(getTable()))
    return emitOpError("expected the table to be an 'in' port"); // (C1)
  return success();
}

LogicalResult WindowBasesOp::verifyInputs(const ValueFacts &facts) {
  auto scan = getOffsets().getDefiningOp<CuSeqlensOp>();
  if (!scan || !facts.isPerRequest(scan.getSource()))
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
  int64_t size = cast<ShapedType>(port.getType()).getDimSize(0);
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

LogicalResult QueryRowsOp::verifyInputs(const ValueFacts &) {
  return verifyQueryStartLoc(*this, getQueryStartLoc()); // (C1)
}

LogicalResult CompressedIdsOp::verifyInputs(const ValueFacts &facts) {
  if (!isa<BlockArgument>(getTable()))
    return emitOpError("expected the table to be an 'in' port");       // (C1)
  return facts.verifyPerRequest(*this, getRows(), "rows that depend"); // (C2)
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
  if (queryPos && (!isa<BlockArgument>(queryPos) ||
                   !Size::of(queries).isSameAs(Size::of(queryPos, 0))))
    return op->emitOpError() << "expected query_pos to be an 'in' port whose "
                                "extent is the number "
                                "of queries";
  return success();
}

LogicalResult CombineIndicesOp::verify() {
  return verifyTopk(*this, getTopk(), getStaticTopk());
}

LogicalResult CombineIndicesOp::verifyInputs(const ValueFacts &facts) {
  if (failed(verifyQueryStartLoc(*this, getQueryStartLoc()))) // (C2)
    return failure();
  SmallVector<Value> arrays = {getLengths(), getGathers(),
                               getCompressedBases()};
  if (!getWindowBases().getDefiningOp<WindowBasesOp>())
    arrays.push_back(getWindowBases());
  auto hasRequests = [&](Value value) {
    return haveSameRequests(value, getQueryStartLoc(), /*more=*/1);
  };
  auto isPerRequest = [&](Value value) { return facts.isPerRequest(value); };
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

/// Each element searches for its request.
int64_t CombineLensOp::getMostWidth(TargetAttr) { return 1; }

int64_t CombineLensOp::getLoadBits() { return 32; }

LogicalResult CombineLensOp::verify() {
  return verifyTopk(*this, getTopk(), getStaticTopk());
}

LogicalResult CombineLensOp::verifyInputs(const ValueFacts &facts) {
  if (failed(verifyQueryStartLoc(*this, getQueryStartLoc()))) // (C2)
    return failure();
  if (!facts.isPerRequest(getLengths()) ||
      !haveSameRequests(getLengths(), getQueryStartLoc(), /*more=*/1))
    return emitOpError() // (C3)
           << "expected lengths with an element for each request, one less "
              "than query_start_loc";
  return verifyQueryPos(*this, getQueryPos(), getQueries()); // (C4)
}
