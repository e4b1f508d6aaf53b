//===- Manifest.cpp - Parsing and validating a manifest -------------------===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Manifest.h"
#include "JsonReader.h"

#include <algorithm>

using namespace nsa::runtime;

namespace {

constexpr int64_t maxInt = INT64_MAX;

class Parser {
public:
  Manifest parse(const JsonReader &root) {
    // The schema first: of another one, nothing else is known.
    JsonReader schema = root.member("schema");
    int64_t version = schema.integer(INT64_MIN, maxInt, "an integer");
    if (version != manifestSchema)
      schema.error("expected ", manifestSchema, " but got ", version,
                   ": this runtime does not know that version");

    manifest.step = root.member("step").string();
    if (auto chip = root.optionalMember("chip"))
      manifest.chip = chip->string();
    if (auto pdl = root.optionalMember("pdl"))
      manifest.pdl = pdl->boolean();
    auto readFile = [&](const char *member, std::string &file) {
      auto json = root.optionalMember(member);
      if (!json)
        return;
      file = json->string();
      if (file.empty() || file.find('/') != std::string::npos)
        json->expected("the name of a file beside the manifest");
    };
    readFile("ptx", manifest.ptx);
    readFile("cubin", manifest.cubin);
    readFile("host", manifest.host);

    JsonReader arguments = root.member("arguments");
    for (size_t i = 0, e = arguments.size(); i != e; ++i)
      parseArgument(arguments[i]);
    // Extents may name a size that comes later.
    for (size_t i = 0, e = arguments.size(); i != e; ++i)
      parseExtents(arguments[i], manifest.arguments[i]);

    if (auto requires_ = root.optionalMember("requires"))
      for (size_t i = 0, e = requires_->size(); i != e; ++i) {
        JsonReader json = (*requires_)[i];
        int32_t argument = argumentOf(json.member("argument"), /*array=*/true);
        int32_t dim = dimOf(json.member("dim"), argument);
        manifest.requires_.push_back(
            {argument, dim, parseSize(json.member("at_least"))});
      }

    JsonReader kernels = root.member("kernels");
    for (size_t i = 0, e = kernels.size(); i != e; ++i)
      parseKernel(kernels[i]);
    if (auto guards = root.optionalMember("guards"))
      parseGuards(*guards);
    fillPorts();
    return std::move(manifest);
  }

private:
  void parseArgument(const JsonReader &json) {
    ArgumentSpec argument;
    JsonReader name = json.member("name");
    argument.name = name.string();
    if (argument.name.empty())
      name.expected("a name");
    if (manifest.find(argument.name) >= 0)
      name.error("argument '", argument.name, "' is there twice");

    JsonReader kindJson = json.member("kind");
    const std::string &kind = kindJson.string();
    if (kind == "size") {
      argument.sizeIndex = static_cast<int32_t>(manifest.sizes.size());
      manifest.sizes.push_back(static_cast<int32_t>(manifest.arguments.size()));
      manifest.arguments.push_back(std::move(argument));
      return;
    }
    if (kind != "in" && kind != "out")
      kindJson.expected("\"size\", \"in\" or \"out\"");
    argument.kind = kind == "in" ? NSA_KIND_IN : NSA_KIND_OUT;

    JsonReader dtype = json.member("dtype");
    argument.dtypeName = dtype.string();
    std::optional<DType> parsed = parseDType(argument.dtypeName);
    if (!parsed)
      dtype.expected("an element type");
    argument.dtype = *parsed;

    JsonReader shape = json.member("shape");
    if (shape.size() > NSA_MAX_RANK)
      shape.error("expected at most ", NSA_MAX_RANK, " dimensions");

    JsonReader strides = json.member("strides");
    if (strides.size() != shape.size())
      strides.error("expected ", shape.size(), " strides but got ",
                    strides.size());
    for (size_t i = 0, e = strides.size(); i != e; ++i) {
      constexpr const char *anything = "a stride, null or \"contiguous\"";
      nsa_dim dim{NSA_ANY, NSA_ANY, -1, 0};
      if (!shape[i].isNull())
        dim.size = shape[i].integer(0, maxInt, "a size or null");
      if (strides[i].isString()) {
        if (strides[i].string() != "contiguous")
          strides[i].expected(anything);
        dim.stride = NSA_CONTIGUOUS;
      } else if (!strides[i].isNull()) {
        dim.stride = strides[i].integer(NSA_CONTIGUOUS + 1, maxInt, anything);
      }
      argument.dims.push_back(dim);
    }

    argument.alignment = argument.dtype.bytes();
    if (auto value = json.optionalMember("value"))
      argument.value = value->integer(-1, 1 << 20, "the number of a value");
    if (auto optional = json.optionalMember("optional")) {
      argument.isOptional = optional->boolean();
      if (argument.isOptional && argument.kind != NSA_KIND_OUT)
        optional->error("expected only \"out\" arguments to be optional");
    }
    if (auto access = json.optionalMember("access"))
      // Checked as any array that is written: nothing may overlap it.
      if (access->string() != "inout" || argument.kind != NSA_KIND_OUT ||
          argument.isOptional)
        access->error("expected \"inout\", of an \"out\" argument that is not "
                      "optional");
    if (auto alignment = json.optionalMember("alignment"))
      argument.alignment = alignment->integer(1, 1 << 20, "a number of bytes");
    manifest.arguments.push_back(std::move(argument));
  }

