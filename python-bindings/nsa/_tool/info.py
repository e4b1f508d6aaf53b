# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What is here, for bug reports."""

from __future__ import annotations

import ctypes
import json
import os
import platform
import sys
from typing import Any

from .. import _cache, _compile, _nsa_runtime, config
from . import finding
from .facts import human

#: Everything that is read from the environment: docs/API.md has it as a table.
VARIABLES = {
    "NSA_TARGET": "restricts where steps run: `cuda`, `cpu`, or `simt`, which runs PTX on CPU"
    " arrays; others are refused. Unset: the arrays decide",
    "NSA_CACHE_DIR": "where compiled bundles are kept; empty: nowhere. Unset:"
    " `$XDG_CACHE_HOME/nsa` or `~/.cache/nsa`",
    "NSA_BUNDLE_PATH": "folders of bundles made ahead, separated as in `PATH`; they are looked into"
    " before those of the package",
    "NSA_PDL": "`1`: operations on CUDA arrays are compiled for `sm_90` with programmatic"
    " dependent launch ([Performance.md](Performance.md#programmatic-dependent-launch)). `0`,"
    " empty or unset: without",
    "NSA_LINKER": "the program that links host kernels. Unset: `cc`, `gcc`, `clang`, `ld.lld` or"
    " `ld` from `PATH`",
    "NSA_CC": "the C compiler for modules of tvm-ffi. Unset: `cc`, `gcc` or `clang` from `PATH`",
    "NSA_OPT": "the `nsa-opt` that `python -m nsa.prove` asks. Unset: the built one, or that of"
    " `PATH`",
    "NSA_SIMT_SEED": "the order of blocks and warps in the simulator, a number",
    "CUDA_HOME": "where `ptxas` is looked for after `PATH`. Unset: `/usr/local/cuda`",
    "CUDA_VISIBLE_DEVICES": "the driver's own: which devices there are",
    "XDG_CACHE_HOME": "see `NSA_CACHE_DIR`",
}

_COMPUTE_MAJOR, _COMPUTE_MINOR = 75, 76


def _driver() -> dict[str, Any]:
    """The CUDA driver's version and its devices."""
    try:
        cuda = ctypes.CDLL("libcuda.so.1")
    except OSError as error:
        return {"version": None, "why": str(error), "devices": []}
    number = ctypes.c_int()
    if (status := cuda.cuInit(0)) != 0:
        return {"version": None, "why": f"cuInit failed with {status}", "devices": []}
    cuda.cuDriverGetVersion(ctypes.byref(number))
    version = f"{number.value // 1000}.{number.value % 1000 // 10}"
    cuda.cuDeviceGetCount(ctypes.byref(number))
    devices = []
    for ordinal in range(number.value):
        device, name = ctypes.c_int(), ctypes.create_string_buffer(256)
        memory = ctypes.c_size_t()
        cuda.cuDeviceGet(ctypes.byref(device), ordinal)
        cuda.cuDeviceGetName(name, len(name), device)
        cuda.cuDeviceTotalMem_v2(ctypes.byref(memory), device)
        capability = []
        for attribute in (_COMPUTE_MAJOR, _COMPUTE_MINOR):
            value = ctypes.c_int()
            cuda.cuDeviceGetAttribute(ctypes.byref(value), attribute, device)
            capability.append(value.value)
        devices.append(
            {
                "name": name.value.decode(errors="replace"),
                "chip": f"sm_{capability[0]}{capability[1]}",
                "memory": memory.value,
            }
        )
    return {"version": version, "why": None, "devices": devices}


def _cached(directory: str | None) -> dict[str, int]:
    """How much is in the cache."""
    entries = size = 0
    if directory and os.path.isdir(directory):
        for folder, _, files in os.walk(directory):
            entries += folder != directory
            size += sum(os.path.getsize(os.path.join(folder, file)) for file in files)
    return {"entries": entries, "bytes": size}


