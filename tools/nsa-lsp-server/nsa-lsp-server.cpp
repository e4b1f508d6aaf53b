//===- nsa-lsp-server.cpp - Serves editors --------------------------------===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Hover.h"
#include "Version.h"

#include "nsa/Target/Pipelines.h"

#include "mlir/Tools/mlir-lsp-server/MlirLspServerMain.h"

int main(int argc, char **argv) {
  nsa::setVersionPrinter("nsa-lsp-server");
  mlir::DialectRegistry registry;
  nsa::registerCompilerDialects(registry);
  auto serve = [&] {
    return int(mlir::failed(mlir::MlirLspServerMain(argc, argv, registry)));
  };
  // What is answered before there is a client ends the process.
  auto isQuestion = [](llvm::StringRef argument) {
    llvm::StringRef name = argument.ltrim('-');
    return name == "version" || name == "h" || name.starts_with("help");
  };
  if (llvm::any_of(llvm::ArrayRef(argv, argc).drop_front(), isQuestion))
    return serve();
  return nsa::serveWithDocumentation(serve);
}
