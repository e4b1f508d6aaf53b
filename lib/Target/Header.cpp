//===- Header.cpp - A C header that embeds a step -------------------------===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

//
// Everything in the header follows from the manifest: the argument struct, the
// checks of docs/Bundle.md, the parameters and the grid.
//
//===----------------------------------------------------------------------===//

#include "nsa/Target/Compile.h"

#include "HeaderHelpers.h"

#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/JSON.h"
#include "llvm/Support/raw_ostream.h"

using namespace nsa;
namespace json = llvm::json;
using llvm::StringRef;

/// A size expression of the manifest, in C.
static std::string getSize(const json::Value &value) {
  if (auto constant = value.getAsInteger())
    return llvm::formatv("INT64_C({0})", *constant);
  if (auto name = value.getAsString())
    return ("args->" + *name).str();
  const json::Array &list = *value.getAsArray();
  StringRef op = *list[0].getAsString();
  if (op == "dim")
    return llvm::formatv("args->{0}.size[{1}]", *list[1].getAsString(),
                         *list[2].getAsInteger());
  std::string lhs = getSize(list[1]), rhs = getSize(list[2]);
  if (op == "add")
    return "(" + lhs + " + " + rhs + ")";
  if (op == "mul")
    return "(" + lhs + " * " + rhs + ")";
  return llvm::formatv("nsa_{0}({1}, {2})", op, lhs, rhs);
}

namespace {
class HeaderWriter {
public:
  HeaderWriter(const CompiledStep &step, llvm::raw_ostream &os)
      : name(step.name), ptx(step.ptx), os(os),
        manifest(llvm::cantFail(json::parse(step.manifest))),
        root(*manifest.getAsObject()) {}

  void write();

private:
  const json::Array &list(StringRef key) { return *root.getArray(key); }
  void writePTX();
  void writeArguments();
  void writePorts();
  void writeLoad();
  void writeLaunch();
  void writeKernel(const json::Object &kernel, size_t number);

  StringRef name, ptx;
  llvm::raw_ostream &os;
  json::Value manifest;
  const json::Object &root;
};
} // namespace

void HeaderWriter::writePTX() {
  os << "/* The kernels. */\nstatic const char " << name << "_ptx[] =\n";
  llvm::SmallVector<StringRef> lines;
  ptx.split(lines, '\n');
  for (StringRef line : lines) {
    os << "    \"";
    os.write_escaped(line);
    os << "\\n\"\n";
  }
  os << "    ;\n\n";
}

void HeaderWriter::writeArguments() {
  os << "/* The arguments of a launch. Arrays are in device memory. */\n"
     << "typedef struct " << name << "_args {\n";
  for (const json::Value &value : list("arguments")) {
    const json::Object &argument = *value.getAsObject();
    StringRef kind = *argument.getString("kind");
    if (kind == "size") {
      os << "  int64_t " << *argument.getString("name") << ";\n";
      continue;
    }
    os << "  nsa_array " << *argument.getString("name") << "; /* " << kind
       << ", " << *argument.getString("dtype") << ", rank "
       << argument.getArray("shape")->size() << " */\n";
  }
  os << "} " << name << "_args;\n\n";
}

void HeaderWriter::writePorts() {
  os << "static const nsa_port " << name << "_ports[] = {\n";
  auto writeDims = [&](const json::Array &dims) {
    os << '{';
    for (unsigned dim = 0; dim < 2; ++dim) {
      if (dim > 0)
        os << ", ";
      if (dim >= dims.size() || dims[dim].getAsNull())
        os << "NSA_ANY";
      else if (dims[dim].getAsString())
        os << "NSA_CONTIGUOUS";
      else
        os << *dims[dim].getAsInteger();
    }
    os << "}";
  };
  for (const json::Value &value : list("arguments")) {
    const json::Object &argument = *value.getAsObject();
    if (*argument.getString("kind") == "size")
      continue;
    StringRef dtype = *argument.getString("dtype");
    unsigned bits = 0;
    dtype.drop_while(llvm::isAlpha).getAsInteger(10, bits);
    StringRef port = *argument.getString("name");
    os << "    {\"" << port << "\", offsetof(" << name << "_args, " << port
       << "), " << argument.getArray("shape")->size() << ", " << bits / 8
       << ", " << *argument.getInteger("alignment") << ", "
       << (*argument.getString("kind") == "out") << ", "
       << argument.getInteger("value").value_or(-1) << ", ";
    writeDims(*argument.getArray("shape"));
    os << ", ";
    writeDims(*argument.getArray("strides"));
    os << "},\n";
  }
  os << "};\n\n";
}

