# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Index transforms against the reference, on the host and in the simulator."""

from __future__ import annotations

import numpy as np
import pytest
from transform_cases import CASES, PAIRS, run, texts

import nsa

pytestmark = pytest.mark.skipif(not nsa.has_compiler(), reason="built without the compiler")


@pytest.mark.parametrize(("options", "index"), PAIRS, ids=str)
@pytest.mark.parametrize("seed", range(12))
def test_slots(options, index, seed):
    run(options, seed, index=index)


@pytest.mark.parametrize("options", CASES, ids=str)
def test_simulator(options, monkeypatch):
    monkeypatch.setenv("NSA_TARGET", "simt")
    run(options, 1, small=True)


def test_one_launch():
    for text in texts():
        (step,) = nsa.compile(text, "cuda").values()
        assert len(step.kernels) == 1


def test_errors():
    table, out = np.zeros((2, 3), np.int32), np.ones((2, 3), np.int32)
    with pytest.raises(ValueError, match="rank': expected an integer from 0 to 1 but got 2"):
        nsa.ops.transform_index(table, table, out, ranks=2, rank=2)
    with pytest.raises(ValueError, match="rows': expected these or query_start_loc"):
        nsa.ops.transform_index(table, table, out, rows=out[0], query_start_loc=out[0])
    with pytest.raises(TypeError, match="page_table': missing"):
        nsa.ops.transform_index(None, table, out, rows=out[0])
    with pytest.raises(ValueError, match="out"):
        nsa.ops.transform_index(table, table, out[:, :2])
    for dtype in (np.float32, np.int64):
        with pytest.raises(TypeError, match="indices': expected dtype int32 but got"):
            nsa.ops.transform_index(None, table.astype(dtype), out)
    with pytest.raises(TypeError, match="indices': expected dtype int32 but got float32"):
        nsa.ops.transform_index(table, table.astype(np.float32), out)
    with pytest.raises(ValueError, match="indices': expected 2 dimensions"):
        nsa.ops.transform_index(table, table[0], out)
    np.testing.assert_array_equal(out, 1)
