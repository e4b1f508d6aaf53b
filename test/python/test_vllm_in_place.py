# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Draft steps that update the arrays of the step before."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from vllm_cases import call_of
from vllm_chains import IN_PLACE, in_place, run_together
from vllm_draw import Draw

import nsa
from nsa import vllm

pytestmark = pytest.mark.skipif(not nsa.has_compiler(), reason="built without the compiler")


@pytest.mark.parametrize("name", IN_PLACE)
def test_values(name):
    for seed in range(8):
        run_together([in_place(name, Draw(seed, hostile=seed % 2 == 1))])


@pytest.mark.parametrize("name", IN_PLACE)
def test_simulator(name, monkeypatch):
    monkeypatch.setenv("NSA_TARGET", "simt")
    run_together([in_place(name, Draw(1, small=True))])


@pytest.mark.parametrize("name", IN_PLACE)
def test_one_port(name):
    text = vllm.step_text(call_of(in_place(name, Draw(1))))
    for updated in IN_PLACE[name]:
        assert f"inout %out_{updated} :" in text
        assert f"in %{updated} " not in text and f"in %{updated}[" not in text


def test_again_and_again():
    """Each launch goes on from what the one before has left; nothing else is written."""
    lens, positions = np.array([5, 510, 7, 1], np.int32), np.array([4, 509, 6, -3], np.int64)
    sampled, step = positions.copy(), np.zeros(1, np.int32)
    drafts, tokens = np.full((3, 4), -7, np.int64), np.arange(3)
    prepared = vllm.prepare(
        partial(
            vllm.draft_step_inputs, tokens, step, max_model_len=512, num_steps=4,
            positions=positions, out_positions=positions, seq_lens=lens, out_seq_lens=lens,
            sample_positions=sampled, out_sample_positions=sampled, out_draft_tokens=drafts,
        )
    )  # fmt: skip
    for step[0] in range(4):
        prepared()
    np.testing.assert_array_equal(positions, [7, 511, 9, -3])
    np.testing.assert_array_equal(sampled, [7, 512, 9, -3])
    np.testing.assert_array_equal(lens, [8, 512, 10, 1])
    np.testing.assert_array_equal(drafts, np.arange(3)[:, None].repeat(4, 1))


def eagle(positions, lens, out_positions, out_lens, slots):
    return partial(
        vllm.eagle_step, positions, lens, np.ones((2, 4), np.int32), out_positions, slots,
        out_lens, block_size=16, max_model_len=64,
    )  # fmt: skip


def test_what_is_not_in_place():
    """Positions have two readers, so they are refused; and no later call reads what is
    updated, as it may be old or new by then."""
    positions, lens = np.zeros(2, np.int64), np.ones(2, np.int64)
    slots = np.zeros(2, np.int64)
    with pytest.raises(ValueError, match="out_positions"):
        eagle(positions, lens, positions, lens.copy(), slots)()
    with pytest.raises(ValueError, match="call1_seq_lens.*call 0 .* in place"):
        vllm.one_launch(
            eagle(positions, lens, positions.copy(), lens, slots),
            eagle(positions, lens, positions.copy(), lens.copy(), slots.copy()),
        )
    np.testing.assert_array_equal(lens, 1)


def test_read_before():
    """Whether an earlier call reads the old elements or the new ones, nothing orders."""
    positions, lens = np.zeros(2, np.int64), np.ones(2, np.int64)
    with pytest.raises(ValueError, match="overlap"):
        vllm.one_launch(
            partial(vllm.native_decode, lens, next_n=1, out_seq_lens=np.zeros((2, 1), np.int32)),
            eagle(positions, lens, positions.copy(), lens, np.zeros(2, np.int64)),
        )
    np.testing.assert_array_equal(lens, 1)
