//===- NSAOps.td - Operations of the nsa dialect -----------*- tablegen -*-===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef NSA_IR_NSAOPS_TD
#define NSA_IR_NSAOPS_TD

include "nsa/IR/NSAOpBase.td"
include "nsa/IR/NSAMapOps.td"
include "nsa/IR/NSAPrefillOps.td"

//===----------------------------------------------------------------------===//
// Steps
//===----------------------------------------------------------------------===//

def NSA_StepOp : NSA_Op<"step", [
    AffineScope, IsolatedFromAbove, NoTerminator, SingleBlock, Symbol,
    DeclareOpInterfaceMethods<OpAsmOpInterface, ["getAsmBlockArgumentNames"]>
  ]> {
  let summary = "A metadata step with named ports";
  let description = [{
    A step is what an engine calls once per decode: it reads its `in` ports and
    writes its `out` ports. Port names are the argument names of the generated
    header, manifest and Python function.

    ```
    step ::= `nsa.step` @name `(` port (`,` port)* `)` attr-dict? region
    port ::= (`in` | `out` `optional`? | `inout`) %name
             (`[` extent (`,` extent)* `]`)? `:` type dictionary-attribute?
    extent ::= %size-port (`+` integer)? | `?`
    ```

    An `in` port is an `index`, a size that the host knows at launch, or a
    tensor, an immutable array in device memory. The array behind a 1-D tensor
    may have any stride, that behind a 2-D tensor any row stride and an inner
    stride of 1. An extent `[%bs]` says that the port is the first `%bs`
    elements of its array, `[%bs + 1]` one more; without one it is the whole
    array. An `out` port is
    a memref; its type says which layouts it accepts, with MLIR's meaning:
    `memref<?xi32>` is contiguous, `memref<?xi32, strided<[?]>>` has any stride.

    An array behind an `out optional` port may be missing: a null pointer, or an
    argument that is not given. Nothing is written there, and where all
    destinations of a segment are missing, its blocks are not launched; so one
    kernel serves every subset of fields and backends.

    An `inout` port is an `out` port that the value which is stored there may
    read: a map reads the port at its own indices, and is stored there and
    nowhere else. So each element is read and written by one thread, and what a
    counter or a stamp was before the step is what its new element is computed
    from. Any other read could come before or after a store, and is refused;
    but what one launch stores the next one reads, as sums (`nsa.scan`).

    What is known of the array behind a port specialises the kernels, and the
    host checks it: `{alignment = 16}` is a number of bytes that divides the
    base address; `{layout = strided<[4096, 1]>}` states the strides behind an
    `in` port, as the type does for an `out` port.

    `in %bs : index {expected = 131072}` says how large a size is to be expected.
    Any other is right as well; kernels are made for this one: sums that formulas
    read of that many elements take a second launch (`nsa-store-sums`).

    A port may also be a whole set of metadata fields: `!nsa.metadata` is one
    that is read, `!nsa.metadata_ref` one that is written.
    `nsa-expand-metadata-sets` turns `%b0` into `%b0_cache_seqlens`,
    `%b0_page_table_1` and so on. The extents of an `in` set are its sizes:
    `[%bs, %max_len]` in decode, else
    `[%bs, %max_seqlen_k, %seqlens_expanded_size]`.

    With `attributes {guards}`, kernels check the indices of every access
    against the array's sizes. A wrong load gives 0, a wrong store does nothing,
    and both are recorded for whoever asks (docs/Safety.md, "Guards"). Kernels
    need no guards to stay inside of their arrays; guards are how tests show it.

    With `attributes {pdl}`, kernels begin while the kernel before them in the
    stream still runs (programmatic dependent launch, from sm_90 on), and wait
    for its end before they touch an array. They let the kernel after them begin
    as early: one that is launched so has to wait, too, before it reads.

    Example:

    ```mlir
    nsa.step @lengths(in %bs : index, in %seq_lens[%bs] : tensor<?xi64>,
                      out %cache_seqlens : memref<?xi32>) {
      %len = nsa.seqlens %seq_lens plus 1 : tensor<?xi64> -> tensor<?xi32>
      nsa.copy %len to %cache_seqlens : tensor<?xi32> to memref<?xi32>
    }
    ```

    Constraints:

    - (C1) The step and its ports have names that are C identifiers, and free
      wherever they land: in C and C++ (keywords, macros, what generated
      headers share), a step's in PTX and beside the headers of the system
      (`NAME.h`), a port's in calls from Python. No two ports have the same.
    - (C2) An `in` port is an `index`, a set, or a tensor of rank 1 or 2 of
      `i8`, `i16`, `i32`, `i64`, `bf16` or `f32`.
    - (C3) An `out` port is a set or a memref of rank 1 or 2 of `i8`, `i16`,
      `i32`, `i64`, `bf16` or `f32`, in the default memory space, with a strided layout without
      offset, strides that are positive or dynamic, and an inner stride of 1 if
      its rank is 2.
    - (C4) Extents, one for each dimension, stand on tensors; each names an
      `index` port, adds a constant of 0 or more, and belongs to a dynamic
      dimension. On an `in` set stand all of its sizes.
    - (C5) Every `out` port is the destination of one copy.
    - (C6) The body holds copies, launches, value operations of this dialect,
      and sizes that a launcher can compute: constants, `tensor.dim` of a port by
      a constant, and `affine.apply` of sizes, which divides by constants of 1 or
      more.
    - (C8) Values and sizes come before their uses, and at most 256 are computed
      one from the other.
    - (C7) An `alignment` is a power of 2, at least the element's size, and
      stands on an array; a `layout` stands on a tensor, has a stride for each
      dimension, positive or dynamic, an inner one of 1 if the rank is 2, and no
      offset.
    - (C9) `optional` ports are written.
    - (C10) An `inout` port is a memref and not `optional`.
    - (C11) An array that is written is read if it is `inout`, by an `nsa.map` at its own
      indices, whose only use is a copy to this port alone, without `at`.
    - (C12) Stored sums of an `nsa.scan` are an `inout` port that an
      `nsa.tile_sums` is copied to, all of it, in a launch before.
    - (C13) What is `expected` stands on an `index` port and is from 0 to 2^31-1.
  }];

  // port_values[p] numbers the values that are copied to `out` ports, once
  // launches are formed: equal for ports that get the same value, which may
  // share an array. -1 for other ports.
  // extents[p][d] is the number of the port that gives the size of dimension d
  // of port p, or -1. Empty for a port without extents. extent_offsets, of the
  // same form, has what is added; port_attrs what is known of the arrays. Both
  // are missing where there is nothing to say.
  let arguments = (ins SymbolNameAttr:$sym_name, StrArrayAttr:$port_names,
                       TypedArrayAttrBase<DenseI64ArrayAttr, "extents">:$extents,
                       OptionalAttr<TypedArrayAttrBase<
                           DenseI64ArrayAttr, "offsets">>:$extent_offsets,
                       OptionalAttr<DictArrayAttr>:$port_attrs,
                       UnitAttr:$guards, UnitAttr:$pdl,
                       OptionalAttr<DenseI64ArrayAttr>:$port_values);
  let regions = (region SizedRegion<1>:$body);
  let hasCustomAssemblyFormat = 1;
  let hasVerifier = 1;
  let hasRegionVerifier = 1;

  let extraClassDeclaration = [{
    /// The step that `port` is a port of.
    static StepOp of(::mlir::Value port) {
      return ::llvm::cast<StepOp>(port.getParentBlock()->getParentOp());
    }
    static ::llvm::StringRef getPortName(::mlir::Value port);
    /// The `index` port that gives the size of dimension `dim` of `port`, or
    /// null if the whole array is used.
    static ::mlir::BlockArgument getExtent(::mlir::Value port, unsigned dim);
    /// What is added to `getExtent`.
    static int64_t getExtentOffset(::mlir::Value port, unsigned dim);
    /// Bytes that divide the base address of the array behind `port`; at least
    /// the size of an element.
    static int64_t getAlignment(::mlir::Value port);
    /// The layout that an `in` port states, or null.
    static ::mlir::StridedLayoutAttr getLayout(::mlir::Value port);
    /// How large the size `port` is expected to be, if the text says so.
    static std::optional<int64_t> getExpected(::mlir::Value port);
    /// What is said of the ports beside their types.
    ::llvm::SmallVector<::nsa::Port> getPorts();
    void setPorts(::llvm::ArrayRef<::nsa::Port> ports) {
      setPorts(getProperties(), getContext(), ports);
    }
    static void setPorts(Properties &properties, ::mlir::MLIRContext *context,
                         ::llvm::ArrayRef<::nsa::Port> ports);
    /// Adds an `inout` port, named `name` or, if that is taken, with a number.
    ::mlir::BlockArgument addInOutPort(::llvm::StringRef name,
                                       ::mlir::MemRefType type,
                                       ::mlir::Location loc);
    /// Whether the array behind `port` may be missing.
    static bool isOptional(::mlir::Value port);
    /// Whether what is written to `port` may be computed from what was there.
    static bool isInOut(::mlir::Value port);
    /// Whether port `lhs` stands before port `rhs`.
    static bool isBefore(::mlir::Value lhs, ::mlir::Value rhs) {
      return ::llvm::cast<::mlir::BlockArgument>(lhs).getArgNumber() <
             ::llvm::cast<::mlir::BlockArgument>(rhs).getArgNumber();
    }
    /// Whether a port of this type is written.
    static bool isOut(::mlir::Type type) {
      return ::llvm::isa<::mlir::MemRefType, MetadataRefType>(type);
    }
    /// Checks what all copies require of their destinations: that there is one,
    /// that all are `out` ports of this step, and that none stands twice (C1 and
    /// C2 of the copies).
    bool expectDestinations(::mlir::Operation *copy,
                            ::mlir::ValueRange destinations);
    /// The launches, in order. Empty before launches are formed.
    auto getLaunches() { return getBody().getOps<LaunchOp>(); }
  }];
}