void HeaderWriter::writeLoad() {
  size_t count = list("kernels").size();
  os << llvm::formatv(R"c(/* The loaded kernels of one CUDA context. */
typedef struct {0}_module {{
  CUmodule module;
  CUfunction functions[{1}];
} {0}_module;

/* Loads the kernels into the current context. Call it once, not while a stream
   is being captured. */
static inline nsa_status {0}_load({0}_module *module, nsa_message *message) {{
  static const char *const names[] = {{
)c",
                      name, count);
  for (const json::Value &kernel : list("kernels"))
    os << "      \"" << *kernel.getAsObject()->getString("name") << "\",\n";
  os << llvm::formatv(R"c(  };
  size_t i;
  CUresult result = cuModuleLoadData(&module->module, {0}_ptx);
  for (i = 0; i < {1} && result == CUDA_SUCCESS; ++i)
    result = cuModuleGetFunction(&module->functions[i], module->module,
                                 names[i]);
  if (result != CUDA_SUCCESS)
    return nsa_driver_error(message, "{0}: cannot load the kernels", result);
  return NSA_OK;
}

)c",
                      name, count);
}

void HeaderWriter::writeKernel(const json::Object &kernel, size_t number) {
  os << "  {\n    int64_t blocks = 0;\n    void *params[] = {\n";
  for (const json::Value &value : *kernel.getArray("parameters")) {
    const json::Object &parameter = *value.getAsObject();
    StringRef field = *parameter.getString("field");
    StringRef argument = *parameter.getString("argument");
    os << "        (void *)&args->" << argument;
    if (field == "pointer")
      os << ".data";
    else if (field != "value")
      os << '.' << field << '[' << *parameter.getInteger("dim") << ']';
    os << ",\n";
  }
  os << "    };\n";
  for (const json::Value &value : *kernel.getArray("segments")) {
    const json::Object &segment = *value.getAsObject();
    const json::Array &tile = *segment.getArray("tile");
    os << llvm::formatv("    blocks += nsa_blocks({0}, {1},\n"
                        "                         {2}, {3});\n",
                        getSize(*segment.get("rows")), *tile[0].getAsInteger(),
                        getSize(*segment.get("columns")),
                        *tile[1].getAsInteger());
  }
  os << llvm::formatv(
      "    status = nsa_launch(message, module->functions[{0}], blocks, {1},\n"
      "                        stream, params);\n"
      "    if (status != NSA_OK)\n      return status;\n  }\n",
      number, *kernel.getInteger("threads"));
}

void HeaderWriter::writeLaunch() {
  os << llvm::formatv(
      R"c(/* Checks the arguments. Nothing is launched. */
static inline nsa_status {0}_check(const {0}_args *args,
                                  nsa_message *message) {{
  nsa_status status = nsa_check_ports(
      message, {0}_ports, sizeof({0}_ports) / sizeof({0}_ports[0]), args);
  if (status != NSA_OK)
    return status;
)c",
      name);
  for (const json::Value &value : list("arguments")) {
    const json::Object &argument = *value.getAsObject();
    if (*argument.getString("kind") == "size")
      os << llvm::formatv(
          "  if ((status = nsa_check_size(message, \"{0}\", args->{0})) != "
          "NSA_OK)\n    return status;\n",
          *argument.getString("name"));
  }
  for (const json::Value &value : list("requires")) {
    const json::Object &check = *value.getAsObject();
    os << llvm::formatv(
        "  if ((status = nsa_check_at_least(message, \"{0}\", {1}, "
        "args->{0}.size[{1}],\n                                   {2})) != "
        "NSA_OK)\n    return status;\n",
        *check.getString("argument"), *check.getInteger("dim"),
        getSize(*check.get("at_least")));
  }
  os << llvm::formatv(
      R"c(  return NSA_OK;
}

/* Checks the arguments and launches on `stream`. Allocates nothing and waits
   for nothing, so it may be captured. When a check fails, nothing is launched;
   `message` says why. */
static inline nsa_status {0}_launch(const {0}_module *module,
                                   const {0}_args *args, CUstream stream,
                                   nsa_message *message) {{
  nsa_status status = {0}_check(args, message);
  if (status != NSA_OK)
    return status;
)c",
      name);
  for (auto [number, kernel] : llvm::enumerate(list("kernels")))
    writeKernel(*kernel.getAsObject(), number);
  os << "  return NSA_OK;\n}\n\n";
}

void HeaderWriter::write() {
  std::string guard = ("NSA_STEP_" + name + "_H").str();
  os << "/* Generated by nsa-compile from the step '" << name << "'. */\n"
     << "#ifndef " << guard << "\n#define " << guard << "\n\n"
     << headerHelpers << '\n'
     << "#ifdef __cplusplus\nextern \"C\" {\n#endif\n\n";
  writePTX();
  writeArguments();
  writePorts();
  writeLoad();
  writeLaunch();
  os << "#ifdef __cplusplus\n}\n#endif\n\n#endif /* " << guard << " */\n";
}

std::string nsa::emitHeader(const CompiledStep &step) {
  std::string text;
  llvm::raw_string_ostream os(text);
  HeaderWriter(step, os).write();
  return text;
}
