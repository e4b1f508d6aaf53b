//===- Formula.h - Arithmetic that has a result for everything --*- C++ -*-===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef NSA_LIB_CODEGEN_FORMULA_H
#define NSA_LIB_CODEGEN_FORMULA_H

#include "mlir/IR/Builders.h"

namespace nsa {

/// Emits `op`, an operation of the body of an `nsa.map` other than those of
/// this dialect, on `operands`, as the documentation of `nsa.map` defines it.
mlir::Value emitFormulaOp(mlir::OpBuilder &b, mlir::Operation *op,
                          mlir::ValueRange operands);

} // namespace nsa

#endif // NSA_LIB_CODEGEN_FORMULA_H
