# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Which targets there are, and compiling for them ahead of time.

An array's device decides what runs: PTX for CUDA arrays, host kernels for CPU arrays.
``NSA_TARGET`` (``cuda`` or ``cpu``) restricts that; it never sends an array elsewhere.
With ``simt`` CPU arrays are served by the PTX, in the simulator ``nsa.simt``.
"""

import os

from . import _cache, _compile, _nsa_runtime
from ._compile import has_compiler
from ._nsa_runtime import DriverError

_TARGETS = ("cuda", "cpu", "simt")


def _state(target):
    """(whether `target` can be used, why)."""
    try:
        _nsa_runtime.check_target(target)
    except DriverError as error:
        return False, str(error)
    if target == "simt":
        if _compile.simulates():
            return True, "NSA_TARGET=simt: PTX is run and checked on the CPU, in NumPy"
        return False, "used where NSA_TARGET=simt or target='simt' asks for it"
    if target == "cpu":
        if has_compiler():
            return True, "host kernels are compiled when they are needed"
        if any(map(os.path.isdir, _cache.bundle_directories())):
            return True, "host kernels are from bundles made ahead"
        return False, f"no compiler ({_compile._missing}), and no bundles made ahead"
    try:
        count = _nsa_runtime.device_count()
    except DriverError as error:
        return False, str(error)
    source = "compiled when it is needed" if has_compiler() else "from bundles made ahead"
    return count > 0, f"{count} device(s); PTX is {source}"


def config():
    """What is in use, and why, as a dict:

    ``target``: the first of ``"cuda"``, ``"cpu"`` and ``"simt"`` that can be used here, or
    None;
    ``targets``: for each of them (usable, why); ``restriction``: ``NSA_TARGET`` or None;
    ``compiler``: versions of nsa and LLVM, or None; ``cache``: the directory of compiled
    bundles, or None; ``bundle_path``: where bundles are looked for without a compiler, the
    last of them the package's own.

    Raises ``ValueError`` if ``NSA_TARGET`` is none of them.
    """
    targets = {target: _state(target) for target in _TARGETS}
    usable = [target for target in _TARGETS if targets[target][0]]
    return {
        "target": usable[0] if usable else None,
        "targets": targets,
        "restriction": os.environ.get("NSA_TARGET") or None,
        "compiler": dict(_compile.compiler().versions) if has_compiler() else None,
        "cache": _cache.cache_directory(),
        "bundle_path": _cache.bundle_directories(),
    }


def warmup(*texts, target=None, device=0):
    """Compiles the steps of `texts` and loads them, so that no first call has to.

    `texts`: nsa texts, as ``nsa.steps`` writes them; the operations of ``nsa.ops`` find what
    was warmed up. `target`: ``"cuda"``, ``"cpu"`` or ``"simt"``, by default what ``config()``
    says. `device`: the CUDA device to load on. Every compilation is logged once (logger ``nsa``,
    level INFO). Returns the steps, text by text.

    Raises ``CompileError`` as ``compile`` does, ``DriverError`` without a device for
    ``"cuda"``, or where neither target can be used.
    """
    if target is None:
        state = config()
        target = state["target"]
        if target is None:
            reasons = "; ".join(f"{t}: {why}" for t, (_, why) in state["targets"].items())
            raise DriverError(f"there is nothing to warm up for: {reasons}")
    steps = []
    for text in texts:
        module = _cache.get_module(text, target)
        if target == "cuda":
            for step in module.values():
                step.load(device)
        steps += module.values()
    return steps
