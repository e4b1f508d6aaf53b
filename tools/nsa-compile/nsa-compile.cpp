//===- nsa-compile.cpp - Bundles from nsa text ----------------------------===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Version.h"

#include "nsa/Target/Compile.h"
#include "nsa/Target/Toolchain.h"

#include "llvm/Support/CommandLine.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/InitLLVM.h"
#include "llvm/Support/JSON.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/WithColor.h"
#include "llvm/Support/raw_ostream.h"

namespace cl = llvm::cl;

namespace {
enum class Emit { PTX, Manifest, Header, Cubin, Host, FFI };
} // namespace

static cl::OptionCategory category("nsa-compile options");
static cl::opt<std::string> input(cl::Positional, cl::Required,
                                  cl::desc("<input .mlir, - for stdin>"),
                                  cl::cat(category));
static cl::opt<std::string> outputFolder("o", cl::Required,
                                         cl::desc("Where to write the bundle"),
                                         cl::value_desc("folder"),
                                         cl::cat(category));
static cl::opt<std::string> chip("chip", cl::init("sm_80"),
                                 cl::desc("The GPU to compile for"),
                                 cl::value_desc("sm_NN"), cl::cat(category));
static cl::list<Emit> emits(
    "emit", cl::CommaSeparated,
    cl::desc("What to write (default: ptx,header,manifest)"),
    cl::values(clEnumValN(Emit::PTX, "ptx", "NAME.ptx, the kernels"),
               clEnumValN(Emit::Header, "header", "NAME.h, to embed them"),
               clEnumValN(Emit::Manifest, "manifest",
                          "NAME.json, for launchers"),
               clEnumValN(Emit::Cubin, "cubin",
                          "NAME.cubin, assembled for the chip (needs ptxas)"),
               clEnumValN(Emit::Host, "host",
                          "NAME.o and NAME.so, the kernels for this machine's "
                          "processor (needs a linker)"),
               clEnumValN(Emit::FFI, "tvm-ffi",
                          "NAME.ffi.so, a module that tvm_ffi.load_module "
                          "takes (needs a C compiler)")),
    cl::cat(category));
static cl::opt<bool>
    listOutputs("list-outputs",
                cl::desc("Print the files that would be written, and stop"),
                cl::cat(category));
static cl::opt<bool> guards("guards",
                            cl::desc("Kernels skip and record accesses outside "
                                     "of their arrays, and elements that go "
                                     "where another one went"),
                            cl::cat(category));
static cl::opt<bool> largeParameters(
    "large-parameters",
    cl::desc("Let kernels have 32,764 bytes of parameters, not 4,352: PTX 8.1, "
             "which needs a driver of CUDA 12.1 (all PTX from sm_100 on does)"),
    cl::cat(category));
static cl::opt<bool> pdl(
    "pdl",
    cl::desc("Programmatic dependent launch: kernels begin before the kernel "
             "that comes before them ends (the chip is sm_90 or later, and "
             "sm_90 if none is named)"),
    cl::cat(category));
static cl::opt<bool> lineInfo(
    "line-info",
    cl::desc("Say in the PTX where in the text an instruction is from (.loc), "
             "for profilers, debuggers and the simulator"),
    cl::cat(category));
static cl::opt<bool>
    remarks("remarks", cl::desc("Say what was merged and fused, and what not"),
            cl::cat(category));
static cl::opt<bool> noFuse("no-fuse",
                            cl::desc("A launch for every destination"),
                            cl::cat(category));

/// Reports `message` and returns the exit status.
static int fail(const llvm::Twine &message) {
  llvm::WithColor::error(llvm::errs(), "nsa-compile") << message << '\n';
  return 1;
}

static bool wants(Emit emit) {
  bool byDefault =
      emit == Emit::PTX || emit == Emit::Manifest || emit == Emit::Header;
  return emits.empty() ? byDefault : llvm::is_contained(emits, emit);
}

/// Where a step's files go, but for what they end in.
static std::string getBase(llvm::StringRef step) {
  llvm::SmallString<128> path(outputFolder);
  llvm::sys::path::append(path, step);
  return path.str().str();
}

