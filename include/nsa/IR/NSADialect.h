//===- NSADialect.h - The nsa dialect and its operations --------*- C++ -*-===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef NSA_IR_NSADIALECT_H
#define NSA_IR_NSADIALECT_H

#include "mlir/Bytecode/BytecodeOpInterface.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Dialect.h"
#include "mlir/IR/OpDefinition.h"
#include "mlir/IR/OpImplementation.h"
#include "mlir/IR/PatternMatch.h"
#include "mlir/IR/SymbolTable.h"
#include "mlir/Interfaces/InferTypeOpInterface.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"

#include "nsa/IR/KVRun.h"
#include "nsa/IR/Size.h"
#include "nsa/IR/ValueFacts.h"

#include "nsa/IR/NSADialect.h.inc"

namespace nsa {
/// What every operation of the dialect is checked for: attributes that it does
/// not know.
template <typename ConcreteOp>
class NoUnknownAttrs
    : public mlir::OpTrait::TraitBase<ConcreteOp, NoUnknownAttrs> {
public:
  static LogicalResult verifyTrait(Operation *op);
};
/// See NSAOpBase.td.
template <typename ConcreteOp>
class SizedResult : public mlir::OpTrait::TraitBase<ConcreteOp, SizedResult> {};
template <typename ConcreteOp>
class ReifiedSizes : public mlir::OpTrait::TraitBase<ConcreteOp, ReifiedSizes> {
};
template <typename ConcreteOp>
class RowsOf : public mlir::OpTrait::TraitBase<ConcreteOp, RowsOf> {};
template <typename ConcreteOp>
class ResultSizes : public mlir::OpTrait::TraitBase<ConcreteOp, ResultSizes> {};
template <typename ConcreteOp>
class AnyInputs : public mlir::OpTrait::TraitBase<ConcreteOp, AnyInputs> {};
template <typename ConcreteOp>
class AllLive : public mlir::OpTrait::TraitBase<ConcreteOp, AllLive> {};
template <typename ConcreteOp>
class PlainVectors : public mlir::OpTrait::TraitBase<ConcreteOp, PlainVectors> {
};
template <typename ConcreteOp>
class OneAtATime : public mlir::OpTrait::TraitBase<ConcreteOp, OneAtATime> {};
template <typename ConcreteOp>
class IteratedAs : public mlir::OpTrait::TraitBase<ConcreteOp, IteratedAs> {};

LogicalResult verifyNoUnknownAttrs(Operation *op);
/// Checks what stands in the body of an `nsa.map` or `nsa.iterate`.
LogicalResult verifyFormula(Operation *op);

template <typename ConcreteOp>
LogicalResult NoUnknownAttrs<ConcreteOp>::verifyTrait(Operation *op) {
  return verifyNoUnknownAttrs(op);
}
} // namespace nsa

#define GET_ATTRDEF_CLASSES
#include "nsa/IR/NSAAttributes.h.inc"

#include "nsa/IR/NSAInterfaces.h.inc"

namespace nsa {
class LaunchOp;
class SegmentOp;
class CopyOp;
class ExpansionOp;
struct SegmentFacts;

/// What a step says of a port beside its type.
struct Port {
  mlir::StringAttr name;
  /// The numbers of the ports that give the sizes of its dimensions, or -1, and
  /// what is added to each. Empty for a port without extents.
  SmallVector<int64_t> extents, offsets;
  /// What is known of the array behind it.
  mlir::DictionaryAttr attrs;
};

/// The rows and columns that a segment has, and those of a block of threads:
/// there are ceil(rows / tileRows) * ceil(columns / tileColumns) blocks, none
/// where either is 0 or less.
struct Grid {
  Size rows, columns;
  int64_t tileRows = 1, tileColumns = 1;
};

/// The sizes of a value in a step, in terms of the step's ports: constants,
/// `index` ports, `tensor.dim` of ports, or `affine.apply` of those, created at
/// the insertion point where needed.
SmallVector<OpFoldResult> getSizes(OpBuilder &b, Location loc, Value value);

/// The type of an array of these sizes, static where they are constants.
mlir::RankedTensorType getTensorType(ArrayRef<Size> sizes, Type elementType);

/// Whether two values have the same number of elements or rows, or `rhs` has
/// `more` more, whatever the arrays behind the ports are.
bool haveSameRequests(Value lhs, Value rhs, int64_t more = 0);

/// The number of rows that `expansion` makes of `requests` requests. Not known
/// while a text is parsed in pieces.
Size getExpandedRows(Value expansion, const Size &requests);

/// Whether `op` computes values of this dialect.
bool isValue(Operation *op);

/// Checks that `op`, which stands beside values, computes a size that a
/// launcher can compute as well: a constant, a `tensor.dim` of a port, or an
/// `affine.apply` of sizes.
LogicalResult verifySize(Operation *op);

/// Checks the values in the body of a step or of a segment, in their order:
/// that operands come before their uses, and what operations require of them.
LogicalResult verifyValues(Block &body);

/// Returns `isRight`; where that is false, `emit` gives the error, which says
/// that `parts`, one after the other, were expected.
template <typename... Parts>
bool expect(function_ref<InFlightDiagnostic()> emit, bool isRight,
            const Parts &...parts) {
  if (!isRight)
    ((emit() << "expected ") << ... << parts);
  return isRight;
}
/// The same of `op`.
template <typename... Parts>
bool expect(Operation *op, bool isRight, const Parts &...parts) {
  return expect([op] { return op->emitOpError(); }, isRight, parts...);
}

/// Checks that `value`, an operand of `op` that `what` names, is a port.
bool expectPort(Operation *op, Value value, StringRef what);

/// Whether `check` holds for all operations of class `Op` in `root`; none is
/// asked after the first for which it does not.
template <typename Op>
bool expectEach(Operation *root, function_ref<bool(Op)> check) {
  auto visit = [&](Op op) {
    return mlir::WalkResult(llvm::success(check(op)));
  };
  return !root->walk(visit).wasInterrupted();
}

/// The operation from which `value` has its rows of an expansion, or null.
ExpandOpInterface getExpandOp(Value value);

/// What a copy of `value` stores for a request: the rows that `value` repeats,
/// or `value` itself.
Value getRequestValue(Value value);

/// Checks that a segment can hold copies of `value`.
bool expectCopied(Value value);

#include "nsa/IR/NSATypeConstraints.h.inc"
} // namespace nsa

#define GET_TYPEDEF_CLASSES
#include "nsa/IR/NSATypes.h.inc"

#define GET_OP_CLASSES
#include "nsa/IR/NSAOps.h.inc"

namespace nsa {
/// The index space that copies of a value run over, and the kind of segment
/// that can hold them.
struct IndexSpace {
  SegmentKind kind;
  SmallVector<Size> sizes;

  /// That of `value`: its own sizes, but for the rows that a scan walks and the
  /// requests that an expansion starts from.
  static IndexSpace of(Value value);
};
} // namespace nsa

#endif // NSA_IR_NSADIALECT_H
