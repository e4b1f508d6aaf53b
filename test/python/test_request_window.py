# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Layouts of windows that requests keep, from rows, on the host and in the simulator."""

from __future__ import annotations

import numpy as np
import pytest
from request_window_cases import FIELDS, draw, reference, run, texts

import nsa

pytestmark = pytest.mark.skipif(not nsa.has_compiler(), reason="built without the compiler")


@pytest.mark.parametrize("dtype", ["int32", "int64"])
@pytest.mark.parametrize("floors", [False, True])
def test_fields(floors, dtype):
    for seed in range(30):
        run(draw(seed, floors, dtype))


@pytest.mark.parametrize("field", FIELDS)
def test_alone(field):
    run(draw(6, floors=True), fields=(field,))


def test_simulator(monkeypatch):
    monkeypatch.setenv("NSA_TARGET", "simt")
    for seed in (2, 7):
        run(draw(seed, floors=True))


def test_one_launch():
    for text in sorted(texts())[:2]:
        (step,) = nsa.compile(text, "cuda").values()
        assert len(step.kernels) == 1


def test_agrees_with_lengths_of_requests():
    """The same as the fields that ``replay_v4`` makes of lengths."""
    lens, window, rows = np.array([3, 200, 129], np.int32), 128, 4
    pool = np.array([5, 2, 9], np.int64)
    req = np.repeat(pool, rows)
    pos = np.concatenate([np.arange(n, n + rows) for n in lens])
    wanted = {
        name: np.zeros_like(array)
        for name, array in reference_of(req, pos, window).items()
    }
    nsa.ops.window_layout(wanted, req, pos, zero_row=7, window=window, num_groups=4)
    made = {f"window_{name}": np.zeros_like(array) for name, array in wanted.items()}
    nsa.ops.replay_v4(
        [made], "target_verify", next_n=rows, seq_lens=lens, req_pool_indices=pool,
        window=window, request_window={"groups": 4, "zero_row": 7},
    )  # fmt: skip
    for name, array in wanted.items():
        np.testing.assert_array_equal(made[f"window_{name}"], array, err_msg=name)


def reference_of(req: np.ndarray, pos: np.ndarray, window: int) -> dict[str, np.ndarray]:
    from request_window_cases import Rows

    return reference(Rows(req, pos, None, window, 256, 4, len(req), 7))


def test_errors():
    rows = np.zeros(3, np.int64)
    with pytest.raises(ValueError, match="dst': 'pages' is no field of window_layout"):
        nsa.ops.window_layout({"pages": rows}, rows, rows, zero_row=0)
    with pytest.raises(ValueError, match="dst_pos"):
        nsa.ops.window_layout({"pos": rows}, rows, rows, zero_row=0, padded_rows=4)
    with pytest.raises(ValueError, match="zero_row"):
        nsa.ops.window_layout({"pos": rows}, rows, rows, zero_row=-1)
    np.testing.assert_array_equal(rows, 0)
