//===- NSAAttributes.td - Attributes of the nsa dialect ----*- tablegen -*-===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef NSA_IR_NSAATTRIBUTES_TD
#define NSA_IR_NSAATTRIBUTES_TD

include "nsa/IR/NSADialect.td"
include "mlir/IR/AttrTypeBase.td"
include "mlir/IR/EnumAttr.td"

def NSA_E4M3 : I32EnumAttrCase<"E4M3", 0, "e4m3">;
def NSA_BF16 : I32EnumAttrCase<"BF16", 1, "bf16">;
def NSA_F32 : I32EnumAttrCase<"F32", 2, "f32">;
def NSA_UE8M0 : I32EnumAttrCase<"UE8M0", 3, "ue8m0">;
def NSA_KVType : I32EnumAttr<"KVType", "how a number is stored in a cache",
                             [NSA_E4M3, NSA_BF16, NSA_F32, NSA_UE8M0]> {
  let cppNamespace = "::nsa";
}

def NSA_KVLayoutAttr : AttrDef<NSA_Dialect, "KVLayout"> {
  let mnemonic = "kv_layout";
  let summary = "Where the bytes of a paged, quantised cache are";
  let description = [{
    A page holds `page_size` tokens: first their data, `data_bytes` each, then,
    in layouts with a footer, an entry of `footer` bytes for each of them.

    ```
    layout ::= `#nsa.kv_layout` `<` (name | body) `>`
    body   ::= `data_bytes` `=` integer `,`
               `fields` `=` `[` run (`,` run)* `]` `,`
               `scales` `=` run `per` integer (`inline` | `footer` integer)
               (`,` `page_multiple` `=` integer)?
    run    ::= type `[` count `]` `at` offset
    type   ::= `e4m3` | `bf16` | `f32` | `ue8m0`
    ```

    A run is `count` numbers side by side, the first at byte `offset` of the
    token's data; that of the scales at byte `offset` of the data (`inline`) or
    of the token's footer entry (`footer`). The row of a token is its fields one
    after the other, in the order given; element k of the `e4m3` fields, counted
    through all of them, is multiplied by scale `k div group`, `group` being the
    integer after `per`.

    A page takes `page_size * (data_bytes + footer)` bytes, and its engine
    allocates this rounded up to a multiple of `page_multiple`. An array may
    have pages further apart than that.

    Numbers: `e4m3` is the variant without infinities and with one NaN per sign
    (`fn`), `ue8m0` byte e is 2^(e-127), 255 NaN. All are little-endian.

    Some layouts have names, which stand for attributes: `v32`, `v4`, `v41` and
    `indexer`.

    Example:

    ```mlir
    #v4 = #nsa.kv_layout<data_bytes = 576,
                         fields = [e4m3[448] at 0, bf16[64] at 448],
                         scales = ue8m0[7] at 0 per 64 footer 8,
                         page_multiple = 576>
    ```

    Constraints:

    - (C1) There are 1 to 32 fields; fields are of type `e4m3` or `bf16`,
      scales of type `f32` or `ue8m0`; counts are 1 or more.
    - (C2) Fields lie inside of the data, scales inside of the data or of the
      footer entry.
    - (C3) Neither fields nor inline scales overlap.
    - (C4) The group divides the count of every `e4m3` field, and there are as
      many scales as groups.
    - (C5) `data_bytes`, `page_multiple` and the bytes of a footer are 1 or
      more; all numbers are less than 2^31.
  }];
  let parameters = (ins
    "int64_t":$dataBytes,
    ArrayRefParameter<"::nsa::KVRun">:$fields,
    "::nsa::KVRun":$scales,
    "int64_t":$group,
    /// Bytes of a token's footer entry; 0 if scales are inline.
    "int64_t":$footerBytes,
    "int64_t":$pageMultiple
  );
  let hasCustomAssemblyFormat = 1;
  let genVerifyDecl = 1;
  let extraClassDeclaration = [{
    /// The layout of that name, or null.
    static KVLayoutAttr getNamed(::mlir::MLIRContext *context,
                                 ::llvm::StringRef name);
    /// Its name, or nothing.
    ::llvm::StringRef getName();

    /// Elements of a token's row.
    int64_t getRowSize();
    /// Bytes of a page of `pageSize` tokens, without padding.
    int64_t getPageBytes(int64_t pageSize) {
      return pageSize * (getDataBytes() + getFooterBytes());
    }
    bool isInline() { return getFooterBytes() == 0; }
  }];
}

def NSA_TileUnit : I32EnumAttrCase<"Tile", 0, "tile">;
def NSA_WarpUnit : I32EnumAttrCase<"Warp", 1, "warp">;
def NSA_BlockUnit : I32EnumAttrCase<"Block", 2, "block">;
def NSA_TilingUnit : I32EnumAttr<"TilingUnit", "who takes what of a segment",
                                 [NSA_TileUnit, NSA_WarpUnit, NSA_BlockUnit]> {
  let cppNamespace = "::nsa";
  let genSpecializedAttr = 0;
}

def NSA_TilingAttr : AttrDef<NSA_Dialect, "Tiling"> {
  let mnemonic = "tiling";
  let summary = "How a segment is cut into blocks of threads";
  let description = [{
    What `nsa-assign-tiles` decides for a target; kernels, manifests and headers
    read it.

    - `tile`: a block takes `rows` rows by `columns` columns. Its vectors of
      `width` elements are dealt to the threads row after row: thread t takes
      the vectors t, t + threads, ..., `vectors` of them.
    - `warp`: a block takes `rows` rows, a warp each, which walks all columns,
      `vectors` vectors a thread at a time.
    - `block`: a block takes a row, and all its threads walk it.

    ```
    columns 576, vectors of 16: 36 a row, 7 rows in the 256 of two a thread

      thread       0 ... 35   36 ... 71   72 ... 107   108 ... 127
      vector 0     row 0      row 1       row 2        row 3, first 20
      vector 1     row 3, other 16, then row 4, ...
    ```

    With `paired`, pairs of threads exchange halves of vectors that two stores
    take, so that each store of a warp fills whole sectors of memory. With
    `across`, blocks follow one another from row to row, not along a row: where
    rows end early, blocks without work come last. With `packed`, each row
    of a tile has as many threads as the others, which take `vectors` vectors
    of it at once, in turns until all of `columns` are taken or the row ends.

    Example:

    ```mlir
    #nsa.tiling<tile, rows = 1, columns = 512, width = 4, vectors = 1>
    ```

    Constraints:

    - (C1) `rows` and `columns` are from 1 to 2^20 and `vectors` from 1 to 64;
      but `columns` is 0, which is all, for `warp` and `block`.
    - (C2) `width` is a power of 2, at most 16.
    - (C3) What is `packed` is a `tile`, whose columns are whole turns of
      `vectors` vectors.
  }];
  let parameters = (ins
    EnumParameter<NSA_TilingUnit>:$unit,
    "int64_t":$rows,
    "int64_t":$columns,
    "int64_t":$width,
    "int64_t":$vectors,
    DefaultValuedParameter<"bool", "false">:$paired,
    DefaultValuedParameter<"bool", "false">:$across,
    DefaultValuedParameter<"bool", "false">:$packed
  );
  let assemblyFormat = [{
    `<` $unit `,` struct($rows, $columns, $width, $vectors, $paired, $across,
                         $packed) `>`
  }];
  let genVerifyDecl = 1;
  let extraClassDeclaration = [{
    /// A thread's vectors are written out one by one.
    static constexpr int64_t mostVectors = 64;

    /// Whether a warp or a block walks a row.
    bool isWalked() { return getUnit() != TilingUnit::Tile; }
    /// Whether short rows share a tile.
    bool hasRows() { return getUnit() == TilingUnit::Tile && getRows() > 1; }
    /// Of a tile with rows.
    int64_t getVectorsPerRow() { return getColumns() / getWidth(); }
  }];
}

def NSA_TargetAttr : AttrDef<NSA_Dialect, "Target"> {
  let mnemonic = "target";
  let summary = "What kernels assume about chips";
  let description = [{
    The facts and choices from which the shapes of kernels follow. Passes ask
    the module that they are in, whose attribute `nsa.target` it is; without one
    it is NVIDIA's GPUs from sm_80 on. One kernel serves all sizes, so nothing
    here depends on a batch size.

    - `warp`: threads of a warp.
    - `threads`: threads of a block, unless a launch says otherwise.
    - `vectors`: vectors that a thread of a tile moves, each a block's width
      apart.
    - `access_bytes`: bytes of the widest memory access of a thread.
    - `shared_bytes`: bytes of memory that a block may share.
    - `tile_bytes`: those of them for the tiles of sums; the rest is for what
      threads exchange.
    - `parameter_bytes`: bytes of a kernel's parameters.
    - `in_flight_bytes`: what a kernel has to keep in flight so that memory does
      not wait for it: bandwidth times latency.
    - `resident_threads`: how many threads load at a time.
    - `shuffle_tells`: whether a shuffle up says rightly if there was a lane to
      take from, which saves looking at the lane's number.
    - `warp_reduces`: whether a warp adds up numbers of 32 bits, or takes the
      largest or smallest, in one instruction (`gpu.subgroup_reduce`).

    Example:

    ```mlir
    module attributes {nsa.target = #nsa.target<
      warp = 64, threads = 256, vectors = 1, access_bytes = 16,
      shared_bytes = 65536, tile_bytes = 49152, parameter_bytes = 4096,
      in_flight_bytes = 3000000, resident_threads = 200000>} {}
    ```

    Constraints:

    - (C1) `warp`, `threads` and `access_bytes` are powers of 2, a warp has no
      more threads than a block, a block at most 1,024, and an access has 8 or
      16 bytes.
    - (C2) The other numbers are from 1 to 2^31-1, `vectors` at most 64, and
      `tile_bytes` at most `shared_bytes`.
  }];
  let parameters = (ins
    "int64_t":$warp,
    "int64_t":$threads,
    "int64_t":$vectors,
    "int64_t":$access_bytes,
    "int64_t":$shared_bytes,
    "int64_t":$tile_bytes,
    "int64_t":$parameter_bytes,
    "int64_t":$in_flight_bytes,
    "int64_t":$resident_threads,
    DefaultValuedParameter<"bool", "false">:$shuffle_tells,
    DefaultValuedParameter<"bool", "false">:$warp_reduces
  );
  let assemblyFormat = "`<` struct(params) `>`";
  let genVerifyDecl = 1;
  let extraClassDeclaration = [{
    /// The attribute of a module that holds its target.
    static constexpr ::llvm::StringLiteral attrName = "nsa.target";
    /// The target of the module that `op` is in.
    static TargetAttr of(::mlir::Operation *op);
    /// NVIDIA's GPUs from sm_80 on.
    static TargetAttr getNVIDIA(::mlir::MLIRContext *context);

    /// Elements of `bits` bits in the widest access.
    int64_t getVectorWidth(int64_t bits) { return getAccessBytes() * 8 / bits; }
    /// Vectors that a thread has to have in flight if it loads `bytes` bytes
    /// for each; no more than a tiling may have.
    int64_t getVectorsInFlight(int64_t bytes) {
      return ::std::min<int64_t>(
          TilingAttr::mostVectors,
          ::llvm::divideCeil(getInFlightBytes(),
                             getResidentThreads() * bytes));
    }
  }];
}

#endif // NSA_IR_NSAATTRIBUTES_TD
