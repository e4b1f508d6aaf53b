//===- LLVM.h - Names of LLVM and MLIR that are ours, too -------*- C++ -*-===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// What declarations name all the time, as mlir/Support/LLVM.h has it for MLIR.
//
//===----------------------------------------------------------------------===//

#ifndef NSA_IR_LLVM_H
#define NSA_IR_LLVM_H

#include "mlir/IR/Builders.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/IRMapping.h"
#include "mlir/Support/LLVM.h"

namespace nsa {
using llvm::ArrayRef;
using llvm::cast;
using llvm::dyn_cast;
using llvm::isa;
using llvm::LogicalResult;
using llvm::MutableArrayRef;
using llvm::SmallVector;
using llvm::SmallVectorImpl;
using llvm::StringLiteral;
using llvm::StringRef;
using mlir::Block;
using mlir::BlockArgument;
using mlir::function_ref;
using mlir::InFlightDiagnostic;
using mlir::IRMapping;
using mlir::Location;
using mlir::MemRefType;
using mlir::MLIRContext;
using mlir::OpBuilder;
using mlir::Operation;
using mlir::OpFoldResult;
using mlir::Type;
using mlir::Value;
using mlir::ValueRange;
using mlir::VectorType;
} // namespace nsa

#endif // NSA_IR_LLVM_H
