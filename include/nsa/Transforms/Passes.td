//===- Passes.td - Passes on nsa operations ----------------*- tablegen -*-===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef NSA_TRANSFORMS_PASSES_TD
#define NSA_TRANSFORMS_PASSES_TD

include "mlir/Pass/PassBase.td"

def RemarkCosts : Pass<"nsa-remark-costs", "nsa::StepOp"> {
  let summary = "Says what formulas cost, where remarks are asked for";
  let description = [{
    Remarks on the formulas of launches whose tiles are assigned: how many reads
    and searches an element takes, and how many elements a thread computes at
    once; which reads are made for each of these by itself, and why; what each
    block computes by itself, once or once a row; and which blocks are the longest
    of their launch, as they make a recurrence first. Changes nothing.
  }];
}

def WarnUnused : Pass<"nsa-warn-unused", "nsa::StepOp"> {
  let summary = "Warns of ports and values that nothing uses";
  let description = [{
    Warns of an `in` port that neither an operation nor an extent names, and of an
    operation whose result nobody uses: mostly a name that was meant elsewhere.
    Changes nothing.
  }];
}

def CheckPlaces : Pass<"nsa-check-places", "nsa::StepOp"> {
  let summary = "Refuses copies of two elements to one place"
                ", where their formulas show it";
  let description = [{
    An `nsa.copy` with `at` stores two elements to one place where neither a place
    nor the mask is computed from one of the value's indices: a constant place of
    more than one row, for example, or one that is computed from the column alone.
    Places that are read from arrays, or computed by other operations than
    `nsa.map`, may differ; at run time, steps with guards look at them. Changes
    nothing.
  }];
}

def ExpandMetadataSets : Pass<"nsa-expand-metadata-sets", "nsa::StepOp"> {
  let summary = "Turns sets of metadata fields into a port for each field";
  let description = [{
    Every port `%NAME` that is a set (`!nsa.metadata`, `!nsa.metadata_ref`)
    becomes a port `%NAME_FIELD` for each of its fields, in the place of the set,
    and every `nsa.copy_metadata` becomes an `nsa.copy` for each field, to the
    destinations that have it. Sizes become the extents of the source's fields.
  }];
}

def ExpandNamed : Pass<"nsa-expand-named", "nsa::StepOp"> {
  let summary = "Writes named operations as formulas";
  let description = [{
    `nsa.seqlens`, `nsa.clip_seqlens`, `nsa.page_table`, `nsa.real_page_table` and
    `nsa.context_lens` become an `nsa.map`, and `nsa.cu_seqlens` an `nsa.scan`:
    what each of them means, to be looked at. Those of rows of an expansion, of
    sums, or with dead elements (`live`) stay, because no formula says where their
    rows are or what need not be written; so do operations whose code is special.

    Not part of the pipelines, which compute these operations directly
    (see `nsa-share-forms`).
  }];
  let dependentDialects = ["::mlir::arith::ArithDialect"];
}

def ShareForms : Pass<"nsa-share-forms", "nsa::StepOp"> {
  let summary = "Formulas that say what a named operation says are that";
  let description = [{
    Replaces an `nsa.map` by the value of a named operation of the step whose
    form by `nsa-expand-named` it equals, so that `cse` shares what two backends
    compute when one of them names it and the other one writes it out.
    Formulas are compared as expressions, in whatever order their operations
    stand. A step that has only one of both kinds stays as it is.
  }];
  let dependentDialects = ["::mlir::arith::ArithDialect"];
}

def NarrowIndices : Pass<"nsa-narrow-indices", "nsa::StepOp"> {
  let summary = "Indices are cast to fewer bits in two operations";
  let description = [{
    An `arith.index_cast` in a formula from `index` to fewer than 64 bits becomes
    one to i64 and an `arith.trunci`. Canonicalisation takes a cast to a few bits
    and back to `index` for the number that went in; it does so with no cast that
    cuts bits off.
  }];
  let dependentDialects = ["::mlir::arith::ArithDialect"];
}

def WalkSums : Pass<"nsa-walk-sums", "nsa::StepOp"> {
  let summary = "Sums that are only stored become one walk over the rows";
  let description = [{
    A copy of an exclusive `nsa.scan` of an array of i32 becomes one of
    `nsa.cu_seqlens`, whose segment one block walks once, together with the
    arrays of that size. Formulas that read the sums keep the `nsa.scan`, which
    each of their blocks adds up by itself.
  }];
}