//===----------------------------------------------------------------------===//
// Values
//===----------------------------------------------------------------------===//

def NSA_SeqlensOp : NSA_ValueOp<"seqlens", NSA_Vector, "Each", [
    NSA_AsManyAs<"getSource">, NSA_AnyInputs, NSA_AllLive, NSA_PlainVectors,
    NSA_Named
  ]> {
  let summary = "Sequence lengths as int32, plus a constant";
  let description = [{
    `result[b] = int32(source[b]) + plus`, where `int32` keeps the low 32 bits
    and the sum wraps. `plus` is the number of draft tokens that a
    target-verify step appends; in decode it is 0.

    Example:

    ```mlir
    %len = nsa.seqlens %seq_lens plus 0 : tensor<?xi64> -> tensor<?xi32>
    ```

    Constraints:

    - (C1) `result` has the shape of `source` and elements of type `i32`.
  }];
  let arguments = (ins NSA_Index1D:$source, I32Attr:$plus);
  let assemblyFormat = [{
    $source `plus` $plus attr-dict `:` type($source) `->` type($result)
  }];
  let hasFolder = 1;
}

def NSA_ClipSeqlensOp : NSA_ValueOp<"clip_seqlens", NSA_Vector, "Each", [
    NSA_AsManyAs<"getSource">, NSA_AnyInputs, NSA_AllLive, NSA_PlainVectors,
    NSA_Named, NSA_RequestSum
  ]> {
  let summary = "Lengths clipped to the indexer's top-k";
  let description = [{
    `result[r] = min(source[r], limit)`, signed.

    Example:

    ```mlir
    %clip = nsa.clip_seqlens %len to 2048 : tensor<?xi32>
    ```

    Constraints:

    - (C1) `limit` is 0 or more.
  }];
  let arguments = (ins NSA_Vector:$source,
                       ConfinedAttr<I32Attr, [IntNonNegative]>:$limit);
  let assemblyFormat = "$source `to` $limit attr-dict `:` type($source)";
  let hasFolder = 1;
}