/// What --list-outputs prints; the order is that of main.
static void printOutputs(llvm::StringRef step) {
  static constexpr std::pair<Emit, const char *> endings[] = {
      {Emit::Host, ".o"},      {Emit::Host, ".so"}, {Emit::FFI, ".ffi.so"},
      {Emit::Cubin, ".cubin"}, {Emit::PTX, ".ptx"}, {Emit::Manifest, ".json"},
      {Emit::Header, ".h"}};
  for (auto [emit, ending] : endings)
    if (wants(emit))
      llvm::outs() << getBase(step) << ending << '\n';
}

/// What --stats says of each launch: its segments, and what ptxas, where there
/// is one, says of its kernel.
static void printKernels(const nsa::CompiledStep &step) {
  auto manifest = llvm::json::parse(step.manifest);
  if (!manifest) {
    llvm::consumeError(manifest.takeError());
    return;
  }
  std::string reason;
  auto usage = nsa::measurePTX(step.ptx, chip.getValue(), reason);
  for (const llvm::json::Value &value :
       *manifest->getAsObject()->getArray("kernels")) {
    const llvm::json::Object &kernel = *value.getAsObject();
    llvm::StringRef name = *kernel.getString("name");
    llvm::outs() << "  " << name << ": " << kernel.getArray("segments")->size()
                 << " segment(s), " << kernel.getArray("parameters")->size()
                 << " parameter(s)";
    if (usage)
      for (const nsa::KernelUsage &each : *usage)
        if (each.name == name)
          llvm::outs() << ", " << each.registers << " registers, "
                       << each.spillStores << " bytes of spill stores, "
                       << each.spillLoads << " of loads";
    llvm::outs() << '\n';
  }
  if (!usage)
    llvm::outs() << "  registers are not known: " << reason << '\n';
}

namespace {
struct OutputFile {
  std::string path;
  std::string content;
  std::string temporary;
};
} // namespace

/// Writes all files, or none: each goes to a temporary file first.
static std::string writeAll(std::vector<OutputFile> &files) {
  std::string error;
  auto writeTemporary = [&](OutputFile &file) {
    if (llvm::sys::fs::is_directory(file.path)) {
      error = "cannot write '" + file.path + "': it is a folder";
      return false;
    }
    int descriptor;
    llvm::SmallString<128> temporary;
    if (std::error_code code = llvm::sys::fs::createUniqueFile(
            file.path + ".%%%%%%%%", descriptor, temporary)) {
      error = "cannot write '" + file.path + "': " + code.message();
      return false;
    }
    file.temporary = temporary.str().str();
    llvm::raw_fd_ostream os(descriptor, /*shouldClose=*/true);
    os << file.content;
    os.close();
    if (os.has_error()) {
      error = "cannot write '" + file.path + "': " + os.error().message();
      os.clear_error();
      return false;
    }
    return true;
  };
  (void)llvm::all_of(files, writeTemporary);
  for (OutputFile &file : files) {
    if (file.temporary.empty())
      continue;
    if (!error.empty()) {
      llvm::sys::fs::remove(file.temporary);
      continue;
    }
    if (std::error_code code =
            llvm::sys::fs::rename(file.temporary, file.path)) {
      error = "cannot write '" + file.path + "': " + code.message();
      llvm::sys::fs::remove(file.temporary);
    }
  }
  return error;
}

