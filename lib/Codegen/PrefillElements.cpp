//===- PrefillElements.cpp - Elements of prefill values -------------------===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The meaning of the values of sparse prefill steps, as code. Arithmetic is on
// i32 and wraps, as values are only written; what becomes an address is an
// index of 64 bits, compared with the array's sizes.
//
//===----------------------------------------------------------------------===//

#include "Elements.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace nsa;

namespace {

/// 0, 1, ... `width` - 1.
Value emitLaneNumbers(ElementBuilder &builder, int64_t width) {
  auto type = VectorType::get(width, builder.b.getI32Type());
  auto numbers = llvm::to_vector(llvm::seq<int32_t>(0, width));
  return builder.apply<arith::ConstantOp>(
      DenseElementsAttr::get(type, ArrayRef<int32_t>(numbers)));
}

/// One element of an array, 0 past its end and unless `isValid`.
Value emitLoad(ElementBuilder &builder, Value port, ValueRange indices,
               Value isValid = {}) {
  return builder.extract(builder.load(port, indices, 1, isValid), 0);
}

//===----------------------------------------------------------------------===//
// Window
//===----------------------------------------------------------------------===//

/// For elements or vectors of them.
Value emitWindowLens(ElementBuilder &builder, Value lengths, Value extends,
                     int64_t window) {
  Value others = builder.i32(window - 1);
  if (auto type = dyn_cast<VectorType>(lengths.getType()))
    others = builder.splat(others, type.getDimSize(0));
  return builder.min(lengths, builder.add(extends, others));
}

struct WindowLensElements : ElementwiseOf<WindowLensElements, WindowLensOp> {
  Value emitFrom(ElementBuilder &builder, function_ref<Value(Value)> get) {
    return emitWindowLens(builder, get(getLengths()), get(getExtends()),
                          getWindow());
  }
};

struct WindowStartsElements
    : ElementwiseOf<WindowStartsElements, WindowStartsOp> {
  Value emitFrom(ElementBuilder &builder, function_ref<Value(Value)> get) {
    Value extends = get(getExtends());
    Value lengths = get(getLengths());
    return builder.sub(lengths,
                       emitWindowLens(builder, lengths, extends, getWindow()));
  }
};

struct TokenRangesElements : RequestElementsOf<TokenRangesOp> {
  Value emitBase(ElementBuilder &, Value) { return {}; }

  Value emitOfRequest(ElementBuilder &builder, Value request, Value,
                      Value number) {
    Value row = builder.toIndex(builder.element(getRows(), request));
    Value start = builder.toIndex(builder.element(getStarts(), request));
    Value position = builder.add(start, number);
    Value isToken = builder.both(
        builder.isInside(row, builder.dim(getReqToToken(), 0)),
        builder.isInside(position, builder.dim(getReqToToken(), 1)));
    return emitLoad(builder, getReqToToken(), {row, position}, isToken);
  }
};

struct LookupElements : ElementsOf<LookupOp> {
  Value emitElement(ElementBuilder &builder, ValueRange indices) {
    return emitLookup(builder, builder.element(getIndices(), indices));
  }

