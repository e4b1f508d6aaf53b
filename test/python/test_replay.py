# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Replay in every mode on the host, fused, unfused and guarded, against the reference."""

from __future__ import annotations

import expand_cases
import numpy as np
import pytest
from replay_cases import Variant, arguments, cases, hostile_cases, variants

import nsa
from nsa import _cache

pytestmark = pytest.mark.skipif(
    not nsa.has_compiler(), reason="this installation of nsa has no compiler"
)


def run(variant_list: list[Variant], count: int, seed: int, max_bs: int, **options) -> None:
    built = {}
    for case in cases(seed, count, variant_list, max_bs):
        variant = case.variant
        if variant not in built:
            module = nsa.compile(variant.text, target="cpu", **options)
            built[variant] = module[f"{variant.mode}_replay"]
        step = built[variant]
        if options.get("fuse", True):
            assert len(step.kernels) == 1
        before = {name: array.copy() for name, array in case.inputs.items()}
        step(**arguments(case, step))
        case.check(case.outputs)
        if options.get("guards"):
            step.check()
        for name, array in before.items():
            assert np.array_equal(array, case.inputs[name])


def test_fused() -> None:
    run(variants(36), 400, seed=1, max_bs=4096)


def test_fused_guarded() -> None:
    run(variants(36, seed=7), 150, seed=2, max_bs=1024, guards=True)


def test_unfused_guarded() -> None:
    small = [v for v in variants(24, seed=9) if len(v.fields) <= 3]
    run(small, 60, seed=3, max_bs=128, fuse=False, guards=True)


def test_hostile_contents() -> None:
    """What gpu_sanitize_replay.py runs on a GPU."""
    for case in hostile_cases(variants(36)):
        step = _cache.get_step(f"{case.variant.mode}_replay", case.variant.text, "cpu")
        step(**arguments(case, step))
        case.check(case.outputs)


def test_expand_seqlens() -> None:
    for case in expand_cases.cases(seed=4):
        case.run(lambda array: array, lambda array: array)


def test_replay_metadata_takes_capacity_from_destinations() -> None:
    """No row past the smallest destination is written."""
    extend = np.array([2, 3, 4], np.int32)
    lens = np.array([10, 20, 30])
    big, small = np.full(20, -1, np.int32), np.full(6, -1, np.int32)
    nsa.ops.replay_metadata(
        [{"seqlens_expanded": big}, {"seqlens_expanded": small}],
        mode="draft_extend",
        seq_lens=lens,
        extend_seq_lens=extend,
    )
    assert small.tolist() == [9, 10, 18, 19, 20, 27]
    assert big[:6].tolist() == small.tolist() and (big[6:] == -1).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"mode": "prefill"}, "argument 'mode': expected one of"),
        ({"mode": "draft_extend"}, "argument 'extend_seq_lens': draft_extend needs them"),
        ({"extend_seq_lens": 1}, "argument 'extend_seq_lens': decode takes none"),
        ({"next_n": 2}, "argument 'next_n': expected 1 in decode but got 2"),
        (
            {"mode": "draft_extend", "extend_seq_lens": -1},
            "argument 'extend_seq_lens': expected an integer from 0 to 2147483647 but got -1",
        ),
    ],
)
def test_bad_arguments(arguments: dict, message: str) -> None:
    out = np.full(4, -1, np.int32)
    with pytest.raises(ValueError, match=message):
        nsa.ops.replay_metadata(
            [{"cache_seqlens": out}], **{"seq_lens": np.zeros(4, np.int32), **arguments}
        )
    assert (out == -1).all()
