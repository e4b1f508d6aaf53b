//===- NSAMapOps.td - An element as a formula --------------*- tablegen -*-===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The open part of the language. `nsa.map` computes a value element by element
// from a formula; `nsa.scan`, `nsa.search` and `nsa.reduce` are what is not
// elementwise. A formula has a result for all contents of all arrays.
//
//===----------------------------------------------------------------------===//

#ifndef NSA_IR_NSAMAPOPS_TD
#define NSA_IR_NSAMAPOPS_TD

include "nsa/IR/NSAOpBase.td"

def NSA_Array : TensorRankOf<[I8, I16, I32, I64, BF16, F32], [1, 2]>;
def NSA_ReadArray : AnyTypeOf<[
  NSA_Array, MemRefRankOf<[I8, I16, I32, I64, BF16, F32], [1, 2]>
]>;
def NSA_IntArray : TensorRankOf<[I32, I64], [1, 2]>;
def NSA_StoredSums : MemRefRankOf<[I32, I64], [1]>;

//===----------------------------------------------------------------------===//
// Formulas
//===----------------------------------------------------------------------===//

// An array whose elements are given by a formula.
class NSA_FormulaOp<string mnemonic, list<Trait> traits>
    : NSA_Op<mnemonic, [
        Pure, SingleBlock, ParentOneOf<["StepOp", "SegmentOp"]>,
        DeclareOpInterfaceMethods<ReifyRankedShapedTypeOpInterface,
                                  ["reifyResultShapes"]>,
        DeclareOpInterfaceMethods<OpAsmOpInterface,
                                  ["getAsmBlockArgumentNames"]>,
        DeclareOpInterfaceMethods<NSA_ValueOpInterface>,
        DeclareOpInterfaceMethods<NSA_InputOpInterface>,
        DeclareOpInterfaceMethods<NSA_LivenessOpInterface>,
        DeclareOpInterfaceMethods<NSA_VectorOpInterface>,
        NSA_Formula, NSA_IteratedAs<"Any">, NSA_AllLive, NSA_PlainVectors,
        NSA_ReifiedSizes
      ] # traits> {
  let regions = (region SizedRegion<1>:$body);
  let hasCustomAssemblyFormat = 1;
  let hasVerifier = 1;
}

def NSA_MapOp : NSA_FormulaOp<"map", [NSA_Pick]> {
  let summary = "An array whose elements are given by a formula";
  let description = [{
    Element `[r]` or `[r, c]` of the result is what the body yields for these
    indices. The sizes are constants or sizes that the host knows. The body is
    made of `nsa.read`, `nsa.search` and of these operations of the `arith`
    dialect, on `i1`, `i8`, `i16`, `i32`, `i64`, `index` (64 bits on every
    target) and `f32`; `bf16` is converted and moved only:

    | operations | where another language has no answer |
    |---|---|
    | `addi`, `subi`, `muli`, `andi`, `ori`, `xori`, `minsi`, `minui`, `maxsi`, `maxui`, `cmpi`, `select`, `constant`, `bitcast` | sums and products wrap |
    | `divsi`, `divui`, `floordivsi`, `ceildivsi`, `ceildivui`, `remsi`, `remui` | a division by 0 gives 0, also as a remainder; the smallest number divided by -1 is itself, its remainder 0 |
    | `shli`, `shrsi`, `shrui` | by the width or more (unsigned): all bits are shifted out, so 0, or the sign in each bit for `shrsi` |
    | `extsi`, `extui`, `trunci`, `index_cast`, `index_castui` | the low bits are kept |
    | `addf`, `subf`, `mulf`, `divf`, `negf`, `minimumf`, `maximumf`, `cmpf`, `extf`, `truncf`, `sitofp`, `uitofp` | IEEE, to nearest even; never contracted; integers become bf16 by way of f32; the payload of a NaN is unspecified |
    | `fptosi`, `fptoui` | saturates; NaN gives 0 |

    Flags such as `overflow<nsw>`, `exact` or `fastmath` promise what contents
    of a device array can break, and are refused.

    With `attributes {packed}`, a block of threads takes several rows, where they
    are stored, and what the elements of a row have in common is computed once
    for several of them. That is for tables whose rows are often shorter than
    the hundreds of elements that a block takes: their number of columns is
    known to the host only.

    Example:

    ```mlir
    // The newest tokens of a window first, then -1.
    %swa = nsa.map(%r, %j) in (%bs, 128) : tensor<?x128xi32> {
      %none = arith.constant -1 : i32
      %one = arith.constant 1 : index
      %len = nsa.read %lens[%r] : tensor<?xi32>
      %end = arith.index_cast %len : i32 to index
      %last = arith.subi %end, %one : index
      %pos = arith.subi %last, %j : index
      %request = nsa.read %pool[%r] : tensor<?xi64>
      %row = arith.index_cast %request : i64 to index
      %slot = nsa.read %req_to_token[%row, %pos] else %none : tensor<?x?xi32>
      nsa.yield %slot : i32
    }
    ```

    Constraints:

    - (C1) There are one or two sizes; constants are from 0 to 2^31-1.
    - (C2) The body has an index argument for each size.
    - (C3) The type of the result says the sizes that are constants, and the type
      that the body yields, one that arrays have.
    - (C4) The body holds the operations above only, without flags.
    - (C5) Arrays that it reads are `in` ports, an `inout` port that it is stored
      to (StepOp C11), or values before it, other than
      `nsa.total_rows`, which is the last of the sums of its rows.
    - (C6) What is `packed` has two sizes.
  }];
  let arguments = (ins Variadic<Index>:$dynamic_sizes,
                       DenseI64ArrayAttr:$static_sizes, UnitAttr:$packed);
  let results = (outs NSA_Array:$result);
  let extraClassDeclaration = [{
    /// The read of every so many-th column of another table that makes this a
    /// pick, or null.
    ReadOp getPickingRead();
  }];
}

