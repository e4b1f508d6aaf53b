# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""C++ programs over the runtime, built and run where the tests are: examples/engine with its
captured graphs, and eight threads with streams of their own.

On a GPU they take the bundle of examples/decode_replay.mlir that scripts/pack_for_gpu.sh makes.
Where there is none, the engine runs on the host, and the threads are skipped (those of the host
are in test/unit/Runtime/ThreadsTest.cpp)."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sysconfig
from pathlib import Path

import pytest

import nsa

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).parent
# The build's: of `build/python/nsa` it is `build/lib`.
LIBRARY = Path(nsa.__file__).parents[2] / "lib"


def has_device() -> bool:
    try:
        return nsa.device_count() > 0
    except nsa.DriverError:
        return False


def cuda_headers() -> Path:
    """Where cuda.h is: of a toolkit, or of a Python package that has one."""
    folders = [Path(os.environ.get("CUDA_HOME", "/usr/local/cuda"), "include")]
    if (nvcc := shutil.which("nvcc")) is not None:
        folders.append(Path(nvcc).resolve().parents[1] / "include")
    folders += sorted(Path(sysconfig.get_path("purelib"), "nvidia").glob("*/include"))
    for folder in folders:
        if (folder / "cuda.h").exists():
            return folder
    pytest.skip(f"no cuda.h in {', '.join(map(str, folders))}")


def bundle_of(tmp_path: Path, targets: tuple[str, ...]) -> Path:
    """That of examples/decode_replay.mlir."""
    if nsa.has_compiler():
        for target in targets:
            nsa.compile(ROOT / "examples/decode_replay.mlir", target).save(tmp_path / "bundle")
        return tmp_path / "bundle"
    bundle = Path(os.environ.get("NSA_TEST_BUNDLES", ""), "decode_replay")
    if not (bundle / "decode_replay.json").exists():
        pytest.skip("no compiler, and no decode_replay in NSA_TEST_BUNDLES")
    return bundle


def build(source: Path, program: Path, *options: str) -> None:
    compiler = shutil.which(os.environ.get("CXX", "c++"))
    if compiler is None:
        pytest.skip("no C++ compiler: c++ is not in PATH")
    if not (LIBRARY / "libnsa_runtime.so").exists():
        pytest.skip(f"no libnsa_runtime.so in {LIBRARY}: the package is not of a build")
    done = subprocess.run(
        [compiler, "-std=c++17", "-O1", "-pthread", source, "-I", ROOT / "include", "-o", program,
         *options, "-L", LIBRARY, f"-Wl,-rpath,{LIBRARY}", "-lnsa_runtime"],
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def run(program: Path, *arguments: object) -> str:
    done = subprocess.run([program, *map(str, arguments)], capture_output=True, text=True)
    assert done.returncode == 0, f"{done.stdout}{done.stderr}"
    return done.stdout


def test_engine(tmp_path: Path) -> None:
    """A decode loop with a graph for each batch size: every element of every replay."""
    options, place = [], "the host"
    if has_device():
        options = ["-DENGINE_HAS_CUDA", "-I", str(cuda_headers()), "-Wl,--no-as-needed",
                   "-l:libcuda.so.1"]  # fmt: skip
        place = "the GPU"
    bundle = bundle_of(tmp_path, ("cuda",) if has_device() else ("cuda", "cpu"))
    program = tmp_path / "engine"
    build(ROOT / "examples/engine/main.cpp", program, f'-DBUNDLE="{bundle}"', *options)
    output = run(program, 3000)
    assert re.match(rf"3000 iterations on {place}, 6 graphs: all of \d+ elements right", output)


@pytest.mark.skipif(not has_device(), reason="no CUDA device")
def test_threads_with_streams_of_their_own(tmp_path: Path) -> None:
    program = tmp_path / "threads"
    build(HERE / "gpu_threads.cpp", program, "-I", str(cuda_headers()), "-l:libcuda.so.1")
    output = run(program, bundle_of(tmp_path, ("cuda",)))
    assert output == "100000 launches of 8 threads, 4000 results right\n"
