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

SmallVector<Size> CombineIndicesOp::getResultSizes(Adaptor adaptor) {
  Size topk;
  if (Value value = adaptor.getTopk())
    topk = Size::of(value);
  else if (uint64_t constant = adaptor.getStaticTopk().value_or(mostTopk + 1);
           constant <= uint64_t(mostTopk))
    topk = Size::constant(adaptor.getQueries().getContext(), constant);
  Size width =
      (topk + adaptor.getWindow()).ceilDiv(widthAlignment) * widthAlignment;
  return {Size::of(adaptor.getQueries()), width};
}

//===----------------------------------------------------------------------===//
// Verification
//===----------------------------------------------------------------------===//

static LogicalResult verifyWindow(Operation *op, Value lengths, Value extends,
                                  const ValueFacts &facts) {
  return success(
      expect(op, // (C2)
             facts.isPerRequest(lengths) && facts.isPerRequest(extends) &&
                 haveSameRequests(lengths, extends),
             "lengths and extends with an element for each request, with the "
             "same extent or static size"));
}

LogicalResult WindowLensOp::verifyInputs(const ValueFacts &facts) {
  return verifyWindow(*this, getLengths(), getExtends(), facts);
}

LogicalResult WindowStartsOp::verifyInputs(const ValueFacts &facts) {
  return verifyWindow(*this, getLengths(), getExtends(), facts);
}

LogicalResult TokenRangesOp::verifyInputs(const ValueFacts &facts) {
  Value extend = facts.getExpansion(getExpansion()).getExtend();
  return success(
      facts.expectPerRequest(*this, {getRows(), getStarts()}, // (C1)
                             "rows and starts that depend") &&
      expect(*this, // (C2)
             haveSameRequests(getRows(), getStarts()) &&
                 (!extend || haveSameRequests(getRows(), extend)),
             "as many rows as starts and as requests of the expansion, with "
             "the same extent or static size") &&
      expectPort(*this, getReqToToken(), "req_to_token")); // (C3)
}

LogicalResult LookupOp::verifyInputs(const ValueFacts &) {
  return success(expectPort(*this, getTable(), "the table")); // (C1)
}

LogicalResult WindowBasesOp::verifyInputs(const ValueFacts &facts) {
  auto scan = getOffsets().getDefiningOp<CuSeqlensOp>();
  return success(expect(*this, // (C1)
                        scan && facts.isPerRequest(scan.getSource()),
                        "offsets to be an 'nsa.cu_seqlens' of an array with "
                        "an element for each request"));
}

/// Whether an array has at least one element, whatever the sizes are.
static bool isNeverEmpty(Value value) {
  int64_t size = cast<ShapedType>(value.getType()).getDimSize(0);
  return isa<BlockArgument>(value) &&
         (ShapedType::isDynamic(size)
              ? StepOp::getExtent(value, 0) &&
                    StepOp::getExtentOffset(value, 0) > 0
              : size > 0);
}

static bool expectQueryStartLoc(Operation *op, Value value) {
  return expect(op, isNeverEmpty(value),
                "query_start_loc to be an 'in' port with an extent of a size "
                "plus 1 or more, or with a static size of 1 or more");
}

LogicalResult QueryRowsOp::verifyInputs(const ValueFacts &) {
  return success(expectQueryStartLoc(*this, getQueryStartLoc())); // (C1)
}

LogicalResult CompressedIdsOp::verifyInputs(const ValueFacts &facts) {
  return success(expectPort(*this, getTable(), "the table") && // (C1)
                 facts.expectPerRequest(*this, getRows(),      // (C2)
                                        "rows that depend"));
}

static LogicalResult verifyTopk(Operation *op, Value topk,
                                std::optional<uint64_t> given) {
  int64_t constant = given.value_or(0);
  return success(expect(op, bool(topk) != given.has_value(), // (C1)
                        "its top-k either as a value or as a constant") &&
                 expect(op, constant >= 0, // (C1)
                        "a top-k of 0 or more, but got ", constant) &&
                 expect(op, constant <= mostTopk, // (C1)
                        "a top-k of ", mostTopk, " or less, but got ",
                        constant));
}

static bool expectQueryPos(Operation *op, Value queryPos, Value queries) {
  return expect(op,
                !queryPos ||
                    (isa<BlockArgument>(queryPos) &&
                     Size::of(queries).isSameAs(Size::of(queryPos, 0))),
                "query_pos to be an 'in' port whose extent is the number of "
                "queries");
}

LogicalResult CombineIndicesOp::verify() {
  return verifyTopk(*this, getTopk(), getStaticTopk());
}

LogicalResult CombineIndicesOp::verifyInputs(const ValueFacts &facts) {
  SmallVector<Value> arrays = {getLengths(), getGathers(),
                               getCompressedBases()};
  if (!getWindowBases().getDefiningOp<WindowBasesOp>())
    arrays.push_back(getWindowBases());
  auto hasRequests = [&](Value value) {
    return haveSameRequests(value, getQueryStartLoc(), /*more=*/1);
  };
  auto isPerRequest = [&](Value value) { return facts.isPerRequest(value); };
  return success(
      expectQueryStartLoc(*this, getQueryStartLoc()) && // (C2)
      expect(*this,                                     // (C3)
             llvm::all_of(arrays, isPerRequest) &&
                 llvm::all_of(arrays, hasRequests) &&
                 hasRequests(getWindowBases()),
             "lengths, gathers and bases with an element for each request, one "
             "less than query_start_loc") &&
      (!getTopkIndices() ||
       expectPort(*this, getTopkIndices(), "topk_indices")) && // (C4)
      expectQueryPos(*this, getQueryPos(), getQueries()));     // (C5)
}

LogicalResult CombineLensOp::verify() {
  return verifyTopk(*this, getTopk(), getStaticTopk());
}

LogicalResult CombineLensOp::verifyInputs(const ValueFacts &facts) {
  return success(
      expectQueryStartLoc(*this, getQueryStartLoc()) && // (C2)
      expect(*this,                                     // (C3)
             facts.isPerRequest(getLengths()) &&
                 haveSameRequests(getLengths(), getQueryStartLoc(), /*more=*/1),
             "lengths with an element for each request, one less than "
             "query_start_loc") &&
      expectQueryPos(*this, getQueryPos(), getQueries())); // (C4)
}
