# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Replay in every mode by PTX on a GPU, against the reference.

Skipped, with the reason, without a CUDA device or CuPy. Kernels are compiled here, or
come from the bundles in NSA_BUNDLE_PATH.
"""

from __future__ import annotations

import os

import numpy as np
import pytest
from conftest import device_or_skip
from replay_cases import POISON, Case, arguments, cases, draw, variants

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


def test_cases(cupy) -> None:
    for case in cases(11, 500, VARIANTS):
        step = get_step(case)
        placed = arguments(case, step, lambda array: place(cupy, array))
        step(**placed)
        case.check({name: placed[name].get() for name in case.outputs})


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


def redraw(case: Case, rng) -> Case:
    """The same sizes and arrays with other contents."""
    from replay_cases import _draw_extend, _place  # the cases' own helpers
    from reference import reference_metadata

    variant, bs = case.variant, case.sizes["bs"]
    hostile = rng.random() < 0.2
    inputs = dict(case.inputs)
    inputs["seq_lens"] = rng.integers(-5, 3000, bs).astype(variant.lens_dtype)
    rows = inputs["req_to_token"].shape[0]
    inputs["req_pool_indices"] = rng.integers(-1, rows + 1, bs).astype(variant.pool_dtype)
    extend = _draw_extend(rng, variant, bs, hostile)
    if variant.is_ragged:
        inputs["extend_seq_lens"] = extend
    other = Case(variant, case.sizes, inputs, {}, {})
    reference = reference_metadata(
        variant.mode,
        inputs["seq_lens"],
        inputs["req_pool_indices"],
        inputs["req_to_token"],
        case.sizes["max_len"],
        variant.topk,
        variant.page_size,
        variant.next_n,
        extend,
        capacity=case.sizes["row_bound"] if variant.is_ragged else None,
    )
    _place(other, reference, extend, rng)
    return other
