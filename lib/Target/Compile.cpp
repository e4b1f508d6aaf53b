//===- Compile.cpp - From nsa text to bundles, in process -----------------===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "nsa/Target/Compile.h"

#include "HostCode.h"
#include "Manifest.h"

#include "nsa/Codegen/GuardedOps.h"
#include "nsa/Target/Pipelines.h"

#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/MLIRContext.h"
#include "mlir/IR/Remarks.h"
#include "mlir/Parser/Parser.h"
#include "mlir/Pass/PassManager.h"
#include "llvm/Support/SourceMgr.h"

using namespace mlir;
using namespace nsa;

struct CompiledModule::Jit {
  std::unique_ptr<ExecutionEngine> engine;
};

CompiledModule::CompiledModule() : jit(std::make_unique<Jit>()) {}
CompiledModule::~CompiledModule() = default;

/// A copy of `module` that a pipeline has lowered, or null.
static OwningOpRef<ModuleOp> lower(OwningOpRef<ModuleOp> module, bool verify,
                                   function_ref<void(PassManager &)> build) {
  PassManager pm((*module)->getContext());
  pm.enableVerifier(verify);
  build(pm);
  return succeeded(pm.run(*module)) ? std::move(module)
                                    : OwningOpRef<ModuleOp>();
}

static LogicalResult addPTX(std::vector<CompiledStep> &steps, ModuleOp launches,
                            const CompileOptions &options) {
  auto build = [&](PassManager &pm) {
    buildLaunchToPTXPipeline(pm, options.chip, options.largeParameters,
                             options.lineInfo);
  };
  OwningOpRef<ModuleOp> module =
      lower(launches.clone(), options.verifyPasses, build);
  if (!module)
    return failure();
  for (CompiledStep &step : steps) {
    auto binary = module->lookupSymbol<gpu::BinaryOp>(step.name);
    auto object = cast<gpu::ObjectAttr>(binary.getObjects()[0]);
    step.ptx = object.getObject().getValue().rtrim('\0').str();
  }
  return success();
}

static LogicalResult addHostKernels(std::vector<CompiledStep> &steps,
                                    std::unique_ptr<ExecutionEngine> &engine,
                                    ModuleOp launches,
                                    const CompileOptions &options) {
  OwningOpRef<ModuleOp> module =
      lower(launches.clone(), options.verifyPasses, buildLaunchToLLVMPipeline);
  if (module)
    engine = createHostJIT(*module, options.optimizeHost);
  if (!engine)
    return failure();
  for (auto [compiled, step] :
       llvm::zip_equal(steps, launches.getOps<StepOp>())) {
    auto add = [&, &kernels = compiled.hostKernels,
                step = step](StringRef name, Location loc) mutable {
      std::string symbol = (step.getSymName() + "." + name).str();
      HostKernelFn kernel = lookupHostKernel(*engine, symbol, loc);
      kernels.emplace_back(name.str(), kernel);
      return success(kernel != nullptr);
    };
    for (LaunchOp launch : step.getLaunches())
      if (failed(add(launch.getSymName(), launch.getLoc())))
        return failure();
    if (step.getGuards() && failed(add(guardBufferName, step.getLoc())))
      return failure();
  }
  return success();
}

/// An object for each step, so that a bundle's files belong to one step.
static LogicalResult addHostObjects(std::vector<CompiledStep> &steps,
                                    ModuleOp launches) {
  for (auto [compiled, step] :
       llvm::zip_equal(steps, launches.getOps<StepOp>())) {
    OwningOpRef<ModuleOp> module = ModuleOp::create(step.getLoc());
    module->push_back(step->clone());
    module =
        lower(std::move(module), /*verify=*/true, buildLaunchToLLVMPipeline);
    if (!module)
      return failure();
    std::optional<std::string> object = emitHostObject(*module);
    if (!object)
      return failure();
    compiled.hostObject = std::move(*object);
  }
  return success();
}

static const DialectRegistry &getRegistry() {
  static const DialectRegistry registry = [] {
    DialectRegistry registry;
    registerCompilerDialects(registry);
    return registry;
  }();
  return registry;
}

