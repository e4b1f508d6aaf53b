# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""From a step's checked arguments to machines.

The runtime checks a call as it does before any launch, and says what it would launch:
the blocks and the parameters of each kernel. Pointers among the parameters are replaced
by those of the simulator's regions, which the manifest names.
"""

from __future__ import annotations

import json
import os
from typing import Any, NamedTuple

from .. import _nsa_runtime
from ._machine import Machine, module_variables, programs
from ._memory import Region, Variable
from ._report import PTXError


class Launch(NamedTuple):
    """What was run: a kernel, its blocks, instructions times threads."""

    kernel: str
    blocks: int
    lane_instructions: int


def default_seed() -> int:
    """``NSA_SIMT_SEED``, or 0. Raises ``ValueError`` if it is no number."""
    text = os.environ.get("NSA_SIMT_SEED") or "0"
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"NSA_SIMT_SEED: expected an integer but got {text!r}") from None


def run_kernel(
    ptx: str,
    kernel: str,
    blocks: int,
    values: list[int],
    regions: list[Region],
    seed: int | None = None,
    threads: int | None = None,
    variables: list[Variable] | None = None,
) -> Machine:
    """Runs one kernel and returns the machine that did.

    `values` are the parameters in order, `regions` what they point to, each of another
    number, `variables` those of the module (by default new ones). Raises ``PTXError`` for PTX that is not understood, ``SimtError`` for what the
    kernel does wrong.
    """
    known = programs(ptx)
    if kernel not in known:
        raise PTXError(f"expected a kernel '{kernel}' but there is {', '.join(known)}")
    program = known[kernel]
    if len(values) != len(program.kernel.parameters):
        raise PTXError(
            f"kernel '{kernel}': expected {len(program.kernel.parameters)} parameters but "
            f"got {len(values)}"
        )
    seed = default_seed() if seed is None else seed
    machine = Machine(program, blocks, values, regions, seed, threads, variables)
    machine.run()
    return machine


class Simulator:
    """Runs the launches of one step; `seed` as of ``simulate``."""

    def __init__(self, manifest: str, ptx: str, seed: int | None = None) -> None:
        description = json.loads(manifest)
        self.ptx, self.seed = ptx, seed
        self.kinds = {a["name"]: a.get("access", a["kind"]) for a in description["arguments"]}
        self.kernels = {k["name"]: k for k in description["kernels"]}
        #: Of the last launch of the step.
        self.launches: list[Launch] = []
        # What cannot be run is said when the step is made, not when it is called.
        known = programs(ptx)
        #: They live as long as the module, as on a device.
        self.variables = module_variables(next(iter(known.values()))) if known else []
        #: The name of the one that guards record in.
        self.records = description.get("guards", {}).get("buffer")

    def __call__(self, kernels: list[Any], arrays: list[Any]) -> None:
        """`kernels`: (name, blocks, values of parameters) in order; `arrays`: (name,
        address, bytes of an element, shape, strides in elements)."""
        regions = {
            name: Region(
                name, self.kinds[name], address, itemsize, shape, strides, number
            )
            for number, (name, address, itemsize, shape, strides) in enumerate(arrays)
        }
        self.launches = []
        for name, blocks, values in kernels:
            if not blocks:
                continue
            values = [
                # Null is no array, as it is to the kernel.
                regions[p["argument"]].pointer if p["field"] == "pointer" and value else value
                for p, value in zip(self.kernels[name]["parameters"], values)
            ]
            machine = run_kernel(
                self.ptx,
                name,
                blocks,
                values,
                list(regions.values()),
                self.seed,
                self.kernels[name]["threads"],
                self.variables,
            )
            self.launches.append(Launch(name, blocks, machine.lane_instructions))


    def take_records(self) -> bytes:
        """What guards have recorded, which is forgotten; nothing without guards."""
        for variable in self.variables:
            if variable.name == self.records:
                taken = variable.bytes.tobytes()
                variable.bytes[:] = 0
                return taken
        return b""


def simulate(step: _nsa_runtime.Step, seed: int | None = None) -> _nsa_runtime.Step:
    """A step that runs `step`'s PTX in the simulator, on CPU arrays.

    `seed` decides the order of blocks and warps; by default ``NSA_SIMT_SEED``, or 0.
    Raises ``ValueError`` for a step without PTX text, ``PTXError`` for PTX that is not
    understood.
    """
    if not isinstance(step.ptx, str):
        raise ValueError(f"step {step.name!r} has no PTX to simulate")
    simulator = Simulator(step.manifest, step.ptx, seed)
    return _nsa_runtime.Step(step.manifest, step.ptx, simulator=simulator)
