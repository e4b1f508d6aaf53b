//===- HostCode.cpp - Host kernels as machine code ------------------------===//
//---------------------===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "HostCode.h"

#include "nsa/Conversion/Passes.h"

#include "mlir/ExecutionEngine/OptUtils.h"
#include "mlir/Target/LLVMIR/Export.h"
#include "llvm/ExecutionEngine/Orc/JITTargetMachineBuilder.h"
#include "llvm/IR/LegacyPassManager.h"
#include "llvm/IR/Module.h"
#include "llvm/MC/TargetRegistry.h"
#include "llvm/Target/TargetMachine.h"
#include "llvm/TargetParser/Host.h"

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

std::optional<std::string> nsa::emitHostObject(ModuleOp module) {
  initializeBackends();
  auto fail = [&](const llvm::Twine &message) {
    module.emitError("cannot compile for the host: ") << message;
    return std::nullopt;
  };
  llvm::Triple triple(llvm::sys::getDefaultTargetTriple());
  std::string error;
  const llvm::Target *target =
      llvm::TargetRegistry::lookupTarget(triple, error);
  if (!target)
    return fail(error);
  std::unique_ptr<llvm::TargetMachine> machine(
      target->createTargetMachine(triple, /*CPU=*/"", /*Features=*/"",
                                  llvm::TargetOptions(), llvm::Reloc::PIC_));

  llvm::LLVMContext context;
  std::unique_ptr<llvm::Module> code = translateModuleToLLVMIR(module, context);
  if (!code)
    return fail("no LLVM IR");
  code->setTargetTriple(triple);
  code->setDataLayout(machine->createDataLayout());
  auto optimize =
      makeOptimizingTransformer(/*optLevel=*/2, /*sizeLevel=*/0, machine.get());
  if (llvm::Error failed = optimize(code.get()))
    return fail(llvm::toString(std::move(failed)));

  llvm::SmallVector<char, 0> object;
  llvm::raw_svector_ostream os(object);
  llvm::legacy::PassManager passes;
  if (machine->addPassesToEmitFile(passes, os, nullptr,
                                   llvm::CodeGenFileType::ObjectFile))
    return fail("the target writes no objects");
  passes.run(*code);
  return std::string(object.begin(), object.end());
}