def NSA_CuSeqlensOp : NSA_ValueOp<"cu_seqlens", NSA_Vector, "Scan", [
    NSA_Sizes<"Size::of(adaptor.getSource(), 0) + 1">, NSA_AllLive, NSA_PlainVectors, NSA_Named, NSA_Sum
  ]> {
  let summary = "Cumulative sequence lengths";
  let description = [{
    `result[0] = 0`, `result[b + 1] = result[b] + source[b]`; sums wrap. The
    result has one element more than `source`, also when `source` is empty.

    Example:

    ```mlir
    %cu = nsa.cu_seqlens %len : tensor<?xi32> -> tensor<?xi32>
    ```

    Constraints:

    - (C1) A static size of `result` is that of `source` plus 1.
    - (C2) `source` does not depend on another `nsa.cu_seqlens`.
  }];
  let arguments = (ins NSA_Vector:$source);
  let assemblyFormat = "$source attr-dict `:` type($source) `->` type($result)";
}

def NSA_PageTableOp : NSA_ValueOp<"page_table", NSA_Table, "Each", [
    NSA_PlainVectors, NSA_Named, AttrSizedOperandSegments
  ]> {
  let summary = "Each request's row of the token table";
  let description = [{
    `result[b, c] = req_to_token[rows[b], c]`, and 0 where `rows[b]` is not a
    row or `c` not a column of `req_to_token`. (Slot 0 is the engines' padding
    slot.) The number of columns is an `index` value, or a constant, which then
    is part of the type.

    With `live %len`, columns from `len[b]` on are unspecified, and a copy may
    leave what is there: nobody reads past a request's length.

    Example:

    ```mlir
    %tab = nsa.page_table %req_to_token[%pool] columns %max_len
        : tensor<?x?xi32>, tensor<?xi64> -> tensor<?x?xi32>
    %fix = nsa.page_table %req_to_token[%pool] columns 4096
        : tensor<?x?xi32>, tensor<?xi64> -> tensor<?x4096xi32>
    ```

    Constraints:

    - (C1) `result` has as many rows as `rows` has elements, and the columns
      given.
    - (C2) A constant number of columns is 0 or more.
    - (C3) `rows` and `live` depend neither on an `nsa.cu_seqlens` nor on an
      `nsa.expansion`.
    - (C4) `live` has as many elements as `rows`: the same extent or static size.
    - (C5) `req_to_token` is an `in` port.
  }];
  let arguments = (ins NSA_Table:$req_to_token, NSA_Index1D:$rows,
                       Optional<Index>:$columns,
                       OptionalAttr<I64Attr>:$static_columns,
                       Optional<NSA_Vector>:$live);
  let assemblyFormat = [{
    $req_to_token `[` $rows `]` `columns`
    custom<SizeOrConstant>($columns, $static_columns)
    (`live` $live^ `:` type($live))? attr-dict `:`
    type($req_to_token) `,` type($rows) `->` type($result)
  }];
  let hasVerifier = 1;
}

