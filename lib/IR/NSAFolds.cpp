//===- NSAFolds.cpp - Folders and canonical forms -------------------------===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "nsa/IR/NSADialect.h"

using namespace mlir;
using namespace nsa;

/// Nested additions of constants become one: seqlens(seqlens(x, a), b) is
/// seqlens(x, a + b), because sums wrap. Adding 0 to lengths that are int32
/// already changes nothing.
OpFoldResult SeqlensOp::fold(FoldAdaptor) {
  if (getPlus() == 0 && getSource().getType() == getType())
    return getSource();
  if (auto inner = getSource().getDefiningOp<SeqlensOp>()) {
    getSourceMutable().assign(inner.getSource());
    setPlus(inner.getPlus() + getPlus());
    return getResult();
  }
  return {};
}

/// min(min(x, a), b) is min(x, min(a, b)); a limit that no int32 exceeds
/// clips nothing.
OpFoldResult ClipSeqlensOp::fold(FoldAdaptor) {
  if (getLimit() == uint32_t(std::numeric_limits<int32_t>::max()))
    return getSource();
  if (auto inner = getSource().getDefiningOp<ClipSeqlensOp>()) {
    uint32_t limit = std::min(inner.getLimit(), getLimit());
    getSourceMutable().assign(inner.getSource());
    setLimit(limit);
    return getResult();
  }
  return {};
}

/// One row a request: its length, or with `following` the next one.
OpFoldResult ExpandSeqlensOp::fold(FoldAdaptor) {
  bool isIdentity = nsa::getExpansion(getExpansion()).isIdentity();
  bool isSame = isIdentity && getKind() == ExpandKind::Broadcast;
  return isSame ? OpFoldResult(getSource()) : OpFoldResult();
}

LogicalResult ExpandSeqlensOp::canonicalize(ExpandSeqlensOp op,
                                            PatternRewriter &rewriter) {
  bool isIdentity = nsa::getExpansion(op.getExpansion()).isIdentity();
  if (!isIdentity || op.getKind() != ExpandKind::Following)
    return rewriter.notifyMatchFailure(op, "no length plus 1 for each request");
  rewriter.replaceOpWithNewOp<SeqlensOp>(op, op.getType(), op.getSource(),
                                         /*plus=*/1);
  return success();
}

/// One row a request is that request's.
OpFoldResult ExpandRowsOp::fold(FoldAdaptor) {
  bool isIdentity = nsa::getExpansion(getExpansion()).isIdentity();
  return isIdentity ? OpFoldResult(getSource()) : OpFoldResult();
}

/// Pages of one token are tokens.
OpFoldResult RealPageTableOp::fold(FoldAdaptor) {
  return getPageSize() == 1 ? OpFoldResult(getSource()) : OpFoldResult();
}

/// Pages of `a` pages of `b` tokens are pages of `a * b` tokens: both the
/// columns and the floor divisions compose.
///
/// Repeating rows and picking columns commute; rows last, so that a table and
/// its pages are expanded together.
LogicalResult RealPageTableOp::canonicalize(RealPageTableOp op,
                                            PatternRewriter &rewriter) {
  if (auto rows = op.getSource().getDefiningOp<ExpandRowsOp>()) {
    auto pages = RealPageTableOp::create(rewriter, op.getLoc(),
                                         rows.getSource(), op.getPageSize());
    rewriter.replaceOpWithNewOp<ExpandRowsOp>(op, pages, rows.getExpansion());
    return success();
  }
  auto inner = op.getSource().getDefiningOp<RealPageTableOp>();
  if (!inner)
    return rewriter.notifyMatchFailure(op, "source is not in pages");
  int64_t pageSize = int64_t(inner.getPageSize()) * op.getPageSize();
  if (pageSize > std::numeric_limits<int32_t>::max())
    return rewriter.notifyMatchFailure(op, "page size exceeds int32");
  rewriter.replaceOpWithNewOp<RealPageTableOp>(op, op.getType(),
                                               inner.getSource(), pageSize);
  return success();
}