def _made_by() -> dict[str, str] | None:
    """What compiler made the bundles that are shipped: one of them says so."""
    for path in finding.bundles_in(_cache.SHIPPED):
        try:
            (name,) = (each for each in os.listdir(path) if each.endswith(".json"))
            with open(os.path.join(path, name), encoding="utf-8") as stream:
                return json.load(stream)["compiler"]
        except (OSError, ValueError, KeyError):
            return None
    return None


def _count_in(directory: str) -> int | None:
    """How many bundles are in a folder; None: there is no such folder."""
    return sum(1 for _ in finding.bundles_in(directory)) if os.path.isdir(directory) else None


def gather() -> dict[str, Any]:
    """All of it, as JSON can have it."""
    from .. import __version__

    try:
        state = config()
        target, targets = state["target"], state["targets"]
    except ValueError as error:
        # NSA_TARGET is none: a report is what finds that.
        target, targets = None, {name: (False, str(error)) for name in ("cuda", "cpu", "simt")}
    directories = _cache.bundle_directories()
    cache = _cache.cache_directory()
    optional = {}
    for name in ("numpy", "torch", "cupy", "tvm_ffi", "sglang"):
        module = sys.modules.get(name)
        optional[name] = getattr(module, "__version__", "?") if module else _installed(name)
    return {
        "nsa": __version__,
        "package": os.path.dirname(os.path.dirname(os.path.abspath(__file__))),
        "manifest schema": _nsa_runtime.manifest_schema,
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "platform": f"{platform.platform()} {platform.machine()}",
        "driver": _driver(),
        "target": target,
        "targets": {name: list(each) for name, each in targets.items()},
        "compiler": dict(module.versions) if (module := _compile.compiler()) else None,
        "cache": {"directory": cache, **_cached(cache)},
        "bundles": {
            "directories": directories,
            "counts": [_count_in(directory) for directory in directories],
            "shipped made by": _made_by(),
        },
        "packages": optional,
        "environment": {n: os.environ[n] for n in VARIABLES if n in os.environ},
    }


def _installed(name: str) -> str | None:
    """The version of a distribution, without importing it."""
    from importlib import metadata

    try:
        return metadata.version({"tvm_ffi": "apache-tvm-ffi"}.get(name, name))
    except metadata.PackageNotFoundError:
        return None


def as_text(facts: dict[str, Any]) -> str:
    driver, cache, bundles = facts["driver"], facts["cache"], facts["bundles"]
    made = bundles["shipped made by"]
    compiler = facts["compiler"]
    lines = [
        f"nsa        {facts['nsa']}, manifests of schema {facts['manifest schema']}",
        f"package    {facts['package']}",
        f"python     {facts['python']}",
        f"platform   {facts['platform']}",
        "compiler   "
        + (f"nsa {compiler['nsa']}, LLVM {compiler['llvm']}" if compiler else "none"),
        "driver     "
        + (f"CUDA {driver['version']}" if driver["version"] else f"none ({driver['why']})"),
    ]
    for ordinal, device in enumerate(driver["devices"]):
        lines.append(
            f"device {ordinal}   {device['name']}, {device['chip']}, {human(device['memory'])}"
        )
    lines.append(f"target     {facts['target'] or 'none'}")
    for name, (usable, why) in facts["targets"].items():
        lines.append(f"  {name:<8} {'yes' if usable else 'no'}: {why}")
    where = cache["directory"] or "nowhere"
    lines.append(f"cache      {where}: {cache['entries']} entries, {human(cache['bytes'])}")
    for directory, count in zip(bundles["directories"], bundles["counts"]):
        shown = f"{directory}: no such folder" if count is None else f"{count} in {directory}"
        lines.append(f"bundles    {shown}")
    if made:
        lines[-1] += f", made by nsa {made.get('nsa')}, LLVM {made.get('llvm')}"
    known = [f"{name} {version}" for name, version in facts["packages"].items() if version]
    lines.append(f"packages   {', '.join(known) or 'none'}")
    for name, value in facts["environment"].items():
        lines.append(f"           {name}={value}")
    return "\n".join(lines)
