//===- Header.cpp - Steps as C: a header, and a module of tvm-ffi ---------===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Everything in both follows from the manifest: the argument struct, what the
// checks of nsa-c/checks.h go by, the parameters and the grid.
//
//===----------------------------------------------------------------------===//

#include "StepSource.h"

#include "nsa/Target/Compile.h"

#include "nsa-c/checks.h"

#include "llvm/ADT/StringMap.h"
#include "llvm/ADT/StringSwitch.h"
#include "llvm/Support/raw_ostream.h"

using namespace nsa;

/// The files of nsa-c that every generated header carries.
static constexpr char prelude[] =
#include "HeaderPrelude.inc"
    ;

/// Those that every module of tvm-ffi carries.
static constexpr char ffiPrelude[] =
#include "FFIPrelude.inc"
    ;

/// What the argument struct `args` of a generated header has.
static constexpr CallNames memberNames = {
    "args->{0}", "(uint64_t)(uintptr_t)args->{0}.data", "args->{0}.size[{1}]",
    "args->{0}.stride[{1}]"};

namespace {
class HeaderWriter {
public:
  HeaderWriter(const CompiledStep &step, llvm::raw_ostream &os)
      : name(step.name), ptx(step.ptx), os(os),
        manifest(llvm::cantFail(json::parse(step.manifest))),
        root(*manifest.getAsObject()) {}

  void write();
  void writeModule();

private:
  /// Whether kernels may begin before those before them end.
  bool isDependent() const { return root.getBoolean("pdl").value_or(false); }
  /// Appends the code of a size expression, and returns its length.
  unsigned emitCode(const json::Value &value, llvm::raw_ostream &code);
  /// Appends it to the code of the step, and returns the nsa_size.
  std::string addSize(const json::Value &value);
  /// Unless it has no entries: no array of C has none.
  void writeTable(StringRef type, StringRef table, StringRef entries);
  void writePTX();
  void writeArguments();
  /// `withOffsets`: where each lies in the argument struct, too.
  void writePorts(bool withOffsets);
  void writeFFITables();
  void writeSignature();
  void writeLoad();
  void writeLaunch();
  void writeKernel(const json::Object &kernel, size_t number);

  StringRef name, ptx;
  llvm::raw_ostream &os;
  json::Value manifest;
  const json::Object &root;
  /// The place of each argument, and of sizes that among the sizes.
  llvm::StringMap<unsigned> places, sizePlaces;
  /// The instructions of all size expressions.
  std::string code;
  unsigned codeLength = 0;
};
} // namespace

unsigned HeaderWriter::emitCode(const json::Value &value,
                                llvm::raw_ostream &code) {
  auto instr = [&](StringRef op, int64_t dim, int64_t constant) {
    code << llvm::formatv("    {{NSA_OP_{0}, {1}, INT64_C({2})},\n", op, dim,
                          constant);
    return 1u;
  };
  if (auto constant = value.getAsInteger())
    return instr("CONST", 0, *constant);
  if (auto size = value.getAsString())
    return instr("SIZE", 0, sizePlaces.lookup(*size));
  const json::Array &list = *value.getAsArray();
  StringRef op = *list[0].getAsString();
  if (op == "dim")
    return instr("DIM", *list[2].getAsInteger(),
                 places.lookup(*list[1].getAsString()));
  unsigned length = emitCode(list[1], code);
  if (op == "add" || op == "mul")
    return length + emitCode(list[2], code) + instr(op.upper(), 0, 0);
  return length + instr(op.upper(), 0, *list[2].getAsInteger());
}

std::string HeaderWriter::addSize(const json::Value &value) {
  llvm::raw_string_ostream stream(code);
  unsigned length = emitCode(value, stream), begin = codeLength;
  codeLength += length;
  return llvm::formatv("{{{0}_code + {1}, {2}}", name, begin, length);
}

