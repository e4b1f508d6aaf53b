//===- RemarkCosts.cpp - Says what formulas cost --------------------------===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#define GEN_PASS_DEF_REMARKCOSTS
#include "nsa/Transforms/Passes.h"

#include "nsa/Codegen/FormulaCost.h"

using namespace mlir;
using namespace nsa;

/// Says how many reads and searches `formula` makes for an element, and which
/// of its reads are one for each element of a vector of `width`.
static void remarkFormula(FormulaOpInterface formula, int64_t width) {
  Region &body = formula->getRegion(0);
  auto reads = body.getOps<ReadOp>();
  auto searches = body.getOps<SearchOp>();
  remark::analysis(formula.getLoc(), remarkBy("RemarkCosts")) << remark::add(
      "{0} reads and {1} searches an element, {2} elements at once",
      llvm::range_size(reads), llvm::range_size(searches), width);
  if (width == 1)
    return;
  for (ReadOp read : reads)
    if (StringRef reason = getScalarReason(read); !reason.empty())
      remark::missed(read.getLoc(), remarkBy("RemarkCosts"))
          << remark::add("read element by element")
          << remark::reason("{0}", reason);
}

/// Says what threads make together before any of them has an element.
static void remarkShared(SegmentOp segment, SharedOpInterface op) {
  bool isByRow = segment.isSharedByRow(op);
  remark::analysis(op.getLoc(), remarkBy("RemarkCosts")) << remark::add(
      "'{0}' is computed by each block {1} by itself",
      op->getName().getStringRef(), isByRow ? "for its row" : "in full");
}

/// Says that blocks which make `recurrence` first are done last.
static void remarkLongest(Operation &recurrence) {
  remark::analysis(recurrence.getLoc(), remarkBy("RemarkCosts"))
      << remark::add("the longest block of its launch: it makes this "
                     "recurrence first, step by step");
}

namespace {
struct RemarkCosts : public nsa::impl::RemarkCostsBase<RemarkCosts> {
  void runOnOperation() override {
    markAllAnalysesPreserved();
    if (!getContext().getRemarkEngine())
      return;
    getOperation().walk([](SegmentOp segment) {
      auto launch = segment->getParentOfType<LaunchOp>();
      bool isAlone = llvm::hasSingleElement(launch.getSegments());
      std::optional<TilingAttr> tiling = segment.getTiling();
      int64_t width = tiling ? tiling->getWidth() : 1;
      for (Operation &op : segment.getBody().front()) {
        if (auto shared = dyn_cast<SharedOpInterface>(op))
          remarkShared(segment, shared);
        // Steps of a recurrence come one by one.
        if (auto formula = dyn_cast<FormulaOpInterface>(op))
          remarkFormula(formula, isa<MapOp>(op) ? width : 1);
        // A formula that threads share is a recurrence.
        if (isa<SharedOpInterface>(op) && isa<FormulaOpInterface>(op) &&
            !isAlone)
          remarkLongest(op);
      }
    });
  }
};
} // namespace