int main(int argc, char **argv) {
  llvm::InitLLVM init(argc, argv);
  cl::HideUnrelatedOptions(category);
  nsa::setVersionPrinter("nsa-compile");
  // LLVM has a --stats of its own, for its internal counters; ours replaces it.
  if (cl::Option *option = cl::getRegisteredOptions().lookup("stats"))
    option->removeArgument();
  cl::opt<bool> stats("stats", cl::desc("Print sizes and launches"),
                      cl::cat(category));
  cl::ParseCommandLineOptions(
      argc, argv,
      "Compiles nsa steps to bundles: for each step NAME the kernels as\n"
      "NAME.ptx, the manifest NAME.json and the header NAME.h; with --emit\n"
      "also a cubin, and the kernels for the host\n");

  auto buffer = llvm::MemoryBuffer::getFileOrSTDIN(input, /*IsText=*/true);
  if (!buffer)
    return fail("cannot read '" + input + "': " + buffer.getError().message());

  std::string_view text((*buffer)->getBuffer());
  std::string_view name((*buffer)->getBufferIdentifier());
  std::string diagnostics;
  if (listOutputs) {
    std::vector<std::string> steps = nsa::listSteps(text, name, diagnostics);
    llvm::errs() << diagnostics;
    llvm::for_each(steps, printOutputs);
    return steps.empty();
  }

  nsa::CompileOptions options;
  options.chip = chip;
  if (pdl && chip.getNumOccurrences() == 0)
    options.chip = "sm_90";
  options.fuse = !noFuse;
  options.guards = guards;
  options.largeParameters = largeParameters;
  options.pdl = pdl;
  options.remarks = remarks;
  options.lineInfo = lineInfo;
  options.hostObject = wants(Emit::Host) || wants(Emit::FFI);
  std::unique_ptr<nsa::CompiledModule> module =
      nsa::compile(text, name, options, diagnostics);
  llvm::errs() << diagnostics;
  if (!module)
    return 1;

  std::vector<OutputFile> files;
  for (const nsa::CompiledStep &step : module->steps()) {
    std::string base = getBase(step.name);
    std::string manifest = step.manifest, error;
    size_t cubinBytes = 0;
    if (wants(Emit::Host)) {
      auto library = nsa::linkSharedLibrary(step.hostObject, error);
      if (!library)
        return fail(error);
      manifest = nsa::setManifestFile(manifest, "host", step.name + ".so");
      files.push_back({base + ".o", step.hostObject, {}});
      files.push_back({base + ".so", std::move(*library), {}});
    }
    if (wants(Emit::FFI)) {
      auto library =
          nsa::buildFFIModule(nsa::emitFFISource(step), step.hostObject, error);
      if (!library)
        return fail(error);
      files.push_back({base + ".ffi.so", std::move(*library), {}});
    }
    if (wants(Emit::Cubin)) {
      auto cubin = nsa::assemblePTX(step.ptx, options.chip, error);
      if (!cubin)
        return fail(error);
      cubinBytes = cubin->size();
      manifest = nsa::setManifestFile(manifest, "cubin", step.name + ".cubin");
      files.push_back({base + ".cubin", std::move(*cubin), {}});
    }
    // A bundle of other kernels alone names no PTX.
    if (!wants(Emit::PTX) && (wants(Emit::Host) || wants(Emit::Cubin)))
      manifest = nsa::setManifestFile(manifest, "ptx", "");
    if (wants(Emit::PTX))
      files.push_back({base + ".ptx", step.ptx, {}});
    if (wants(Emit::Manifest))
      files.push_back({base + ".json", manifest, {}});
    if (wants(Emit::Header))
      files.push_back({base + ".h", nsa::emitHeader(step), {}});
    if (stats) {
      llvm::outs() << step.name << ": "
                   << llvm::StringRef(step.ptx).count(".entry")
                   << " kernel(s), " << step.ptx.size() << " bytes of PTX";
      if (cubinBytes)
        llvm::outs() << ", " << cubinBytes << " bytes of cubin";
      if (wants(Emit::Host))
        llvm::outs() << ", " << step.hostObject.size()
                     << " bytes of host object";
      llvm::outs() << '\n';
      printKernels(step);
    }
  }

  // Files and folders have what the umask leaves, as everybody's.
  if (std::error_code code = llvm::sys::fs::create_directories(
          outputFolder, /*IgnoreExisting=*/true, llvm::sys::fs::all_all))
    return fail("cannot create folder '" + outputFolder +
                "': " + code.message());
  if (std::string error = writeAll(files); !error.empty())
    return fail(error);
  return 0;
}