def NSA_RealPageTableOp : NSA_ValueOp<"real_page_table", NSA_Table, "Each", [
    NSA_PlainVectors, NSA_Named, NSA_Pick,
    NSA_Sizes<[{Size::of(adaptor.getSource(), 0),
         Size::of(adaptor.getSource(), 1).ceilDiv(adaptor.getPageSize())}]>
  ]> {
  let summary = "A page table in units of pages";
  let description = [{
    `result[r, j] = source[r, j * page_size] div page_size`, rounded towards
    minus infinity, for `j < ceil(columns / page_size)`.

    Example:

    ```mlir
    %real = nsa.real_page_table %tab page_size 64
        : tensor<?x?xi32> -> tensor<?x?xi32>
    ```

    Constraints:

    - (C1) `page_size` is 1 or more.
    - (C2) `result` has the rows of `source`, and its columns divided by
      `page_size` and rounded up.
    - (C3) A page has 2^31-1 tokens or less, also where `source` is in pages
      itself.
  }];
  let arguments = (ins NSA_Table:$source,
                       ConfinedAttr<I32Attr, [IntPositive]>:$page_size);
  let assemblyFormat = [{
    $source `page_size` $page_size attr-dict `:` type($source) `->` type($result)
  }];
  let hasFolder = 1;
  let hasCanonicalizeMethod = 1;
}

//===----------------------------------------------------------------------===//
// Expansion
//===----------------------------------------------------------------------===//

def NSA_ExpansionOp : NSA_Op<"expansion", [
    AttrSizedOperandSegments, DeclareOpInterfaceMethods<NSA_InputOpInterface>,
    ParentOneOf<["StepOp", "SegmentOp"]>, Pure
  ]> {
  let summary = "How many rows each request takes";
  let description = [{
    Request `b` takes `E[b]` rows, after those of the requests before it: rows
    `off[b]` to `off[b] + E[b]`, where `off` is the exclusive sum of `E`.
    `by 4` gives every request 4 rows; `by %extend_seq_lens` gives it as many as
    a device array says, so the total is known to the device only. The host then
    gives a bound: `within %bound` rows exist, and those past the total are not
    written. With `padded to %bound` they are: lengths are 0, sums stay at the
    last one, tables are 0.

    Device lengths are cut to 0 to `bound` before they are added up, and rows to
    the bound, so no contents reach past it.

    Example:

    ```mlir
    %verify = nsa.expansion by 4
    %ragged = nsa.expansion by %extend_seq_lens within %bound : tensor<?xi32>
    ```

    Constraints:

    - (C1) Rows are given by a constant or by an array, not both.
    - (C2) A constant is from 0 to 2^31-1.
    - (C3) An array needs a bound.
    - (C4) Padding needs a bound.
    - (C5) A constant without padding has no bound.
    - (C6) `extend` depends neither on an `nsa.cu_seqlens` nor on another
      expansion.
    - (C7) A bound is an `index` port, whose range the launcher checks.
  }];
  let arguments = (ins Optional<NSA_Index1D>:$extend,
                       OptionalAttr<I64Attr>:$static_extend,
                       Optional<Index>:$bound, UnitAttr:$padded);
  let results = (outs NSA_ExpansionType:$result);
  let assemblyFormat = [{
    `by` custom<SizeOrConstant>($extend, $static_extend)
    (custom<Bound>($bound, $padded)^)? attr-dict (`:` type($extend)^)?
  }];
  let hasVerifier = 1;
  let extraClassDeclaration = [{
    /// Whether all requests take the same number of rows.
    bool isUniform() { return !getExtend(); }
    /// Whether rows are requests.
    bool isIdentity() {
      return isUniform() && *getStaticExtend() == 1 && !getBound();
    }
    /// The number of rows of `requests` requests: a size that the host knows.
    ::nsa::Size getNumRows(const ::nsa::Size &requests);
  }];
}

def NSA_Causal : I32EnumAttrCase<"Causal", 0, "causal">;
def NSA_Broadcast : I32EnumAttrCase<"Broadcast", 1, "broadcast">;
def NSA_Following : I32EnumAttrCase<"Following", 2, "following">;
def NSA_ExpandKind : I32EnumAttr<"ExpandKind", "the lengths of a request's rows",
                                 [NSA_Causal, NSA_Broadcast, NSA_Following]> {
  let cppNamespace = "::nsa";
}