/// A dimension of an array, as an nsa_dim.
static std::string getDim(const json::Value &size, const json::Value &stride,
                          const json::Value *extent,
                          const llvm::StringMap<unsigned> &sizePlaces) {
  int64_t place = -1, plus = 0;
  if (extent && !extent->getAsNull()) {
    const json::Array *sum = extent->getAsArray();
    place = sizePlaces.lookup(*(sum ? (*sum)[1] : *extent).getAsString());
    if (sum)
      plus = *(*sum)[2].getAsInteger();
  }
  return llvm::formatv("{{{0}, {1}, {2}, {3}}", getWanted(size),
                       getWanted(stride), place, plus);
}

void HeaderWriter::writeTable(StringRef type, StringRef table,
                              StringRef entries) {
  if (!entries.empty())
    os << "static const " << type << ' ' << name << '_' << table << "[] = {\n"
       << entries << "};\n";
}

/// As an array of numbers: no string literal may be as long as ISO C and C++
/// would have it.
void HeaderWriter::writePTX() {
  os << "/* The kernels: the text of " << name << ".ptx. */\n"
     << "static const char " << name << "_ptx[] = {\n";
  for (size_t begin = 0; begin < ptx.size(); begin += 20) {
    os << "    ";
    for (char c : ptx.substr(begin, 20))
      os << static_cast<int>(c) << ',';
    os << '\n';
  }
  os << "    0};\n\n";
}

void HeaderWriter::writeArguments() {
  os << "/* The arguments of a launch. Arrays are in device memory. */\n"
     << "typedef struct " << name << "_args {\n";
  for (const json::Object &argument : getObjects(root, "arguments")) {
    StringRef kind = getText(argument, "kind");
    if (isSize(argument)) {
      os << "  int64_t " << getText(argument, "name") << ";\n";
      continue;
    }
    os << "  nsa_view " << getText(argument, "name") << "; /* "
       << argument.getString("access").value_or(kind) << ", "
       << getText(argument, "dtype") << ", rank "
       << getList(argument, "shape").size() << " */\n";
  }
  os << "} " << name << "_args;\n\n";
}

void HeaderWriter::writePorts(bool withOffsets) {
  auto arguments = getObjects(root, "arguments");
  std::string dims, ports, offsets, sizes;
  // Extents may name a size that comes later.
  for (auto [place, argument] : llvm::enumerate(arguments)) {
    StringRef port = getText(argument, "name");
    places[port] = place;
    if (isSize(argument)) {
      sizes += llvm::formatv("    {0}, /* {1} */\n", place, port);
      sizePlaces.try_emplace(port, sizePlaces.size());
    }
  }
  unsigned numDims = 0;
  for (const json::Object &argument : arguments) {
    StringRef port = getText(argument, "name");
    StringRef kind = getText(argument, "kind");
    offsets += llvm::formatv("    offsetof({0}_args, {1}),\n", name, port);
    if (isSize(argument)) {
      ports += llvm::formatv("    {{\"{0}\", NSA_KIND_SIZE, {1}, 0, 0, 1, -1, "
                             "NULL, 0},\n",
                             port, sizePlaces.lookup(port));
      continue;
    }
    const json::Array &shape = getList(argument, "shape");
    const json::Array *extents = argument.getArray("extents");
    ports += llvm::formatv(
        "    {{\"{0}\", NSA_KIND_{1}, -1, {2}, {3}, {4}, {5}, {6}_dims + "
        "{7}, {8}},\n",
        port, kind.upper(), shape.size(),
        getBits(getText(argument, "dtype")) / 8,
        *argument.getInteger("alignment"),
        argument.getInteger("value").value_or(-1), name, numDims,
        int(isOptional(argument)));
    numDims += shape.size();
    for (size_t dim = 0, rank = shape.size(); dim < rank; ++dim)
      dims += llvm::formatv(
          "    {0}, /* {1} */\n",
          getDim(shape[dim], getList(argument, "strides")[dim],
                 extents ? &(*extents)[dim] : nullptr, sizePlaces),
          port);
  }
  os << "/* What the arguments have to be. */\n";
  writeTable("nsa_dim", "dims", dims);
  writeTable("nsa_port", "ports", ports);
  if (withOffsets)
    writeTable("size_t", "offsets", offsets);
  writeTable("int32_t", "sizes", sizes);
  os << '\n';
}

