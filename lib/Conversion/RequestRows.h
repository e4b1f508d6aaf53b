//===- RequestRows.h - The rows of requests, for any target ---*- C++ -*-===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef NSA_LIB_CONVERSION_REQUESTROWS_H
#define NSA_LIB_CONVERSION_REQUESTROWS_H

#include "KernelBlock.h"

namespace nsa {

/// The parts of an `expand` segment that its lowerings order in time.
///
/// A row needs its request, the number of rows before that, and for cumulative
/// sums what they add up to; all follow from the lengths of the requests,
/// without visiting rows: the lengths of a request's rows are consecutive
/// numbers, cut at 0 and at the clip's limit, so their sum is a difference of
/// triangular numbers. All of it is exact modulo 2^32, as sums are.
class RequestRows {
public:
  RequestRows(SegmentOp segment, const IRMapping &ports);

  size_t getNumScans() { return scans.size(); }
  bool isUniform() { return expansion.isUniform(); }
  bool isPadded() { return expansion.getPadded(); }

  /// The number of requests and the most rows that there may be (index).
  Value emitNumRequests(ElementBuilder &builder);
  Value emitBound(ElementBuilder &builder);
  /// The rows that `request` asks for, between 0 and the bound (index).
  Value emitCount(ElementBuilder &builder, Value request);

  /// What the rows of a request start from, for each value that is computed
  /// from requests; null where it needs nothing.
  SmallVector<Value> emitBases(ElementBuilder &builder, Value request);
  /// What the first `count` rows of a request add to each scan (i32).
  SmallVector<Value> emitSums(ElementBuilder &builder, ValueRange bases,
                              Value count);

  /// Stores row `row`, the `number`-th of `request`, `before` being each scan's
  /// sum of the rows of the requests before that.
  void emitRow(ElementBuilder &builder, Value row, Value request, Value number,
               ValueRange bases, ValueRange before);
  /// Stores row `row` past the last one.
  void emitPadding(ElementBuilder &builder, Value row, ValueRange sums);
  /// Stores what does not belong to a row: the leading 0 of cumulative sums and
  /// the number of rows.
  void emitTotals(ElementBuilder &builder, Value numRows);

private:
  /// Stores what is known for `row` at it, and sums after it.
  void emitStores(ElementBuilder &builder, Value row, ValueRange sums);

  const IRMapping &ports;
  SegmentOp segment;
  ExpansionOp expansion;
  SmallVector<ExpandOpInterface> rows;
  SmallVector<SumOpInterface> scans;
  SmallVector<CopyOp> rowCopies, scanCopies, totalCopies;
};

/// Where a thread's row of an expansion lies.
struct RowPlace {
  /// Whether it is a row of a request (i1). If not, what follows up to the
  /// totals is unspecified, but requests and rows are 0 or more.
  Value isRow;
  /// Its request, and the first row of that (index).
  Value request, first;
  /// Each scan's sum of the rows of the requests before that (i32).
  SmallVector<Value> before;
  /// Over all requests, for blocks that are not full of rows: the number of
  /// rows (index) and each scan's sum of them (i32).
  Value numRows;
  SmallVector<Value> totals;
};

/// Emits the search for the request of row `row` (index) of each thread of a
/// block, all before `end`. All threads must get here.
///
/// The block goes through the requests, one for each thread at a time, and
/// leaves in workgroup memory how many rows there are before each; a thread
/// whose row is among those finds its request there by bisection. It stops at
/// the first request past its rows. So no block waits for another, and one
/// that is given rows past the last sees all requests, and knows the totals.
RowPlace emitRowSearch(KernelBlock &block, RequestRows &expand, Value row,
                       Value end);

} // namespace nsa

#endif // NSA_LIB_CONVERSION_REQUESTROWS_H
