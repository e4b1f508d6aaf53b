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
// not answer does not compile. What elements are computed by is asked in
// nsa/Codegen/ElementInterface.td.

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
      "::nsa::ExpandOpInterface", "getSummand">
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
                    "hasDeadElements">
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
      "::std::optional<::nsa::Size>", "getSharedRows">
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
    InterfaceMethod<"The stride.", "int64_t", "getPickStride">
  ];
}

def NSA_NamedOpInterface : OpInterface<"NamedOpInterface"> {
  let cppNamespace = "::nsa";
  let description = [{
    An operation that has another form, in the general operations of the
    language (`nsa.map`, `nsa.scan`): it is a name for that.
  }];
  let methods = [
    InterfaceMethod<[{
        Builds that form from the operation's operands, each of which has an
        element or a row for each request, and returns its value. Null where
        there is none: some elements are left out, or a size is known that the
        operation's type does not say.
      }],
      "::mlir::Value", "buildGeneralForm", (ins "::mlir::OpBuilder &":$b)>
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
