# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""A target is a value of the module: generated steps, cut for chips that do not exist, give
what the reference says. What a chip's own pipeline asks of it is an error."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import pytest

import nsa
from nsa import prebuild
from nsa.fuzz.check import BUILDS, Task, run_all
from nsa.fuzz.generate import draw_task
from nsa.fuzz.programs import Program
from nsa.fuzz.shrink import as_test

pytestmark = pytest.mark.skipif(not nsa.has_compiler(), reason="built without the compiler")

NVIDIA = dict(
    warp=32, threads=128, vectors=1, access_bytes=16, shared_bytes=49152, tile_bytes=40960,
    parameter_bytes=4352, in_flight_bytes=4800 * 700, resident_threads=132 * 2048,
    shuffle_tells=True,
)  # fmt: skip
#: What differs from NVIDIA's, and whether its kernels run as PTX.
TARGETS = {
    "wide_blocks": (dict(threads=512, vectors=2, shuffle_tells=False), True),
    "narrow_accesses": (dict(threads=64, access_bytes=8, vectors=3), True),
    "one_warp": (dict(threads=32, tile_bytes=4096), True),
    "few_parameters": (dict(parameter_bytes=128, in_flight_bytes=1000000), True),
    "wave64": (dict(warp=64, threads=256, shared_bytes=65536), False),
    "warps_of_8": (dict(warp=8, threads=64, access_bytes=8), False),
}


def spell(**changes: Any) -> str:
    facts = {**NVIDIA, **changes}
    words = ", ".join(f"{key} = {str(value).lower()}" for key, value in facts.items())
    return f"#nsa.target<{words}>"


@dataclass
class Targeted(Program):
    """A step in a module that says for which chips."""

    target: str = ""

    def text(self) -> str:
        return f"module attributes {{nsa.target = {self.target}}} {{\n{super().text()}\n}}\n"


def draw(seed: int, target: str, simt: bool) -> Task:
    task = draw_task(seed, simt=simt)
    parts = {field.name: getattr(task.program, field.name) for field in fields(Program)}
    return Task(
        f"{task.name}, {target}", Targeted(**parts, target=target), task.seeds, task.sizes,
        ptx=simt, builds=BUILDS[:2], simt=simt,
    )  # fmt: skip


@pytest.mark.parametrize("name", TARGETS)
def test_values(name):
    changes, is_ptx = TARGETS[name]
    first = 1000 * list(TARGETS).index(name)
    tasks = [draw(first + i, spell(**changes), simt=is_ptx and i < 2) for i in range(12)]
    ran = 0
    for task, outcome in run_all(tasks):
        assert outcome.kind in ("ok", "refused"), as_test(task, outcome)
        ran += outcome.kind == "ok"
    assert ran > 4


COPY = """
  nsa.step @cut(in %n : index, in %m : index, in %t[%n, %m] : tensor<?x?xi32>,
                out %a : memref<?x?xi32, strided<[?, 1]>>) {
    nsa.copy %t to %a : tensor<?x?xi32> to memref<?x?xi32, strided<[?, 1]>>
  }"""


def compile_copy(**changes: Any) -> str:
    text = f"module attributes {{nsa.target = {spell(**changes)}}} {{{COPY}}}"
    return nsa.compile(text, target="simt")["cut"].ptx


def test_kernels_follow():
    """Facts that are not NVIDIA's do change what is made."""
    assert ".maxntid 64," in compile_copy(threads=64)
    assert compile_copy() == nsa.compile(COPY, target="simt")["cut"].ptx


def test_another_warp_is_refused_by_ptx():
    with pytest.raises(nsa.CompileError, match="warps of 32 threads, as 'sm_80' has, but got 64"):
        compile_copy(warp=64, threads=256)


def test_rows_of_packed_tables_in_small_blocks() -> None:
    """A block has fewer threads than take a row elsewhere: a tile has a row all the same."""
    (text, *_) = [text for text in prebuild.texts() if "@vllm_gather_block_tables" in text]
    for threads in (1, 8, 1024):
        target = spell(warp=min(threads, 32), threads=threads)
        module = f"module attributes {{nsa.target = {target}}} {{{text}}}"
        assert nsa.compile(module, target="cpu")