  Value emitElements(ElementBuilder &builder, ValueRange indices,
                     int64_t width) {
    Value numbers = builder.elements(getIndices(), indices, width);
    SmallVector<Value> lanes;
    for (int64_t i = 0; i < width; ++i)
      lanes.push_back(emitLookup(builder, builder.extract(numbers, i)));
    auto type = VectorType::get(width, builder.b.getI32Type());
    return builder.apply<vector::FromElementsOp>(type, lanes);
  }

private:
  Value emitLookup(ElementBuilder &builder, Value number) {
    Value index = builder.toIndex(number);
    Value isInside = builder.isInside(index, builder.dim(getTable(), 0));
    Value element = emitLoad(builder, getTable(), index, isInside);
    if (element.getType().isInteger(32))
      return element;
    return builder.apply<arith::TruncIOp>(builder.b.getI32Type(), element);
  }
};

//===----------------------------------------------------------------------===//
// Workspace
//===----------------------------------------------------------------------===//

struct CompressedBasesElements : ElementsOf<CompressedBasesOp> {
  Value emitElement(ElementBuilder &builder, ValueRange indices) {
    return builder.toI32(
        builder.mul(indices.front(), builder.lookup(getStride())));
  }
};

struct WindowBasesElements : ElementsOf<WindowBasesOp> {
  Value emitElement(ElementBuilder &builder, ValueRange indices) {
    return builder.add(builder.element(getOffsets(), indices),
                       builder.toI32(builder.lookup(getFirst())));
  }
};

struct QueryRowsElements : ElementsOf<QueryRowsOp> {
  Value emitElement(ElementBuilder &builder, ValueRange indices) {
    // Lanes past the last request have no offset to load.
    Value offset = builder.element(getQueryStartLoc(), builder.index(0));
    auto row = [&](Value request) {
      return builder.sub(emitLoad(builder, getQueryStartLoc(), request),
                         offset);
    };
    Value begin = row(indices.front());
    Value end = row(builder.add(indices.front(), builder.index(1)));
    Value result =
        getEnd() == QueryEnd::First ? begin : builder.sub(end, builder.i32(1));
    return builder.select(builder.less(begin, end), result, builder.i32(-1));
  }
};

struct CompressedIdsElements : VectorElementsOf<CompressedIdsOp> {
  Value emitElements(ElementBuilder &builder, ValueRange indices,
                     int64_t width) {
    // Columns of vectors are multiples of their width.
    if (getPageSize() != 1 && getPageSize() % width != 0)
      return builder.emitLanes(indices, width, [&](ValueRange lane) {
        return emitElement(builder, lane);
      });
    Value row = builder.toIndex(builder.element(getRows(), indices.front()));
    Value isRow = builder.isInside(row, builder.dim(getTable(), 0));
    Value zero = builder.splat(builder.i32(0), width);
    if (getPageSize() == 1) {
      Value ids = builder.load(getTable(), {row, indices.back()}, width, isRow);
      return builder.max(ids, zero);
    }
    Value pageSize = builder.index(getPageSize());
    Value column = builder.divUnsigned(indices.back(), pageSize);
    Value slot = builder.remUnsigned(indices.back(), pageSize);
    Value isPage = builder.both(
        isRow, builder.isInside(column, builder.dim(getTable(), 1)));
    Value page = emitLoad(builder, getTable(), {row, column}, isPage);
    page = builder.max(page, builder.i32(0));
    Value first = builder.add(builder.mul(page, builder.i32(getPageSize())),
                              builder.toI32(slot));
    Value ids = builder.add(builder.splat(first, width),
                            emitLaneNumbers(builder, width));
    return builder.select(isPage, ids, zero);
  }
};

//===----------------------------------------------------------------------===//
// Index combine
//===----------------------------------------------------------------------===//

/// What is known of a query (i32 but for the request, an index).
struct Query {
  Value request;
  Value length;
  /// Its position in the sequence plus 1.
  Value end;
  /// The number of its compressed rows and of its window rows.
  Value numCompressed, numWindow;
};

/// The last request whose first query is row `row` (i32) or before; 0 if there
/// is none. There are requests.
///
/// Requests from `range[0]` on, before `range[1]`, are left. One thread halves
/// the range; a team looks at a request for each thread, so that 32 threads
/// need one load for 32 requests, and two for 1,024.
Value emitRequestOf(ElementBuilder &builder, Value queryStartLoc, Value offset,
                    Value requests, Value row) {
  Value one = builder.index(1);
  auto isBefore = [&](Value request) {
    Value first = builder.sub(builder.element(queryStartLoc, request), offset);
    return builder.isAtMost(first, row);
  };
  auto halve = [&](Value begin, Value end) -> SmallVector<Value> {
    Value middle = builder.shiftRight(builder.add(begin, end), one);
    Value isUpper = isBefore(middle);
    return {builder.select(isUpper, middle, begin),
            builder.select(isUpper, end, middle)};
  };
  auto split = [&](Value begin, Value end) -> SmallVector<Value> {
    const Team &team = *builder.getTeam();
    Type i32 = builder.b.getI32Type();
    Value part = builder.ceilDivUnsigned(builder.sub(end, begin),
                                         builder.index(team.size));
    Value first = builder.add(begin, builder.mul(team.thread, part));
    Value count = builder.emitIf(
        i32, builder.less(first, end),
        [&] { return builder.apply<arith::ExtUIOp>(i32, isBefore(first)); },
        [&] { return builder.i32(0); });
    // Firsts do not decrease, so the parts that begin before the row come
    // first. Parts before the end are counted, so the last one of them is
    // before it, which the minimum says for all to see.
    count = builder.toIndex(team.emitSum(builder.b, count));
    Value last = builder.mul(builder.sub(builder.max(count, one), one), part);
    begin = builder.min(builder.add(begin, last), builder.sub(end, one));
    return {begin, builder.min(builder.add(begin, part), end)};
  };
  return builder
      .emitWhile(
          {builder.index(0), requests},
          [&](ValueRange range) {
            return builder.less(one, builder.sub(range[1], range[0]));
          },
          [&](ValueRange range) {
            return builder.getTeam() ? split(range[0], range[1])
                                     : halve(range[0], range[1]);
          })
      .front();
}

/// What is known of the query in row `row`, of `requests`, which are 1 or more.
template <typename CombineOp>
Query emitQueryOf(CombineOp op, ElementBuilder &builder, Value row,
                  Value requests) {
  Value queryStartLoc = op.getQueryStartLoc();
  // Whether it is a query is asked last, so that no load waits for the answer.
  Value offset = builder.element(queryStartLoc, builder.index(0));
  Value queries = builder.sub(builder.element(queryStartLoc, requests), offset);
  Value rowI32 = builder.toI32(row);
  Query query;
  query.request =
      emitRequestOf(builder, queryStartLoc, offset, requests, rowI32);
  query.length = builder.element(op.getLengths(), query.request);
  if (Value queryPos = op.getQueryPos()) {
    // The row may be one past the result, which a vector's lanes are.
    Value isRow = builder.isInside(row, builder.dim(queryPos, 0));
    query.end =
        builder.add(emitLoad(builder, queryPos, row, isRow), builder.i32(1));
  } else {
    // length - (next - first) + (row - (first - offset)) + 1
    Value next = builder.element(queryStartLoc,
                                 builder.add(query.request, builder.index(1)));
    Value after = builder.sub(builder.sub(next, offset), rowI32);
    query.end = builder.add(builder.sub(query.length, after), builder.i32(1));
  }
  Value seen = builder.max(query.end, builder.i32(0));
  seen = builder.toIndex(
      builder.select(builder.less(rowI32, queries), seen, builder.i32(0)));
  Value topk = builder.size(op.getMixedTopk());
  // Launchers see to it that a port is 0 or more.
  if (op.getTopk() && !isa<BlockArgument>(op.getTopk()))
    topk = builder.max(topk, builder.index(0));
  query.numCompressed = builder.toI32(builder.min(
      builder.divUnsigned(seen, builder.index(op.getRatio())), topk));
  query.numWindow =
      builder.toI32(builder.min(seen, builder.index(op.getWindow())));
  return query;
}

/// Emits `body` for the query in row `row`, which returns `numResults` i32. A
/// row that is no query has no rows to attend to; without requests, all are 0.
template <typename CombineOp>
SmallVector<Value>
emitQuery(CombineOp op, ElementBuilder &builder, Value row, size_t numResults,
          function_ref<SmallVector<Value>(const Query &)> body) {
  Value requests =
      builder.sub(builder.dim(op.getQueryStartLoc(), 0), builder.index(1));
  SmallVector<Type> types(numResults, builder.b.getI32Type());
  return builder.emitIf(
      types, builder.less(builder.index(0), requests),
      [&] { return body(emitQueryOf(op, builder, row, requests)); },
      [&] { return SmallVector<Value>(numResults, builder.i32(0)); });
}

struct CombineLensElements : ElementsOf<CombineLensOp> {
  Value emitElement(ElementBuilder &builder, ValueRange indices) {
    auto sum = [&](const Query &query) -> SmallVector<Value> {
      return {builder.add(query.numCompressed, query.numWindow)};
    };
    return emitQuery(*this, builder, indices.front(), 1, sum).front();
  }
};

struct CombineIndicesElements : VectorElementsOf<CombineIndicesOp> {
  /// Where compressed rows end, where window rows end, and what is to be added
  /// to a compressed row and to the column of a window row.
  SmallVector<Value> emitRow(ElementBuilder &builder, Value row) {
    return emitQuery(
        *this, builder, row, 4, [&](const Query &query) -> SmallVector<Value> {
          Value end = builder.add(query.numCompressed, query.numWindow);
          Value compressedBase =
              builder.element(getCompressedBases(), query.request);
          Value windowBase = builder.element(getWindowBases(), query.request);
          Value gathered = builder.element(getGathers(), query.request);
          // window_bases + (pos - w + 1) - (length - gathered) - k
          Value first =
              builder.sub(query.end, builder.sub(query.length, gathered));
          first = builder.sub(builder.add(windowBase, first), end);
          return {query.numCompressed, end, compressedBase, first};
        });
  }

