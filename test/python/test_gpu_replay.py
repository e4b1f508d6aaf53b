# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Replay in every mode by PTX on a GPU, against the reference.

Skipped, with the reason, without a CUDA device or CuPy. Kernels are compiled here, or
come from the bundles in NSA_BUNDLE_PATH.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

import expand_cases
import numpy as np
import pytest
from conftest import device_or_skip
from replay_cases import (
    POISON,
    Case,
    arguments,
    cases,
    draw,
    hostile_cases,
    redraw,
    variants,
)

import nsa
from nsa import _cache

VARIANTS = variants(36)


@pytest.fixture(scope="module")
def cupy():
    device_or_skip()
    if not nsa.has_compiler() and not os.environ.get("NSA_BUNDLE_PATH"):
        pytest.skip("no compiler, and no bundles: NSA_BUNDLE_PATH is not set")
    return pytest.importorskip("cupy")


def place(cupy, array: np.ndarray):
    """The array on the device, with its strides and its offset from a 16-byte boundary."""
    if array.size == 0:
        return cupy.zeros(array.shape, array.dtype)
    base = array
    while base.base is not None:
        base = base.base
    offset = array.ctypes.data - base.ctypes.data
    memory = cupy.asarray(base)
    return cupy.ndarray(
        array.shape, array.dtype, memory.data + offset, strides=array.strides
    )


def get_step(case: Case):
    return _cache.get_step(f"{case.variant.mode}_replay", case.variant.text, "cuda")


def run_all(cupy, drawn: Iterable[Case]) -> None:
    for case in drawn:
        step = get_step(case)
        placed = arguments(case, step, lambda array: place(cupy, array))
        step(**placed)
        case.check({name: placed[name].get() for name in case.outputs})


def test_cases(cupy) -> None:
    run_all(cupy, cases(11, 500, VARIANTS))


def test_hostile_cases(cupy) -> None:
    run_all(cupy, hostile_cases(VARIANTS))


def test_expand_seqlens(cupy) -> None:
    for case in expand_cases.cases(seed=5):
        case.run(cupy.asarray, cupy.asnumpy)


@pytest.mark.parametrize("number", range(12))
def test_graph_replayed_with_new_contents(cupy, number: int) -> None:
    """One capture; lengths, rows and extend lengths change on the device alone."""
    variant = VARIANTS[number]
    rng = np.random.default_rng(number)
    case = draw(variant, rng, max_bs=33)
    while case.sizes["bs"] == 0:
        case = draw(variant, rng, max_bs=33)
    step = get_step(case)
    placed = arguments(case, step, lambda array: place(cupy, array))
    stream = cupy.cuda.Stream(non_blocking=True)
    bound = step.bind(**placed)
    bound.launch(stream=stream.ptr)
    with stream:
        stream.begin_capture()
        bound.launch(stream=stream.ptr)
        graph = stream.end_capture()
    replays = 10_000 // 12 + 1
    for _ in range(replays):
        other = redraw(case, rng)
        for name, array in other.inputs.items():
            if name in placed:
                placed[name][...] = cupy.asarray(array)
        for name in other.outputs:
            placed[name][...] = POISON
        cupy.cuda.Device().synchronize()
        graph.launch(stream)
        stream.synchronize()
        other.check({name: placed[name].get() for name in other.outputs})
