# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Decode replay by host kernels, against the reference."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from decode_cases import (
    CASE_FACTORS,
    EVERYTHING_TWICE,
    FIELDS,
    FLAGSHIP,
    MANY_BACKENDS,
    STEP,
    VARIANT_FACTORS,
    Case,
    Problem,
    Variant,
    draw,
    host_cases,
    pairwise,
    reference_for,
    run_case,
)
from decode_errors import ERRORS, check_error
from strided_arrays import HostArrays

import nsa
from nsa import ops, steps

HERE = Path(__file__).resolve().parent
EXAMPLE = HERE.parent.parent / "examples/decode_replay.mlir"

pytestmark = pytest.mark.skipif(
    not nsa.has_compiler(), reason="built without the compiler"
)

POISON = -559038737


def poisoned(*shape: int) -> np.ndarray:
    return np.full(shape, POISON, np.int32)


# ----------------------------------------------------------------------------
# The matrix
# ----------------------------------------------------------------------------


@pytest.mark.parametrize("case", host_cases(), ids=lambda case: str(case.seed))
def test_matrix(case: Case) -> None:
    """Every two values of the factors meet; some hundred more are drawn."""
    run_case(case, HostArrays())


def test_pairwise() -> None:
    """The generator keeps its promise, and gives the same rows each time."""
    factors = {**VARIANT_FACTORS, **CASE_FACTORS}
    rows = pairwise(factors, seed=1)
    assert rows == pairwise(factors, seed=1)
    names = list(factors)
    for i, a in enumerate(names):
        for b in names[:i]:
            met = {(row[a], row[b]) for row in rows}
            assert len(met) == len(factors[a]) * len(factors[b])


