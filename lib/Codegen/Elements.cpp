//===- Elements.cpp - Which operations have code --------------------------===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Elements.h"

#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace nsa;

#include "nsa/Codegen/ElementInterface.cpp.inc"

void nsa::registerElements(DialectRegistry &registry) {
  registry
      .insert<memref::MemRefDialect, scf::SCFDialect, vector::VectorDialect>();
  registry.addExtension(+[](MLIRContext *context, NSADialect *) {
    attachDequantElements(*context);
    attachExpansionElements(*context);
    attachMapElements(*context);
    attachPrefillElements(*context);
    attachStoredSumElements(*context);
    attachSumElements(*context);
    attachValueElements(*context);
    // Not one kernel is made by a compiler that lacks some.
    for (RegisteredOperationName name : context->getRegisteredOperations())
      if (name.hasInterface<ValueOpInterface>() &&
          !name.hasInterface<ElementOpInterface>())
        llvm::report_fatal_error("no code for the elements of '" +
                                 name.getStringRef() + "'");
  });
}