  Value emitElements(ElementBuilder &builder, ValueRange indices,
                     int64_t width) {
    SmallVector<Value> shared = builder.rowValues(*this, indices.front());
    Value numCompressed = shared[0];
    auto splat = [&](Value value) { return builder.splat(value, width); };
    Value column = builder.toI32(indices.back());
    Value lanes = builder.add(splat(column), emitLaneNumbers(builder, width));
    Value none = splat(builder.i32(-1));
    Value result = builder.select(builder.less(lanes, splat(shared[1])),
                                  builder.add(lanes, splat(shared[3])), none);
    if (getConstantIntValue(getMixedTopk()) == 0)
      return result;

    Value compressed = builder.add(lanes, splat(shared[2]));
    if (getTopkIndices()) {
      Value topk = builder.load(getTopkIndices(), indices, width,
                                builder.less(column, numCompressed));
      Value isNone = builder.less(topk, splat(builder.i32(0)));
      compressed =
          builder.select(isNone, none, builder.add(topk, splat(shared[2])));
    }
    return builder.select(builder.less(lanes, splat(numCompressed)), compressed,
                          result);
  }
};

} // namespace

void nsa::attachPrefillElements(MLIRContext &context) {
  attach<WindowLensElements, WindowStartsElements, TokenRangesElements,
         LookupElements, CompressedBasesElements, WindowBasesElements,
         QueryRowsElements, CompressedIdsElements, CombineLensElements,
         CombineIndicesElements>(context);
}
