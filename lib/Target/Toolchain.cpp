//===- Toolchain.cpp - Programs that finish what we compile ---------------===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "nsa/Target/Toolchain.h"

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

/// Runs `program` on a file with `input` and returns the file that it writes.
/// `makeArguments` takes the names of both.
static std::optional<std::string>
transform(const std::string &program, std::string_view input,
          std::function<Arguments(std::string, std::string)> makeArguments,
          std::string &error) {
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
  std::string source = inFolder("input"), result = inFolder("output"),
              log = inFolder("log");
  std::error_code code;
  {
    llvm::raw_fd_ostream os(source, code);
    if (!code)
      os << StringRef(input);
    if (os.has_error())
      code = os.error();
    os.clear_error();
  }
  if (code) {
    error = "cannot write '" + source + "': " + code.message();
    return std::nullopt;
  }
  Arguments arguments = makeArguments(source, result);
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
      [&](std::string input, std::string output) {
        return Arguments{arch, input, "-o", output};
      },
      error);
}

std::optional<std::string> nsa::linkSharedLibrary(std::string_view object,
                                                  std::string &error) {
  std::string linker;
  const char *name = std::getenv("NSA_LINKER");
  if (name && *name) {
    auto found = sys::findProgramByName(name);
    if (!found) {
      error = "NSA_LINKER: expected a program, by its path or in PATH, but got "
              "'" +
              std::string(name) + "'";
      return std::nullopt;
    }
    linker = *found;
  } else {
    for (const char *name : {"cc", "gcc", "clang", "ld.lld", "ld"})
      if (auto found = sys::findProgramByName(name)) {
        linker = *found;
        break;
      }
  }
  if (linker.empty()) {
    error = "a host library needs a C compiler or a linker (cc, ld.lld, ld), "
            "and there is none in PATH";
    return std::nullopt;
  }
  return transform(
      linker, object,
      [&](std::string input, std::string output) {
        return Arguments{"-shared", input, "-o", output};
      },
      error);
}
