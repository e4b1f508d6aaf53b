//===- ElementInterface.td - The code of an element --------*- tablegen -*-===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef NSA_CODEGEN_ELEMENTINTERFACE_TD
#define NSA_CODEGEN_ELEMENTINTERFACE_TD

include "mlir/IR/OpBase.td"

def NSA_ElementOpInterface : OpInterface<"ElementOpInterface"> {
  let cppNamespace = "::nsa";
  let description = [{
    An operation each of whose result elements is a function of a few elements
    of its operands, so that a kernel can compute an element where it is needed
    and no intermediate array exists. Every lowering, for any target, emits
    these operations through this interface. The models of all operations are
    in lib/Codegen, and attached to them where kernels are made.
  }];
  let methods = [
    InterfaceMethod<
      "Emits the element at `indices`, which lie inside the result.",
      "::mlir::Value", "emitElement",
      (ins "::nsa::ElementBuilder &":$builder, "::mlir::ValueRange":$indices)>,
    InterfaceMethod<[{
        Emits `width` elements, the first at `indices`, the others after it in
        the innermost dimension, as a vector. Elements past the end of the
        result are unspecified, but computing them accesses no memory outside
        the arrays: an operation whose elements are loads without a check of
        that dimension cannot emit lane by lane.
      }],
      "::mlir::Value", "emitElements",
      (ins "::nsa::ElementBuilder &":$builder, "::mlir::ValueRange":$indices,
           "int64_t":$width)>,
    InterfaceMethod<[{
        Emits `width` elements at each of several points, given with a builder
        for each. An operation whose elements hang on chains of loads emits the
        loads of all points before the first use of any, so that they are in
        flight together.
      }],
      "::llvm::SmallVector<::mlir::Value>", "emitPoints",
      (ins "::llvm::MutableArrayRef<::nsa::ElementBuilder>":$builders,
           "::llvm::ArrayRef<::llvm::SmallVector<::mlir::Value>>":$points,
           "int64_t":$width)>,
    InterfaceMethod<[{
        Emits what the elements of row `row` of a two-dimensional result share,
        and is worth computing once, for `builder.rowValues` to return. A
        segment with such an operation is walked row by row.
      }],
      "::llvm::SmallVector<::mlir::Value>", "emitRow",
      (ins "::nsa::ElementBuilder &":$builder, "::mlir::Value":$row)>,
    InterfaceMethod<[{
        Emits whether anybody reads the element at `indices` (i1), or returns
        null for yes: where `LivenessOpInterface` says that there are others.
      }],
      "::mlir::Value", "emitIsLive",
      (ins "::nsa::ElementBuilder &":$builder, "::mlir::ValueRange":$indices)>,
    InterfaceMethod<[{
        Emits how many elements of row `row` (empty for an array), which
        ascend, are `position` (index) or less.
      }],
      "::mlir::Value", "emitSearch",
      (ins "::nsa::ElementBuilder &":$builder, "::mlir::ValueRange":$row,
           "::mlir::Value":$position)>,
    InterfaceMethod<[{
        Of a `SharedOpInterface`: emits what is shared, by row `row` (empty if
        by all), to be found by `builder.getShared`. All threads get here.
      }],
      "::llvm::SmallVector<::mlir::Value>", "emitShared",
      (ins "::nsa::ElementBuilder &":$builder, "::mlir::ValueRange":$row,
           "::nsa::Threads &":$threads)>,
    InterfaceMethod<[{
        Of the same: whether what it shares by all can be made in one walk with
        what `others` share, which can be made together.
      }],
      "bool", "canShareWith", (ins "::llvm::ArrayRef<::mlir::Operation *>":$others)>,
    InterfaceMethod<[{
        Of the same: emits what each of `ops`, which can be made together and of
        which it is the first one, shares by all.
      }],
      "::llvm::SmallVector<::llvm::SmallVector<::mlir::Value>>",
      "emitSharedTogether",
      (ins "::nsa::ElementBuilder &":$builder,
           "::llvm::ArrayRef<::mlir::Operation *>":$ops,
           "::nsa::Threads &":$threads)>,
    InterfaceMethod<[{
        Of a `PickOpInterface`: emits the element at `indices`, given the one of
        the other table.
      }],
      "::mlir::Value", "emitPicked",
      (ins "::nsa::ElementBuilder &":$builder, "::mlir::ValueRange":$indices,
           "::mlir::Value":$element)>,
    InterfaceMethod<[{
        Of an `ExpandOpInterface` that computes its rows: emits what all rows of
        `request` start from, or null for nothing.
      }],
      "::mlir::Value", "emitBase",
      (ins "::nsa::ElementBuilder &":$builder, "::mlir::Value":$request)>,
    InterfaceMethod<[{
        Of the same: emits the element of row `number` (index) of `request`.
      }],
      "::mlir::Value", "emitOfRequest",
      (ins "::nsa::ElementBuilder &":$builder, "::mlir::Value":$request,
           "::mlir::Value":$base, "::mlir::Value":$number)>,
    InterfaceMethod<[{
        Of a `RequestSumOpInterface`: emits the sum (i32) of the first `count`
        (index) elements of a request, none of them more than `limit`.
      }],
      "::mlir::Value", "emitSum",
      (ins "::nsa::ElementBuilder &":$builder, "::mlir::Value":$base,
           "::mlir::Value":$count, "int64_t":$limit)>
  ];
}

#endif // NSA_CODEGEN_ELEMENTINTERFACE_TD
