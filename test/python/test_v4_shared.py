# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Steps of V4 and V4.1 for any fields of a model: without a compiler they serve every subset,
and write what the step of exactly these fields writes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from v4_cases import Case, draw
from v4_reference import reference

import nsa
from nsa import _cache, _v4, prebuild
from nsa._v4_rows import round_up

pytestmark = pytest.mark.skipif(not nsa.has_compiler(), reason="built without the compiler")

BS, CONTEXT = 3, 1024
WIDTHS = {
    "swa_page_indices": 128, "c4_plan_c": 4, "c4_plan_w": 2, "c128_plan_w": 2, "c128_plan_d": 4,
    "c128_page_indices": round_up(CONTEXT // 128), "c1_index_page_table": CONTEXT // 64,
    "c2_index_page_table": CONTEXT // 2 // 64,
}  # fmt: skip
LONG = ("c4_out_loc", "c2_out_loc", "pos_i64")
#: Mode, rows of a request, draft steps, whether rows are ragged, fields.
CALLS: list[tuple[str, int, int, bool, tuple[str, ...]]] = [
    ("decode", 1, 1, False, ("c128_plan_d", "c4_sparse_page_indices", "page_table")),
    ("decode", 1, 1, False, ("c2_index_page_table", "pos_i64", "c2_all_raw_indices")),
    ("target_verify", 5, 1, False, ("c4_plan_w", "c128_plan_w", "c4_plan_c", "c128_page_indices")),
    ("target_verify", 1, 1, True, ("c2_out_loc", "c1_index_page_table", "c2_all_page_indices")),
    ("extend", 1, 1, True, ("page_table", "c4_out_loc", "c4_plan_c")),
    ("draft_extend", 3, 1, False, ("page_table", "swa_page_indices")),
    ("decode", 1, 2, False, ("swa_out_cache_loc", "swa_topk_lengths")),
]  # fmt: skip
#: Some of them: each compiles a step of all fields for the host.
RUN = (0, 2, 3, 6)
#: Constants of the model, which a shared step is told at the launch.
TOPKS = (512, 96, 2048, 1024)
PAGES = (64, 256, 128, 64, 256, 64, 32)
PLANS = (
    dict(rings=(8, 128), swa_page_size=128), dict(rings=(16, 256), swa_page_size=256),
    dict(rings=(7, 300), swa_page_size=48),
)  # fmt: skip


def run(number: int) -> list[dict[str, np.ndarray[Any, Any]]]:
    mode, next_n, steps, ragged, fields = CALLS[number]
    random = np.random.default_rng(number)
    rows = 16 if ragged else BS * next_n
    topk, page = TOPKS[number % len(TOPKS)], PAGES[number]
    widths = {**WIDTHS, "c4_sparse_page_indices": round_up(topk), "page_table": CONTEXT // page}
    widths |= dict.fromkeys(("c2_all_raw_indices", "c2_all_page_indices"), topk)

    def array(name: str) -> np.ndarray[Any, Any]:
        shape = (rows, widths[name]) if name in widths else (rows,)
        return np.full(shape, -77, np.int64 if name in LONG else np.int32)

    made = [{name: array(name) for name in fields} for _ in range(steps)]
    more: dict[str, Any] = {}
    if ragged:
        more = {"extend_seq_lens": np.array([4, 0, 7], np.int32), "rows": rows}
    nsa.ops.replay_v4(
        made, mode, seq_lens=np.array([7, 256, 900]), req_pool_indices=np.array([3, 1, 5]),
        req_to_token=random.integers(0, 4096, (7, CONTEXT), dtype=np.int32),
        full_to_swa=random.integers(0, 4096, 4096),
        out_cache_loc=random.integers(0, 4096, rows * steps), next_n=next_n, steps=steps,
        max_len=CONTEXT, topk=topk, page_size=page, **PLANS[number % len(PLANS)], **more,
    )  # fmt: skip
    return made


def forget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_cache, "_steps", {})
    _v4._replay.cache_clear()


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The texts of steps that are asked for."""
    texts: list[str] = []
    get = _v4.get_step

    def get_step(name: str, text: str, target: str) -> Any:
        texts.append(text)
        return get(name, text, target)

    monkeypatch.setattr(_v4, "get_step", get_step)
    forget(monkeypatch)
    yield texts
    _v4._replay.cache_clear()


@pytest.mark.parametrize("number", range(len(CALLS)))
def test_asked(
    number: int, asked: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a compiler the step of exactly these fields is asked for, then the one that is
    shipped; it writes the same, and is the first to be asked for from then on."""
    runs = number in RUN
    expected = run(number) if runs else []
    forget(monkeypatch)
    asked.clear()
    monkeypatch.setattr(_cache, "may_compile", lambda: False)
    monkeypatch.setattr(_cache, "bundle_directories", lambda: [str(tmp_path)])
    with pytest.raises(nsa.CompileError, match="a step is missing"):
        run(number)
    exact, shared = asked
    assert exact not in prebuild.v4_steps() and shared in prebuild.v4_steps()
    if not runs:
        return
    monkeypatch.undo()
    _cache.save_bundle(shared, str(tmp_path))
    monkeypatch.setattr(_cache, "may_compile", lambda: False)
    monkeypatch.setattr(_cache, "bundle_directories", lambda: [str(tmp_path)])
    forget(monkeypatch)
    for _ in range(2):
        for mine, theirs in zip(run(number), expected, strict=True):
            for name, array in mine.items():
                np.testing.assert_array_equal(array, theirs[name], err_msg=name)


@pytest.mark.parametrize(
    ("field", "page_size", "least"),
    [("c128_page_indices", 64, 128), ("c2_index_page_table", 64, 128), ("c4_page_indices", 2, 4)],
)
def test_pages_that_are_too_small(field: str, page_size: int, least: int) -> None:
    with pytest.raises(ValueError, match=f"page_size': expected {least} or more .* got {page_size}"):
        nsa.ops.replay_v4(
            [{field: np.zeros((BS, 64), np.int32)}], seq_lens=np.ones(BS, np.int64),
            req_pool_indices=np.ones(BS, np.int64), req_to_token=np.ones((4, 64), np.int32),
            page_size=page_size, max_len=64,
        )  # fmt: skip


def test_pages_of_another_size(
    asked: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A shared step takes a power of two."""
    monkeypatch.setattr(_cache, "may_compile", lambda: False)
    monkeypatch.setattr(_cache, "bundle_directories", lambda: [str(tmp_path)])
    with pytest.raises(nsa.CompileError, match="a step is missing"):
        nsa.ops.replay_v4(
            [{"page_table": np.zeros((BS, 2), np.int32)}], seq_lens=np.ones(BS, np.int64),
            req_pool_indices=np.ones(BS, np.int64), req_to_token=np.ones((4, 96), np.int32),
            page_size=48, max_len=96,
        )  # fmt: skip
    assert len(asked) == 1


def test_backends_of_one_bundle() -> None:
    """Any fields in any of three destinations, by one step: arrays that are not given are not
    there."""
    batch = draw(Case("target_verify", 2), 2)
    names = ("page_table", "swa_page_indices", "c4_topk_lengths_raw", "c128_page_indices")
    options = replace(Case("target_verify", 2).options(), page_size=None)
    text, _ = _v4.write(options, (names,) * 3, {}, optional=True)
    (step,) = nsa.compile(text, "cpu").values()
    columns = batch.columns
    sizes = {
        "bs": len(batch.lens), "page_shift": 8, "page_columns": columns, "c128_columns": 2 * columns,
    }  # fmt: skip
    inputs = {
        "seq_lens": batch.lens, "req_pool_indices": batch.pool, "req_to_token": batch.table,
        "full_to_swa": batch.full_to_swa,
    }  # fmt: skip
    assert len(batch.lens) > 1
    for wanted in (names, names[:1], ()), ((), names[2:], names[1:2]), ((), (), names):
        made = {}
        for number, of in enumerate(wanted):
            for name in of:
                made[f"b{number}_{name}"] = np.full_like(reference(batch, name), -77)
        step(**inputs, **made, **sizes)
        for name, array in made.items():
            np.testing.assert_array_equal(array, reference(batch, name[3:]), err_msg=name)


def test_other_fields(asked: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Of fields that no model has together no step is shared."""
    monkeypatch.setattr(_cache, "may_compile", lambda: False)
    monkeypatch.setattr(_cache, "bundle_directories", lambda: [str(tmp_path)])
    arrays = {name: np.zeros(BS, np.int64) for name in ("c4_out_loc", "c2_out_loc")}
    with pytest.raises(nsa.CompileError, match="a step is missing"):
        nsa.ops.replay_v4(
            [arrays], seq_lens=np.ones(BS, np.int64), out_cache_loc=np.ones(BS, np.int64)
        )
    assert len(asked) == 1
