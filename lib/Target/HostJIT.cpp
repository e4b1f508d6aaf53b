//===- HostJIT.cpp - Host kernels compiled in process ---------------------===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "HostJIT.h"

#include "nsa/Conversion/Passes.h"

#include "mlir/ExecutionEngine/OptUtils.h"
#include "llvm/ExecutionEngine/Orc/JITTargetMachineBuilder.h"
#include "llvm/Target/TargetMachine.h"

using namespace mlir;
using namespace nsa;

std::unique_ptr<ExecutionEngine> nsa::createHostJIT(ModuleOp module,
                                                    bool optimize) {
  initializeBackends();
  auto fail = [&](llvm::Error error) -> std::unique_ptr<ExecutionEngine> {
    module.emitError("cannot compile for the host: ")
        << llvm::toString(std::move(error));
    return nullptr;
  };

  auto machineBuilder = llvm::orc::JITTargetMachineBuilder::detectHost();
  if (!machineBuilder)
    return fail(machineBuilder.takeError());
  machineBuilder->setCodeGenOptLevel(optimize ? llvm::CodeGenOptLevel::Default
                                              : llvm::CodeGenOptLevel::None);
  auto machine = machineBuilder->createTargetMachine();
  if (!machine)
    return fail(machine.takeError());

  ExecutionEngineOptions options;
  // Upstream's default is to tell debuggers and perf, which writes a dump of
  // each process to the home or the temporary folder, profiled or not.
  options.enableGDBNotificationListener = false;
  options.enablePerfNotificationListener = false;
  // A reference to it is kept.
  auto transformer = makeOptimizingTransformer(/*optLevel=*/2, /*sizeLevel=*/0,
                                               machine->get());
  if (optimize)
    options.transformer = transformer;
  auto engine = ExecutionEngine::create(module, options, std::move(*machine));
  if (!engine)
    return fail(engine.takeError());
  return std::move(*engine);
}

HostKernelFn nsa::lookupHostKernel(ExecutionEngine &engine, StringRef symbol,
                                   Location loc) {
  llvm::Expected<void *> address = engine.lookup(symbol);
  if (address)
    return reinterpret_cast<HostKernelFn>(*address);
  emitError(loc) << "cannot compile for the host: "
                 << llvm::toString(address.takeError());
  return nullptr;
}
