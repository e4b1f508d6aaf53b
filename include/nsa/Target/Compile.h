//===- Compile.h - From nsa text to bundles, in process ---------*- C++ -*-===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The one entry point for whoever compiles in process (nsa-compile, the Python
// extension, tests). It names no MLIR type, so that its users need none.
//
//===----------------------------------------------------------------------===//

#ifndef NSA_TARGET_COMPILE_H
#define NSA_TARGET_COMPILE_H

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace nsa {

/// What to produce from a source text, and how.
struct CompileOptions {
  /// The GPU to compile for, "sm_80" to "sm_121a".
  std::string chip = "sm_80";
  /// Share values between backends and fuse a step into as few launches as
  /// possible. Off: each destination of each copy is a launch of its own.
  bool fuse = true;
  /// Have kernels skip array accesses that are wrong, and record them.
  bool guards = false;
  /// Let a kernel have 32,764 bytes of parameters instead of 4,352, which takes
  /// PTX 8.1, that is a driver of CUDA 12.1. From sm_100 on all PTX does.
  bool largeParameters = false;
  /// Programmatic dependent launch: kernels begin before the kernel that comes
  /// before them ends, and wait for that before they touch memory. From sm_90
  /// on.
  bool pdl = false;
  /// Have the passes say what they merged and fused, and what not and why:
  /// remarks, among the diagnostics.
  bool remarks = false;
  /// Say in the PTX where in the text an instruction is from: `.loc`.
  bool lineInfo = false;
  /// Produce PTX.
  bool ptx = true;
  /// Produce host kernels by JIT; they live as long as the CompiledModule.
  bool host = false;
  /// Optimise the host kernels of the JIT. Off: three quarters of the time of
  /// compiling are saved, for tests of many steps. A bf16 that comes out of a
  /// branch is then moved through float32, and processors with AVX512-BF16 take
  /// subnormal numbers for 0 there.
  bool optimizeHost = true;
  /// Have what a pass made verified before the next one. Off: a seventh of the
  /// time of compiling is saved, for tests of many steps.
  bool verifyPasses = true;
  /// Produce host kernels as an object file.
  bool hostObject = false;
};

/// A host kernel: `parameters[i]` points at the 8 bytes of parameter i of the
/// manifest.
using HostKernelFn = void (*)(void **parameters);

/// What became of one `nsa.step`.
struct CompiledStep {
  std::string name;
  /// The manifest, as docs/Bundle.md describes it.
  std::string manifest;
  /// Empty unless CompileOptions::ptx.
  std::string ptx;
  /// The kernels in launch order, and of a step with guards the global that
  /// these record in, by its name in the manifest. Empty unless
  /// CompileOptions::host.
  std::vector<std::pair<std::string, HostKernelFn>> hostKernels;
  /// Position-independent; the symbol of kernel K of step S is "S.K". Empty
  /// unless CompileOptions::hostObject.
  std::string hostObject;
};

/// The steps of one source text, and the JIT that owns their host kernels.
class CompiledModule {
public:
  ~CompiledModule();
  const std::vector<CompiledStep> &steps() const { return compiledSteps; }

private:
  friend std::unique_ptr<CompiledModule> compile(std::string_view,
                                                 std::string_view,
                                                 const CompileOptions &,
                                                 std::string &);
  CompiledModule();
  struct Jit;
  std::unique_ptr<Jit> jit;
  std::vector<CompiledStep> compiledSteps;
};

/// Compiles `source`; `sourceName` is the file name that diagnostics show.
/// Returns null on error, with the rendered diagnostics in `diagnostics`.
/// Warnings and remarks land there as well.
std::unique_ptr<CompiledModule> compile(std::string_view source,
                                        std::string_view sourceName,
                                        const CompileOptions &options,
                                        std::string &diagnostics);

/// The names of the steps of a source text that parses, in its order. Nothing
/// is compiled. On error none, with the rendered diagnostics in `diagnostics`.
std::vector<std::string> listSteps(std::string_view source,
                                   std::string_view sourceName,
                                   std::string &diagnostics);

/// The manifest with the member `key` ("ptx", "cubin", "host") naming `file`,
/// or without it if `file` is empty.
std::string setManifestFile(std::string manifest, std::string_view key,
                            std::string_view file);

/// The header NAME.h for a compiled step: the PTX embedded, an argument struct
/// and a checked launch function.
std::string emitHeader(const CompiledStep &step);

/// The C source of a module of tvm-ffi for a compiled step, to be linked with
/// its host object (nsa/Target/Toolchain.h): the PTX embedded, the step as a
/// function that checks its arguments and launches on the current stream.
std::string emitFFISource(const CompiledStep &step);

} // namespace nsa

#endif // NSA_TARGET_COMPILE_H
