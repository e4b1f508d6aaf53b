//===- NSAPrefillOps.td - Values of sparse prefill steps ----*- tablegen -*-===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// What a prefill chunk needs before `flash_mla_sparse_fwd`: which cached tokens
// to gather into a workspace, where each request's begin there, and for each
// query which rows of the workspace it attends to.
//
//===----------------------------------------------------------------------===//

#ifndef NSA_IR_NSAPREFILLOPS_TD
#define NSA_IR_NSAPREFILLOPS_TD

include "nsa/IR/NSAOpBase.td"

//===----------------------------------------------------------------------===//
// Window
//===----------------------------------------------------------------------===//

def NSA_WindowLensOp : NSA_ValueOp<"window_lens", NSA_Vector, "Each", [
    NSA_AsManyAs<"getLengths">, NSA_AllLive, NSA_PlainVectors
  ]> {
  let summary = "How many tokens the windows of a request's queries span";
  let description = [{
    `result[b] = min(lengths[b], extends[b] + window - 1)`, wrapping: the last
    `extends[b]` of `lengths[b]` tokens are queries, and each attends to itself
    and the `window - 1` tokens before it.

    Example:

    ```mlir
    %gather = nsa.window_lens %len, %extend window 128 : tensor<?xi32>, tensor<?xi32>
    ```

    Constraints:

    - (C1) `window` is 1 or more.
    - (C2) `lengths` and `extends` have an element for each request, and as many:
      the same extent or static size.
  }];
  let arguments = (ins NSA_Vector:$lengths, NSA_Vector:$extends,
                       ConfinedAttr<I32Attr, [IntPositive]>:$window);
  let assemblyFormat = [{
    $lengths `,` $extends `window` $window attr-dict `:` type($lengths) `,`
    type($extends)
  }];
}

def NSA_WindowStartsOp : NSA_ValueOp<"window_starts", NSA_Vector, "Each", [
    NSA_AsManyAs<"getLengths">, NSA_AllLive, NSA_PlainVectors
  ]> {
  let summary = "The first token that the windows of a request's queries span";
  let description = [{
    `result[b] = lengths[b] - min(lengths[b], extends[b] + window - 1)`,
    wrapping: a position in the sequence. See `nsa.window_lens`.

    Example:

    ```mlir
    %first = nsa.window_starts %len, %extend window 128 : tensor<?xi32>, tensor<?xi32>
    ```

    Constraints:

    - (C1) `window` is 1 or more.
    - (C2) `lengths` and `extends` have an element for each request, and as many:
      the same extent or static size.
  }];
  let arguments = (ins NSA_Vector:$lengths, NSA_Vector:$extends,
                       ConfinedAttr<I32Attr, [IntPositive]>:$window);
  let assemblyFormat = [{
    $lengths `,` $extends `window` $window attr-dict `:` type($lengths) `,`
    type($extends)
  }];
}

def NSA_TokenRangesOp : NSA_ValueOp<"token_ranges", NSA_Vector, "Expand", [
    NSA_AllLive, NSA_PlainVectors, NSA_Expanded,
    NSA_RowsOf<"getRows">,
    NSA_Sizes<[{getExpandedRows(adaptor.getExpansion(),
                         Size::of(adaptor.getRows(), 0))}]>
  ]> {
  let summary = "A range of each request's tokens, one request after the other";
  let description = [{
    Row `i` of request `b` of the expansion is
    `req_to_token[rows[b], starts[b] + i]`, and 0 where that is outside of
    `req_to_token`.

    Example:

    ```mlir
    %windows = nsa.expansion by %gather within %bound : tensor<?xi32>
    %tokens = nsa.token_ranges %req_to_token[%pool] from %first over %windows
        : tensor<?x?xi32>, tensor<?xi64>, tensor<?xi32> -> tensor<?xi32>
    ```

    Constraints:

    - (C1) `rows` and `starts` have an element for each request.
    - (C2) `starts`, and the array of an expansion by an array, have as many
      elements as `rows`: the same extent or static size.
    - (C3) `req_to_token` is an `in` port.
  }];
  let arguments = (ins NSA_Table:$req_to_token, NSA_Index1D:$rows,
                       NSA_Vector:$starts, NSA_ExpansionType:$expansion);
  let assemblyFormat = [{
    $req_to_token `[` $rows `]` `from` $starts `over` $expansion attr-dict `:`
    type($req_to_token) `,` type($rows) `,` type($starts) `->` type($result)
  }];
}

