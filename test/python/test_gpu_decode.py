# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Decode replay by PTX on a GPU, against the reference, on CuPy's and torch's arrays.

Skipped, with the reason, where there is no CUDA device or no library. Kernels are
compiled here, or come from the bundles that scripts/pack_for_gpu.sh makes:
NSA_TEST_BUNDLES has the example's, NSA_BUNDLE_PATH the others.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from decode_cases import (
    CASE_FACTORS,
    EVERYTHING_ONCE,
    EVERYTHING_TWICE,
    FLAGSHIP,
    MANY_BACKENDS,
    STEP,
    Case,
    Problem,
    draw,
    draw_values,
    gpu_cases,
    gpu_variants,
    reference_for,
)
from decode_errors import ERRORS, check_error, error_arguments
from strided_arrays import Placement, pattern

import nsa
from nsa import steps

EXAMPLE = Path(__file__).resolve().parent.parent.parent / "examples/decode_replay.mlir"
REPLAYS = 200


@cache
def example(fuse: bool) -> Any:
    """The flagship, from the text that states everything three times."""
    if nsa.has_compiler():
        return nsa.compile(EXAMPLE, target="cuda", fuse=fuse)[STEP]
    bundles = os.environ.get("NSA_TEST_BUNDLES")
    if not bundles:
        pytest.skip("no compiler, and no bundles: NSA_TEST_BUNDLES is not set")
    return nsa.load(Path(bundles, STEP if fuse else "unfused"))[STEP]


def run_all(cases: Sequence[Case], gpu: Any, step: Any = None) -> None:
    """Every case, by its own step or by `step`; up to five failures are reported."""
    failures = []
    for case in cases:
        problem = Problem(case, gpu)
        try:
            if step is None:
                problem.run()
            else:
                step(**problem.ports)
            problem.check()
        except Exception as error:
            failures.append(f"{type(error).__name__}: {error}\n{case}")
            if len(failures) == 5:
                break
    assert not failures, "\n\n".join(failures)


# ----------------------------------------------------------------------------
# The matrix
# ----------------------------------------------------------------------------


def test_matrix(gpu: Any) -> None:
    """Every two sizes, layouts and contents meet, over all variants of the text."""
    cases = gpu_cases()
    assert {case.variant for case in cases} == {*gpu_variants()} - {MANY_BACKENDS}
    run_all(cases, gpu)
    print(f"{len(cases)} cases of {len(gpu_variants())} texts")


@pytest.mark.parametrize("fuse", [True, False])
def test_example(gpu: Any, fuse: bool) -> None:
    step = example(fuse)
    assert len(step.kernels) == (1 if fuse else len(FLAGSHIP.outputs))
    assert step.ptx.count(".entry ") == len(step.kernels)
    rows = draw(CASE_FACTORS, 40, seed=3)
    run_all([Case(FLAGSHIP, **row, seed=n) for n, row in enumerate(rows)], gpu, step)


def test_many_backends(gpu: Any) -> None:
    rows = draw(CASE_FACTORS, 10, seed=6)
    cases = [Case(MANY_BACKENDS, **row, seed=n) for n, row in enumerate(rows)]
    # 112 destinations: the largest would take long to check.
    run_all([replace(case, bs=min(case.bs, 128)) for case in cases], gpu)


def test_long_rows(gpu: Any) -> None:
    """Many tiles in a row, the last one full, empty but for one, or missing one."""
    cases = [
        Case(EVERYTHING_TWICE, 3, max_len, "wider", "hostile", tables_layout=layout)
        for max_len in (4095, 4096, 4097, 70001, 131072)
        for layout in ("packed", "padded", "odd", "shifted")
    ]
    run_all(cases, gpu)


