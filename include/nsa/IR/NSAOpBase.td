//===- NSAOpBase.td - What operations are made of ----------*- tablegen -*-===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef NSA_IR_NSAOPBASE_TD
#define NSA_IR_NSAOPBASE_TD

include "nsa/IR/NSAAttributes.td"
include "nsa/IR/NSADialect.td"
include "nsa/IR/NSAInterfaces.td"
include "nsa/IR/NSATypes.td"
include "mlir/IR/AttrTypeBase.td"
include "mlir/IR/EnumAttr.td"
include "mlir/IR/OpAsmInterface.td"
include "mlir/IR/SymbolInterfaces.td"
include "mlir/Interfaces/InferTypeOpInterface.td"
include "mlir/Interfaces/SideEffectInterfaces.td"

//===----------------------------------------------------------------------===//
// Types
//===----------------------------------------------------------------------===//

def NSA_Index1D : 1DTensorOf<[I32, I64]>;
def NSA_Vector : 1DTensorOf<[I32]>;
def NSA_IntVector : 1DTensorOf<[I32, I64]>;
def NSA_Table : 2DTensorOf<[I32]>;
def NSA_Bytes : 2DTensorOf<[I8]>;
def NSA_BF16Table : 2DTensorOf<[BF16]>;
def NSA_Value : TensorRankOf<[I8, I16, I32, I64, BF16, F32], [1, 2]>;
def NSA_Mask : TensorRankOf<[I8, I16, I32, I64], [1, 2]>;
def NSA_Places : TensorRankOf<[I32, I64], [1, 2]>;
def NSA_Destination : MemRefRankOf<[I8, I16, I32, I64, BF16, F32], [1, 2]> {
  let cppFunctionName = "isDestination";
}
def NSA_Scalar : AnyTypeOf<[I1, I8, I16, I32, I64, Index, BF16, F32]> {
  let cppFunctionName = "isScalar";
}
// What `in` ports are.
def NSA_Read : AnyTypeOf<[Index, NSA_Metadata, NSA_Value]> {
  let cppFunctionName = "isRead";
}

def NSA_ExpansionType : TypeDef<NSA_Dialect, "Expansion"> {
  let mnemonic = "expansion";
  let summary = "How requests become rows";
  let description = [{
    What `nsa.expansion` makes: how many rows each request takes, one after the
    other. It is no array and takes no memory.
  }];
}

class NSA_Trait<string name, code declaration = [{}], code definition = [{}]>
    : NativeOpTrait<name, /*traits=*/[], declaration, definition> {
  let cppNamespace = "::nsa";
}

// An attribute that an operation does not know is a mistake in the text.
defvar NSA_NoUnknownAttrs = NSA_Trait<"NoUnknownAttrs">;

class NSA_Op<string mnemonic, list<Trait> traits = []>
    : Op<NSA_Dialect, mnemonic, [NSA_NoUnknownAttrs] # traits>;

// Shapes are reified from the sizes that the operation says.
defvar NSA_ReifiedSizes = NSA_Trait<"ReifiedSizes",
    /*declaration=*/[{}],
    /*definition=*/[{
      ::llvm::LogicalResult $cppClass::reifyResultShapes(
          ::mlir::OpBuilder &b, ::mlir::ReifiedRankedShapedTypeDims &dims) {
        dims.push_back(::nsa::getSizes(b, getLoc(), getResult()));
        return ::mlir::success();
      }
    }]>;

// Says the sizes of the result once, as a function of operands and attributes:
// types follow.
class NSA_SizedResult<string elementType> : NSA_Trait<"SizedResult",
    /*declaration=*/[{
      static ::llvm::SmallVector<::nsa::Size> getResultSizes(Adaptor adaptor);
    }],
    /*definition=*/[{
      ::llvm::SmallVector<::nsa::Size> $cppClass::getSizes() {
        return getResultSizes(Adaptor(*this));
      }
      ::llvm::LogicalResult $cppClass::inferReturnTypes(
          ::mlir::MLIRContext *context, std::optional<::mlir::Location>,
          Adaptor adaptor, ::llvm::SmallVectorImpl<::mlir::Type> &types) {
        types.push_back(::nsa::getTensorType(
            getResultSizes(adaptor), }] # elementType # [{));
        return ::mlir::success();
      }
    }]>;

// The sizes of the result, each in terms of `adaptor`.
class NSA_Sizes<string sizes> : NSA_Trait<"ResultSizes",
    /*declaration=*/[{}],
    /*definition=*/[{
      ::llvm::SmallVector<::nsa::Size> $cppClass::getResultSizes(
          Adaptor adaptor) {
        using ::nsa::Size;
        return {}] # sizes # [{};
      }
    }]>;
