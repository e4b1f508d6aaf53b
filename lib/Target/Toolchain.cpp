//===- Toolchain.cpp - Programs that finish what we compile ---------------===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "nsa/Target/Toolchain.h"

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/ScopeExit.h"
#include "llvm/ADT/SmallString.h"
#include "llvm/ADT/StringRef.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/Program.h"
#include "llvm/Support/raw_ostream.h"

#include <cstdlib>
#include <functional>
#include <vector>

using llvm::StringRef;
namespace sys = llvm::sys;

using Arguments = std::vector<std::string>;

static std::string findPtxas() {
  if (auto found = sys::findProgramByName("ptxas"))
    return *found;
  std::vector<std::string> folders;
  if (const char *home = std::getenv("CUDA_HOME"))
    folders.push_back(home);
  folders.push_back("/usr/local/cuda");
  for (const std::string &folder : folders) {
    std::string path = folder + "/bin/ptxas";
    if (sys::fs::can_execute(path))
      return path;
  }
  return {};
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

/// Runs `program` on files with `inputs` and returns the file that it writes.
/// `makeArguments` takes the names of those and of that; `said` gets what it
/// prints.
static std::optional<std::string>
transform(const std::string &program, llvm::ArrayRef<std::string_view> inputs,
          std::function<Arguments(Arguments, std::string)> makeArguments,
          std::string &error, std::string *said = nullptr) {
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
  std::string result = inFolder("output"), log = inFolder("log");
  Arguments sources;
  for (std::string_view input : inputs) {
    sources.push_back(inFolder("input" + std::to_string(sources.size())));
    std::error_code code;
    llvm::raw_fd_ostream os(sources.back(), code);
    if (!code)
      os << StringRef(input);
    // Written when it is closed.
    os.close();
    if (os.has_error())
      code = os.error();
    os.clear_error();
    if (code) {
      error = "cannot write '" + sources.back() + "': " + code.message();
      return std::nullopt;
    }
  }
  Arguments arguments = makeArguments(sources, result);
  std::vector<StringRef> views{program};
  views.insert(views.end(), arguments.begin(), arguments.end());
  std::string reason;
  int status =
      sys::ExecuteAndWait(program, views, /*Env=*/std::nullopt,
                          {StringRef(), StringRef(log), StringRef(log)},
                          /*SecondsToWait=*/0, /*MemoryLimit=*/0, &reason);
  if (status != 0) {
    error = "'" + program + "' failed";
    if (auto output = llvm::MemoryBuffer::getFile(log))
      reason += (*output)->getBuffer().rtrim().str();
    if (!reason.empty())
      error += ": " + reason;
    return std::nullopt;
  }
  if (said)
    if (auto output = llvm::MemoryBuffer::getFile(log))
      *said = (*output)->getBuffer().str();
  auto output = llvm::MemoryBuffer::getFile(result);
  if (!output) {
    error = "'" + program + "' wrote nothing";
    return std::nullopt;
  }
  return (*output)->getBuffer().str();
}

std::optional<std::string> nsa::assemblePTX(std::string_view ptx,
                                            std::string_view chip,
                                            std::string &error) {
  std::string ptxas = findPtxas();
  if (ptxas.empty()) {
    error = "a cubin needs 'ptxas', which is neither in PATH nor in CUDA_HOME";
    return std::nullopt;
  }
  std::string arch = "-arch=" + std::string(chip);
  return transform(
      ptxas, ptx,
      [&](Arguments inputs, std::string output) {
        Arguments arguments{arch, inputs[0], "-o", output};
        if (StringRef(ptx).contains("\t.loc\t"))
          arguments.push_back("-lineinfo");
        return arguments;
      },
      error);
}

std::optional<std::vector<nsa::KernelUsage>>
nsa::measurePTX(std::string_view ptx, std::string_view chip,
                std::string &error) {
  std::string ptxas = findPtxas();
  if (ptxas.empty()) {
    error = "there is no 'ptxas' in PATH or in CUDA_HOME";
    return std::nullopt;
  }
  std::string arch = "-arch=" + std::string(chip), said;
  auto cubin = transform(
      ptxas, ptx,
      [&](Arguments inputs, std::string output) {
        return Arguments{arch, "-v", inputs[0], "-o", output};
      },
      error, &said);
  if (!cubin)
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
  return transform(
      linker, object,
      [&](Arguments inputs, std::string output) {
        return Arguments{"-shared", inputs[0], "-o", output};
      },
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
  return transform(
      compiler, {source, object},
      [&](Arguments inputs, std::string output) {
        // Its host kernels are its own, whatever else the process has loaded.
        return Arguments{"-shared",
                         "-fPIC",
                         "-O2",
                         "-fvisibility=hidden",
                         "-Wl,-Bsymbolic",
                         "-x",
                         "c",
                         inputs[0],
                         "-x",
                         "none",
                         inputs[1],
                         "-lpthread",
                         "-ldl",
                         "-o",
                         output};
      },
      error);
}
