//===- nsa-fuzz.cpp - libFuzzer over texts and bytecode -------------------===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Bytes go where a user's go: through the parser, the verifiers and both
// pipelines, fused and not, with guards and without; some go through code
// generation as well. Whatever they are, the compiler ends, and where it refuses
// them it says so. scripts/fuzz.sh makes a corpus and runs it.
//
// Bytecode is read only with NSA_FUZZ_BYTECODE in the environment: MLIR's reader
// trusts the sizes that it finds, and ends the process over wrong ones.
//
//===----------------------------------------------------------------------===//

#include "nsa/IR/NSADialect.h"
#include "nsa/Target/Compile.h"
#include "nsa/Target/Pipelines.h"

#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/Diagnostics.h"
#include "mlir/IR/MLIRContext.h"
#include "mlir/Parser/Parser.h"
#include "mlir/Pass/PassManager.h"
#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/SmallVector.h"
#include "llvm/ADT/StringExtras.h"

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <random>
#include <string>

using namespace mlir;

extern "C" size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t maxSize);

/// A context that many inputs share: making one takes longer than parsing.
/// What inputs leave in it is thrown away now and then.
static MLIRContext &getContext() {
  static std::unique_ptr<MLIRContext> context;
  static unsigned uses = 0;
  if (!context || ++uses % 2000 == 0) {
    DialectRegistry registry;
    nsa::registerCompilerDialects(registry);
    context = std::make_unique<MLIRContext>(registry,
                                            MLIRContext::Threading::DISABLED);
    context->loadAllAvailableDialects();
  }
  return *context;
}

static bool isBytecode(const uint8_t *data, size_t size) {
  return size >= 4 && !std::memcmp(data, "ML\xEFR", 4);
}

[[noreturn]] static void fail(const char *what) {
  std::fprintf(stderr, "refused without an error: %s\n", what);
  std::abort();
}

/// Runs what is before code generation, which takes most of the time.
static void runPipelines(ModuleOp module, unsigned &errors) {
  for (bool fuse : {true, false}) {
    nsa::ToLLVMOptions options;
    options.fuse = fuse;
    options.guards = !fuse;
    PassManager pm(module.getContext());
    nsa::buildToLLVMPipeline(pm, options);
    OwningOpRef<ModuleOp> clone = module.clone();
    if (failed(pm.run(*clone)) && !errors)
      fail("pipeline");
  }
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static const bool readsBytecode = std::getenv("NSA_FUZZ_BYTECODE");
  if (isBytecode(data, size) && !readsBytecode)
    return -1;
  // A copy that ends with a 0, which the lexer looks for.
  std::string source(reinterpret_cast<const char *>(data), size);
  MLIRContext &context = getContext();
  unsigned errors = 0;
  ScopedDiagnosticHandler count(&context, [&](Diagnostic &diagnostic) {
    errors += diagnostic.getSeverity() == DiagnosticSeverity::Error;
  });
  OwningOpRef<ModuleOp> module =
      parseSourceString<ModuleOp>(source, ParserConfig(&context));
  if (!module && !errors)
    fail("parser");
  // Most inputs end here.
  if (!module || module->getOps<nsa::StepOp>().empty())
    return 0;
  runPipelines(*module, errors);
  if (errors || std::hash<std::string>()(source) % 16)
    return 0;
  nsa::CompileOptions options;
  options.hostObject = true;
  std::string diagnostics;
  if (!nsa::compile(source, "fuzz", options, diagnostics) &&
      diagnostics.find("error: ") == std::string::npos)
    fail("compile");
  return 0;
}

//===----------------------------------------------------------------------===//
// Mutations that texts survive more often than those of bytes
//===----------------------------------------------------------------------===//

/// Numbers around which sizes, types and widths change.
static constexpr const char *numbers[] = {
    "0", "1", "2", "3", "-1", "7", "8", "63", "64", "127", "128", "129",
    "4096", "40000", "i8", "?", "1073741824", "2147483647", "2147483648",
    "-2147483648", "4294967296", "9223372036854775807",
    "-9223372036854775808", "99999999999999999999"};

/// Changes a line of a text, or a number in it.
static std::string mutateText(llvm::StringRef text, std::minstd_rand &random) {
  auto pick = [&](size_t count) { return size_t(random()) % count; };
  llvm::SmallVector<llvm::StringRef> lines;
  text.split(lines, '\n');
  size_t at = pick(lines.size());
  switch (pick(5)) {
  case 0:
    lines.erase(lines.begin() + at);
    break;
  case 1: {
    llvm::StringRef line = lines[pick(lines.size())];
    lines.insert(lines.begin() + at, line);
    break;
  }
  case 2:
    std::swap(lines[at], lines[pick(lines.size())]);
    break;
  default: {
    // A word becomes another one of the text, or a number another number.
    llvm::SmallVector<llvm::StringRef> words;
    auto isWord = [](char c) {
      return llvm::isAlnum(c) || c == '_' || c == '%';
    };
    for (size_t begin = 0; begin < text.size();) {
      llvm::StringRef word = text.substr(begin).take_while(isWord);
      if (!word.empty())
        words.push_back(word);
      begin += word.size() + 1;
    }
    if (words.empty())
      break;
    llvm::StringRef word = words[pick(words.size())];
    llvm::StringRef other = words[pick(words.size())];
    if (llvm::isDigit(word[0]) || pick(4) == 0)
      other = numbers[pick(std::size(numbers))];
    return (text.take_front(word.data() - text.data()) + other +
            text.drop_front(word.data() + word.size() - text.data()))
        .str();
  }
  }
  return llvm::join(lines, "\n");
}

extern "C" size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size,
                                          size_t maxSize, unsigned seed) {
  std::minstd_rand random(seed + 1);
  if (isBytecode(data, size) || size == 0 || random() % 4 == 0)
    return LLVMFuzzerMutate(data, size, maxSize);
  std::string text(reinterpret_cast<char *>(data), size);
  for (unsigned count = 1 + random() % 3; count; --count)
    text = mutateText(text, random);
  if (text.size() > maxSize)
    return LLVMFuzzerMutate(data, size, maxSize);
  std::memcpy(data, text.data(), text.size());
  return text.size();
}
