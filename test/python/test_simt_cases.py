# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The tests of test_gpu_*.py with the simulator in the GPU's place: the same PTX on the
same cases, against the same references, every access checked.

A part of the cases, as the simulator is slow; what is left out is drawn by strides, so
every kind of case is there.
"""

from __future__ import annotations

import mmap
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

import copy_cases
import decode_cases
import dequant_cases
import expand_cases
import numpy as np
import prefill_cases
import pytest
import replay_cases
from decode_errors import ERRORS, check_error
from dequant_reference import canonical, reference_dequant
from prefill_end_to_end import check_end_to_end
from numpy.lib.stride_tricks import as_strided
from prefill_step_cases import CHUNK, LAYER, chunk_cases
from strided_arrays import HostArrays
from test_gpu_decode import EXAMPLE, Replayed

import nsa
from nsa import _cache, _prefill, _replay, layouts, ops, steps

pytestmark = pytest.mark.skipif(
    not nsa.has_compiler(), reason="built without the compiler"
)


class SimtArrays(HostArrays):
    """Arrays on the host, for kernels of a GPU."""

    target = "simt"
    asarray = staticmethod(np.array)
    asnumpy = staticmethod(np.asarray)

    def view(self, storage: np.ndarray, placement: Any) -> np.ndarray:
        return placement.view(storage, self.margin)

    def synchronize(self) -> None:
        """Launches are over when they return."""


ARRAYS = SimtArrays()


def forget_callers() -> None:
    """Operations remember what runs them, which is not to change in a process."""
    for remembered in (ops._dequants, _prefill._steps):
        remembered.clear()
    for sets in (ops._copy_sets, ops._flat_copies, _replay._sets, _replay._flat):
        sets.forget()
    ops._copy.cache_clear()
    _replay._replay.cache_clear()
    _replay._expansion.cache_clear()


@pytest.fixture(autouse=True)
def simulated(
    monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Iterator[None]:
    monkeypatch.setenv("NSA_TARGET", "simt")
    # Each test has an order of its own, the same in every run.
    monkeypatch.setenv("NSA_SIMT_SEED", str(zlib.crc32(request.node.name.encode())))
    forget_callers()
    yield
    forget_callers()


def run_all(problems: Iterable[Any], run: Any = lambda problem: problem.run()) -> int:
    """Runs problems, up to five failures; returns how many there were."""
    failures = []
    count = 0
    for problem in problems:
        count += 1
        try:
            run(problem)
            problem.check()
        except Exception as error:
            failures.append(f"{type(error).__name__}: {error}\n{problem.case}")
            if len(failures) == 5:
                break
    assert not failures, "\n\n".join(failures)
    assert count
    return count


# ----------------------------------------------------------------------------
# Decode replay
# ----------------------------------------------------------------------------


def decode_problems(cases: Iterable[decode_cases.Case]) -> Iterator[decode_cases.Problem]:
    for case in cases:
        yield decode_cases.Problem(replace(case, bs=min(case.bs, 300)), ARRAYS)


def example(fuse: bool) -> Any:
    return nsa.compile(EXAMPLE, target="simt", fuse=fuse)[decode_cases.STEP]


def test_decode_matrix() -> None:
    run_all(decode_problems(decode_cases.gpu_cases()[::3]))


@pytest.mark.parametrize("fuse", [True, False])
def test_decode_example(fuse: bool) -> None:
    step = example(fuse)
    assert step.simulates
    rows = decode_cases.draw(decode_cases.CASE_FACTORS, 5, seed=3)
    cases = [
        decode_cases.Case(decode_cases.FLAGSHIP, **row, seed=n)
        for n, row in enumerate(rows)
    ]
    run_all(decode_problems(cases), lambda problem: step(**problem.ports))


def test_decode_many_backends() -> None:
    rows = decode_cases.draw(decode_cases.CASE_FACTORS, 2, seed=6)
    many = decode_cases.MANY_BACKENDS
    cases = [decode_cases.Case(many, **row, seed=n) for n, row in enumerate(rows)]
    run_all(decode_problems(replace(case, bs=min(case.bs, 33)) for case in cases))


def test_decode_long_rows() -> None:
    cases = [
        decode_cases.Case(
            decode_cases.EVERYTHING_TWICE,
            3,
            max_len,
            "wider",
            "hostile",
            tables_layout=layout,
        )
        for max_len, layout in ((4095, "odd"), (4097, "shifted"), (20001, "padded"))
    ]
    run_all(decode_problems(cases))


def test_decode_empty_batch() -> None:
    cases = [
        decode_cases.Case(decode_cases.EVERYTHING_TWICE, 0, max_len, size)
        for max_len in (0, 1025)
        for size in ("same", "no rows", "no columns")
    ]
    run_all(decode_problems(cases))


def test_decode_one_binding_for_all_sizes() -> None:
    case = decode_cases.Case(
        decode_cases.EVERYTHING_TWICE, 1025, 130, tables_layout="odd", caller="step"
    )
    problem = decode_cases.Problem(case, ARRAYS)
    bound = case.variant.step("simt").bind(**problem.ports)
    seq_lens, pool, table = (array.view.copy() for array in problem.inputs.values())
    for bs, max_len in [(1025, 130), (0, 8), (1, 1), (33, 130), (7, 0)]:
        bound.launch(bs=bs, max_len=max_len)
        smaller = replace(case, bs=bs, max_len=max_len)
        expected = decode_cases.reference_for(smaller, seq_lens[:bs], pool[:bs], table)
        for (_, name), array in problem.outputs.items():
            got = array.view[tuple(slice(n) for n in expected[name].shape)]
            assert np.array_equal(got, expected[name]), (bs, max_len, name)


def test_decode_shared_destination() -> None:
    """One array serves a field of several backends."""
    case = decode_cases.Case(decode_cases.FLAGSHIP, 33, 65, caller="step")
    problem = decode_cases.Problem(case, ARRAYS)
    ports = problem.ports
    for name in [name for backend, name in problem.outputs if backend == 0]:
        for backend in (1, 2):
            ports[steps.port(backend, name)] = ports[steps.port(0, name)]
            del problem.outputs[backend, name]
    example(fuse=True)(**ports)
    problem.check()


def test_decode_new_contents() -> None:
    """What is a replayed graph on a GPU: a binding launched again on other contents."""
    case = decode_cases.Case(decode_cases.EVERYTHING_TWICE, 33, 257)
    data = Replayed(ARRAYS, case)
    bound = case.variant.step("simt").bind(**data.ports)
    for contents in ("ordinary", "hostile", "wrapping"):
        data.write(data.refresh(contents))
        bound.launch()
        data.check()


def test_decode_errors() -> None:
    """Refused as on a GPU, before anything runs."""
    step = example(fuse=True)
    for name in ERRORS:
        check_error(name, step, np.array, np.asarray)


# ----------------------------------------------------------------------------
# Replay in every mode, expansion
# ----------------------------------------------------------------------------


def run_replays(cases: Iterable[replay_cases.Case]) -> None:
    for case in cases:
        variant = case.variant
        step = _cache.get_step(f"{variant.mode}_replay", variant.text, "simt")
        step(**replay_cases.arguments(case, step))
        case.check(case.outputs)


def test_replay_cases() -> None:
    variants = replay_cases.variants(36)[:18]
    run_replays(replay_cases.cases(11, 36, variants, max_bs=64))


def test_replay_hostile_cases() -> None:
    variants = replay_cases.variants(36)[18:27]
    cases = list(replay_cases.hostile_cases(variants))
    run_replays(case for case in cases if case.sizes["bs"] < 4096)


def test_expand_seqlens() -> None:
    for case in list(expand_cases.cases(seed=5, max_bs=300))[::2]:
        case.run(np.array, np.asarray)


# ----------------------------------------------------------------------------
# Copies
# ----------------------------------------------------------------------------


def test_copies() -> None:
    cases = [case for case in copy_cases.gpu_copy_cases() if case.backends < 16][::3]
    cases = [replace(case, columns=min(case.columns, 1030)) for case in cases]
    copy_cases.run_copies(cases, ARRAYS)


def reserved(count: int) -> np.ndarray:
    """int32 elements without memory where nobody writes."""
    # Linux's number; Python has a name for it from 3.12 on.
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x4000
    return np.frombuffer(mmap.mmap(-1, 4 * count, flags=flags), np.int32)


def test_copy_offsets_above_31_bits() -> None:
    """Rows that begin 2**31 elements and more after the first one."""
    stride, rows, columns = 2**30 + 4, 3, 1030
    src, dst = (
        as_strided(reserved(2 * stride + columns), (rows, columns), (4 * stride, 4))
        for _ in range(2)
    )
    values = np.arange(rows * columns, dtype=np.int32).reshape(rows, columns)
    src[...] = values
    names = ("cache_seqlens", "cu_seqlens_k", "nsa_cache_seqlens", "nsa_cu_seqlens_k")
    fields = {name: np.arange(9, dtype=np.int32) for name in names}
    out = {name: np.zeros(9, np.int32) for name in fields}
    nsa.ops.copy_metadata(
        {**fields, "page_table_1": src},
        [{**out, "page_table_1": dst}],
        bs=rows,
        max_len=columns,
    )
    assert np.array_equal(dst, values)


# ----------------------------------------------------------------------------
# Dequantisation
# ----------------------------------------------------------------------------


def test_dequant_cases() -> None:
    run_all(
        dequant_cases.Problem(case, ARRAYS) for case in list(dequant_cases.cases())[::4]
    )


def test_dequant_guards_hold() -> None:
    def run(problem: dequant_cases.Problem) -> None:
        step = nsa.compile(problem.case.text, target="simt", guards=True)["dequant_paged"]
        tokens = problem.case.tokens
        step(tokens0=tokens, cache0=problem.cache, ids0=problem.ids, out0=problem.out)
        step.check()

    run_all(
        (
            dequant_cases.Problem(case, ARRAYS)
            for case in list(dequant_cases.cases())[::20]
        ),
        run,
    )


@pytest.mark.parametrize("layout", ["v4", "v32"])
def test_every_number_with_every_scale(layout: str) -> None:
    from test_dequant import all_numbers

    parsed = layouts.parse(layout)
    scales = np.arange(256, dtype=np.uint8)
    if layout == "v32":
        bits = np.random.default_rng(2).integers(0, 2**32, 100, dtype=np.uint64)
        scales = bits.astype(np.uint32).view(np.float32)
    cache = all_numbers(parsed, scales)
    ids = np.arange(len(cache))
    out = np.empty((len(cache), parsed.row), np.uint16)
    nsa.ops.dequantize_k_cache_paged(cache, ids, out, layout, page_size=1)
    expected = reference_dequant(cache, ids, parsed, 1)
    assert np.array_equal(canonical(out), canonical(expected))


def test_dequant_beyond_32_bits() -> None:
    """Pages, and rows of the output, that begin 2**31 elements and more after the first one."""
    layout, apart, row = layouts.parse("v4"), 2**31 + 64, 2**30 + 8
    small = np.random.default_rng(4).integers(
        0, 256, (3, layout.page_stride(64)), dtype=np.uint8
    )
    memory = reserved(3 * apart // 4).view(np.uint8)
    cache = as_strided(memory, small.shape, (apart, 1))
    cache[...] = small
    ids = np.array([0, 191, -1, 64, 192, 128])
    out = as_strided(
        reserved(len(ids) * row // 2).view(np.uint16), (len(ids), layout.row), (2 * row, 2)
    )
    nsa.ops.dequantize_k_cache_paged(cache, ids, out, "v4", page_size=64)
    assert np.array_equal(canonical(out), canonical(reference_dequant(small, ids, layout, 64)))


def test_two_into_one_workspace() -> None:
    text = steps.dequant_paged([("v4", 64, "int32"), ("v4", 64, "int64")])
    step = _cache.get_step("dequant_paged", text, "simt")
    layout = layouts.parse("v4")
    rng = np.random.default_rng(1)
    cache = rng.integers(0, 256, (40, layout.page_stride(64)), dtype=np.uint8)
    ids0 = rng.integers(-2, 2600, 333).astype(np.int32)
    ids1 = rng.integers(0, 2560, 77)
    workspace = np.zeros((500, 512), np.uint16)
    step(
        cache0=cache, ids0=ids0, out0=workspace[:333],
        cache1=cache, ids1=ids1, out1=workspace[333:410],
    )  # fmt: skip
    want = reference_dequant(cache, np.concatenate([ids0, ids1]), layout, 64)
    assert np.array_equal(canonical(workspace[:410]), canonical(want))
    assert not workspace[410:].any()


# ----------------------------------------------------------------------------
# Sparse prefill
# ----------------------------------------------------------------------------


def test_prefill_cases() -> None:
    run_all(list(prefill_cases.problems(ARRAYS))[::4])


def test_prefill_guards_hold() -> None:
    def run(problem: prefill_cases.Problem) -> None:
        step = prefill_cases.guarded_step(problem.case, "simt")
        problem.run_step(step)
        step.check()

    run_all(list(prefill_cases.problems(ARRAYS))[::40], run)


def test_prefill_chunk() -> None:
    step = _cache.get_step("prefill_chunk", CHUNK, "simt")
    cases = [case for case in chunk_cases() if case.bs < 700]
    run_all((case.problem(ARRAYS) for case in cases), lambda p: p.run_step(step))


def test_prefill_end_to_end() -> None:
    chunk = _cache.get_step("prefill_chunk", CHUNK, "simt")
    layer = _cache.get_step("prefill_layer", LAYER, "simt")
    check_end_to_end(ARRAYS, chunk, layer, 0)