namespace {
/// A source text, parsed, and where its diagnostics go.
struct Source {
  Source(std::string_view source, std::string_view sourceName,
         std::string &diagnostics)
      // A step is a few dozen operations: threads would cost more than they
      // give.
      : context(getRegistry(), MLIRContext::Threading::DISABLED),
        diagnostics(diagnostics), os(diagnostics),
        handler(sourceMgr, &context, os) {
    // The line in the source says more than a whole step in generic form.
    context.printOpOnDiagnostic(false);
    StringRef text(source);
    // Editors put a byte order mark before a text.
    text.consume_front("\xEF\xBB\xBF");
    sourceMgr.AddNewSourceBuffer(
        llvm::MemoryBuffer::getMemBufferCopy(text, sourceName), llvm::SMLoc());
    auto refuse = [&](const char *message) {
      emitError(FileLineColLoc::get(&context, sourceName, 1, 1), message);
      module = nullptr;
    };
    if (text.starts_with("\xFF\xFE") || text.starts_with("\xFE\xFF")) {
      refuse("expected UTF-8 but got UTF-16");
      return;
    }
    module = parseSourceFile<ModuleOp>(sourceMgr, ParserConfig(&context));
    // MLIR's reader of bytecode does not always say what it stumbles over.
    if (!module && diagnostics.empty())
      refuse("expected a text, or bytecode that is not damaged");
    if (module && module->getOps<StepOp>().empty())
      refuse("expected an 'nsa.step'");
  }

  ~Source() {
    // What LLVM prints where a diagnostic is about no line of the text.
    constexpr StringRef nowhere = "<unknown>:0: ";
    for (size_t at; (at = diagnostics.find(nowhere)) != std::string::npos;)
      diagnostics.erase(at, nowhere.size());
  }

  llvm::SourceMgr sourceMgr;
  MLIRContext context;
  std::string &diagnostics;
  llvm::raw_string_ostream os;
  SourceMgrDiagnosticHandler handler;
  /// Null if it does not parse, or has no steps.
  OwningOpRef<ModuleOp> module;
};
} // namespace

std::vector<std::string> nsa::listSteps(std::string_view source,
                                        std::string_view sourceName,
                                        std::string &diagnostics) {
  Source parsed(source, sourceName, diagnostics);
  std::vector<std::string> names;
  if (parsed.module)
    for (StepOp step : parsed.module->getOps<StepOp>())
      names.push_back(step.getSymName().str());
  return names;
}

std::unique_ptr<CompiledModule> nsa::compile(std::string_view source,
                                             std::string_view sourceName,
                                             const CompileOptions &options,
                                             std::string &diagnostics) {
  Source parsed(source, sourceName, diagnostics);
  OwningOpRef<ModuleOp> &module = parsed.module;
  if (!module)
    return nullptr;
  if (options.remarks) {
    remark::RemarkCategories categories;
    categories.analysis = categories.passed = categories.missed = "nsa";
    if (failed(remark::enableOptimizationRemarks(
            parsed.context, /*streamer=*/nullptr,
            std::make_unique<remark::RemarkEmittingPolicyAll>(), categories,
            /*printAsEmitRemarks=*/true)))
      return nullptr;
  }

  PassManager pm(&parsed.context);
  bool large = options.largeParameters || hasLargeParameters(options.chip);
  buildLaunchPipeline(pm, {options.fuse, options.guards, large, options.pdl});
  if (failed(pm.run(*module)))
    return nullptr;

  std::unique_ptr<CompiledModule> result(new CompiledModule());
  std::vector<CompiledStep> &steps = result->compiledSteps;
  for (StepOp step : module->getOps<StepOp>()) {
    auto at = [&] { return step.emitError(); };
    if (!expect(at, !step.getLaunches().empty(),
                "a step that copies something") ||
        !expect(at, !step.getPdl() || options.ptx,
                "no 'pdl' where nothing is compiled for a GPU: on the host, a "
                "kernel begins when the one before it ends"))
      return nullptr;
    CompiledStep &compiled = steps.emplace_back();
    compiled.name = step.getSymName();
    compiled.manifest = buildManifest(step, options.chip);
  }
  if (options.ptx && failed(addPTX(steps, *module, options)))
    return nullptr;
  if (options.host &&
      failed(addHostKernels(steps, result->jit->engine, *module, options)))
    return nullptr;
  if (options.hostObject && failed(addHostObjects(steps, *module)))
    return nullptr;
  return result;
}

std::string nsa::setManifestFile(std::string manifest, std::string_view key,
                                 std::string_view file) {
  // As text, so that members keep their order.
  std::string member = "  \"" + std::string(key) + "\": ";
  if (size_t at = manifest.find(member); at != std::string::npos)
    manifest.erase(at, manifest.find('\n', at) + 1 - at);
  if (!file.empty())
    manifest.insert(manifest.find("  \"arguments\": ["),
                    member + '"' + std::string(file) + "\",\n");
  return manifest;
}