void HeaderWriter::writeSignature() {
  std::string requirements, segments, kernels, anyOf;
  for (const json::Object &check : getObjects(root, "requires"))
    requirements += llvm::formatv(
        "    {{{0}, {1}, {2}},\n", places.lookup(getText(check, "argument")),
        *check.getInteger("dim"), addSize(*check.get("at_least")));
  unsigned numSegments = 0, numAnyOf = 0;
  for (const json::Object &kernel : getObjects(root, "kernels")) {
    size_t count = getList(kernel, "segments").size();
    kernels += llvm::formatv("    {{\"{0}\", {1}_segments + {2}, {3}},\n",
                             getText(kernel, "name"), name, numSegments, count);
    numSegments += count;
    for (const json::Object &object : getObjects(kernel, "segments")) {
      const json::Array &tile = getList(object, "tile");
      std::string rows = addSize(*object.get("rows"));
      std::string wanted = "NULL, 0";
      if (const json::Array *ports = object.getArray("any_of")) {
        wanted = llvm::formatv("{0}_any_of + {1}, {2}", name, numAnyOf,
                               ports->size());
        numAnyOf += ports->size();
        for (const json::Value &port : *ports)
          anyOf += llvm::formatv("    {0}, /* {1} */\n",
                                 places.lookup(*port.getAsString()),
                                 *port.getAsString());
      }
      segments += llvm::formatv("    {{{0}, {1}, {{{2}, {3}}, {4}},\n", rows,
                                addSize(*object.get("columns")),
                                *tile[0].getAsInteger(),
                                *tile[1].getAsInteger(), wanted);
    }
  }
  auto get = [&](StringRef table, size_t count) -> std::string {
    if (count == 0)
      return "NULL, 0";
    return llvm::formatv("{0}_{1}, {2}", name, table, count);
  };
  writeTable("nsa_instr", "code", code);
  writeTable("nsa_requirement", "requirements", requirements);
  writeTable("int32_t", "any_of", anyOf);
  writeTable("nsa_segment", "segments", segments);
  writeTable("nsa_kernel", "kernels", kernels);
  os << llvm::formatv(
      "static const nsa_signature {0}_signature = {{\n"
      "    \"{0}\",\n    {1},\n    {2},\n    {3},\n    {4}};\n\n",
      name, get("ports", places.size()), get("sizes", sizePlaces.size()),
      get("requirements", getList(root, "requires").size()),
      get("kernels", getList(root, "kernels").size()));
}

