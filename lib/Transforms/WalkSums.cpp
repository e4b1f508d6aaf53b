//===- WalkSums.cpp - Sums that are only stored ---------------------------===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#define GEN_PASS_DEF_WALKSUMS
#include "nsa/Transforms/Passes.h"

#include "mlir/IR/PatternMatch.h"
#include "mlir/Transforms/WalkPatternRewriteDriver.h"

using namespace mlir;
using namespace nsa;

/// Whether one block can walk the rows that `scan` adds up.
static bool canWalk(ScanOp scan) {
  Value source = scan.getSource();
  auto type = cast<ShapedType>(source.getType());
  return !scan.getInclusive() && type.getRank() == 1 &&
         type.getElementType().isInteger(32) && !dependsOnScan(source) &&
         !getExpansion(source);
}

/// Whether `use` stores all sums at their own indices.
static bool isStored(OpOperand &use) {
  auto copy = dyn_cast<CopyOp>(use.getOwner());
  return copy && copy.isPlain();
}

namespace {
struct WalkStoredSums : public OpRewritePattern<ScanOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(ScanOp scan,
                                PatternRewriter &rewriter) const override {
    if (!canWalk(scan))
      return rewriter.notifyMatchFailure(scan, "one block cannot walk it");
    if (!llvm::any_of(scan->getUses(), isStored))
      return rewriter.notifyMatchFailure(scan, "it is not stored");
    Value sums = CuSeqlensOp::create(rewriter, scan.getLoc(), scan.getSource())
                     .getResult();
    rewriter.replaceUsesWithIf(scan.getResult(), sums, isStored);
    if (scan.use_empty())
      rewriter.eraseOp(scan);
    return success();
  }
};

struct WalkSums : public nsa::impl::WalkSumsBase<WalkSums> {
  void runOnOperation() override {
    RewritePatternSet patterns(&getContext());
    patterns.add<WalkStoredSums>(&getContext());
    walkAndApplyPatterns(getOperation(), std::move(patterns));
  }
};
} // namespace
