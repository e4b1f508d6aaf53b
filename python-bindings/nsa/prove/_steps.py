# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Steps to kernels, and kernels to results."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .. import _compile
from . import _ir
from ._kernel import Access, Kernel

__all__ = ["Result", "find_nsa_opt", "prove", "prove_ir", "structured"]

#: What the compiler does up to structured kernels: buildLaunchPipeline, and what
#: buildLaunchToPTXPipeline begins with.
PASSES = (
    "builtin.module(nsa.step(nsa-expand-metadata-sets,nsa-narrow-indices,nsa-walk-sums,canonicalize,cse,nsa-store-sums,"
    "nsa-merge-copies,nsa-form-launches{per-copy=true},cse,nsa-fuse-launches,cse,nsa-assign-tiles),"
    "nsa-launch-to-gpu,canonicalize,cse)"
)
#: And what follows, up to where arrays become pointers.
NARROWED = PASSES.removesuffix(")") + ",nsa-narrow-arithmetic,canonicalize,cse)"


@dataclass
class Result:
    """What was shown of a step's kernels."""

    step: str
    accesses: list[Access] = field(default_factory=list)
    #: Lines of the IR with index arithmetic that was not shown to fit into 64 bits.
    wraps: set[int] = field(default_factory=set)
    questions: int = 0

    def count(self, shared: bool = False) -> tuple[int, int]:
        """(accesses that were shown to be inside, accesses); to global memory, or to shared."""
        some = [access for access in self.accesses if access.is_shared == shared]
        return sum(not access.missing for access in some), len(some)


def find_nsa_opt() -> str:
    """That of the build tree which this package is from, or of PATH."""
    built = Path(_compile.__file__).parent.parent.parent / "bin/nsa-opt"
    found = os.environ.get("NSA_OPT") or (str(built) if built.exists() else shutil.which("nsa-opt"))
    if not found:
        raise FileNotFoundError("nsa-opt is not in PATH, and NSA_OPT does not name it")
    return found


def structured(text: str, passes: str = PASSES) -> str:
    """The kernels of a step in MLIR's generic form."""
    command = [find_nsa_opt(), "-", "--mlir-print-op-generic", f"--pass-pipeline={passes}"]
    made = subprocess.run(command, input=text, capture_output=True, text=True)
    if made.returncode:
        raise ValueError(made.stderr)
    return made.stdout


def prove_ir(ir: str, manifests: dict[str, Any]) -> list[Result]:
    """Of each step of structured kernels, with its manifest by name."""
    results = []
    for module in _ir.parse(ir).walk():
        if module.name != "gpu.module":
            continue
        step = module.attribute(r'sym_name = "([^"]+)"')
        assert step is not None
        result = Result(step)
        kernels = {kernel["name"]: kernel for kernel in manifests[step]["kernels"]}
        for function in module.walk():
            if function.name == "gpu.func":
                name = function.attribute(r'sym_name = "([^"]+)"')
                kernel = Kernel(function, manifests[step], kernels[name or ""])
                result.accesses += kernel.accesses
                result.wraps |= kernel.wraps
                result.questions += kernel.facts.questions
        results.append(result)
    return results


def kernels(text: str) -> tuple[str, dict[str, Any]]:
    """What ``prove_ir`` takes, of a text."""
    module = _compile.compile(text, "cpu")
    manifests = {name: json.loads(module[name].manifest) for name in module}
    return structured(text, NARROWED), manifests


def prove(text: str) -> list[Result]:
    """Of each step of a text."""
    return prove_ir(*kernels(text))
