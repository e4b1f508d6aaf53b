//===- NarrowIndices.cpp - Indices with fewer bits ------------------------===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#define GEN_PASS_DEF_NARROWINDICES
#include "nsa/Transforms/Passes.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/IR/PatternMatch.h"
#include "mlir/Transforms/WalkPatternRewriteDriver.h"

using namespace mlir;
using namespace nsa;

namespace {
template <typename CastOp>
struct NarrowIndex : public OpRewritePattern<CastOp> {
  using OpRewritePattern<CastOp>::OpRewritePattern;

  LogicalResult matchAndRewrite(CastOp cast,
                                PatternRewriter &rewriter) const override {
    Type type = cast.getType();
    if (!isa<FormulaOpInterface>(cast->getParentOp()) ||
        !type.isSignlessInteger() || type.isInteger(64))
      return rewriter.notifyMatchFailure(cast, "it cuts no bits off");
    Value wide = CastOp::create(rewriter, cast.getLoc(), rewriter.getI64Type(),
                                cast.getIn());
    rewriter.replaceOpWithNewOp<arith::TruncIOp>(cast, type, wide);
    return success();
  }
};

struct NarrowIndices : public nsa::impl::NarrowIndicesBase<NarrowIndices> {
  void runOnOperation() override {
    RewritePatternSet patterns(&getContext());
    patterns.add<NarrowIndex<arith::IndexCastOp>,
                 NarrowIndex<arith::IndexCastUIOp>>(&getContext());
    walkAndApplyPatterns(getOperation(), std::move(patterns));
  }
};
} // namespace