def NSA_LookupOp : NSA_ValueOp<"lookup", NSA_Vector, "Each", [
    NSA_AsManyAs<"getIndices">, NSA_AllLive, NSA_PlainVectors
  ]> {
  let summary = "Elements of an array at given indices";
  let description = [{
    `result[i] = int32(table[indices[i]])`, and 0 where `indices[i]` is negative
    or past the end of `table`. `int32` keeps the low 32 bits.

    Example:

    ```mlir
    %ids = nsa.lookup %full_to_swa[%tokens] : tensor<?xi64>, tensor<?xi32>
    ```

    Constraints:

    - (C1) `table` is an `in` port.
  }];
  let arguments = (ins NSA_Index1D:$table, NSA_Vector:$indices);
  let assemblyFormat = [{
    $table `[` $indices `]` attr-dict `:` type($table) `,` type($indices)
  }];
}

//===----------------------------------------------------------------------===//
// Workspace
//===----------------------------------------------------------------------===//

def NSA_CompressedBasesOp : NSA_ValueOp<"compressed_bases", NSA_Vector, "Each", [
    NSA_Sizes<"Size::of(adaptor.getRequests())">, NSA_AnyInputs, NSA_AllLive, NSA_PlainVectors
  ]> {
  let summary = "Where each request's compressed rows begin in the workspace";
  let description = [{
    `result[b] = b * stride`, low 32 bits: the workspace begins with `stride` rows
    for each of `requests` requests.

    Example:

    ```mlir
    %bases = nsa.compressed_bases %bs stride %c_max : tensor<?xi32>
    ```
  }];
  let arguments = (ins Index:$requests, Index:$stride);
  let assemblyFormat = [{
    $requests `stride` $stride attr-dict `:` type($result)
  }];
}

def NSA_WindowBasesOp : NSA_ValueOp<"window_bases", NSA_Vector, "Each", [
    NSA_Sizes<"Size::of(adaptor.getOffsets(), 0) + -1">, NSA_AllLive, NSA_PlainVectors
  ]> {
  let summary = "Where each request's window rows begin in the workspace";
  let description = [{
    `result[b] = first + offsets[b]`, low 32 bits: window rows of all requests
    come one request after the other, from row `first` of the workspace on. The
    result has one element less than `offsets`, an `nsa.cu_seqlens`.

    Example:

    ```mlir
    %offsets = nsa.cu_seqlens %gather : tensor<?xi32> -> tensor<?xi32>
    %bases = nsa.window_bases %offsets from %rows : tensor<?xi32> -> tensor<?xi32>
    ```

    Constraints:

    - (C1) `offsets` is an `nsa.cu_seqlens` of an array with an element for each
      request.
  }];
  let arguments = (ins NSA_Vector:$offsets, Index:$first);
  let assemblyFormat = [{
    $offsets `from` $first attr-dict `:` type($offsets) `->` type($result)
  }];
}

def NSA_First : I32EnumAttrCase<"First", 0, "first">;
def NSA_Last : I32EnumAttrCase<"Last", 1, "last">;
def NSA_QueryEnd : I32EnumAttr<"QueryEnd", "an end of a request's queries",
                               [NSA_First, NSA_Last]> {
  let cppNamespace = "::nsa";
}