def test_checks_see_errors() -> None:
    """Nothing written, one element wrong, one written outside: all are found."""
    case = Case(FLAGSHIP, 5, 9, vectors_layout="every third", tables_layout="odd")
    problem = Problem(case, HostArrays())
    with pytest.raises(AssertionError, match="b0_cache_seqlens: 5 elements differ"):
        problem.check()
    problem.run()
    problem.check()
    storages = [array.read() for array in problem.outputs.values()]
    storages.append(problem.inputs["req_to_token"].read())
    for storage in storages:
        for at in (0, len(storage) // 2, len(storage) - 1):
            storage[at] += 1
            with pytest.raises(AssertionError, match="1 elements differ"):
                problem.check()
            storage[at] -= 1
    problem.check()


# ----------------------------------------------------------------------------
# Fused and unfused
# ----------------------------------------------------------------------------

FUSION_VARIANTS = {
    "flagship": FLAGSHIP,
    "all fields": Variant((FIELDS,), "int32", "int32", topk=1, page_size=3),
    "lengths": Variant((("cache_seqlens", "nsa_cache_seqlens"),) * 2, topk=64),
    "sums": Variant((("nsa_cu_seqlens_k",), ("cu_seqlens_k",)), "int32"),
    "page_table_1": Variant((("page_table_1",),) * 3),
    "real_page_table": Variant((("real_page_table",),) * 2, page_size=48),
    "tables apart": Variant((("page_table_1",), ("real_page_table",)), page_size=1),
    "lengths and table": Variant(
        (("cu_seqlens_k",), ("real_page_table", "seqlens_expanded")), page_size=4
    ),
}


@pytest.mark.parametrize("name", FUSION_VARIANTS)
def test_fusion(name: str) -> None:
    """One kernel or one for each destination: the same in every element."""
    variant = FUSION_VARIANTS[name]
    fused, unfused = variant.step("cpu"), variant.step("cpu", fuse=False)
    assert len(fused.kernels) == 1
    assert len(unfused.kernels) == len(variant.outputs)
    for seed, row in enumerate(draw(CASE_FACTORS, 12, seed=len(name))):
        # Big ones have nothing to add here.
        case = replace(Case(variant, **row, seed=seed), bs=min(row["bs"], 128))
        results = []
        for step in (fused, unfused):
            problem = Problem(case, HostArrays())
            step(**problem.ports)
            problem.check()
            results.append(problem.contents())
        for key in results[0]:
            assert np.array_equal(results[0][key], results[1][key])


def test_fusion_of_many_backends() -> None:
    step = MANY_BACKENDS.step("cpu")
    assert len(MANY_BACKENDS.outputs) == 16 * len(FIELDS)
    assert len(step.kernels) == 1
    for seed, row in enumerate(draw(CASE_FACTORS, 6, seed=1)):
        case = replace(Case(MANY_BACKENDS, **row, seed=seed), bs=min(row["bs"], 128))
        run_case(case, HostArrays())


@cache
def example(fuse: bool) -> Any:
    return nsa.compile(EXAMPLE, target="cpu", fuse=fuse)[STEP]


@pytest.mark.parametrize("fuse", [True, False])
def test_example(fuse: bool) -> None:
    """The flagship's text states everything three times."""
    step = example(fuse)
    assert len(step.kernels) == (1 if fuse else len(FLAGSHIP.outputs))
    for seed, row in enumerate(draw(CASE_FACTORS, 20, seed=3)):
        problem = Problem(Case(FLAGSHIP, **row, seed=seed), HostArrays())
        step(**problem.ports)
        problem.check()


def test_bound_launches() -> None:
    """One binding serves every bs and max_len that its arrays hold."""
    case = Case(EVERYTHING_TWICE, 33, 65, tables_layout="odd", caller="step")
    problem = Problem(case, HostArrays())
    bound = EVERYTHING_TWICE.step("cpu").bind(**problem.ports)
    for bs, max_len in [(33, 65), (0, 65), (1, 1), (32, 64), (33, 0), (7, 37)]:
        bound.launch(bs=bs, max_len=max_len)
        smaller = replace(case, bs=bs, max_len=max_len)
        inputs = [array.view for array in problem.inputs.values()]
        expected = reference_for(smaller, *(inputs[0][:bs], inputs[1][:bs], inputs[2]))
        for (_, name), array in problem.outputs.items():
            got = array.view[tuple(slice(n) for n in expected[name].shape)]
            assert np.array_equal(got, expected[name])


# ----------------------------------------------------------------------------
# Contents, by hand
# ----------------------------------------------------------------------------


def replay(*fields: str, **arguments: Any) -> dict[str, np.ndarray]:
    """The fields of one destination, 2 rows and columns larger than they have to be."""
    bs, columns = len(arguments["seq_lens"]), arguments.get("max_len", 0)
    dst = {
        name: poisoned(bs + 3)
        if steps.DECODE_FIELDS[name][1] == 1
        else poisoned(bs + 2, columns + 2)
        for name in fields
    }
    ops.replay_metadata([dst], **arguments)
    return dst


def test_lengths_beyond_int32() -> None:
    """Truncated to int32, then clipped: never the other way round."""
    lens = np.array([2**32 + 5, -1, -(2**63), 2**31, 2**31 - 1, 7], np.int64)
    out = replay("cache_seqlens", "nsa_cache_seqlens", seq_lens=lens, topk=6)
    want = [5, -1, 0, -(2**31), 2**31 - 1, 7]
    assert out["cache_seqlens"].tolist() == [*want, *3 * [POISON]]
    want = [5, -1, 0, -(2**31), 6, 6]
    assert out["nsa_cache_seqlens"].tolist() == [*want, *3 * [POISON]]


@pytest.mark.parametrize("dtype", ["int32", "int64"])
def test_sums_wrap(dtype: str) -> None:
    lens = np.array([2**31 - 1, 1, 2**31 - 1, 2**31 - 1, -5], dtype)
    out = replay("cu_seqlens_k", "nsa_cu_seqlens_k", seq_lens=lens, topk=4)
    want = [0, 2**31 - 1, -(2**31), -1, 2**31 - 2, 2**31 - 7]
    assert out["cu_seqlens_k"].tolist() == [*want, *2 * [POISON]]
    want = [0, 4, 5, 9, 13, 8]
    assert out["nsa_cu_seqlens_k"].tolist() == [*want, *2 * [POISON]]


def test_rows_outside_the_table() -> None:
    """They read as slot 0, whatever their index would be in fewer bits."""
    outside = [-1, 3, 4, 2**31, 2**32, 2**32 + 1, -(2**32) + 1, -(2**63), 2**63 - 1]
    pool = np.array([2, *outside, 0], np.int64)
    table = np.arange(1, 22, dtype=np.int32).reshape(3, 7)
    arguments: dict[str, Any] = dict(
        seq_lens=np.zeros(len(pool), np.int64),
        req_pool_indices=pool,
        req_to_token=table,
        page_size=2,
    )
    out = replay(
        "page_table_1", "real_page_table", "cache_seqlens", max_len=7, **arguments
    )
    for name, values in (
        ("page_table_1", table),
        ("real_page_table", table[:, ::2] // 2),
    ):
        rows, columns = len(pool), values.shape[1]
        want = np.full(out[name].shape, POISON)
        want[:rows, :columns] = 0
        want[0, :columns], want[rows - 1, :columns] = values[2], values[0]
        assert np.array_equal(out[name], want)


def test_wider_than_the_table() -> None:
    table = np.arange(1, 16, dtype=np.int32).reshape(3, 5)
    out = replay(
        "page_table_1",
        "real_page_table",
        "cache_seqlens",
        seq_lens=np.array([100], np.int32),
        req_pool_indices=np.array([1], np.int32),
        req_to_token=table,
        max_len=11,
        page_size=4,
    )
    want = [6, 7, 8, 9, 10, *6 * [0], *2 * [POISON]]
    assert out["page_table_1"][0].tolist() == want
    assert out["real_page_table"][0].tolist() == [1, 2, 0, *10 * [POISON]]
    assert (out["page_table_1"][1:] == POISON).all()


def test_pages_of_negative_tokens() -> None:
    """Division rounds down, for powers of two and others."""
    table = np.array([[-1, -2, -3, -4, -(2**31), 2**31 - 1]], np.int32)
    for page_size in (1, 2, 3, 64):
        out = replay(
            "real_page_table",
            "cache_seqlens",
            seq_lens=np.zeros(1, np.int64),
            req_pool_indices=np.zeros(1, np.int64),
            req_to_token=table,
            max_len=6,
            page_size=page_size,
        )
        want = [int(token) // page_size for token in table[0, ::page_size]]
        assert out["real_page_table"][0, : len(want)].tolist() == want


def test_empty_batch() -> None:
    """Only the leading zeros are written."""
    out = replay(
        *FIELDS,
        seq_lens=np.zeros(0, np.int64),
        req_pool_indices=np.zeros(0, np.int64),
        req_to_token=np.zeros((2, 4), np.int32),
        max_len=4,
        topk=8,
        page_size=2,
    )
    for name, array in out.items():
        if name in ("cu_seqlens_k", "nsa_cu_seqlens_k"):
            assert array[0] == 0
            array = array[1:]
        assert (array == POISON).all()


def test_strides_of_single_elements() -> None:
    """Those of dimensions of size 0 or 1 mean nothing."""

    def single(value: int, strides: tuple[int, ...]) -> np.ndarray:
        base = np.full(1, value, np.int32)
        return np.lib.stride_tricks.as_strided(base, (1,) * len(strides), strides)

    far = 2**60
    table, pages = single(POISON, (far, 4 * 7)), single(POISON, (far, far))
    total = poisoned(2)
    ops.replay_metadata(
        [dict(page_table_1=table, real_page_table=pages, cu_seqlens_k=total)],
        seq_lens=np.lib.stride_tricks.as_strided(np.array([9]), (1,), (far,)),
        req_pool_indices=np.lib.stride_tricks.as_strided(np.array([0]), (1,), (-far,)),
        req_to_token=single(130, (far, 4 * 7)),
        max_len=1,
        page_size=64,
    )
    assert table[0, 0] == 130 and pages[0, 0] == 2 and total.tolist() == [0, 9]


# ----------------------------------------------------------------------------
# Destinations that share memory
# ----------------------------------------------------------------------------

LENS = np.array([3, 1, 4, 1, 5], np.int64)
POOL = np.array([1, 0, 2, 2, 0], np.int64)
TABLE = np.arange(100, 124, dtype=np.int32).reshape(3, 8)


def replay_into(*dsts: dict[str, np.ndarray], page_size: int = 4) -> None:
    ops.replay_metadata(
        list(dsts),
        seq_lens=LENS,
        req_pool_indices=POOL,
        req_to_token=TABLE,
        max_len=8,
        topk=2,
        page_size=page_size,
    )


def test_one_array_for_several_backends() -> None:
    lens, sums, table = poisoned(7), poisoned(8), poisoned(6, 9)
    replay_into(*3 * [dict(cache_seqlens=lens, cu_seqlens_k=sums, page_table_1=table)])
    assert lens.tolist() == [3, 1, 4, 1, 5, POISON, POISON]
    assert sums.tolist() == [0, 3, 4, 8, 9, 14, POISON, POISON]
    assert np.array_equal(table[:5, :8], TABLE[POOL])
    assert (table[5:] == POISON).all() and (table[:, 8:] == POISON).all()


def test_one_array_for_fields_that_coincide() -> None:
    lens, table = poisoned(5), poisoned(5, 8)
    first = dict(cache_seqlens=lens, page_table_1=table)
    replay_into(first, dict(seqlens_expanded=lens, real_page_table=table), page_size=1)
    assert lens.tolist() == LENS.tolist()
    assert np.array_equal(table, TABLE[POOL])


def test_parts_of_one_workspace() -> None:
    """Columns of one array, none in common, are apart."""
    workspace = poisoned(6, 14)
    replay_into(
        dict(
            page_table_1=workspace[:, :8],
            real_page_table=workspace[:, 8:10],
            cache_seqlens=workspace[:, 10],
            cu_seqlens_k=workspace[:, 11],
            nsa_cu_seqlens_k=workspace[:, 12],
        )
    )
    want = poisoned(6, 14)
    want[:5, :8], want[:5, 8:10] = TABLE[POOL], TABLE[POOL][:, ::4] // 4
    want[:5, 10], want[:, 11] = LENS, [0, 3, 4, 8, 9, 14]
    want[:, 12] = [0, 2, 3, 5, 6, 8]
    assert np.array_equal(workspace, want)


def overlapping(name: str) -> tuple[list[dict[str, np.ndarray]], str, np.ndarray]:
    """(destinations, the message, what must stay as it is)"""
    memory = poisoned(200)
    square = memory.reshape(20, 10)
    last = "without being the very same view"
    if name == "shifted":
        dsts = [dict(cache_seqlens=memory[:6]), dict(cache_seqlens=memory[5:11])]
        return dsts, f"'b1_cache_seqlens': .* 'b0_cache_seqlens' {last}", memory
    if name == "longer":
        dsts = [dict(cache_seqlens=memory[:6]), dict(cache_seqlens=memory[:7])]
        return dsts, f"'b1_cache_seqlens': .* 'b0_cache_seqlens' {last}", memory
    if name == "other stride":
        dsts = [dict(cache_seqlens=memory[:6]), dict(cache_seqlens=memory[:12:2])]
        return dsts, f"'b1_cache_seqlens': .* 'b0_cache_seqlens' {last}", memory
    if name == "reversed":
        dsts = [dict(cache_seqlens=memory[:6]), dict(cache_seqlens=memory[5::-1])]
        return dsts, f"'b1_cache_seqlens': .* 'b0_cache_seqlens' {last}", memory
    if name == "table and vector":
        dsts = [dict(page_table_1=square[:, :8], cu_seqlens_k=square[:, 7])]
        other = "to which another value is written"
        return dsts, f"'b0_page_table_1': .* 'b0_cu_seqlens_k', {other}", memory
    if name == "the same view":
        dsts = [dict(cache_seqlens=memory[:6], nsa_cache_seqlens=memory[:6])]
        return dsts, "'b0_nsa_cache_seqlens': .* another value is written", memory
    if name == "rows":
        dsts = [dict(page_table_1=square[:6, :8]), dict(page_table_1=square[5:11, :8])]
        return dsts, f"'b1_page_table_1': .* 'b0_page_table_1' {last}", memory
    if name == "itself":
        rows = np.lib.stride_tricks.as_strided(memory, (6, 8), (4 * 7, 4))
        return [dict(page_table_1=rows)], "'b0_page_table_1': .* overlap", memory
    raise ValueError(name)


@pytest.mark.parametrize(
    "name",
    [
        "shifted",
        "longer",
        "other stride",
        "reversed",
        "table and vector",
        "the same view",
        "rows",
        "itself",
    ],
)
def test_overlap(name: str) -> None:
    dsts, message, memory = overlapping(name)
    with pytest.raises(ValueError, match=message):
        replay_into(*dsts)
    assert (memory == POISON).all()


def test_overlap_with_a_source() -> None:
    table = np.arange(80, dtype=np.int32).reshape(10, 8)
    before = table.copy()
    with pytest.raises(
        ValueError, match="'b0_page_table_1': .* overlaps 'req_to_token'"
    ):
        ops.replay_metadata(
            [dict(page_table_1=table[4:], cache_seqlens=poisoned(5))],
            seq_lens=LENS,
            req_pool_indices=POOL,
            req_to_token=table[:5],
            max_len=8,
        )
    assert np.array_equal(table, before)


# ----------------------------------------------------------------------------
# Errors
# ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ERRORS)
def test_errors(name: str) -> None:
    check_error(name, example(fuse=True), np.copy, np.asarray)


# ----------------------------------------------------------------------------
# Memory safety
# ----------------------------------------------------------------------------


def run_guarded(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(HERE / "decode_guarded.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


def test_guarded_memory() -> None:
    """Arrays beside pages without access: a byte too far would end the process."""
    result = run_guarded()
    last = "\n".join(result.stdout.splitlines()[-1:])
    assert result.returncode == 0, f"{last}\n{result.stderr[-4000:]}"
    print(last)


@pytest.mark.parametrize("side", ["before", "after"])
@pytest.mark.parametrize("access", ["read", "write"])
def test_guards_work(side: str, access: str) -> None:
    result = run_guarded("--provoke", side, access)
    # Sanitizers end the process themselves.
    killed = result.returncode < 0 or "AddressSanitizer: SEGV" in result.stderr
    assert killed and "Segmentation fault" in result.stderr


# ----------------------------------------------------------------------------
# Time
# ----------------------------------------------------------------------------


def median_ms(function: Callable[[], Any], count: int = 20) -> float:
    function()
    times = []
    for _ in range(count):
        start = time.perf_counter()
        function()
        times.append(1e3 * (time.perf_counter() - start))
    return statistics.median(times)


def test_time_to_ptx(capsys: pytest.CaptureFixture[str]) -> None:
    """The flagship from text to PTX; 60 ms where nothing else runs."""
    text = EXAMPLE.read_text()
    median = median_ms(lambda: nsa.compile(text, target="cuda"))
    with capsys.disabled():
        print(f"\ndecode_replay, text to PTX: {median:.1f} ms (median of 20)")
    assert median < 600
