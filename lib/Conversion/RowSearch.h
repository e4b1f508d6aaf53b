//===- RowSearch.h - The request that a row belongs to ----------*- C++ -*-===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef NSA_LIB_CONVERSION_ROWSEARCH_H
#define NSA_LIB_CONVERSION_ROWSEARCH_H

#include "BlockScan.h"
#include "RequestRows.h"

#include "mlir/Dialect/GPU/IR/GPUDialect.h"

namespace nsa {

/// Where a thread's row of an expansion lies.
struct RowPlace {
  /// Whether it is a row of a request (i1). If not, what follows up to the
  /// totals is unspecified, but requests and rows are 0 or more.
  mlir::Value isRow;
  /// Its request, and the first row of that (index).
  mlir::Value request, first;
  /// Each scan's sum of the rows of the requests before that (i32).
  llvm::SmallVector<mlir::Value> before;
  /// Over all requests, for blocks that are not full of rows: the number of
  /// rows (index) and each scan's sum of them (i32).
  mlir::Value numRows;
  llvm::SmallVector<mlir::Value> totals;
};

/// Emits the search for the request of row `row` (index) of each thread of a
/// block, all before `end`. All threads must get here.
///
/// The block goes through the requests, one for each thread at a time, and
/// leaves in workgroup memory how many rows there are before each; a thread
/// whose row is among those finds its request there by bisection. It stops at
/// the first request past its rows. So no block waits for another, and one
/// that is given rows past the last sees all requests, and knows the totals.
RowPlace emitRowSearch(mlir::OpBuilder &b, mlir::Location loc,
                       RequestRows &expand, const mlir::IRMapping &ports,
                       mlir::gpu::GPUFuncOp kernel, const ThreadBlock &block,
                       mlir::Value row, mlir::Value end);

} // namespace nsa

#endif // NSA_LIB_CONVERSION_ROWSEARCH_H