def NSA_QueryRowsOp : NSA_ValueOp<"query_rows", NSA_Vector, "Each", [
    NSA_Sizes<"Size::of(adaptor.getQueryStartLoc(), 0) + -1">, NSA_AllLive, NSA_PlainVectors
  ]> {
  let summary = "The row of each request's first or last query";
  let description = [{
    Queries of all requests are rows, one request after the other, and
    `query_start_loc` has the row of each request's first query and the number of
    rows, both plus a constant: the rows of a chunk of a longer batch are those
    less `query_start_loc[0]`. The result has one element less; it is -1 for a
    request without queries.

    Example:

    ```mlir
    %last = nsa.query_rows last %query_start_loc : tensor<?xi32> -> tensor<?xi32>
    ```

    Constraints:

    - (C1) `query_start_loc` is an `in` port with an extent of `%n + 1` elements
      or more, or with a static size of 1 or more.
  }];
  let arguments = (ins NSA_QueryEnd:$end, NSA_Vector:$query_start_loc);
  let assemblyFormat = [{
    $end $query_start_loc attr-dict `:` type($query_start_loc) `->`
    type($result)
  }];
}

def NSA_CompressedIdsOp : NSA_ValueOp<"compressed_ids", NSA_Table, "Each", [
    NSA_AllLive, NSA_PlainVectors,
    NSA_Sizes<[{Size::of(adaptor.getRows(), 0),
         Size::of(adaptor.getColumns())}]>
  ]> {
  let summary = "The ids of each request's compressed tokens";
  let description = [{
    `result[b, j] = max(0, table[rows[b], j div page_size]) * page_size + j mod
    page_size`, and 0 where that is outside of `table`. A page of one token makes
    it a gather of token ids.

    Example:

    ```mlir
    %ids = nsa.compressed_ids %page_table[%first] columns %c_max page_size 64
        : tensor<?x?xi32>, tensor<?xi32> -> tensor<?x?xi32>
    ```

    Constraints:

    - (C1) `table` is an `in` port.
    - (C2) `rows` has an element for each request.
  }];
  let arguments = (ins NSA_Table:$table, NSA_Vector:$rows, Index:$columns,
                       ConfinedAttr<I32Attr, [IntPositive]>:$page_size);
  let assemblyFormat = [{
    $table `[` $rows `]` `columns` $columns `page_size` $page_size attr-dict `:`
    type($table) `,` type($rows) `->` type($result)
  }];
}

//===----------------------------------------------------------------------===//
// Index combine
//===----------------------------------------------------------------------===//

// The most compressed rows of a query, as a constant or a value.
defvar NSA_MixedTopk = [{
  ::mlir::OpFoldResult getMixedTopk() {
    if (::mlir::Value topk = getTopk())
      return topk;
    return ::mlir::Builder(getContext()).getIndexAttr(*getStaticTopk());
  }
}];

