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

#include "nsa/IR/ElementBuilder.h"
#include "nsa/IR/KVRun.h"

#include "nsa/IR/NSADialect.h.inc"
#include "nsa/IR/NSAInterfaces.h.inc"

namespace nsa {
class LaunchOp;
class SegmentOp;
class CopyOp;
class ExpansionOp;

/// The size of dimension `dim` of a value in a step, in terms of the step's
/// ports: a constant, an `index` port, a `tensor.dim` of a port, or an
/// `affine.apply` of those, created at the insertion point where needed.
mlir::OpFoldResult getDimSize(mlir::OpBuilder &b, mlir::Location loc,
                              mlir::Value value, unsigned dim);
/// The sizes of all dimensions.
llvm::SmallVector<mlir::OpFoldResult>
getSizes(mlir::OpBuilder &b, mlir::Location loc, mlir::Value value);

/// Whether `value` is computed from a cumulative sum, so that only a `scan` or
/// `expand` segment can hold it.
bool dependsOnScan(mlir::Value value);

/// The expansion that the rows of `value` come from, or null if its rows are
/// requests.
ExpansionOp getExpansion(mlir::Value value);

/// Whether `value` has an element or a row for each request: it is made neither
/// from a cumulative sum nor from an expansion.
bool isPerRequest(mlir::Value value);

/// Whether two values with an element or a row for each request are known to
/// have the same number of them, or `rhs` to have `more` more: their sizes are
/// constants, or come from the same port.
bool haveSameRequests(mlir::Value lhs, mlir::Value rhs, int64_t more = 0);

/// The static number of rows that an expansion makes of `requests` requests, or
/// dynamic.
int64_t getStaticRows(mlir::Value expansion, int64_t requests);

/// Whether `op` has no effects and computes values of this dialect or sizes:
/// what stands in steps and segments beside copies.
bool isValueOrSize(mlir::Operation *op);
} // namespace nsa

#define GET_TYPEDEF_CLASSES
#include "nsa/IR/NSATypes.h.inc"

#define GET_ATTRDEF_CLASSES
#include "nsa/IR/NSAAttributes.h.inc"

#define GET_OP_CLASSES
#include "nsa/IR/NSAOps.h.inc"

#endif // NSA_IR_NSADIALECT_H
