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
  int64_t constant = getStaticExtend().value_or(0);
  bool isBounded = bool(getBound());
  return success(
      expect(*this, bool(getExtend()) != getStaticExtend().has_value(), // (C1)
             "the rows of a request either as an array or as a constant") &&
      expect(*this, isInt32Count(constant), // (C2)
             "0 to 2^31-1 rows for a request, but got ", constant) &&
      expect(*this, isUniform() || isBounded, // (C3)
             "a bound, because only the device knows how many rows there "
             "are") &&
      expect(*this, !getPadded() || isBounded, "a bound to pad to") && // (C4)
      expect(*this, !isUniform() || !isBounded || getPadded(),         // (C5)
             "no bound, because the host knows how many rows there are") &&
      expect(*this, !isBounded || isa<BlockArgument>(getBound()), // (C7)
             "its bound to be an 'index' port"));
}

LogicalResult ExpansionOp::verifyInputs(const ValueFacts &facts) {
  return success(facts.expectPerRequest(*this, getExtend(), // (C6)
                                        "an array that depends"));
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
  Value extend = expansion.getExtend();
  return success(
      facts.expectPerRequest(op, source, "a source that depends") && // (C1)
      expect(op, !extend || haveSameRequests(source, extend),        // (C2)
             "a source with as many requests as the array of its expansion, "
             "with the same extent or static size"));
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
  return success(
      expect(*this, !facts.getExpansion(getExpansion()).isUniform(), // (C1)
             "an expansion by an array, because the host knows how many rows a "
             "constant gives") &&
      expect(*this, // (C2)
             llvm::all_of(getResult().getUsers(), llvm::IsaPred<CopyOp>),
             "its result to be copied only"));
}
