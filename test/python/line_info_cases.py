# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Shipped steps of each kind, compiled with `line_info=True`, and ptxas for their PTX."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import nsa
from nsa import prebuild

#: The first ones of each kind have the least in them.
COUNT = 2


def texts() -> Iterator[str]:
    kinds = (
        prebuild.replays((2048,), (64,), (2,)),
        prebuild.copies(),
        prebuild.expansions((2048,)),
        prebuild.dequantisations(),
        prebuild.prefills(),
        prebuild.schedules((2048,), (2,)),
        prebuild.v4_steps((2,)),
        prebuild.dsa_steps(),
    )
    for kind in kinds:
        yield from list(kind)[-COUNT:]


def compile_all() -> Iterator[nsa.Module]:
    for text in texts():
        yield nsa.compile(text, target="cuda", line_info=True)


def find_ptxas() -> str | None:
    """As nsa-compile finds it."""
    home = os.environ.get("CUDA_HOME") or "/usr/local/cuda"
    return shutil.which("ptxas") or shutil.which("ptxas", path=f"{home}/bin")


def assemble(ptxas: str, ptx: str, chip: str, folder: Path) -> bytes:
    """A cubin with the line table that ptxas makes of PTX with `.loc`."""
    assert re.search(r"^\s*\.loc\s+\d+ \d+ \d+", ptx, re.MULTILINE)
    assert re.search(r"^\s*\.file\s+\d+ ", ptx, re.MULTILINE)
    source, cubin = folder / "step.ptx", folder / "step.cubin"
    source.write_text(ptx)
    done = subprocess.run(
        [ptxas, f"-arch={chip}", "-lineinfo", str(source), "-o", str(cubin)],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    made = cubin.read_bytes()
    assert b".debug_line" in made
    return made