def NSA_ExpandSeqlensOp : NSA_ValueOp<"expand_seqlens", NSA_Vector, "Expand", [
    NSA_AllLive, NSA_PlainVectors, NSA_Expanded, NSA_RowsOf<"getSource">,
    NSA_RequestSum,
    NSA_Sizes<[{getExpandedRows(adaptor.getExpansion(),
                         Size::of(adaptor.getSource(), 0))}]>
  ]> {
  let summary = "A length for each row of each request";
  let description = [{
    The length of row `i` of request `b`, whose length is `S = source[b]`:

    | kind | length |
    |---|---|
    | `causal` | `max(S - E[b] + 1 + i, 0)`: the rows are the last `E[b]` tokens |
    | `broadcast` | `S` |
    | `following` | `S + 1 + i`: the rows are tokens after the `S` |

    `E[b]` here is the length as it stands in the array, truncated to 32 bits;
    arithmetic wraps.

    Example:

    ```mlir
    %exp = nsa.expand_seqlens causal %len over %ragged
        : tensor<?xi32> -> tensor<?xi32>
    ```

    Constraints:

    - (C1) `source` depends neither on an `nsa.cu_seqlens` nor on an expansion.
    - (C2) An expansion by an array has as many elements as `source`: the same
      extent or static size.
  }];
  let arguments = (ins NSA_ExpandKind:$kind, NSA_Vector:$source,
                       NSA_ExpansionType:$expansion);
  let assemblyFormat = [{
    $kind $source `over` $expansion attr-dict `:` type($source) `->`
    type($result)
  }];
  let hasFolder = 1;
  let hasCanonicalizeMethod = 1;
}

def NSA_ExpandRowsOp : NSA_ValueOp<"expand_rows", NSA_Table, "Expand", [
    NSA_AllLive, NSA_PlainVectors, NSA_Expanded,
    NSA_RowsOf<"getSource", "getSource()">,
    NSA_Sizes<[{getExpandedRows(adaptor.getExpansion(),
                         Size::of(adaptor.getSource(), 0)),
         Size::of(adaptor.getSource(), 1)}]>
  ]> {
  let summary = "A table with each request's row repeated";
  let description = [{
    Row `off[b] + i` of the result is row `b` of `source`, for each of the rows
    of request `b`.

    Example:

    ```mlir
    %rows = nsa.expand_rows %tab over %verify
        : tensor<?x?xi32> -> tensor<?x?xi32>
    ```

    Constraints:

    - (C1) `source` does not depend on an expansion.
    - (C2) An expansion by an array has as many elements as `source` has rows:
      the same extent or static size.
  }];
  let arguments = (ins NSA_Table:$source, NSA_ExpansionType:$expansion);
  let assemblyFormat = [{
    $source `over` $expansion attr-dict `:` type($source) `->` type($result)
  }];
  let hasFolder = 1;
}

def NSA_TotalRowsOp : NSA_ValueOp<"total_rows", NSA_Vector, "Expand", [
    NSA_AllLive, NSA_PlainVectors, NSA_Expanded,
    NSA_Sizes<[{Size::constant(adaptor.getExpansion().getContext(), 1)}]>
  ]> {
  let summary = "The number of rows, as an array of one element";
  let description = [{
    The sum of the rows of all requests of a device array, at most the bound.

    Example:

    ```mlir
    %total = nsa.total_rows %ragged : tensor<1xi32>
    ```

    Constraints:

    - (C1) The expansion is by an array.
    - (C2) The result is copied, and nothing is computed from it.
  }];
  let arguments = (ins NSA_ExpansionType:$expansion);
  let assemblyFormat = "$expansion attr-dict `:` type($result)";
}

def NSA_ContextLensOp : NSA_ValueOp<"context_lens", NSA_Table, "Each", [
    NSA_AllLive, NSA_PlainVectors, NSA_Named,
    NSA_Sizes<[{Size::of(adaptor.getSource(), 0),
         Size::constant(adaptor.getSource().getContext(), adaptor.getColumns())}]>
  ]> {
  let summary = "The lengths once in each of a few columns";
  let description = [{
    `result[b, j] = source[b]` for `j < columns`: the table of context lengths
    that paged MQA kernels take.

    Example:

    ```mlir
    %ctx = nsa.context_lens %len columns 4 : tensor<?xi32> -> tensor<?x4xi32>
    ```

    Constraints:

    - (C1) `columns` is 1 or more.
    - (C2) `source` depends neither on an `nsa.cu_seqlens` nor on an expansion.
  }];
  let arguments = (ins NSA_Vector:$source,
                       ConfinedAttr<I64Attr, [IntPositive]>:$columns);
  let assemblyFormat = [{
    $source `columns` $columns attr-dict `:` type($source) `->` type($result)
  }];
}

