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

// Each interface asks one question, without a default: an operation that does
// not answer does not compile.

def NSA_ValueOpInterface : OpInterface<"ValueOpInterface"> {
  let cppNamespace = "::nsa";
  let description = [{
    An operation whose result is an array: how large it is, and in which order
    its elements can be computed.
  }];
  let methods = [
    InterfaceMethod<"The number of elements in each dimension of the result.",
                    "::llvm::SmallVector<::nsa::Size>", "getSizes">,
    InterfaceMethod<"What the elements of a row are computed from.",
                    "::nsa::Iteration", "getIteration">
  ];
}

def NSA_InputOpInterface : OpInterface<"InputOpInterface"> {
  let cppNamespace = "::nsa";
  let description = [{
    An operation that requires something of where its inputs come from.
  }];
  let methods = [
    InterfaceMethod<[{
        Checks its inputs. The verifiers of steps and segments call it, with what
        is known of all values before the operation, once they know that its
        operands are among these: a verifier of a single operation runs before
        that is known, so nothing there may follow operands.
      }],
      "::llvm::LogicalResult", "verifyInputs",
      (ins "const ::nsa::ValueFacts &":$facts)>
  ];
}

def NSA_ExpandOpInterface : OpInterface<"ExpandOpInterface"> {
  let cppNamespace = "::nsa";
  let description = [{
    An operation with an element or row for each row of an expansion.
  }];
  let methods = [
    InterfaceMethod<"The expansion, an `nsa.expansion`.", "::mlir::Value",
                    "getExpansion", (ins), "return $_op.getExpansion();">,
    InterfaceMethod<"The number of requests that are expanded.", "::nsa::Size",
                    "getNumRequests">,
    InterfaceMethod<[{
        Whether there is an element or a row for each row, or else one for all:
        their number.
      }],
      "bool", "isPerRow">,
    InterfaceMethod<[{
        The array whose rows are repeated as they are, or null if rows are
        computed.
      }],
      "::mlir::Value", "getRepeated">
  ];
}

def NSA_RequestRowOpInterface : OpInterface<"RequestRowOpInterface"> {
  let cppNamespace = "::nsa";
  let description = [{
    An operation whose element for a row of an expansion is computed from the
    row's request, once that is found.
  }];
  let methods = [
    InterfaceMethod<"Emits what all rows of `request` start from, or null.",
      "::mlir::Value", "emitBase",
      (ins "::nsa::ElementBuilder &":$builder, "::mlir::Value":$request)>,
    InterfaceMethod<"Emits the element of row `number` (index) of `request`.",
      "::mlir::Value", "emitOfRequest",
      (ins "::nsa::ElementBuilder &":$builder, "::mlir::Value":$request,
           "::mlir::Value":$base, "::mlir::Value":$number)>
  ];
}

def NSA_RequestSumOpInterface : OpInterface<"RequestSumOpInterface"> {
  let cppNamespace = "::nsa";
  let description = [{
    An operation that knows the sum of its elements over a request's first rows,
    so that nobody visits them.
  }];
  let methods = [
    InterfaceMethod<[{
        The operation whose base the sum is computed from, or null if the sum is
        not known.
      }],
      "::nsa::RequestRowOpInterface", "getSummand">,
    InterfaceMethod<[{
        Emits the sum (i32) of the first `count` (index) elements of a request,
        none of them more than `limit`.
      }],
      "::mlir::Value", "emitSum",
      (ins "::nsa::ElementBuilder &":$builder, "::mlir::Value":$base,
           "::mlir::Value":$count, "int64_t":$limit)>
  ];
}

def NSA_SumOpInterface : OpInterface<"SumOpInterface"> {
  let cppNamespace = "::nsa";
  let description = [{
    An operation whose elements are the sums of those of an array (i32) before
    each, for a segment that walks the rows and keeps the sum.
  }];
  let methods = [
    InterfaceMethod<"The array.", "::mlir::Value", "getSummed">
  ];
}

def NSA_LivenessOpInterface : OpInterface<"LivenessOpInterface"> {
  let cppNamespace = "::nsa";
  let description = [{
    An operation that knows which elements of its result anybody reads. Others
    are not written.
  }];
  let methods = [
    InterfaceMethod<"Whether there are elements that nobody reads.", "bool",
                    "hasDeadElements">,
    InterfaceMethod<[{
        Emits whether anybody reads the element at `indices` (i1), or returns
        null for yes.
      }],
      "::mlir::Value", "emitIsLive",
      (ins "::nsa::ElementBuilder &":$builder, "::mlir::ValueRange":$indices)>
  ];
}

def NSA_VectorOpInterface : OpInterface<"VectorOpInterface"> {
  let cppNamespace = "::nsa";
  let description = [{
    An operation that knows how many of its elements are worth computing at once.
  }];
  let methods = [
    InterfaceMethod<"The most elements that a thread computes at once.",
                    "int64_t", "getMostWidth", (ins "::nsa::TargetAttr":$target)>,
    InterfaceMethod<"The bits that are loaded for an element at least.",
                    "int64_t", "getLoadBits">
  ];
}

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

def NSA_SharedOpInterface : OpInterface<"SharedOpInterface"> {
  let cppNamespace = "::nsa";
  let description = [{
    An operation whose elements need all elements of an array or of a row, so
    that threads compute what they share together before any asks for one.
  }];
  let methods = [
    InterfaceMethod<[{
        The number of rows if each of them shares something, or none if all
        elements share the same.
      }],
      "::std::optional<::nsa::Size>", "getSharedRows">,
    InterfaceMethod<[{
        Emits what is shared, by row `row` (empty if by all), to be found by `builder.getShared`. All threads get here.
      }],
      "::llvm::SmallVector<::mlir::Value>", "emitShared",
      (ins "::nsa::ElementBuilder &":$builder, "::mlir::ValueRange":$row,
           "::nsa::Threads &":$threads)>
  ];
}

def NSA_PickOpInterface : OpInterface<"PickOpInterface"> {
  let cppNamespace = "::nsa";
  let description = [{
    A table whose columns may each be computed from every so many-th column of
    another table, so that they can be picked from that as it passes.
  }];
  let methods = [
    InterfaceMethod<[{
        The other table, whose element `[row, column * stride]` element `[row,
        column]` is computed from, or null if it is not such a table.
      }],
      "::mlir::Value", "getPickedFrom">,
    InterfaceMethod<"The stride.", "int64_t", "getPickStride">,
    InterfaceMethod<"Emits the element at `indices`, given the other one.",
      "::mlir::Value", "emitPicked",
      (ins "::nsa::ElementBuilder &":$builder, "::mlir::ValueRange":$indices,
           "::mlir::Value":$element)>
  ];
}

def NSA_FormulaOpInterface : OpInterface<"FormulaOpInterface"> {
  let cppNamespace = "::nsa";
  let description = [{
    An operation whose body computes an element, from its indices and reads of
    arrays.
  }];
  let methods = [
    InterfaceMethod<[{
        The bounds of the body's first arguments, which are indices from 0 on.
      }],
      "::llvm::SmallVector<::nsa::Size>", "getIndexBounds">
  ];
  let extraSharedClassDeclaration = [{
    /// What the body computes an element from.
    ::mlir::Block::BlockArgListType getArguments() {
      return $_op->getRegion(0).getArguments();
    }
    ::mlir::Value getYielded() {
      return $_op->getRegion(0).front().getTerminator()->getOperand(0);
    }
  }];
  let verifyWithRegions = 1;
  let verify = "return ::nsa::verifyFormula($_op);";
}

#endif // NSA_IR_NSAINTERFACES_TD
