# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""DSA extends against the reference, on the host and in the simulator."""

from __future__ import annotations

import numpy as np
import pytest
from dsa_prefill_cases import FIELDS, POOLS, draw, run, run_pools, texts

import nsa

pytestmark = pytest.mark.skipif(not nsa.has_compiler(), reason="built without the compiler")


@pytest.mark.parametrize("dtype", ["int32", "int64"])
@pytest.mark.parametrize("seed", range(40))
def test_fields(seed, dtype):
    run(draw(seed, dtype))


@pytest.mark.parametrize("field", FIELDS)
def test_alone(field):
    for seed in (2, 3):
        run(draw(seed), (field,))


@pytest.mark.parametrize("dtype", ["int32", "int64"])
@pytest.mark.parametrize("pool", POOLS)
def test_pools(pool, dtype):
    assert sum(run_pools(draw(seed, dtype), pool) for seed in range(40)) > 0


@pytest.mark.parametrize("seed", range(3))
def test_simulator(seed, monkeypatch):
    monkeypatch.setenv("NSA_TARGET", "simt")
    run(draw(seed, small=True))
    run_pools(draw(seed, small=True), 4)


def test_one_launch():
    for text in texts():
        (step,) = nsa.compile(text, "cuda").values()
        assert len(step.kernels) == 1


def test_takes_what_it_needs():
    lens, out = np.array([3, -2, 700]), np.zeros(4, np.int32)
    nsa.ops.dsa_prefill({"cu_seqlens_k": out}, seq_lens=lens)
    np.testing.assert_array_equal(out, [0, 3, 3, 703])


def test_errors():
    lens, out = np.array([3, 4]), np.zeros(2, np.int32)
    with pytest.raises(ValueError, match="dst': 'kz' is no field of dsa_prefill"):
        nsa.ops.dsa_prefill({"kz": out}, seq_lens=lens)
    with pytest.raises(TypeError, match="extend_seq_lens': missing"):
        nsa.ops.dsa_prefill({"ks": out}, seq_lens=lens, num_tokens=2)
    with pytest.raises((ValueError, TypeError), match="rows|num_tokens"):
        nsa.ops.dsa_prefill({"ks": out}, seq_lens=lens, extend_seq_lens=lens)
    with pytest.raises(ValueError, match="dst_ks"):
        nsa.ops.dsa_prefill({"ks": out}, seq_lens=lens, extend_seq_lens=lens, num_tokens=7)
    np.testing.assert_array_equal(out, 0)