def NSA_IterateOp : NSA_FormulaOp<"iterate", [NSA_Shared
  ]> {
  let summary = "A recurrence: each element is computed from the one before";
  let description = [{
    An array with an element more than there are steps: element 0 is `first`,
    and element `i + 1` what the body yields for step `i` and element `i`. The
    body is as that of `nsa.map`, so a step may search.

    Steps come one after the other, in each block that reads an element: this is
    for as many as a GPU has multiprocessors, not for as many as there are
    requests.

    Example:

    ```mlir
    // Where parts begin that take 64 tokens each, and the rest of a request.
    %off = nsa.scan %counts : tensor<?xi32> -> tensor<?xi32>
    %begins = nsa.iterate(%i, %x) in (%parts) from 0 : tensor<?xi32> {
      %zero = arith.constant 0 : i32
      %size = arith.constant 64 : i32
      %goal = arith.addi %x, %size : i32
      %place = arith.index_cast %goal : i32 to index
      %after = nsa.search %off for %place : tensor<?xi32>
      %end = nsa.read %off[%after] else %goal : tensor<?xi32>
      nsa.yield %end : i32
    }
    ```

    Constraints:

    - (C1) There is one size; a constant is from 0 to 2^31-1.
    - (C2) The body has an index and an element as arguments.
    - (C3) The type of the result says the size that is a constant, plus 1, and
      the type that the body yields.
    - (C4) The body is as that of `nsa.map`.
  }];
  let arguments = (ins Variadic<Index>:$dynamic_sizes,
                       DenseI64ArrayAttr:$static_sizes, I64Attr:$first);
  let results = (outs NSA_IntVector:$result);
}

def NSA_YieldOp : NSA_Op<"yield", [
    Pure, Terminator, ParentOneOf<["MapOp", "IterateOp"]>
  ]> {
  let summary = "The element that a formula computes";
  let description = [{
    Ends the body of an `nsa.map` or `nsa.iterate`.

    Example:

    ```mlir
    %numbers = nsa.map(%r) in (%bs) : tensor<?xi32> {
      %number = arith.index_cast %r : index to i32
      nsa.yield %number : i32
    }
    ```
  }];
  let arguments = (ins NSA_Scalar:$value);
  let assemblyFormat = "$value attr-dict `:` type($value)";
}