  void parseExtents(const JsonReader &json, ArgumentSpec &argument) {
    if (!argument.isArray())
      return;
    auto extents = json.optionalMember("extents");
    if (!extents)
      return;
    if (extents->size() != argument.dims.size())
      extents->error("expected ", argument.dims.size(), " extents but got ",
                     extents->size());
    for (size_t i = 0, e = extents->size(); i != e; ++i) {
      JsonReader extent = (*extents)[i];
      if (extent.isNull())
        continue;
      // A name, or a name plus a constant.
      bool isSum = extent.isArray();
      if (isSum && (extent.size() != 3 || !extent[0].isString() ||
                    extent[0].string() != "add"))
        extent.expected(
            "a size argument, [\"add\", a size argument, a constant] "
            "or null");
      if (isSum)
        argument.dims[i].plus =
            static_cast<int32_t>(extent[2].integer(0, INT32_MAX, "a constant"));
      int32_t size = argumentOf(isSum ? extent[1] : extent, /*array=*/false);
      argument.dims[i].extent = manifest.arguments[size].sizeIndex;
    }
  }

  void parseKernel(const JsonReader &json) {
    KernelSpec kernel;
    JsonReader name = json.member("name");
    kernel.name = name.string();
    for (const KernelSpec &other : manifest.kernels)
      if (other.name == kernel.name)
        name.error("kernel '", kernel.name, "' is there twice");
    kernel.threads =
        json.member("threads").integer(1, 1024, "1 to 1024 threads");

    JsonReader parameters = json.member("parameters");
    for (size_t i = 0, e = parameters.size(); i != e; ++i)
      kernel.parameters.push_back(parseParameter(parameters[i]));

    JsonReader segments = json.member("segments");
    for (size_t i = 0, e = segments.size(); i != e; ++i) {
      JsonReader segment = segments[i];
      SegmentSpec spec{parseSize(segment.member("rows")),
                       parseSize(segment.member("columns")),
                       {1, 1},
                       {}};
      JsonReader tile = segment.member("tile");
      if (tile.size() != 2)
        tile.expected("two sizes");
      for (int d : {0, 1})
        spec.tile[d] = tile[d].integer(1, maxInt, "a positive size");
      if (auto ports = segment.optionalMember("any_of"))
        for (size_t p = 0, n = ports->size(); p != n; ++p)
          spec.anyOf.push_back(argumentOf((*ports)[p], /*array=*/true));
      kernel.segments.push_back(std::move(spec));
    }
    manifest.kernels.push_back(std::move(kernel));
  }

  void parseGuards(const JsonReader &json) {
    GuardsSpec guards;
    JsonReader buffer = json.member("buffer");
    guards.buffer = buffer.string();
    if (guards.buffer.empty())
      buffer.expected("the name of a global");
    guards.numRecords =
        json.member("records").integer(0, 1 << 20, "a number of records");
    JsonReader ops = json.member("ops");
    for (size_t i = 0, e = ops.size(); i != e; ++i)
      guards.ops.push_back(
          {ops[i].member("op").string(), ops[i].member("location").string()});
    manifest.guards = std::move(guards);
  }

  void fillPorts() {
    for (const ArgumentSpec &argument : manifest.arguments)
      manifest.ports.push_back({argument.name.c_str(), argument.kind,
                                argument.sizeIndex, argument.rank(),
                                static_cast<int32_t>(argument.dtype.bytes()),
                                argument.alignment, argument.value,
                                argument.dims.data(), argument.isOptional});
    for (const Require &require : manifest.requires_)
      manifest.requirements.push_back(
          {require.argument, require.dim, require.atLeast.get()});
  }

  ParameterSpec parseParameter(const JsonReader &json) {
    using Field = ParameterSpec::Field;
    static constexpr std::string_view names[] = {"pointer", "stride", "size",
                                                 "value", "presence"};
    JsonReader field = json.member("field");
    const auto *name =
        std::find(std::begin(names), std::end(names), field.string());
    if (name == std::end(names))
      field.expected("\"pointer\", \"stride\", \"size\", \"value\" or "
                     "\"presence\"");
    ParameterSpec parameter;
    parameter.field = static_cast<Field>(name - names);
    if (parameter.field == Field::Presence) {
      JsonReader arguments = json.member("arguments");
      if (arguments.size() < 1 || arguments.size() > 64)
        arguments.expected("1 to 64 arguments");
      for (size_t i = 0, e = arguments.size(); i != e; ++i)
        parameter.arguments.push_back(argumentOf(arguments[i], /*array=*/true));
      parameter.argument = parameter.arguments.front();
      return parameter;
    }
    parameter.argument = argumentOf(json.member("argument"),
                                    /*array=*/parameter.field != Field::Value);
    if (parameter.field == Field::Stride || parameter.field == Field::Size)
      parameter.dim = dimOf(json.member("dim"), parameter.argument);
    return parameter;
  }

