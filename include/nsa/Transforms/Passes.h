//===- Passes.h - Passes on nsa operations ----------------------*- C++ -*-===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef NSA_TRANSFORMS_PASSES_H
#define NSA_TRANSFORMS_PASSES_H

#include "nsa/IR/NSADialect.h"

#include "mlir/Dialect/Affine/IR/AffineOps.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/Remarks.h"
#include "mlir/Pass/Pass.h"

namespace nsa {
// The base of pass X, too, for the file that defines GEN_PASS_DEF_X before.
#define GEN_PASS_DECL
#define GEN_PASS_REGISTRATION
#include "nsa/Transforms/Passes.h.inc"

/// What a remark of pass `name` is filed under.
inline mlir::remark::RemarkOpts remarkBy(StringRef name) {
  return mlir::remark::RemarkOpts::name(name).category("nsa");
}
} // namespace nsa

#endif // NSA_TRANSFORMS_PASSES_H