def NSA_CombineIndicesOp : NSA_ValueOp<"combine_indices", NSA_Table, "Row", [
    NSA_AllLive, NSA_PlainVectors, AttrSizedOperandSegments
  ]> {
  let summary = "The workspace rows that each query attends to";
  let description = [{
    Row `t` of the result is what query `t` attends to: `k` compressed rows, then
    `w` window rows, then -1 up to a width of `topk + window` rounded up to 128.
    With `b` the request of query `t`, `Q` its number of queries and `first` its
    first row (see `nsa.query_rows`):

    ```
    pos = lengths[b] - Q + (t - first)
    k = clamp((pos + 1) div ratio, 0, topk)
    w = clamp(pos + 1, 0, window)

    result[t, j] = topk_indices[t, j] + compressed_bases[b]       j < k
                   (-1 where topk_indices[t, j] is negative)
                 = window_bases[b] + (pos - w + 1)
                   - (lengths[b] - gathers[b]) + (j - k)          k <= j < k + w
                 = -1                                             k + w <= j
    ```

    in 32 bits, wrapping. A `topk` that is computed and negative counts as 0 there;
    the width follows from it as it is. Without `topk_indices`, which is the form for layers
    without an indexer, `topk_indices[t, j]` is `j`. With a `topk` of 0 there are
    window rows only. Rows past the last request's queries are -1.

    With `positions`, `pos` is `query_pos[t]` instead: the rows of a request are
    then any of its queries in any order, as where ranks share out a chunk.

    `window_bases` may be computed by `nsa.window_bases` in the same step: a row
    then adds up the windows of the requests before its own.

    Example:

    ```mlir
    %idx = nsa.combine_indices topk %topk of %topk_indices : tensor<?x?xi32>
        queries %queries at %query_start_loc lengths %len gathers %gather
        bases %compressed_bases, %window_bases ratio 4 window 128
        : tensor<?xi32>, tensor<?xi32>, tensor<?xi32>, tensor<?xi32>, tensor<?xi32>
        -> tensor<?x?xi32>
    ```

    Constraints:

    - (C1) `ratio` and `window` are 1 or more; a constant `topk` is an int32, 0 or
      more.
    - (C2) `query_start_loc` is as in `nsa.query_rows`.
    - (C3) `lengths`, `gathers` and `compressed_bases` have an element for each
      request, `window_bases` too, or it is an `nsa.window_bases`. They have one
      element less than `query_start_loc`.
    - (C4) `topk_indices` is an `in` port; the launcher checks that it has
      `queries` rows and `topk` columns.
    - (C5) `query_pos` is an `in` port with an extent of `queries`.
  }];
  let arguments = (ins Optional<Index>:$topk,
                       OptionalAttr<I64Attr>:$static_topk,
                       Optional<NSA_Table>:$topk_indices, Index:$queries,
                       NSA_Vector:$query_start_loc,
                       Optional<NSA_Vector>:$query_pos, NSA_Vector:$lengths,
                       NSA_Vector:$gathers, NSA_Vector:$compressed_bases,
                       NSA_Vector:$window_bases,
                       ConfinedAttr<I32Attr, [IntPositive]>:$ratio,
                       ConfinedAttr<I32Attr, [IntPositive]>:$window);
  let assemblyFormat = [{
    `topk` custom<SizeOrConstant>($topk, $static_topk)
    (`of` $topk_indices^ `:` type($topk_indices))? `queries` $queries
    `at` $query_start_loc (`positions` $query_pos^ `:` type($query_pos))?
    `lengths` $lengths `gathers` $gathers
    `bases` $compressed_bases `,` $window_bases
    `ratio` $ratio `window` $window attr-dict `:`
    type($query_start_loc) `,` type($lengths) `,` type($gathers) `,`
    type($compressed_bases) `,` type($window_bases) `->` type($result)
  }];
  let hasVerifier = 1;
  let extraClassDeclaration = NSA_MixedTopk;
}

def NSA_CombineLensOp : NSA_ValueOp<"combine_lens", NSA_Vector, "Each", [
    NSA_Sizes<"Size::of(adaptor.getQueries())">, NSA_AllLive, NSA_OneAtATime, AttrSizedOperandSegments
  ]> {
  let summary = "How many workspace rows each query attends to";
  let description = [{
    `result[t] = k + w` of `nsa.combine_indices`, and 0 past the last request's
    queries.

    Example:

    ```mlir
    %lens = nsa.combine_lens topk %topk queries %queries at %query_start_loc
        lengths %len ratio 4 window 128
        : tensor<?xi32>, tensor<?xi32> -> tensor<?xi32>
    ```

    Constraints:

    - (C1) `ratio` and `window` are 1 or more; a constant `topk` is an int32, 0 or
      more.
    - (C2) `query_start_loc` is as in `nsa.query_rows`.
    - (C3) `lengths` has an element for each request, one less than
      `query_start_loc`.
    - (C4) `query_pos` is an `in` port with an extent of `queries`.
  }];
  let arguments = (ins Optional<Index>:$topk,
                       OptionalAttr<I64Attr>:$static_topk, Index:$queries,
                       NSA_Vector:$query_start_loc,
                       Optional<NSA_Vector>:$query_pos, NSA_Vector:$lengths,
                       ConfinedAttr<I32Attr, [IntPositive]>:$ratio,
                       ConfinedAttr<I32Attr, [IntPositive]>:$window);
  let assemblyFormat = [{
    `topk` custom<SizeOrConstant>($topk, $static_topk) `queries` $queries
    `at` $query_start_loc (`positions` $query_pos^ `:` type($query_pos))?
    `lengths` $lengths `ratio` $ratio `window` $window
    attr-dict `:` type($query_start_loc) `,` type($lengths) `->` type($result)
  }];
  let hasVerifier = 1;
  let extraClassDeclaration = NSA_MixedTopk;
}

#endif // NSA_IR_NSAPREFILLOPS_TD
