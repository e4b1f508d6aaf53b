# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The PTX of steps, executed and checked on the CPU: ``target="simt"``.

What runs is the text that a GPU's driver would get, with its grid, blocks, warps,
barriers, shuffles and shared memory, on CPU arrays. Whatever a kernel does that it may
not do is a ``SimtError`` that says which thread did what to which element, at which line.
docs/Simulator.md has what is checked, and how to use it.

- ``_parse``: PTX text to kernels;
- ``_flow``: basic blocks, and which registers are read, live and surely written;
- ``_semantics``: what instructions compute;
- ``_memory``: arguments' elements, shared memory, who accessed what;
- ``_machine``: kernels to functions of NumPy arrays, and running them;
- ``_launch``: a step's launches.
"""

from ._launch import Launch, Simulator, run_kernel, simulate
from ._machine import programs
from ._memory import Region
from ._parse import parse
from ._report import PTXError, SimtError

__all__ = [
    "Launch",
    "PTXError",
    "Region",
    "SimtError",
    "Simulator",
    "parse",
    "programs",
    "run_kernel",
    "simulate",
]