def NSA_DequantPagedOp : NSA_ValueOp<"dequant_paged", NSA_BF16Table, "Each", [
    NSA_Sizes<[{Size::of(adaptor.getIds(), 0),
         Size::constant(adaptor.getIds().getContext(),
                        adaptor.getLayout().getRowSize())}]>
  ],
  "::mlir::BFloat16Type::get(context)"> {
  let summary = "Rows of a paged, quantised cache as bf16";
  let description = [{
    Row t of the result is the row of token `ids[t]`, which is slot
    `ids[t] mod page_size` of page `ids[t] div page_size`. An `e4m3` element is
    converted to float32, multiplied by its scale in float32, and rounded to
    bf16, to nearest even both times; a `bf16` element is copied bit for bit.
    Where the result is NaN, its payload is unspecified. A row is zeros if its
    id is negative or not in the cache.

    `cache` has a row of bytes for each page. Its row stride may be larger than
    a page.

    Example:

    ```mlir
    %kv = nsa.dequant_paged %cache[%ids] layout #nsa.kv_layout<v32> page_size 64
        : tensor<?x?xi8>, tensor<?xi64> -> tensor<?x576xbf16>
    ```

    Constraints:

    - (C1) `result` has a row for each of `ids`, and the columns of the layout.
    - (C2) `page_size` is 1 or more.
    - (C3) `cache` is an `in` port, whose rows, where their size is static, hold
      a page.
    - (C4) `ids` does not depend on an `nsa.cu_seqlens`.
  }];
  let arguments = (ins NSA_Bytes:$cache, NSA_Index1D:$ids,
                       NSA_KVLayoutAttr:$layout,
                       ConfinedAttr<I32Attr, [IntPositive]>:$page_size);
  let assemblyFormat = [{
    $cache `[` $ids `]` `layout` qualified($layout) `page_size` $page_size
    attr-dict `:` type($cache) `,` type($ids) `->` type($result)
  }];
  let hasVerifier = 1;
  let extraClassDeclaration = [{
    /// Whether vectors of `width` columns, the first a multiple of `width`, never
    /// have columns of two fields or of two groups.
    bool isUniform(int64_t width);
  }];
}

//===----------------------------------------------------------------------===//
// Copies
//===----------------------------------------------------------------------===//

def NSA_CopyOp : NSA_Op<"copy", [
    AttrSizedOperandSegments
  ]> {
  let summary = "Writes a value to one or more destinations";
  let description = [{
    Writes every element of `value`, a computed value or an `in` port, to the
    same indices of each destination. The rest of a larger destination is left
    untouched, and so are, with `from`, the elements before that index: element 0
    of a cumulative sum is 0 since it was allocated. That a destination is large
    enough is checked by the host before the launch, where the types leave it
    open.

    With `when %mask`, only the elements where the mask is not 0 are written;
    the others are left as they are.

    With `at [%places]`, an array for each dimension of the destinations, each
    element goes to the index that they have there, counted from 0. An element
    whose place is outside of a destination is dropped. Which element a place
    keeps that several go to is unspecified: two elements may not go to one
    place. The compiler refuses it where neither the places nor the mask are
    computed from one of the indices (`nsa-check-places`), and kernels with
    `guards` tell of it.

    Example:

    ```mlir
    nsa.copy %len to %b0_cache_seqlens, %b1_cache_seqlens
        : tensor<?xi32> to memref<?xi32>, memref<?xi32, strided<[?]>>
    nsa.copy %cu from 1 to %b0_cu_seqlens_k : tensor<?xi32> to memref<?xi32>
    // Draft tokens to the end of each request's row, where there are any.
    nsa.copy %drafts when %is_draft at [%ends] to %input_ids
        : tensor<?x4xi32> when tensor<?x4xi8> at tensor<?x4xi64> to memref<?xi32>
    ```

    Constraints:

    - (C1) Every destination is an `out` port of the enclosing step.
    - (C2) There is at least one destination, and none stands twice.
    - (C3) Every destination has the rank of `value`; with `at`, that of the
      number of places.
    - (C4) No static size of a destination is smaller than that of `value`,
      unless there is `at`.
    - (C5) `from` is 0 or more, and 0 unless `value` has rank 1 and there is
      neither `when` nor `at`.
    - (C6) Every destination has the element type of `value`.
    - (C7) The mask and the places have the sizes of `value`.
    - (C8) With `when` or `at`, value, mask and places are computed element by
      element: they are made neither from an `nsa.cu_seqlens` nor from an
      `nsa.expansion`. (`nsa.scan` is fine.)
  }];
  let arguments = (ins NSA_Value:$value, Optional<NSA_Mask>:$mask,
                       Variadic<NSA_Places>:$places,
                       Arg<Variadic<NSA_Destination>, "", [MemWrite]>
                         :$destinations,
                       DefaultValuedAttr<I64Attr, "0">:$from);
  let assemblyFormat = [{
    $value (`when` $mask^)? (`at` ` ` `[` $places^ `]`)? (`from` $from^)? `to`
    $destinations attr-dict `:` type($value) (`when` type($mask)^)?
    (`at` type($places)^)? `to` type($destinations)
  }];
  let hasVerifier = 1;
  let extraClassDeclaration = [{
    /// Whether elements go to their own indices, all of them.
    bool isPlain() { return !getMask() && getPlaces().empty(); }
    /// Whether `other` stores the same, of the same elements, to the same
    /// places.
    bool storesSame(CopyOp other) {
      return getValue() == other.getValue() && getMask() == other.getMask() &&
             getPlaces() == other.getPlaces() && getFrom() == other.getFrom();
    }
    /// The value, and what says of each of its elements whether and where it is
    /// stored.
    ::mlir::OperandRange getSources() {
      return getOperands().drop_back(getDestinations().size());
    }
    /// Checks what `when` and `at` ask for.
    bool expectElements();
  }];
}