def test_one_kernel_for_all_sizes(gpu: Any) -> None:
    """One binding, launched with every bs and max_len that its arrays hold."""
    case = Case(EVERYTHING_TWICE, 4096, 1025, tables_layout="odd", caller="step")
    problem = Problem(case, gpu)
    bound = EVERYTHING_TWICE.step("cuda").bind(**problem.ports)
    seq_lens, pool, table = (
        np.array(gpu.asnumpy(array.view)) for array in problem.inputs.values()
    )
    for bs, max_len in [(4096, 1025), (0, 8), (1, 1), (33, 130), (1025, 3), (7, 0)]:
        bound.launch(bs=bs, max_len=max_len)
        smaller = replace(case, bs=bs, max_len=max_len)
        expected = reference_for(smaller, seq_lens[:bs], pool[:bs], table)
        for (_, name), array in problem.outputs.items():
            got = gpu.asnumpy(array.view)[tuple(slice(n) for n in expected[name].shape)]
            assert np.array_equal(got, expected[name]), (bs, max_len, name)


def test_empty_batch(gpu: Any) -> None:
    """Zero requests: the leading zeros, and nothing else."""
    for max_len in (0, 1, 1025):
        for table_size in ("same", "no rows", "no columns"):
            case = Case(EVERYTHING_TWICE, 0, max_len, table_size)
            run_all([case, replace(case, caller="step", seed=1)], gpu)


def test_shared_destination(gpu: Any) -> None:
    """One array serves a field of several backends."""
    problem = Problem(Case(FLAGSHIP, 33, 65, caller="step"), gpu)
    ports = problem.ports
    names = [name for backend, name in problem.outputs if backend == 0]
    for name in names:
        for backend in (1, 2):
            ports[steps.port(backend, name)] = ports[steps.port(0, name)]
            del problem.outputs[backend, name]
    for fuse in (True, False):
        example(fuse)(**ports)
        problem.check()


# ----------------------------------------------------------------------------
# Graphs and streams
# ----------------------------------------------------------------------------


class Replayed:
    """Arrays of fixed place whose contents change."""

    def __init__(self, gpu: Any, case: Case) -> None:
        self.gpu, self.case = gpu, case
        self.rng = np.random.default_rng(case.seed)
        seq_lens, pool, table = draw_values(case, self.rng)
        rows, columns = table.shape
        self.places = {
            "seq_lens": Placement((case.bs,), (2,), 1),
            "req_pool_indices": Placement((case.bs,), (1,), 1),
            "req_to_token": Placement((rows, columns), (columns + 3, 1), 2),
        }
        for backend, name in case.variant.outputs:
            want = reference_for(case, seq_lens, pool, table)[name]
            shape = tuple(size + 2 for size in want.shape)
            # The backends are aligned differently.
            strides = (shape[-1] + backend, 1) if want.ndim == 2 else (1 + backend,)
            port = steps.port(backend, name)
            self.places[port] = Placement(shape, strides, backend)
        dtypes = {"seq_lens": seq_lens.dtype, "req_pool_indices": pool.dtype}
        self.images = {
            name: pattern(
                place.offset + place.span + 2 * gpu.margin, dtypes.get(name, np.int32)
            )
            for name, place in self.places.items()
        }
        self.storages = {n: gpu.asarray(image) for n, image in self.images.items()}
        self.ports: dict[str, Any] = {"bs": case.bs, "max_len": case.max_len}
        for name, place in self.places.items():
            self.ports[name] = gpu.view(self.storages[name], place)

    def destinations(self) -> list[dict[str, Any]]:
        dsts: list[dict[str, Any]] = [{} for _ in self.case.variant.fields]
        for backend, name in self.case.variant.outputs:
            dsts[backend][name] = self.ports[steps.port(backend, name)]
        return dsts

    def refresh(self, contents: str) -> dict[str, Any]:
        """Draws new inputs and destroys the outputs; returns what has to be copied to
        the storages, on the device, for that."""
        case = replace(self.case, contents=contents)
        values = draw_values(case, self.rng)
        expected = reference_for(case, *values)
        start, self.images = {}, {}
        given = dict(zip(("seq_lens", "req_pool_indices", "req_to_token"), values))
        for name, place in self.places.items():
            size = place.offset + place.span + 2 * self.gpu.margin
            dtype = given[name].dtype if name in given else np.int32
            storage = pattern(size, dtype) + self.rng.integers(1, 2**20, dtype=dtype)
            image = storage.copy()
            want = given[name] if name in given else expected[name.partition("_")[2]]
            view = place.view(image, self.gpu.margin)
            view[tuple(slice(n) for n in want.shape)] = want
            start[name] = self.gpu.asarray(image if name in given else storage)
            self.images[name] = image
        return start

    def write(self, start: dict[str, Any]) -> None:
        for name, storage in self.storages.items():
            storage[:] = start[name]

    def check(self) -> None:
        for name, storage in self.storages.items():
            got = self.gpu.asnumpy(storage)
            wrong = np.flatnonzero(got != self.images[name])
            assert not len(wrong), (
                f"{name}: {len(wrong)} elements differ, the first is {wrong[0]}: "
                f"expected {self.images[name][wrong[0]]} but got {got[wrong[0]]}"
            )


