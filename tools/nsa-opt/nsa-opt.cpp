//===- nsa-opt.cpp - mlir-opt with the nsa dialect ------------------------===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Version.h"

#include "nsa/Conversion/Passes.h"
#include "nsa/Target/Pipelines.h"
#include "nsa/Transforms/Passes.h"

#include "mlir/InitAllPasses.h"
#include "mlir/Tools/mlir-opt/MlirOptMain.h"

int main(int argc, char **argv) {
  nsa::setVersionPrinter("nsa-opt");
  mlir::DialectRegistry registry;
  nsa::registerCompilerDialects(registry);
  mlir::registerAllPasses();
  nsa::registerNSATransformsPasses();
  nsa::registerNSAConversionPasses();
  nsa::registerPipelines();
  return mlir::asMainReturnCode(mlir::MlirOptMain(
      argc, argv, "Optimizes and lowers nsa metadata steps\n", registry));
}