def NSA_CopyMetadataOp : NSA_Op<"copy_metadata", [
    HasParent<"StepOp">
  ]> {
  let summary = "Copies a set of metadata fields to the sets of some backends";
  let description = [{
    Every field that a destination has is copied there from the source's field
    of that name. How many elements that are follows from the mode and the sizes
    of the source; see `!nsa.metadata`. Element 0 of the cumulative sums is not
    written. `nsa-expand-metadata-sets` makes `nsa.copy` operations of it.

    Example:

    ```mlir
    nsa.step @copy(in %bs : index, in %max_len : index,
                   in %src[%bs, %max_len] : !nsa.metadata<decode, [real_page_table]>,
                   out %b0 : !nsa.metadata_ref<decode, [real_page_table]>,
                   out %b1 : !nsa.metadata_ref<decode>) {
      nsa.copy_metadata %src to %b0, %b1
          : !nsa.metadata<decode, [real_page_table]>
          to !nsa.metadata_ref<decode, [real_page_table]>, !nsa.metadata_ref<decode>
    }
    ```

    Constraints:

    - (C1) The source is an `in` port, every destination an `out` port of the step.
    - (C2) There is at least one destination, and none stands twice.
    - (C3) Every destination has the source's mode.
    - (C4) The source has every field that a destination has.
  }];
  let arguments = (ins NSA_Metadata:$source,
                       Arg<Variadic<NSA_MetadataRef>, "", [MemWrite]>
                         :$destinations);
  let assemblyFormat = [{
    $source `to` $destinations attr-dict `:` qualified(type($source)) `to`
    type($destinations)
  }];
  let hasVerifier = 1;
}

//===----------------------------------------------------------------------===//
// Launches
//===----------------------------------------------------------------------===//

def NSA_LaunchOp : NSA_Op<"launch", [
    NoTerminator, SingleBlock, NoRegionArguments, HasParent<"StepOp">
  ]> {
  let summary = "One kernel launch";
  let description = [{
    Work that one kernel does, as a list of `nsa.segment`. Segments are
    independent of each other: they run in any order, at the same time. The name
    is that of the kernel. `threads`, those of a block, is what
    `nsa-assign-tiles` decides; none before.

    Example:

    ```mlir
    nsa.launch @lengths {
      nsa.segment tile(%bs) {
        %len = nsa.seqlens %seq_lens plus 0 : tensor<?xi64> -> tensor<?xi32>
        nsa.copy %len to %b0_cache_seqlens : tensor<?xi32> to memref<?xi32>
      }
    }
    ```

    Constraints:

    - (C1) The body holds segments only.
    - (C2) The name is a C identifier and no reserved word of PTX.
    - (C3) `threads` is a power of 2, at most 1,024.
  }];
  let arguments = (ins SymbolNameAttr:$sym_name, OptionalAttr<I64Attr>:$threads);
  let regions = (region SizedRegion<1>:$body);
  let assemblyFormat
      = "$sym_name (`threads` `(` $threads^ `)`)? $body attr-dict";
  let hasVerifier = 1;
  let hasRegionVerifier = 1;
  let extraClassDeclaration = [{
    auto getSegments() { return getBody().getOps<SegmentOp>(); }
    /// The ports that the launch uses, in the order of the step's ports.
    ::llvm::SmallVector<::mlir::BlockArgument> getUsedPorts();
  }];
}

// A kind of segment, with the members of its `SegmentFacts` (lib/IR). Its number
// is its place in the order of blocks, and in that in which kinds are asked
// whether a value is theirs.
class NSA_SegmentCase<string name, int number, string mnemonic, code members>
    : I32EnumAttrCase<name, number, mnemonic> {
  code facts = members;
}
def NSA_Scan : NSA_SegmentCase<"Scan", 0, "scan", [{
  /*mostSizes=*/1, /*isCut=*/false, /*takesVectors=*/true, holdsScan,
  getScanRows, getScanGrid, [](SegmentOp) { return ::mlir::success(); }
}]>;
def NSA_Expand : NSA_SegmentCase<"Expand", 1, "expand", [{
  /*mostSizes=*/2, /*isCut=*/true, /*takesVectors=*/false, isWrittenByRequest,
  getExpandRows, getExpandGrid, verifyExpandCopies
}]>;
def NSA_Tile : NSA_SegmentCase<"Tile", 2, "tile", [{
  /*mostSizes=*/2, /*isCut=*/true, /*takesVectors=*/false,
  [](::mlir::Value) { return true; },
  [](::mlir::Value value) { return Size::of(value, 0); }, getTileGrid,
  verifyTileCopies
}]>;
defvar NSA_SegmentCases = [NSA_Scan, NSA_Expand, NSA_Tile];
def NSA_SegmentKind : I32EnumAttr<"SegmentKind", "how a segment is cut into blocks",
                                  NSA_SegmentCases> {
  let cppNamespace = "::nsa";
}

