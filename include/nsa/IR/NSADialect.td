//===- NSADialect.td - The nsa dialect ---------------------*- tablegen -*-===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef NSA_IR_NSADIALECT_TD
#define NSA_IR_NSADIALECT_TD

include "mlir/IR/OpBase.td"

def NSA_Dialect : Dialect {
  let name = "nsa";
  let cppNamespace = "::nsa";
  let summary = "Metadata steps of sparse-attention serving";
  let description = [{
    A serving engine prepares every decode step by computing a few arrays
    (lengths, cumulative sums, page tables) and writing them to each of its
    attention backends. This dialect states such a step once: pure operations
    on tensors compute the values, `nsa.copy` writes them to destinations, and
    `nsa.step` holds them together and names the arrays.

    Values are immutable, so two backends that ask for the same value share it
    after CSE, and a value is stored nowhere until a copy says where. Passes
    then gather the copies into launches (`nsa.launch`), whose segments say
    which index space a part of the work covers, and these are lowered to GPU
    kernels or to host loops.
  }];
  let useDefaultTypePrinterParser = 1;
  let dependentDialects = [
    "::mlir::affine::AffineDialect", "::mlir::arith::ArithDialect",
    "::mlir::tensor::TensorDialect"
  ];
  let useDefaultAttributePrinterParser = 1;
  let hasOperationAttrVerify = 1;
  let extraClassDeclaration = [{
    void registerAttributes();
  }];
}

#endif // NSA_IR_NSADIALECT_TD
