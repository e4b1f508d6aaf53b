//===- NSAExpansionOps.cpp - How requests become rows ---------------------===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "nsa/IR/NSADialect.h"

using namespace mlir;
using namespace nsa;

//===----------------------------------------------------------------------===//
// ExpansionOp
//===----------------------------------------------------------------------===//

/// Products of two of these fit 64 bits.
static bool isInt32Count(int64_t count) {
  return count >= 0 && count <= std::numeric_limits<int32_t>::max();
}

LogicalResult ExpansionOp::verify() {
  if (bool(getExtend()) == getStaticExtend().has_value())
    return emitOpError() // (C1)
           << "expected the rows of a request either as an array or as a "
              "constant";
  if (isUniform() && !isInt32Count(*getStaticExtend()))
    return emitOpError() // (C2)
           << "expected 0 to 2^31-1 rows for a request, but got "
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
  if (getBound() && !isa<BlockArgument>(getBound()))
    return emitOpError("expected its bound to be an 'index' port"); // (C7)
  return success();
}

LogicalResult ExpansionOp::verifyInputs(const ValueFacts &facts) {
  return facts.verifyPerRequest(*this, getExtend(), // (C6)
                                "an array that depends");
}

Size ExpansionOp::getNumRows(const Size &requests) {
  if (getBound())
    return Size::of(getBound());
  std::optional<uint64_t> extend = getStaticExtend();
  return extend && isInt32Count(*extend) ? requests * int64_t(*extend) : Size();
}

//===----------------------------------------------------------------------===//
// What stands on an expansion
//===----------------------------------------------------------------------===//

Size nsa::getExpandedRows(Value expansion, const Size &requests) {
  auto op = expansion.getDefiningOp<ExpansionOp>();
  return op ? op.getNumRows(requests) : Size();
}

SmallVector<Size> ExpandSeqlensOp::getResultSizes(Adaptor adaptor) {
  return {getExpandedRows(adaptor.getExpansion(),
                          Size::of(adaptor.getSource(), 0))};
}

SmallVector<Size> ExpandRowsOp::getResultSizes(Adaptor adaptor) {
  Value source = adaptor.getSource();
  return {getExpandedRows(adaptor.getExpansion(), Size::of(source, 0)),
          Size::of(source, 1)};
}

SmallVector<Size> TotalRowsOp::getResultSizes(Adaptor adaptor) {
  return {Size::constant(adaptor.getExpansion().getContext(), 1)};
}

SmallVector<Size> ContextLensOp::getResultSizes(Adaptor adaptor) {
  Value source = adaptor.getSource();
  return {Size::of(source, 0),
          Size::constant(source.getContext(), adaptor.getColumns())};
}

Size TotalRowsOp::getNumRequests() {
  return Size::of(getExpansion().getDefiningOp<ExpansionOp>().getExtend(), 0);
}

bool TotalRowsOp::isPerRow() { return false; }
Value TotalRowsOp::getRepeated() { return {}; }

ExpandOpInterface ExpandSeqlensOp::getSummand() { return *this; }

/// What `nsa.expand_seqlens` and `nsa.expand_rows` expect of their operands.
static LogicalResult verifyExpanded(Operation *op, Value source,
                                    ExpansionOp expansion,
                                    const ValueFacts &facts) {
  if (failed(facts.verifyPerRequest(op, source, // (C1)
                                    "a source that depends")))
    return failure();
  if (expansion.getExtend() && !haveSameRequests(source, expansion.getExtend()))
    return op->emitOpError() // (C2)
           << "expected a source with as many requests as the array of its "
              "expansion, with the same extent or static size";
  return success();
}

LogicalResult ExpandSeqlensOp::verifyInputs(const ValueFacts &facts) {
  return verifyExpanded(*this, getSource(), facts.getExpansion(getExpansion()),
                        facts);
}

LogicalResult ExpandRowsOp::verifyInputs(const ValueFacts &facts) {
  return verifyExpanded(*this, getSource(), facts.getExpansion(getExpansion()),
                        facts);
}

LogicalResult TotalRowsOp::verifyInputs(const ValueFacts &facts) {
  if (facts.getExpansion(getExpansion()).isUniform())
    return emitOpError() // (C1)
           << "expected an expansion by an array, because the host knows how "
              "many rows a constant gives";
  if (!llvm::all_of(getResult().getUsers(), llvm::IsaPred<CopyOp>))
    return emitOpError() // (C2)
           << "expected its result to be copied only";
  return success();
}