void HeaderWriter::writeLoad() {
  size_t count = getList(root, "kernels").size();
  os << llvm::formatv(R"c(/* The loaded kernels of one CUDA context. */
typedef struct {0}_module {{
  CUmodule module;
  CUfunction functions[{1}];
} {0}_module;

/* Loads the kernels into the current context. Call it once, not while a stream
   is being captured. */
static inline nsa_status {0}_load({0}_module *module, nsa_message *message) {{
  size_t i;
  CUresult result = cuModuleLoadData(&module->module, {0}_ptx);
  for (i = 0; i < {1} && result == CUDA_SUCCESS; ++i)
    result = cuModuleGetFunction(&module->functions[i], module->module,
                                 {0}_kernels[i].name);
  return nsa_check_driver(result, "{0}: cannot load the kernels", message);
}

)c",
                      name, count);
}

void HeaderWriter::writeKernel(const json::Object &kernel, size_t number) {
  std::string words, parameters;
  unsigned numWords = 0;
  for (const json::Object &parameter : getObjects(kernel, "parameters")) {
    StringRef field = getText(parameter, "field");
    if (field == "presence") {
      words += llvm::formatv("    /* Which arrays are there. */\n"
                             "    uint64_t presence_{0} = 0",
                             numWords);
      for (auto [bit, argument] :
           llvm::enumerate(getList(parameter, "arguments")))
        words +=
            llvm::formatv("\n        | (uint64_t)(args->{0}.data != 0) << {1}",
                          *argument.getAsString(), bit);
      words += ";\n";
      parameters += llvm::formatv("        &presence_{0},\n", numWords++);
      continue;
    }
    StringRef argument = getText(parameter, "argument");
    if (field == "value")
      parameters += llvm::formatv("        &sizes[{0}], /* {1} */\n",
                                  sizePlaces.lookup(argument), argument);
    else if (field == "pointer")
      parameters +=
          llvm::formatv("        (void *)&args->{0}.data,\n", argument);
    else
      parameters +=
          llvm::formatv("        (void *)&args->{0}.{1}[{2}],\n", argument,
                        field, *parameter.getInteger("dim"));
  }
  os << llvm::formatv("  if (status == NSA_OK) {{\n"
                      "{3}    void *parameters[] = {{\n{4}    };\n"
                      "    status = {2}(module->functions[{0}], "
                      "blocks[{0}], {1}, stream,\n"
                      "                        parameters, message);\n  }\n",
                      number, *kernel.getInteger("threads"),
                      isDependent() ? "nsa_launch_dependent" : "nsa_launch",
                      words, parameters);
}

void HeaderWriter::writeLaunch() {
  size_t sizes = std::max<size_t>(sizePlaces.size(), 1);
  size_t kernels = getList(root, "kernels").size();
  std::string quickly;
  if (auto straight = emitStraightChecks(root, memberNames)) {
    os << llvm::formatv(
        R"c(/* Whether a call passes all checks for sure, as nearly all do. Leaves `sizes`
   and `blocks` then. */
static inline int {0}_is_plain(const {0}_args *args, int64_t *sizes,
                               int64_t *blocks) {{
{1}}

)c",
        name, *straight);
    quickly = llvm::formatv("  if ({0}_is_plain(args, sizes, blocks))\n"
                            "    return NSA_OK;\n",
                            name);
  }
  os << llvm::formatv(
      R"c(/* Leaves in `sizes` what the kernels take, in `blocks` their grids. */
static inline nsa_status {0}_resolve(const {0}_args *args, int64_t *sizes,
                                     int64_t *blocks, nsa_message *message) {{
  nsa_strided arrays[{1}];
  nsa_region regions[{1}];
{4}  return nsa_check_call(&{0}_signature, {0}_offsets, args, arrays, regions,
                        sizes, blocks, message);
}

/* Checks the arguments. Nothing is launched. */
static inline nsa_status {0}_check(const {0}_args *args,
                                   nsa_message *message) {{
  int64_t sizes[{2}], blocks[{3}];
  return {0}_resolve(args, sizes, blocks, message);
}

/* Checks the arguments and launches on `stream`. Allocates nothing and waits
   for nothing, so it may be captured. When a check fails, nothing is launched;
   `message` says why. */
static inline nsa_status {0}_launch(const {0}_module *module,
                                    const {0}_args *args, CUstream stream,
                                    nsa_message *message) {{
  int64_t sizes[{2}], blocks[{3}];
  nsa_status status = {0}_resolve(args, sizes, blocks, message);
)c",
      name, places.size(), sizes, kernels, quickly);
  for (auto [number, kernel] : llvm::enumerate(getObjects(root, "kernels")))
    writeKernel(kernel, number);
  os << "  return status;\n}\n\n";
}

void HeaderWriter::write() {
  std::string guard = ("NSA_STEP_" + name + "_H").str();
  os << "/* Generated by nsa-compile from the step '" << name << "'. */\n"
     << "#ifndef " << guard << "\n#define " << guard << "\n\n"
     << prelude << '\n'
     << "#if NSA_CHECKS_VERSION != " << NSA_CHECKS_VERSION << '\n'
     << "#error \"expected headers of one version of nsa in one file\"\n"
     << "#endif\n\n#ifdef __cplusplus\nextern \"C\" {\n#endif\n\n";
  writePTX();
  writeArguments();
  writePorts(/*withOffsets=*/true);
  writeSignature();
  writeLoad();
  writeLaunch();
  os << "#ifdef __cplusplus\n}\n#endif\n\n#endif /* " << guard << " */\n";
}

/// A type of DLPack, as an nsa_ffi_dtype.
static std::string getDType(StringRef name) {
  int code = llvm::StringSwitch<int>(name.take_while(llvm::isAlpha))
                 .Case("int", 0)
                 .Case("uint", 1)
                 .Case("float", 2)
                 .Case("bfloat", 4)
                 .Default(0);
  return llvm::formatv("{{{0}, {1}, \"{2}\"}", code, getBits(name), name);
}

void HeaderWriter::writeFFITables() {
  os << "static const nsa_ffi_dtype " << name << "_dtypes[] = {\n";
  for (const json::Object &argument : getObjects(root, "arguments"))
    os << "    " << getDType(argument.getString("dtype").value_or("int64"))
       << ",\n";
  os << "};\n\n";
  auto kernels = getObjects(root, "kernels");
  std::string presence;
  unsigned numPresence = 0;
  for (auto [number, kernel] : llvm::enumerate(kernels)) {
    os << llvm::formatv("extern void {0}_host{1}(void **) __asm__(\"{0}.{2}\");"
                        "\nstatic const nsa_ffi_parameter {0}_parameters{1}[] "
                        "= {{\n",
                        name, number, getText(kernel, "name"));
    for (const json::Object &parameter : getObjects(kernel, "parameters")) {
      StringRef field = getText(parameter, "field");
      if (const json::Array *arguments = parameter.getArray("arguments")) {
        os << llvm::formatv("    {{NSA_FFI_FIELD_PRESENCE, {0}, {1}},\n",
                            numPresence, arguments->size());
        numPresence += arguments->size();
        for (const json::Value &value : *arguments)
          presence += llvm::formatv("    {0}, /* {1} */\n",
                                    places.lookup(*value.getAsString()),
                                    *value.getAsString());
        continue;
      }
      StringRef argument = getText(parameter, "argument");
      os << llvm::formatv(
          "    {{NSA_FFI_FIELD_{0}, {1}, {2}}, /* {3} */\n", field.upper(),
          (field == "value" ? sizePlaces : places).lookup(argument),
          parameter.getInteger("dim").value_or(0), argument);
    }
    os << "};\n";
  }
  os << "static const int32_t " << name << "_presence[] = {\n"
     << presence << "    -1};\n"
     << "static const nsa_ffi_kernel " << name << "_ffi_kernels[] = {\n";
  for (auto [number, kernel] : llvm::enumerate(kernels)) {
    os << llvm::formatv("    {{{0}, {1}_host{2}, {1}_parameters{2}, {3}},\n",
                        *kernel.getInteger("threads"), name, number,
                        getList(kernel, "parameters").size());
  }
  os << "};\n";
}

/// name(bs: size, seq_lens: in int64[?], ...)
static std::string describeCall(StringRef name, const json::Array &arguments) {
  std::string text = (name + "(").str();
  llvm::raw_string_ostream stream(text);
  llvm::interleaveComma(arguments, stream, [&](const json::Value &value) {
    const json::Object &argument = *value.getAsObject();
    StringRef kind = getText(argument, "kind");
    stream << getText(argument, "name") << ": " << kind;
    if (isSize(argument))
      return;
    stream << ' ' << getText(argument, "dtype") << '[';
    llvm::interleaveComma(getList(argument, "shape"), stream,
                          [&](const json::Value &size) {
                            if (auto constant = size.getAsInteger())
                              stream << *constant;
                            else
                              stream << '?';
                          });
    stream << ']';
  });
  stream << ')';
  return text;
}

void HeaderWriter::writeModule() {
  size_t numKernels = getList(root, "kernels").size(), parameters = 1;
  for (const json::Object &kernel : getObjects(root, "kernels"))
    parameters = std::max(parameters, getList(kernel, "parameters").size());
  os << "/* Generated by nsa-compile from the step '" << name
     << "': a module of tvm-ffi. */\n"
     << ffiPrelude << '\n';
  writePTX();
  writePorts(/*withOffsets=*/false);
  writeSignature();
  writeFFITables();
  os << llvm::formatv(R"c(
static void *{0}_functions[NSA_FFI_MAX_DEVICES * {1}];
static int32_t {0}_is_loaded[NSA_FFI_MAX_DEVICES];
static const nsa_ffi_step {0}_step = {{
    &{0}_signature, {0}_dtypes, {0}_ffi_kernels, {0}_presence,
    {0}_ptx, {0}_functions, {0}_is_loaded, {2}};
)c",
                      name, numKernels, int(isDependent()));
  std::string quickly, call = emitFFICall(root);
  if (!call.empty())
    quickly =
        llvm::formatv("  if ({0}_try(args, num_args, &status, &message))\n"
                      "    return nsa_ffi_return(status, &message, result);\n",
                      name);
  os << call
     << llvm::formatv(R"c(
static __attribute__((noinline)) nsa_status
{0}_by_tables(const nsa_ffi_any *args, int32_t num_args,
              nsa_message *message) {{
  nsa_strided arrays[{2}];
  nsa_region regions[{2}];
  int64_t strides[{2} * NSA_MAX_RANK], sizes[{3}], blocks[{1}];
  void *parameters[{4}];
  uint64_t presence[{4}];
  nsa_ffi_room room;
  room.arrays = arrays;
  room.regions = regions;
  room.strides = strides;
  room.sizes = sizes;
  room.blocks = blocks;
  room.parameters = parameters;
  room.presence = presence;
  return nsa_ffi_call(&{0}_step, &room, args, num_args, message);
}

#define NSA_FFI_EXPORT __attribute__((visibility("default")))

NSA_FFI_EXPORT int __tvm_ffi_{0}(void *self, const nsa_ffi_any *args,
                                 int32_t num_args, nsa_ffi_any *result) {{
  nsa_message message;
  nsa_status status;
  (void)self;
{6}  status = {0}_by_tables(args, num_args, &message);
  return nsa_ffi_return(status, &message, result);
}

NSA_FFI_EXPORT int __tvm_ffi_{0}_load(void *self, const nsa_ffi_any *args,
                                      int32_t num_args, nsa_ffi_any *result) {{
  (void)self;
  return nsa_ffi_load(&{0}_step, args, num_args, result);
}

NSA_FFI_EXPORT int __tvm_ffi__doc_{0}(void *self, const nsa_ffi_any *args,
                                      int32_t num_args, nsa_ffi_any *result) {{
  (void)self, (void)args, (void)num_args;
  return nsa_ffi_return_text("{5}", result);
}
)c",
                      name, numKernels, places.size(),
                      std::max<size_t>(sizePlaces.size(), 1), parameters,
                      describeCall(name, getList(root, "arguments")), quickly);
}

static std::string emit(const CompiledStep &step,
                        void (HeaderWriter::*write)()) {
  std::string text;
  llvm::raw_string_ostream os(text);
  (HeaderWriter(step, os).*write)();
  return text;
}

std::string nsa::emitFFISource(const CompiledStep &step) {
  return emit(step, &HeaderWriter::writeModule);
}

std::string nsa::emitHeader(const CompiledStep &step) {
  return emit(step, &HeaderWriter::write);
}
