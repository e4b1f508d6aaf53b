# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The V4 steps that are measured beside SGLang's: the bundles made for them are those that
the call asks for, and every element is written."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

import nsa
from nsa import _fields, _prefill_v4, _v4

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))
from v4_steps import (  # noqa: E402
    RINGS, SWA_PAGE, Case, cases, chunk_fields, chunk_text, extend_fields, extend_text,
)  # fmt: skip

pytestmark = pytest.mark.skipif(not nsa.has_compiler(), reason="built without the compiler")

CONTEXT, BS = 1024, 3


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The texts that calls ask for."""
    asked = []

    def get_step(name, text, target):
        asked.append(text)
        return get(name, text, target)

    get = _v4.get_step
    for module in (_v4, _fields):
        monkeypatch.setattr(module, "get_step", get_step)
    _v4._replay.cache_clear()  # calls ask again
    _prefill_v4._runner.cache_clear()
    return asked


@pytest.mark.parametrize("case", list(cases()), ids=lambda case: case.name)
def test_call(case: Case, asked: list[str]) -> None:
    random = np.random.default_rng(0)
    destinations = [
        {
            name: np.full(shape, -77, dtype)
            for name, (shape, dtype) in case.outputs(BS, CONTEXT).items()
        }
        for _ in range(case.steps)
    ]
    nsa.ops.replay_v4(
        destinations,
        seq_lens=np.array([7, 256, 900]),
        req_pool_indices=np.array([3, 1, 5]),
        req_to_token=random.integers(0, 4096, (7, CONTEXT), dtype=np.int32),
        full_to_swa=random.integers(0, 4096, 4096),
        out_cache_loc=random.integers(0, 4096, BS * case.next_n * case.steps),
        **case.arguments(CONTEXT),
    )
    assert asked == [case.text()]
    for destination in destinations:
        for name, array in destination.items():
            assert (array != -77).all(), name


@pytest.mark.parametrize("model", ["v4", "v41"])
def test_extend(model: str, asked: list[str]) -> None:
    """The extend that is compared with SGLang's."""
    fields, rows = extend_fields(model), 12
    wide = {"swa_page_indices": 128, "page_table": 4, "c128_page_indices": 64}
    wide |= {f"c{q}_sparse_page_indices": 512 for q in (1, 2, 4)}
    wide |= {f"c{q}_plan_{p}": 4 if p == "c" else 2 for q in (4, 128) for p in "cw"}
    made = {}
    for name in fields:
        shape = (2, 9) if name == "extend_offsets" else (rows, wide[name]) if name in wide else rows
        long = name in ("req_indices", "pos_i64") or name.endswith("_out_loc")
        made[name] = np.full(shape, -77, np.int64 if long else np.int32)
    random = np.random.default_rng(0)
    nsa.ops.replay_v4(
        [made],
        "extend",
        seq_lens=np.array([7, 256, 900]),
        extend_seq_lens=np.array([2, 4, 3]),
        req_pool_indices=np.array([3, 1, 5]),
        req_to_token=random.integers(0, 4096, (7, CONTEXT), dtype=np.int32),
        full_to_swa=random.integers(0, 4096, 4096),
        out_cache_loc=random.integers(0, 4096, rows),
        rows=rows, num_tokens=9, max_len=CONTEXT, topk=512, page_size=256, window=128,
        index_page_size=64, swa_page_size=SWA_PAGE, rings=RINGS[False],
    )  # fmt: skip
    assert asked == [extend_text(fields)]
    for name, array in made.items():
        assert (array != -77).all(), name


@pytest.mark.parametrize("model", ["v4", "v41"])
def test_chunk(model: str, asked: list[str]) -> None:
    """What the layers of that extend have in common."""
    fields, bs, queries = chunk_fields(model), 3, 9
    lens = [7, 256, 900]
    # Each request's last tokens, with 127 before them.
    gathered = 7 + 131 + 130
    shapes = {
        "swa_ids": (gathered,), "swa_offsets": (bs + 1,), "c0_indices": (queries, 128),
        "c0_lens": (queries,), "c128_ids": (bs, 7), "c128_lens": (queries,),
        "c128_indices": (queries, 256),
        **{f"c{q}_ids": (sum(n // q for n in lens),) for q in (1, 2, 4)},
    }  # fmt: skip
    made = {name: np.full(shapes.get(name, (bs,)), -77, np.int32) for name in fields}
    random = np.random.default_rng(0)
    nsa.ops.prefill_v4(
        made,
        seq_lens=np.array(lens, np.int32),
        extend_seq_lens=np.array([2, 4, 3], np.int32),
        req_pool_indices=np.array([3, 1, 5]),
        req_to_token=random.integers(0, 4096, (7, CONTEXT), dtype=np.int32),
        full_to_swa=random.integers(0, 4096, 4096),
        query_start_loc=np.array([0, 2, 6, 9], np.int32),
        query_pos=np.array([5, 6, 252, 253, 254, 255, 897, 898, 899], np.int32),
        page_table=random.integers(0, 16, (queries, 4), dtype=np.int32),
        c128_page_indices=random.integers(-1, 500, (queries, 64), dtype=np.int32),
        page_size=256, window=128, max_len=900,
    )  # fmt: skip
    assert asked == [chunk_text(fields)]
    for name, array in made.items():
        assert (array != -77).all(), name
