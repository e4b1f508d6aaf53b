//===- FFICall.cpp - A call of tvm-ffi, as straight C ---------------------===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// What the end of nsa-c/tvm_ffi.h describes, for one manifest.
//
//===----------------------------------------------------------------------===//

#include "StepSource.h"

#include "llvm/ADT/StringMap.h"
#include "llvm/Support/raw_ostream.h"

using namespace nsa;

namespace {
class CallWriter {
public:
  explicit CallWriter(const json::Object &root)
      : root(root), name(getText(root, "step")) {}

  std::string write();

private:
  void writeGiven();
  /// `first` is an array whose device all others have to be on.
  void writeTake(StringRef first);
  void writeKernel(const json::Object &kernel, size_t number);

  const json::Object &root;
  StringRef name;
  llvm::StringMap<unsigned> sizePlaces;
  std::string text;
  llvm::raw_string_ostream os{text};
};
} // namespace

/// Those of the struct that writeGiven writes.
static constexpr CallNames givenNames = {"given->{0}", "given->{0}.base",
                                         "given->{0}.tensor->shape[{1}]",
                                         "given->{0}.tensor->strides[{1}]"};

void CallWriter::writeGiven() {
  os << "\n/* What a call is given. */\ntypedef struct " << name
     << "_given {\n";
  for (const json::Object &argument : getObjects(root, "arguments")) {
    os << (isSize(argument) ? "  int64_t " : "  nsa_ffi_view ")
       << getText(argument, "name") << ";\n";
  }
  os << "} " << name << "_given;\n";
}

void CallWriter::writeTake(StringRef first) {
  std::string are, checks;
  os << llvm::formatv(R"c(
/* Whether they are integers, and tensors of the right types on one device. */
static inline int {0}_take(const nsa_ffi_any *args, {0}_given *given) {{
  uint64_t odd = 0;
)c",
                      name);
  for (auto [place, argument] :
       llvm::enumerate(getObjects(root, "arguments"))) {
    StringRef port = getText(argument, "name");
    if (isSize(argument)) {
      os << llvm::formatv("  given->{0} = args[{1}].value.v_int64;\n"
                          "  odd |= (uint32_t)(args[{1}].type_index ^ "
                          "NSA_FFI_INT);\n",
                          port, place);
      continue;
    }
    bool canMiss = isOptional(argument);
    os << llvm::formatv("  given->{0}.tensor = nsa_ffi_{1}_of(&args[{2}]);\n",
                        port, canMiss ? "optional" : "tensor", place);
    are += llvm::formatv(" ||\n      !given->{0}.tensor", port);
    checks += llvm::formatv(
        "  odd |= nsa_ffi_{0}odd(given->{1}.tensor, given->{2}.tensor, {3}, "
        "&{4}_dtypes[{5}]);\n"
        "  given->{1}.base = nsa_ffi_base(given->{1}.tensor);\n",
        canMiss ? "optional_" : "", port, first,
        getList(argument, "shape").size(), name, place);
  }
  os << "  if (odd" << are << ")\n    return 0;\n"
     << "  odd |= nsa_ffi_odd_device(given->" << first << ".tensor);\n"
     << checks << "  return odd == 0;\n}\n";
}

void CallWriter::writeKernel(const json::Object &kernel, size_t number) {
  os << llvm::formatv("  if (*status == NSA_OK && blocks[{0}] != 0) {{\n",
                      number);
  std::string words;
  for (const json::Object &parameter : getObjects(kernel, "parameters")) {
    StringRef field = getText(parameter, "field");
    words += "        ";
    if (field == "presence") {
      for (auto [bit, argument] :
           llvm::enumerate(getList(parameter, "arguments")))
        words += llvm::formatv("{0}(uint64_t)(given.{1}.base != 0) << {2}",
                               bit ? "\n            | " : "",
                               *argument.getAsString(), bit);
      words += ",\n";
      continue;
    }
    StringRef argument = getText(parameter, "argument");
    if (field == "value")
      words += llvm::formatv("(uint64_t)sizes[{0}], /* {1} */\n",
                             sizePlaces.lookup(argument), argument);
    else if (field == "pointer")
      words += llvm::formatv("given.{0}.base,\n", argument);
    else
      words += llvm::formatv("(uint64_t)given.{0}.tensor->{1}[{2}],\n",
                             argument, field == "stride" ? "strides" : "shape",
                             *parameter.getInteger("dim"));
  }
  os << llvm::formatv("    uint64_t words[] = {{\n{1}    };\n"
                      "    void *pointers[{2}];\n"
                      "    *status = nsa_ffi_launch_words(&at, {0}, "
                      "blocks[{0}], words, pointers, {2}, message);\n  }\n",
                      number, words, getList(kernel, "parameters").size());
}

std::string CallWriter::write() {
  auto checks = emitStraightChecks(root, givenNames);
  StringRef first;
  for (const json::Object &argument : getObjects(root, "arguments")) {
    if (isSize(argument))
      sizePlaces.try_emplace(getText(argument, "name"), sizePlaces.size());
    else if (!isOptional(argument) && first.empty())
      first = getText(argument, "name");
  }
  if (!checks || first.empty())
    return "";
  writeGiven();
  writeTake(first);
  os << llvm::formatv(R"c(
/* Whether they pass all other checks for sure. Leaves `sizes` and `blocks`
   then. */
static inline int {0}_is_plain(const {0}_given *given, int64_t *sizes,
                               int64_t *blocks) {{
{1}}

/* Makes a call that passes all checks for sure, as nearly all do; returns 0 for
   any other, with nothing done. */
static inline int {0}_try(const nsa_ffi_any *args, int32_t num_args,
                          nsa_status *status, nsa_message *message) {{
  int64_t sizes[{2}], blocks[{3}];
  {0}_given given;
  nsa_ffi_place at;
  if (num_args != {4} || !{0}_take(args, &given) ||
      !{0}_is_plain(&given, sizes, blocks))
    return 0;
  *status = nsa_ffi_begin(&{0}_step, given.{5}.tensor->device_type,
                          given.{5}.tensor->device_id, &at, message);
)c",
                      name, *checks, std::max<size_t>(sizePlaces.size(), 1),
                      getList(root, "kernels").size(),
                      getList(root, "arguments").size(), first);
  for (auto [number, kernel] : llvm::enumerate(getObjects(root, "kernels")))
    writeKernel(kernel, number);
  os << "  nsa_ffi_end(&at);\n  return 1;\n}\n";
  return text;
}

std::string nsa::emitFFICall(const json::Object &manifest) {
  return CallWriter(manifest).write();
}