def NSA_SegmentOp : NSA_Op<"segment", [
    NoTerminator, SingleBlock, NoRegionArguments, HasParent<"LaunchOp">
  ]> {
  let summary = "An index space and the copies that run over it";
  let description = [{
    The values that are computed and copied at every point of the index space
    `sizes`.

    - A `scan` segment is one-dimensional and walks its rows in order, so its
      values may be cumulative sums. One block of threads does all of it.
    - An `expand` segment runs over requests, and for two-dimensional values over
      columns, and writes the rows of each request (`nsa.expansion`). A block
      of a table has a request and adds up the rows of those before it; a block
      of a one-dimensional value has rows and looks for their requests. So no
      block waits for another. There is one more, past the last row or request,
      for what belongs to no row.
    - A `tile` segment has one or two dimensions, the innermost of which is cut
      into tiles; short rows of a known size share a tile. Every tile is a block
      of threads, and tiles do not communicate.

    How `expand` and `tile` segments are cut is the `tiling`, which
    `nsa-assign-tiles` decides where the text does not say it.

    Example:

    ```mlir
    nsa.launch @sums {
      nsa.segment scan(%bs) {
        %len = nsa.seqlens %seq_lens plus 0 : tensor<?xi64> -> tensor<?xi32>
        %cu = nsa.cu_seqlens %len : tensor<?xi32> -> tensor<?xi32>
        nsa.copy %cu to %b0_cu_seqlens_k : tensor<?xi32> to memref<?xi32>
      }
    }
    ```

    Constraints:

    - (C1) A `scan` segment has one dimension, the others one or two.
    - (C2) The body holds copies and value operations of this dialect, whose
      arrays are ports or values of the body.
    - (C3) The copies of a `tile` segment have elements of one size.
    - (C4) A copy belongs to the segment: its value is of the segment's kind (a
      `scan` segment also takes vectors without sums, stored without `when` and
      `at`) and has the segment's
      sizes. The pages that are picked from a table that is copied, too, have
      that table's. A vector of an element for each row belongs to a table whose
      rows share what it is made from.
    - (C5) All values of an `expand` segment are made from one expansion.
  }];
  let arguments = (ins NSA_SegmentKind:$kind, Variadic<Index>:$sizes,
                       OptionalAttr<NSA_TilingAttr>:$tiling);
  let regions = (region SizedRegion<1>:$body);
  let assemblyFormat = [{
    $kind `(` $sizes `)` (`tiling` $tiling^)? $body attr-dict
  }];
  let hasVerifier = 1;
  let hasRegionVerifier = 1;
  let extraClassDeclaration = [{
    /// What is known of a kind without its code.
    static const SegmentFacts &getFacts(SegmentKind kind);
    auto getCopies() { return getBody().getOps<CopyOp>(); }
    /// How the requests of an `expand` segment become rows.
    ExpansionOp getExpansion();
    /// Whether a tiling cuts it into blocks; else one block does all of it.
    bool isCut();
    /// Whether it takes vectors that a tile could hold, stored as they are.
    bool takesVectors();
    /// Whether rows share what is worth finding once: a `tile` segment is then
    /// walked row by row.
    bool isWalked();
    /// Whether `copy` copies pages that are picked from a table as it passes,
    /// because the segment copies that as well.
    bool isPicked(CopyOp copy);
    /// Whether `op` shares something in each row: its table has these rows.
    bool isSharedByRow(SharedOpInterface op);
    /// Whether the elements of a row share what the threads of a block compute
    /// together: a block then takes one row.
    bool hasSharedRows();
    /// Whether `copy` stores an element for each row of a table, from what the
    /// table's elements share.
    bool isOfRow(CopyOp copy);
    bool hasElementsOfRows();
    /// What is cut into blocks. Kernels, manifests and headers count from it.
    ::nsa::Grid getGrid();
    /// The bits of an element that is copied.
    int64_t getElementBits();
    /// The ports that it writes, if all of them are optional: where all of
    /// their arrays are missing there is nothing to do. Else none.
    ::llvm::SmallVector<::mlir::BlockArgument> getOptionalPorts();
  }];
  let extraClassDefinition = [{
    const ::nsa::SegmentFacts &$cppClass::getFacts(::nsa::SegmentKind kind) {
      static const ::nsa::SegmentFacts facts[] = {{}]
      # !interleave(!foreach(kind, NSA_SegmentCases, kind.facts), "}, {") # [{}};
      return facts[static_cast<uint32_t>(kind)];
    }
  }];
}

#endif // NSA_IR_NSAOPS_TD