  SizeExpr parseSize(const JsonReader &json, int depth = 0) {
    constexpr const char *anything =
        "a constant, a size argument or an operation";
    if (json.isInteger())
      return SizeExpr::constant(json.integer(INT64_MIN, maxInt, "an integer"));
    if (json.isString())
      return SizeExpr::size(
          manifest.arguments[argumentOf(json, /*array=*/false)].sizeIndex);
    if (!json.isArray() || json.size() != 3 || !json[0].isString())
      json.expected(anything);
    // What is deep is long; depth is bounded first to bound this recursion.
    if (depth > 32)
      json.error("the size expression is nested too deeply");

    const std::string &name = json[0].string();
    if (name == "dim") {
      int64_t argument = argumentOf(json[1], /*array=*/true);
      return SizeExpr::dim(argument, dimOf(json[2], argument));
    }
    SizeExpr lhs = parseSize(json[1], depth + 1);
    auto bounded = [&](SizeExpr expr) {
      if (expr.length() > NSA_MAX_CODE)
        json.error("the size expression is too long");
      return expr;
    };
    if (name == "add" || name == "mul")
      return bounded(SizeExpr::binary(name == "add" ? NSA_OP_ADD : NSA_OP_MUL,
                                      lhs, parseSize(json[2], depth + 1)));
    auto op = name == "floordiv"  ? NSA_OP_FLOORDIV
              : name == "ceildiv" ? NSA_OP_CEILDIV
              : name == "mod"     ? NSA_OP_MOD
                                  : NSA_OP_CONST;
    if (op == NSA_OP_CONST)
      json[0].expected("an operation");
    return bounded(SizeExpr::divide(
        op, lhs, json[2].integer(1, maxInt, "a positive constant")));
  }

  /// A member that names an argument; an array if `array`.
  int32_t argumentOf(const JsonReader &json, bool array) {
    const std::string &name = json.string();
    int64_t index = manifest.find(name);
    if (index < 0 || manifest.arguments[index].isArray() != array)
      json.expected(array ? "the name of an array argument"
                          : "the name of a size argument");
    return static_cast<int32_t>(index);
  }

  int32_t dimOf(const JsonReader &json, int64_t argument) {
    const ArgumentSpec &spec = manifest.arguments[argument];
    int64_t dim = json.integer(0, maxInt, "a dimension");
    if (dim >= spec.rank())
      json.error("expected a dimension of '", spec.name, "', which has ",
                 spec.rank(), ", but got ", dim);
    return static_cast<int32_t>(dim);
  }

  Manifest manifest;
};

} // namespace

/// Bounds every recursion over the document, before there is one.
static bool isNestedTooDeeply(std::string_view json) {
  int depth = 0;
  bool isInString = false;
  for (size_t i = 0; i < json.size(); ++i) {
    char c = json[i];
    if (isInString && c == '\\')
      ++i;
    else if (c == '"')
      isInString = !isInString;
    else if (!isInString && (c == '[' || c == '{') && ++depth > 64)
      return true;
    else if (!isInString && (c == ']' || c == '}'))
      --depth;
  }
  return false;
}

static nlohmann::json parseDocument(std::string_view json) {
  if (isNestedTooDeeply(json))
    fail(NSA_MANIFEST, "manifest: nested too deeply");
  try {
    return nlohmann::json::parse(json.begin(), json.end());
  } catch (const nlohmann::json::exception &error) {
    // Without the library's "[json.exception.parse_error.101] ".
    std::string what = error.what();
    fail(NSA_MANIFEST,
         "manifest: malformed JSON: ", what.substr(what.find("] ") + 2));
  }
}

Manifest Manifest::parse(std::string_view json) {
  return Parser().parse(JsonReader(parseDocument(json)));
}

std::optional<Manifest> Manifest::parseUnlessForeign(std::string_view json) {
  nlohmann::json document = parseDocument(json);
  if (!document.is_object() ||
      (!document.contains("schema") && !document.contains("step")))
    return std::nullopt;
  return Parser().parse(JsonReader(document));
}

int64_t Manifest::find(std::string_view name) const {
  for (size_t i = 0, e = arguments.size(); i != e; ++i)
    if (arguments[i].name == name)
      return static_cast<int64_t>(i);
  return -1;
}

nsa_signature Manifest::signature() const {
  return {step.c_str(),        ports.data(),        ports.size(),
          sizes.data(),        sizes.size(),        requirements.data(),
          requirements.size(), /*kernels=*/nullptr, 0};
}