@pytest.mark.parametrize("how", ["bound", "called", "operation", "unfused"])
def test_captured_graph(gpu: Any, how: str) -> None:
    """Captured once, replayed with new contents of every input."""
    variant = FLAGSHIP if how in ("bound", "unfused") else EVERYTHING_TWICE
    data = Replayed(
        gpu, Case(variant, 33, 257, "narrower" if how == "called" else "same")
    )
    if how == "operation":
        inputs = ("seq_lens", "req_pool_indices", "req_to_token", "max_len")
        arguments = {name: data.ports[name] for name in inputs}
        constants = dict(topk=variant.topk, page_size=variant.page_size)

        def launch() -> None:
            nsa.ops.replay_metadata(data.destinations(), **arguments, **constants)
    elif how == "called":
        step = variant.step("cuda")

        def launch() -> None:
            step(**data.ports)
    else:
        bound = example(fuse=how == "bound").bind(**data.ports)

        def launch() -> None:
            bound.launch()

    gpu.synchronize()
    replay = gpu.capture(launch)
    gpu.synchronize()
    for n in range(REPLAYS):
        data.write(data.refresh(("ordinary", "hostile", "wrapping")[n % 3]))
        gpu.synchronize()
        replay()
        gpu.synchronize()
        data.check()


@pytest.mark.parametrize("given", ["object", "address", "current"])
def test_stream(gpu: Any, given: str) -> None:
    """Launched on the stream that is given, or on the arrays' current one: behind what
    is there, which takes a while and writes the inputs last."""
    data = Replayed(gpu, Case(EVERYTHING_TWICE, 128, 129))
    step = EVERYTHING_TWICE.step("cuda")
    bound = step.bind(**data.ports)
    stream = gpu.stream()
    address = gpu.address(stream)
    argument = {"object": stream, "address": address, "current": None}[given]
    busy, other = gpu.empty(1 << 27), gpu.empty(1 << 27)
    for launch in (
        lambda s: step(**data.ports, stream=s),
        lambda s: bound.launch(stream=s),
    ):
        start = data.refresh("ordinary")
        gpu.synchronize()
        with gpu.current(stream):
            for _ in range(50):  # some 10 ms
                busy[:] = other
            data.write(start)
            if argument is None:
                launch(None)
        if argument is not None:
            launch(argument)
        stream.synchronize()
        data.check()


# ----------------------------------------------------------------------------
# More than 2^31 elements
# ----------------------------------------------------------------------------