def NSA_ReadOp : NSA_Op<"read", [
    Pure, AttrSizedOperandSegments, ParentOneOf<["MapOp", "IterateOp"]>,
    TypesMatchWith<"the result is an element of the array", "source", "result",
                   "::mlir::cast<::mlir::ShapedType>($_self).getElementType()">
  ]> {
  let summary = "An element of an array, in a formula";
  let description = [{
    Element `indices` of an `in` port or of a value of the step, or `fill` where
    that is outside of the array (a negative index, too). Of an `inout` port, the
    element that is there before the step. Without a fill, each
    index has to be inside whatever the contents of arrays are: it is the map's
    index for a dimension of the same size, a constant less than a static size, or
    a size less than another, as the last one of exclusive sums.

    Example:

    ```mlir
    %first = nsa.map(%r) in (%bs) : tensor<?xi32> {
      %none = arith.constant -1 : i32
      %zero = arith.constant 0 : index
      %request = nsa.read %pool[%r] : tensor<?xi64>
      %row = arith.index_cast %request : i64 to index
      %slot = nsa.read %req_to_token[%row, %zero] else %none : tensor<?x?xi32>
      nsa.yield %slot : i32
    }
    ```

    Constraints:

    - (C1) There is an index for each dimension.
    - (C2) `fill` has the type of the elements.
    - (C3) Without a `fill` all indices are known to be inside.
  }];
  let arguments = (ins NSA_ReadArray:$source, Variadic<Index>:$indices,
                       Optional<NSA_Scalar>:$fill);
  let results = (outs NSA_Scalar:$result);
  let assemblyFormat = [{
    $source `[` $indices `]` (`else` $fill^)? attr-dict `:`
    custom<ReadTypes>(type($source), type($result), type($fill), ref($fill))
  }];
  let hasVerifier = 1;
  let extraClassDeclaration = [{
    FormulaOpInterface getFormula() {
      return ::llvm::cast<FormulaOpInterface>((*this)->getParentOp());
    }
    ::mlir::ShapedType getSourceType() {
      return ::llvm::cast<::mlir::ShapedType>(getSource().getType());
    }
    /// How many elements dimension `dim` of the source has; of an `inout` port
    /// those that the map writes, which the host checks to be there.
    ::nsa::Size getSourceSize(unsigned dim);
    /// Whether index `dim` is inside, whatever the contents of arrays are.
    bool isKnownInside(unsigned dim);
  }];
}

def NSA_SearchOp : NSA_Op<"search", [
    Pure, ParentOneOf<["MapOp", "IterateOp"]>
  ]> {
  let summary = "How many elements of an ascending array are at most a number";
  let description = [{
    The number of elements of `source`, or of its row `row`, that are `position`
    or less, compared as signed 64-bit numbers. With exclusive sums of the rows
    of requests, `search - 1` is the request that row `position` belongs to; it
    is -1 for a negative position, and the number of requests past the last row.
    A row outside of the array has no elements: 0.

    If the elements do not ascend, the result is some number from 0 to that of
    the elements.

    Example:

    ```mlir
    // The request of each row.
    %off = nsa.scan %counts : tensor<?xi32> -> tensor<?xi32>
    %owner = nsa.map(%r) in (%bound) : tensor<?xi32> {
      %one = arith.constant 1 : index
      %after = nsa.search %off for %r : tensor<?xi32>
      %request = arith.subi %after, %one : index
      %number = arith.index_cast %request : index to i32
      nsa.yield %number : i32
    }
    ```

    Constraints:

    - (C1) `row` is given for an array of two dimensions, and only there.
  }];
  let arguments = (ins NSA_IntArray:$source, Optional<Index>:$row,
                       Index:$position);
  let results = (outs Index:$result);
  let assemblyFormat = [{
    $source (`[` $row^ `]`)? `for` $position attr-dict `:` type($source)
  }];
  let hasVerifier = 1;
}

//===----------------------------------------------------------------------===//
// Sums and reductions
//===----------------------------------------------------------------------===//

