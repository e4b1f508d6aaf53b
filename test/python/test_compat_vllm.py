# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""nsa.compat.vllm under vLLM's names; on the host, so NumPy stands in for torch."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from vllm_peer_cases import PEER_CASES, expected, results, valid_draw

import nsa
import nsa.vllm
from nsa.compat import vllm

pytestmark = pytest.mark.skipif(not nsa.has_compiler(), reason="built without the compiler")


@pytest.mark.parametrize("name", PEER_CASES)
def test_values(name):
    for seed in range(6):
        case = PEER_CASES[name](valid_draw(seed))
        got = results(case, getattr(vllm, case.name))
        wanted = expected(case)
        assert len(got) == len(wanted)
        for a, b in zip(got, wanted):
            np.testing.assert_array_equal(a, b, err_msg=case.name)
            assert a.dtype == b.dtype


def test_every_function_has_a_case():
    made = {make(valid_draw(0)).name for make in PEER_CASES.values()}
    assert set(vllm.__all__) - made == {"get_dspark_swa_index_width"}
    assert vllm.get_dspark_swa_index_width(128, 5) == 192


def test_page_has_every_function():
    """The table's first column is what there is, and its third what of nsa.vllm runs."""
    page = (Path(__file__).parents[2] / "docs/vLLM.md").read_text()
    rows = [line.split("|") for line in page.splitlines() if line.startswith("| `")]
    listed = [name for row in rows for name in re.findall("`([^`]*)`", row[1])]
    assert sorted(listed) == sorted(vllm.__all__)
    runs = {name for row in rows for name in re.findall("`([^`]*)`", row[3])}
    assert runs <= set(nsa.vllm.__all__)
    # What no function of vLLM's is, is said elsewhere on the page.
    others = set(nsa.vllm.__all__) - runs
    assert [name for name in sorted(others) if not re.search(rf"`[^`]*\b{name}\b", page)] == []


def test_errors():
    case = PEER_CASES["c128a"](valid_draw(0))
    with pytest.raises(NotImplementedError, match="compress_ratio': expected 128 but got 4"):
        vllm.build_c128a_topk_metadata(**{**case.arguments, "compress_ratio": 4})


def test_columns_where_they_are_shipped(monkeypatch):
    """Of other pages and of ranks there is none with known columns, so it is not asked for."""
    seen = []
    monkeypatch.setattr(
        "nsa.vllm.req_to_global", lambda *arrays, columns, **constants: seen.append(columns)
    )
    requests, table = np.zeros(2, np.int32), np.zeros((1, 8), np.int32)

    def convert(width, **more):
        vllm.triton_convert_req_index_to_global_index(
            requests, table, np.zeros((2, width), np.int32), out=np.zeros((2, width), np.int32),
            **more,
        )  # fmt: skip
        return seen.pop()

    assert convert(512) == convert(512, BLOCK_SIZE=64) == 512
    assert convert(576) is convert(512, BLOCK_SIZE=16) is convert(512, BLOCK_STRIDE_ROWS=80) is None
    assert convert(512, dcp_size=2) is None
