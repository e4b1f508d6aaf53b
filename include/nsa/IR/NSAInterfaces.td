//===- NSAInterfaces.td - Interfaces of nsa operations -----*- tablegen -*-===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef NSA_IR_NSAINTERFACES_TD
#define NSA_IR_NSAINTERFACES_TD

include "mlir/IR/OpBase.td"

def NSA_ElementOpInterface : OpInterface<"ElementOpInterface"> {
  let cppNamespace = "::nsa";
  let description = [{
    An operation each of whose result elements is a function of a few elements
    of its operands, so that a kernel can compute an element where it is needed
    and no intermediate array exists. Every lowering, for any target, emits
    these operations through this interface.
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
        that dimension cannot use the default, which emits lane by lane.
      }],
      "::mlir::Value", "emitElements",
      (ins "::nsa::ElementBuilder &":$builder, "::mlir::ValueRange":$indices,
           "int64_t":$width),
      /*methodBody=*/"",
      /*defaultImplementation=*/[{
        return builder.emitLanes(
            indices, width, [&](::mlir::ValueRange lane) {
              return $_op.emitElement(builder, lane);
            });
      }]>,
    InterfaceMethod<[{
        Emits `width` elements at each of several points, given with a builder
        for each. By default one point after the other; an operation whose
        elements hang on chains of loads emits the loads of all points before
        the first use of any, so that they are in flight together.
      }],
      "::llvm::SmallVector<::mlir::Value>", "emitPoints",
      (ins "::llvm::MutableArrayRef<::nsa::ElementBuilder>":$builders,
           "::llvm::ArrayRef<::llvm::SmallVector<::mlir::Value>>":$points,
           "int64_t":$width),
      /*methodBody=*/"",
      /*defaultImplementation=*/[{
        ::llvm::SmallVector<::mlir::Value> vectors;
        for (auto [builder, point] : ::llvm::zip_equal(builders, points))
          vectors.push_back(builder.elements($_op->getResult(0), point, width));
        return vectors;
      }]>,
    InterfaceMethod<[{
        Emits what the elements of row `row` of a two-dimensional result share,
        and is worth computing once, for `builder.rowValues` to return. A
        segment with such an operation is walked row by row.
      }],
      "::llvm::SmallVector<::mlir::Value>", "emitRow",
      (ins "::nsa::ElementBuilder &":$builder, "::mlir::Value":$row),
      /*methodBody=*/"",
      /*defaultImplementation=*/"return {};">
  ];
}

#endif // NSA_IR_NSAINTERFACES_TD