// As many elements as an operand has.
class NSA_AsManyAs<string getter>
    : NSA_Sizes<"Size::of(adaptor." # getter # "(), 0)">;

// Requires nothing of where inputs come from.
defvar NSA_AnyInputs = NSA_Trait<"AnyInputs",
    /*declaration=*/[{}],
    /*definition=*/[{
      ::llvm::LogicalResult $cppClass::verifyInputs(const ::nsa::ValueFacts &) {
        return ::mlir::success();
      }
    }]>;

class NSA_IteratedAs<string iteration> : NSA_Trait<"IteratedAs",
    /*declaration=*/[{}],
    /*definition=*/[{
      ::nsa::Iteration $cppClass::getIteration() {
        return ::nsa::Iteration::}] # iteration # [{;
      }
    }]>;

// Every element of the result is read.
defvar NSA_AllLive = NSA_Trait<"AllLive",
    /*declaration=*/[{}],
    /*definition=*/[{
      bool $cppClass::hasDeadElements() { return false; }
    }]>;

// Elements are computed as many at once as an access stores, from as many bits.
defvar NSA_PlainVectors = NSA_Trait<"PlainVectors",
    /*declaration=*/[{}],
    /*definition=*/[{
      int64_t $cppClass::getMostWidth(::nsa::TargetAttr target) {
        return target.getVectorWidth(getLoadBits());
      }
      int64_t $cppClass::getLoadBits() {
        return ::llvm::cast<::mlir::ShapedType>(getResult().getType())
            .getElementTypeBitWidth();
      }
    }]>;

// Elements are computed one by one, as each takes long: as many threads as there
// are elements.
defvar NSA_OneAtATime = NSA_Trait<"OneAtATime",
    /*declaration=*/[{}],
    /*definition=*/[{
      int64_t $cppClass::getMostWidth(::nsa::TargetAttr) { return 1; }
      int64_t $cppClass::getLoadBits() {
        return getType().getElementTypeBitWidth();
      }
    }]>;

// A pure operation whose result is a tensor that exists only in the text.
class NSA_ValueOp<string mnemonic, Type resultType, string iteration,
                  list<Trait> traits = [],
                  string elementType = "::mlir::IntegerType::get(context, 32)">
    : NSA_Op<mnemonic, [
        Pure, InferTypeOpAdaptor, ParentOneOf<["StepOp", "SegmentOp"]>,
        DeclareOpInterfaceMethods<ReifyRankedShapedTypeOpInterface,
                                  ["reifyResultShapes"]>,
        DeclareOpInterfaceMethods<NSA_ValueOpInterface>,
        DeclareOpInterfaceMethods<NSA_InputOpInterface>,
        DeclareOpInterfaceMethods<NSA_LivenessOpInterface>,
        DeclareOpInterfaceMethods<NSA_VectorOpInterface>,
        NSA_SizedResult<elementType>, NSA_ReifiedSizes,
        NSA_IteratedAs<iteration>
      ] # traits> {
  let results = (outs resultType:$result);
}

// Variables, not definitions: the reference shows the interface, by its name.
//
// What has an element or a row for each row of an expansion.
defvar NSA_Expanded
    = DeclareOpInterfaceMethods<NSA_ExpandOpInterface,
                                ["getNumRequests", "isPerRow", "getRepeated"]>;
// The same, with a row for each, of as many requests as an array has; `repeated`
// is the array whose rows are repeated.
class NSA_RowsOf<string getter, string repeated = "{}"> : NSA_Trait<"RowsOf",
    /*declaration=*/[{}],
    /*definition=*/[{
      ::nsa::Size $cppClass::getNumRequests() {
        return ::nsa::Size::of(}] # getter # [{(), 0);
      }
      bool $cppClass::isPerRow() { return true; }
      ::mlir::Value $cppClass::getRepeated() { return }] # repeated # [{; }
    }]>;
// What has a known sum over a request's rows.
defvar NSA_RequestSum = DeclareOpInterfaceMethods<NSA_RequestSumOpInterface>;
// Cumulative sums.
defvar NSA_Sum = DeclareOpInterfaceMethods<NSA_SumOpInterface>;
// What threads compute together.
defvar NSA_Shared = DeclareOpInterfaceMethods<NSA_SharedOpInterface>;
// Names for what the general operations say.
defvar NSA_Named = DeclareOpInterfaceMethods<NSA_NamedOpInterface>;
// Columns that are picked from those of another table.
defvar NSA_Pick = DeclareOpInterfaceMethods<NSA_PickOpInterface>;
// A body that computes an element.
defvar NSA_Formula = DeclareOpInterfaceMethods<NSA_FormulaOpInterface>;

#endif // NSA_IR_NSAOPBASE_TD
