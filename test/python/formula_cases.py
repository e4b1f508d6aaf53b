# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Steps of random formulas, with what they compute."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from nsa.fuzz.check import Task, difference, draw_inputs, place
from nsa.fuzz.generate import draw_formulas
from nsa.fuzz.operations import dims
from nsa.fuzz.programs import DTYPES

#: Of 40 formulas each.
GPU_SEEDS = range(50)


def tasks(seeds: range = GPU_SEEDS) -> list[Task]:
    return [draw_formulas(seed) for seed in seeds]


#: PTX of `max.s16` with 0, and a comparison of the result with 0, whose machine code was wrong.
SHORT_REST = """
nsa.step @rest(in %n : index, out %o : memref<?xi16>) {
  %rest = nsa.map(%i) in (%n) : tensor<?xi16> {
    %zero = arith.constant 0 : i16
    %one = arith.floordivsi %i, %i : index
    %above = arith.cmpi ne, %i, %one : index
    %bit = arith.extui %above : i1 to i16
    %wide = arith.index_cast %i : index to i64
    %short = arith.trunci %wide : i64 to i16
    %max = arith.maxsi %short, %zero : i16
    %rest = arith.remsi %bit, %max : i16
    nsa.yield %rest : i16
  }
  nsa.copy %rest to %o : tensor<?xi16> to memref<?xi16>
}
"""


def texts() -> set[str]:
    return {task.program.text() for task in tasks()} | {SHORT_REST}


def run(task: Task, step: Any, gpu: Any) -> int:
    """Runs `step` with arrays on `gpu` and returns how many elements were compared."""
    compared = 0
    types = task.program.types
    for sizes in task.sizes:
        used = {name: size for name, size in sizes.items() if name in task.program.ports}
        arrays, values = draw_inputs(task, sizes, task.seeds[0], json.loads(step.manifest))
        outputs, wanted = {}, {}
        for copy in task.program.copies:
            value, element = copy.stored(values), dims(types[copy.value])[1]
            for name, _ in copy.destinations:
                shape = value.data.shape
                strides = np.cumprod([1, *shape[:0:-1]])[::-1].tolist()
                storage = place(shape, DTYPES[element], strides, 0)
                before = arrays.pop(name, None)
                if before is not None:
                    storage.view[...] = before
                outputs[name] = gpu.asarray(storage.view)
                wanted[name] = (storage, value, copy.begin, element, before)
        step(**used, **{n: gpu.asarray(a) for n, a in arrays.items()}, **outputs)
        for name, (storage, *rest) in wanted.items():
            storage.view[...] = gpu.asnumpy(outputs[name])
            wrong = difference(storage, *rest)
            assert not wrong, f"{task.name}, {used}, {name}: {wrong}\n{task.program.text()}"
            compared += storage.view.size
    return compared