def StoreSums : Pass<"nsa-store-sums", "nsa::StepOp"> {
  let summary = "Sums of many elements are stored by a launch before";
  let description = [{
    Blocks that read the sums of an array add it up themselves, all of it each.
    Where more than `most` elements are expected, by a constant size or what is
    `expected` of an index port, the step gets an `inout` port `workspace`
    (`workspace1` and so on for more sums), an `nsa.tile_sums` that is stored
    there, and an `nsa.scan` that reads it: a 32nd of the elements.
    `nsa-form-launches` puts the stores into launches that come before. A remark
    says so.

    A size of which nothing is expected stays as it is: the number of launches is
    decided when a step is compiled, not when it is launched. Any size is right
    either way.
  }];
  let options = [
    Option<"most", "most", "int64_t", /*default=*/"12288",
           "The most elements that each block adds up by itself.">
  ];
}

def MergeCopies : Pass<"nsa-merge-copies", "nsa::StepOp"> {
  let summary = "Merges copies of one value into one copy to many destinations";
  let description = [{
    Copies of the same value become a single `nsa.copy` with the destinations of
    all of them. Run after `cse`, which makes values that are computed alike the
    same. A kernel then loads or computes each element once and stores it to
    every destination.

    Destinations, and copies by their first destination, stand in the order of
    the step's ports, after the values. So a kernel follows from what goes where,
    not from the order in which the text says so.
  }];
}

def FormLaunches : Pass<"nsa-form-launches", "nsa::StepOp"> {
  let summary = "Gives every destination a launch of its own";
  let description = [{
    Puts each destination of each `nsa.copy` in an `nsa.launch` with one
    `nsa.segment`, together with the operations that its value needs; the launch
    is named after the step and the destination. This is the unfused form of a
    step: every field of every backend is one kernel. With `per-copy`, a copy
    stays whole, so that its destinations share a launch, as long as the
    launch's parameters fit the space that PTX has for them.
  }];
  let options = [
    Option<"perCopy", "per-copy", "bool", /*default=*/"false",
           "One launch a copy instead of one a destination.">,
    Option<"guards", "guards", "bool", /*default=*/"false",
           "Mark the step so that its kernels check every access.">,
    Option<"parameterBytes", "parameter-bytes", "int64_t", /*default=*/"0",
           "The most that a kernel's parameters take; 0 for what the target "
           "allows.">,
    Option<"pdl", "pdl", "bool", /*default=*/"false",
           "Mark the step so that its kernels begin before the kernel that comes "
           "before them ends.">
  ];
  let dependentDialects = ["::mlir::affine::AffineDialect",
                           "::mlir::arith::ArithDialect",
                           "::mlir::tensor::TensorDialect"];
}

def FuseLaunches : Pass<"nsa-fuse-launches", "nsa::StepOp"> {
  let summary = "Fuses the launches of a step";
  let description = [{
    Makes one launch, named after the step, of as many launches as fit, in
    order. A launch's parameters must fit the space that PTX has for them
    (4,352 bytes, 32,764 from PTX 8.1 on); past that a new launch begins.

    Inside of the launch, segments join:

    - `scan` segments and one-dimensional `tile` segments over the same rows, so
      that small fields and scans share a block;
    - other segments over the same index space and the same expansion, unless
      the blocks of each would make other sums than those of the other: blocks
      run beside each other, and the sums of one segment one after the other;
    - a segment that copies only `nsa.real_page_table` values joins the one that
      copies the table they are made from, and picks its elements as they pass.

    Remarks (category `nsa`) say what was fused, and what was not, and why.
  }];
  let options = [
    Option<"parameterBytes", "parameter-bytes", "int64_t", /*default=*/"0",
           "The most that a kernel's parameters take; 0 for what the target "
           "allows.">
  ];
}

def AssignTiles : Pass<"nsa-assign-tiles", "nsa::StepOp"> {
  let summary = "Decides how segments are cut into blocks";
  let description = [{
    Gives every `expand` and `tile` segment the `#nsa.tiling` that is best on
    the target, and puts segments in the order in which their blocks start.
    Kernels, manifests and headers follow what stands there, so a tiling that
    the text states is kept; one that would leave elements out, or that there is
    no code for, is an error.
  }];
}

#endif // NSA_TRANSFORMS_PASSES_TD
