//===- CompilerModule.cpp - The Python module _nsa_compiler ---------------===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The compiler for Python: text in, manifests, PTX and host kernels out.
//
//===----------------------------------------------------------------------===//

#include "nsa/Target/Compile.h"
#include "nsa/Target/Toolchain.h"

#include "llvm/Config/llvm-config.h"

#include <nanobind/nanobind.h>
#include <nanobind/stl/string.h>

#include <memory>

namespace nb = nanobind;
using namespace nb::literals;

namespace {

/// Owns the JIT that host kernels live in.
struct PyModule {
  std::unique_ptr<nsa::CompiledModule> module;
};

std::string_view viewOf(const nb::bytes &bytes) {
  return {bytes.c_str(), bytes.size()};
}

/// (module or None, diagnostics). Texts and paths are bytes: comments may have
/// any, and so may names of files.
nb::tuple compile(nb::bytes source, nb::bytes name, const std::string &chip,
                  bool fuse, bool guards, bool ptx, bool host, bool hostObject,
                  bool remarks, bool largeParameters, bool pdl,
                  bool optimizeHost, bool lineInfo, bool verifyPasses) {
  nsa::CompileOptions options;
  options.chip = chip;
  options.fuse = fuse;
  options.guards = guards;
  options.ptx = ptx;
  options.host = host;
  options.hostObject = hostObject;
  options.remarks = remarks;
  options.largeParameters = largeParameters;
  options.pdl = pdl;
  options.optimizeHost = optimizeHost;
  options.lineInfo = lineInfo;
  options.verifyPasses = verifyPasses;
  std::string diagnostics;
  std::string_view sourceText = viewOf(source), nameText = viewOf(name);
  std::unique_ptr<nsa::CompiledModule> module;
  {
    nb::gil_scoped_release release;
    module = nsa::compile(sourceText, nameText, options, diagnostics);
  }
  nb::object result = nb::none();
  if (module)
    result = nb::cast(PyModule{std::move(module)});
  return nb::make_tuple(result,
                        nb::bytes(diagnostics.data(), diagnostics.size()));
}

/// [(name, manifest, ptx or None, [(kernel, address), ...]), ...]
nb::list stepsOf(const PyModule &self) {
  nb::list steps;
  for (const nsa::CompiledStep &step : self.module->steps()) {
    nb::list kernels;
    for (const auto &[name, function] : step.hostKernels)
      kernels.append(
          nb::make_tuple(name, reinterpret_cast<uintptr_t>(function)));
    nb::object ptx = nb::none();
    if (!step.ptx.empty())
      ptx = nb::str(step.ptx.c_str(), step.ptx.size());
    steps.append(nb::make_tuple(step.name, step.manifest, ptx, kernels));
  }
  return steps;
}

} // namespace

NB_MODULE(_nsa_compiler, m) {
  m.doc() = "Compiles nsa text; see nsa.compile.";
  nb::class_<PyModule>(m, "CompiledModule",
                       "Owns what was compiled; host kernels live as long as "
                       "this does.")
      .def_prop_ro("steps", &stepsOf,
                   "[(name, manifest, ptx or None, [(kernel, address)])]");
  m.def("compile", &compile, "source"_a, "name"_a, "chip"_a = "sm_80",
        "fuse"_a = true, "guards"_a = false, "ptx"_a = true, "host"_a = false,
        "host_object"_a = false, "remarks"_a = false,
        "large_parameters"_a = false, "pdl"_a = false, "optimize_host"_a = true,
        "line_info"_a = false, "verify_passes"_a = true,
        "Returns (CompiledModule or None, diagnostics).");
  m.def(
      "host_libraries",
      [](const PyModule &self) {
        nb::list libraries;
        for (const nsa::CompiledStep &step : self.module->steps()) {
          std::string error;
          std::optional<std::string> library;
          {
            nb::gil_scoped_release release;
            library = nsa::linkSharedLibrary(step.hostObject, error);
          }
          if (!library)
            throw std::runtime_error(error);
          libraries.append(
              nb::make_tuple(step.name,
                             nsa::setManifestFile(
                                 nsa::setManifestFile(step.manifest, "ptx", ""),
                                 "host", step.name + ".so"),
                             nb::bytes(library->data(), library->size())));
        }
        return libraries;
      },
      "module"_a,
      "[(step, manifest that names NAME.so, shared library)] of a module that "
      "was compiled with host_object. Raises RuntimeError without a linker.");
  m.def(
      "ffi_modules",
      [](const PyModule &self) {
        nb::list modules;
        for (const nsa::CompiledStep &step : self.module->steps()) {
          std::string error;
          std::optional<std::string> library;
          {
            nb::gil_scoped_release release;
            library = nsa::buildFFIModule(nsa::emitFFISource(step),
                                          step.hostObject, error);
          }
          if (!library)
            throw std::runtime_error(error);
          modules.append(nb::make_tuple(
              step.name, nb::bytes(library->data(), library->size())));
        }
        return modules;
      },
      "module"_a,
      "[(step, shared library for tvm-ffi)] of a module that was compiled with "
      "ptx and host_object. Raises RuntimeError without a C compiler.");
  nb::dict versions;
  versions["nsa"] = NSA_VERSION;
  versions["llvm"] = LLVM_VERSION_STRING;
  m.attr("versions") = versions;
  m.def(
      "emit_header",
      [](const PyModule &self, const std::string &name) {
        for (const nsa::CompiledStep &step : self.module->steps())
          if (step.name == name)
            return nsa::emitHeader(step);
        throw nb::key_error(name.c_str());
      },
      "module"_a, "step"_a, "The header NAME.h of a compiled step.");
}
