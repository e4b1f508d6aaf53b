//===- Toolchain.cpp - Programs that finish what we compile ---------------===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "nsa/Target/Toolchain.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/ScopeExit.h"
#include "llvm/ADT/SmallString.h"
#include "llvm/ADT/StringRef.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/Program.h"
#include "llvm/Support/raw_ostream.h"

#include <cstdlib>
#include <vector>

using llvm::StringRef;
namespace sys = llvm::sys;

static std::string findPtxas() {
  if (auto found = sys::findProgramByName("ptxas"))
    return *found;
  const char *home = std::getenv("CUDA_HOME");
  std::string folder = std::string(home ? home : "") + "/bin";
  auto found = sys::findProgramByName("ptxas", {folder, "/usr/local/cuda/bin"});
  return found ? *found : "";
}

/// The program that the environment variable `variable` names, or the first of
/// `names` that is in PATH. Empty, with the reason in `error`, if there is
/// none; `missing` is what to say where nobody has named one.
static std::string findProgram(const char *variable,
                               llvm::ArrayRef<const char *> names,
                               StringRef missing, std::string &error) {
  const char *named = std::getenv(variable);
  if (named && *named) {
    if (auto found = sys::findProgramByName(named))
      return *found;
    error = std::string(variable) +
            ": expected a program, by its path or in PATH, but got '" + named +
            "'";
    return {};
  }
  for (const char *name : names)
    if (auto found = sys::findProgramByName(name))
      return *found;
  error = missing.str();
  return {};
}

/// What stands for the names of files in the arguments of a program: those that
/// it reads, and the one that it writes.
static constexpr const char *inputNames[] = {"input0", "input1"},
                            *outputName = "output";

/// Runs `program` on files with `inputs` and returns the file that it writes;
/// `said` gets what it prints.
static std::optional<std::string>
transform(const std::string &program, llvm::ArrayRef<std::string_view> inputs,
          llvm::ArrayRef<StringRef> arguments, std::string &error,
          std::string *said = nullptr) {
  llvm::SmallString<128> folder;
  if (std::error_code code = sys::fs::createUniqueDirectory("nsa", folder)) {
    error = "cannot make a temporary folder: " + code.message();
    return std::nullopt;
  }
  auto cleanup =
      llvm::scope_exit([&] { (void)sys::fs::remove_directories(folder); });
  auto inFolder = [&](StringRef name) {
    llvm::SmallString<128> path(folder);
    sys::path::append(path, name);
    return path.str().str();
  };
  std::string result = inFolder(outputName), log = inFolder("log");
  for (auto [name, input] : llvm::zip(inputNames, inputs)) {
    std::string source = inFolder(name);
    std::error_code code;
    llvm::raw_fd_ostream os(source, code);
    if (!code)
      os << StringRef(input);
    // Written when it is closed.
    os.close();
    if (os.has_error())
      code = os.error();
    os.clear_error();
    if (code) {
      error = "cannot write '" + source + "': " + code.message();
      return std::nullopt;
    }
  }
  std::vector<std::string> line{program};
  for (StringRef argument : arguments)
    line.push_back(argument == outputName ||
                           llvm::is_contained(inputNames, argument)
                       ? inFolder(argument)
                       : argument.str());
  std::string reason;
  int status = sys::ExecuteAndWait(
      program, llvm::to_vector_of<StringRef>(line), /*Env=*/std::nullopt,
      {StringRef(), StringRef(log), StringRef(log)},
      /*SecondsToWait=*/0, /*MemoryLimit=*/0, &reason);
  auto printed = llvm::MemoryBuffer::getFile(log);
  StringRef text = printed ? (*printed)->getBuffer() : StringRef();
  if (status != 0) {
    reason += text.rtrim();
    error = "'" + program + "' failed" + (reason.empty() ? "" : ": " + reason);
    return std::nullopt;
  }
  if (said)
    *said = text.str();
  auto output = llvm::MemoryBuffer::getFile(result);
  if (!output) {
    error = "'" + program + "' wrote nothing";
    return std::nullopt;
  }
  return (*output)->getBuffer().str();
}

/// The cubin of a PTX text; `missing` is what to say where there is no ptxas.
static std::optional<std::string>
runPtxas(std::string_view ptx, std::string_view chip,
         llvm::ArrayRef<StringRef> options, StringRef missing,
         std::string &error, std::string *said = nullptr) {
  std::string ptxas = findPtxas(), arch = "-arch=" + std::string(chip);
  if (ptxas.empty()) {
    error = missing.str();
    return std::nullopt;
  }
  llvm::SmallVector<StringRef> arguments{arch, inputNames[0], "-o", outputName};
  llvm::append_range(arguments, options);
  return transform(ptxas, ptx, arguments, error, said);
}

std::optional<std::string> nsa::assemblePTX(std::string_view ptx,
                                            std::string_view chip,
                                            std::string &error) {
  llvm::SmallVector<StringRef> options;
  if (StringRef(ptx).contains("\t.loc\t"))
    options.push_back("-lineinfo");
  return runPtxas(
      ptx, chip, options,
      "a cubin needs 'ptxas', which is neither in PATH nor in CUDA_HOME",
      error);
}

std::optional<std::vector<nsa::KernelUsage>>
nsa::measurePTX(std::string_view ptx, std::string_view chip,
                std::string &error) {
  std::string said;
  if (!runPtxas(ptx, chip, {"-v"},
                "there is no 'ptxas' in PATH or in CUDA_HOME", error, &said))
    return std::nullopt;
  std::vector<KernelUsage> kernels;
  auto numberBefore = [](StringRef line, StringRef words) {
    StringRef before = line.split(words).first;
    int number = 0;
    (void)before.substr(before.rfind(' ') + 1).getAsInteger(10, number);
    return number;
  };
  llvm::SmallVector<StringRef> lines;
  StringRef(said).split(lines, '\n');
  for (StringRef line : lines) {
    if (line.contains("Compiling entry function"))
      kernels.push_back({line.split('\'').second.split('\'').first.str()});
    if (kernels.empty())
      continue;
    if (line.contains("bytes spill stores")) {
      kernels.back().spillStores = numberBefore(line, " bytes spill stores");
      kernels.back().spillLoads = numberBefore(line, " bytes spill loads");
    }
    if (line.contains(" registers"))
      kernels.back().registers = numberBefore(line, " registers");
  }
  return kernels;
}

std::optional<std::string> nsa::linkSharedLibrary(std::string_view object,
                                                  std::string &error) {
  std::string linker = findProgram(
      "NSA_LINKER", {"cc", "gcc", "clang", "ld.lld", "ld"},
      "a host library needs a C compiler or a linker (cc, ld.lld, ld), and "
      "there is none in PATH",
      error);
  if (linker.empty())
    return std::nullopt;
  return transform(linker, object, {"-shared", inputNames[0], "-o", outputName},
                   error);
}

std::optional<std::string> nsa::buildFFIModule(std::string_view source,
                                               std::string_view object,
                                               std::string &error) {
  std::string compiler =
      findProgram("NSA_CC", {"cc", "gcc", "clang"},
                  "a module of tvm-ffi needs a C compiler (cc, gcc, clang), "
                  "and there is none in PATH",
                  error);
  if (compiler.empty())
    return std::nullopt;
  // Its host kernels are its own, whatever else the process has loaded.
  return transform(compiler, {source, object},
                   {"-shared", "-fPIC", "-O2", "-fvisibility=hidden",
                    "-Wl,-Bsymbolic", "-x", "c", inputNames[0], "-x", "none",
                    inputNames[1], "-lpthread", "-ldl", "-o", outputName},
                   error);
}
