# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

import os
import shutil

import lit.formats
import lit.llvm

lit.llvm.initialize(lit_config, config)

config.name = "nsa"
config.test_format = lit.formats.ShTest(execute_external=False)
config.suffixes = [".mlir", ".test"]
config.excludes = ["Inputs", "python", "unit", "CMakeLists.txt"]
config.test_source_root = os.path.join(config.nsa_source_dir, "test")
config.test_exec_root = os.path.join(config.nsa_binary_dir, "test")

lit.llvm.llvm_config.with_environment("PATH", config.llvm_tools_dir, append_path=True)
lit.llvm.llvm_config.with_environment(
    "PATH", os.path.join(config.nsa_binary_dir, "bin"), append_path=True
)
config.substitutions.append(("%examples", os.path.join(config.nsa_source_dir, "examples")))
config.substitutions.append(("%source", config.nsa_source_dir))
config.substitutions.append(("%build", config.nsa_binary_dir))
python = config.python
if config.sanitizer_library:
    # The package's extensions are instrumented, the interpreter is not.
    python = (
        f"env LD_PRELOAD={config.sanitizer_library}"
        f" ASAN_OPTIONS=detect_leaks=0:allow_user_poisoning=0 {python}"
    )
config.substitutions.append(("%python", python))
# Generated headers are C99 and C++17, without a warning.
warnings = "-Wall -Wextra -Werror"
if config.sanitizers:
    # As the runtime is, which they are linked with.
    warnings += f" {config.sanitizers}"
config.substitutions.append(("%c99", f"{config.c_compiler} -std=c99 {warnings}"))
config.substitutions.append(("%cxx17", f"{config.cxx_compiler} -std=c++17 {warnings}"))

# Random calls of a step, where launchers are compared.
config.substitutions.append(("%calls", lit_config.params.get("calls", "25000")))

# ptxas assembles PTX without a GPU.
cuda = os.environ.get("CUDA_HOME", "/usr/local/cuda")
lit.llvm.llvm_config.with_environment("PATH", os.path.join(cuda, "bin"), append_path=True)
if shutil.which("ptxas", path=config.environment["PATH"]):
    config.available_features.add("ptxas")
# Generated headers include cuda.h.
if os.path.exists(os.path.join(cuda, "include", "cuda.h")):
    config.available_features.add("cuda-headers")
    config.substitutions.append(("%cuda-include", os.path.join(cuda, "include")))
# The Python package, with the steps that it ships.
if os.path.exists(os.path.join(config.nsa_binary_dir, "python/nsa/bundles/compiler.json")):
    config.available_features.add("python-package")
# A read-only folder does not stop root.
if os.geteuid() != 0:
    config.available_features.add("not-root")
if config.sanitizers:
    config.available_features.add("sanitizers")
    # Programs that are linked with the runtime are what it is.
    for variable, value in (
        ("CC", config.c_compiler),
        ("CXX", config.cxx_compiler),
        ("CFLAGS", config.sanitizers),
        ("CXXFLAGS", config.sanitizers),
    ):
        lit.llvm.llvm_config.with_environment(variable, value)
    # Findings say where they come from.
    lit.llvm.llvm_config.with_environment("UBSAN_OPTIONS", "print_stacktrace=1")
    # MLIR's pools hand out memory that our code has poisoned to the packages' MLIR,
    # which does not know.
    lit.llvm.llvm_config.with_environment("ASAN_OPTIONS", "allow_user_poisoning=0")