def test_offsets_beyond_32_bits(gpu: Any) -> None:
    """A table of 2.2e9 elements, and destinations whose rows are as far apart: pages
    and vectors share the columns of one more array of that size."""
    rows, columns, page_size = 1100, 2_000_000, 64
    assert rows * columns > 2**31
    needed = 3 * rows * columns * 4
    if gpu.free_memory() < needed + 2**31:
        pytest.skip(f"needs {needed / 2**30:.0f} GiB of GPU memory")
    table, tokens, others = (
        gpu.empty(rows * columns).reshape(rows, columns) for _ in range(3)
    )
    base = gpu.arange(columns)
    for row in range(rows):
        table[row] = base + row * 1_000_003
    tokens[:] = -7
    others[:] = -7

    # The sums are one element longer than the batch.
    bs, width = rows - 1, columns - 1
    rng = np.random.default_rng(1)
    pool = rng.permutation(rows)[:bs]
    pool[-1], pool[0] = rows - 1, -1
    seq_lens = rng.integers(0, columns + 1, bs)
    case = Case(EVERYTHING_ONCE, bs, 0)
    vectors = {
        name: values
        for name, values in reference_for(
            case, seq_lens, pool, np.zeros((0, 0), np.int32)
        ).items()
        if steps.DECODE_FIELDS.get(name, ("", 0))[1] == 1
    }
    pages = -(-width // page_size)
    first = columns - 2 * len(vectors)
    fields = {"page_table_1": tokens, "real_page_table": others[:, :pages]}
    for n, name in enumerate(vectors):
        fields[name] = others[:, first + 2 * n]
    nsa.ops.replay_metadata(
        [fields],
        seq_lens=gpu.asarray(seq_lens),
        req_pool_indices=gpu.asarray(pool),
        req_to_token=table,
        max_len=width,
        topk=EVERYTHING_ONCE.topk,
        page_size=page_size,
    )

    wrong = []
    zeros = base * 0
    for b, row in enumerate(pool):
        want = zeros if b == 0 else table[int(row)]
        good = (tokens[b, :width] == want[:width]).all() & (tokens[b, width] == -7)
        good &= (others[b, :pages] == want[:width:page_size] // page_size).all()
        good &= (others[b, pages:first] == -7).all()
        if not bool(good):
            wrong.append(b)
    assert not wrong
    assert bool((tokens[bs:] == -7).all() & (others[bs:, :first] == -7).all())
    for n, (name, values) in enumerate(vectors.items()):
        got = gpu.asnumpy(others[:, first + 2 * n : first + 2 * n + 2])
        want = np.full((rows, 2), -7)
        want[: len(values), 0] = values
        assert np.array_equal(got, want), name


# ----------------------------------------------------------------------------
# Errors
# ----------------------------------------------------------------------------


def test_errors(gpu: Any) -> None:
    """Refused with a message that names the argument; nothing is written."""
    for name in ERRORS:
        check_error(name, example(fuse=True), gpu.asarray, gpu.asnumpy)


@pytest.mark.parametrize("name", ["req_to_token", "b1_page_table_1"])
def test_mixed_devices(gpu: Any, name: str) -> None:
    arguments = error_arguments(gpu.asarray)
    arguments[name] = gpu.asnumpy(arguments[name]).copy()
    with pytest.raises(ValueError) as info:
        example(fuse=True)(**arguments)
    assert str(info.value) == (
        f"argument '{name}': expected an array on cuda:0 like 'seq_lens' but got one on "
        "cpu"
    )
    for _, field in FLAGSHIP.outputs:
        array = arguments[steps.port(0, field)]
        assert (gpu.asnumpy(array) == -7).all()


def test_host_arrays(gpu: Any) -> None:
    """A step that has PTX alone says so when all arrays are on the host."""
    with pytest.raises(nsa.DriverError, match="has no host kernels"):
        example(fuse=True)(**error_arguments(np.copy))


def test_missing_bundle(gpu: Any) -> None:
    """Without a compiler, a step that nobody saved is named in the error."""
    if nsa.has_compiler():
        pytest.skip("there is a compiler")
    out = gpu.asarray(np.zeros(3, np.int32))
    with pytest.raises(nsa.CompileError, match="no bundle [0-9a-f]{64} "):
        nsa.ops.replay_metadata(
            [dict(nsa_cache_seqlens=out)],
            seq_lens=gpu.asarray(np.zeros(3, np.int64)),
            topk=12345,
        )
    assert (gpu.asnumpy(out) == 0).all()