def NSA_ScanOp : NSA_ValueOp<"scan", NSA_IntArray, "Any", [
    NSA_AnyInputs, NSA_AllLive, NSA_PlainVectors, NSA_Shared
  ], "::mlir::getElementTypeOrSelf(adaptor.getSource().getType())"> {
  let summary = "Sums of the elements before each place";
  let description = [{
    Along the innermost dimension, of an array or of each row of a table:

    | | elements | element `i` |
    |---|---|---|
    | exclusive | one more than `source` | the sum of elements `0` to `i - 1`; the last one is the total |
    | `inclusive` | as `source` | the sum of elements `0` to `i` |

    Sums wrap. They may be read at any index by any formula, and searched. Who
    reads them adds up by himself: the threads of each block together, once a
    block (or once a row), so that no block waits for another.

    With `by %sums`, a launch before has stored the `nsa.tile_sums` of `source` to
    that port, and blocks add up those instead: the sums are the same.
    `nsa-store-sums` writes it where there are many elements.

    Example:

    ```mlir
    %off = nsa.scan %counts : tensor<?xi32> -> tensor<?xi32>
    %ranks = nsa.scan inclusive %flags : tensor<?x64xi32> -> tensor<?x64xi32>
    ```

    Constraints:

    - (C1) Stored sums are of an array of one dimension and have its element type;
      they are an `inout` port (see StepOp C12).
  }];
  let arguments = (ins NSA_IntArray:$source, Optional<NSA_StoredSums>:$sums,
                       UnitAttr:$inclusive);
  let assemblyFormat = [{
    (`inclusive` $inclusive^)? $source (`by` $sums^)? attr-dict `:`
    type($source) (`by` type($sums)^)? `->` type($result)
  }];
  let hasVerifier = 1;
}

def NSA_TileSumsOp : NSA_ValueOp<"tile_sums", NSA_IntVector, "Any", [
    NSA_AnyInputs, NSA_AllLive, NSA_OneAtATime,
    NSA_Sizes<[{Size::of(adaptor.getSource(), 0)
         .ceilDiv(int64_t(1) << TileSumsOp::logTile)}]>
  ], "::mlir::getElementTypeOrSelf(adaptor.getSource().getType())"> {
  let summary = "The sum of each 32 elements";
  let description = [{
    `result[t]` is the sum of elements `32 * t` to `32 * t + 31` of `source`, as far
    as there are; sums wrap. What a launch stores for an `nsa.scan` of another
    launch.

    Example:

    ```mlir
    %tiles = nsa.tile_sums %weights : tensor<?xi64> -> tensor<?xi64>
    nsa.copy %tiles to %workspace : tensor<?xi64> to memref<?xi64>
    %sums = nsa.scan %weights by %workspace
        : tensor<?xi64> by memref<?xi64> -> tensor<?xi64>
    ```
  }];
  let arguments = (ins NSA_IntVector:$source);
  let assemblyFormat = "$source attr-dict `:` type($source) `->` type($result)";
  let extraClassDeclaration = [{
    /// The base-2 logarithm of the elements that are added up.
    static constexpr int64_t logTile = 5;
  }];
}

def NSA_ReduceAdd : I32EnumAttrCase<"Add", 0, "add">;
def NSA_ReduceMax : I32EnumAttrCase<"Max", 1, "max">;
def NSA_ReduceMin : I32EnumAttrCase<"Min", 2, "min">;
def NSA_ReduceKind : I32EnumAttr<"ReduceKind", "how a row becomes one element",
                                 [NSA_ReduceAdd, NSA_ReduceMax, NSA_ReduceMin]> {
  let cppNamespace = "::nsa";
}

def NSA_ReduceOp : NSA_ValueOp<"reduce", NSA_IntVector, "Any", [
    NSA_AnyInputs, NSA_AllLive, NSA_PlainVectors, NSA_Shared
  ], "::mlir::getElementTypeOrSelf(adaptor.getSource().getType())"> {
  let summary = "The sum, the largest or the smallest element of each row";
  let description = [{
    An element for each row of a table, or one for an array: the sum (`add`,
    wrapping), the largest (`max`) or the smallest (`min`) as signed numbers. Of
    no elements: 0, the smallest and the largest number of the type. How many
    elements have a property is the sum of a map that yields 1 or 0.

    Example:

    ```mlir
    %counts = nsa.reduce add %flags : tensor<?x64xi32> -> tensor<?xi32>
    ```
  }];
  let arguments = (ins NSA_ReduceKind:$kind, NSA_IntArray:$source);
  let assemblyFormat = [{
    $kind $source attr-dict `:` type($source) `->` type($result)
  }];
}

#endif // NSA_IR_NSAMAPOPS_TD
