# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What ranks of context parallelism have of DSA extends, on the host and in the simulator."""

from __future__ import annotations

import numpy as np
import pytest
from dsa_rank_cases import draw, run, text

import nsa

pytestmark = pytest.mark.skipif(not nsa.has_compiler(), reason="built without the compiler")


@pytest.mark.parametrize("dtype", ["int32", "int64"])
def test_fields(dtype):
    for seed in range(12):
        for ranks, rank in ((1, 0), (2, 1), (3, 0), (8, 7)):
            run(draw(seed, dtype), ranks, rank)
            run(draw(seed, dtype), ranks, rank, bound=True)


def test_simulator(monkeypatch):
    monkeypatch.setenv("NSA_TARGET", "simt")
    run(draw(2, small=True), 2, 1)


def test_one_launch():
    (step,) = nsa.compile(text("int32"), "cuda").values()
    assert len(step.kernels) == 1


def test_errors():
    lens, out = np.array([3, 4]), np.zeros(2, np.int32)
    given = {"seq_lens": lens, "extend_seq_lens": lens, "num_tokens": 7}
    with pytest.raises(ValueError, match="rank"):
        nsa.ops.dsa_prefill({"rank_ks": out}, ranks=2, rank=2, **given)
    with pytest.raises(ValueError, match="'rank_pool_id' is no field"):
        nsa.ops.dsa_prefill({"rank_pool_id": out}, ranks=2, **given)
    with pytest.raises(ValueError, match="'rank_kz' is no field|'kz' is no field"):
        nsa.ops.dsa_prefill({"rank_kz": out}, ranks=2, **given)
    with pytest.raises(ValueError, match="dst_rank_ks"):
        nsa.ops.dsa_prefill({"rank_ks": out}, ranks=2, **given)
    np.testing.assert_array_equal(out, 0)
