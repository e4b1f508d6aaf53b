# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""nsa.ops.copy_metadata on the host: numerics, and every check of its arguments."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from copy_cases import CopyCase, CopyProblem, copy_cases, run_copies
from strided_arrays import HostArrays

import nsa
from nsa import steps

pytestmark = pytest.mark.skipif(not nsa.has_compiler(), reason="built without the compiler")


def test_numerics() -> None:
    """Every two values of mode, fields, backends, layouts and sizes meet."""
    run_copies(copy_cases(), HostArrays())


#: All fields in each mode, and every eleventh of the pairwise cases.
UNFUSED = [
    *(CopyCase(mode, "all", 3) for mode in ("decode", "target_verify", "draft_extend")),
    *copy_cases(drawn=0)[::11],
]


@pytest.mark.parametrize("case", UNFUSED, ids=[str(n) for n in range(len(UNFUSED))])
def test_unfused(case: CopyCase) -> None:
    """Without fusion, a kernel for each field of each destination, and equal results."""
    source, sets = case.fields()
    source = [name for name in source if any(name in s for s in sets)]
    text = steps.copy_metadata(case.mode, source, sets)
    fused = nsa.compile(text, "cpu")[f"copy_{case.mode}"]
    unfused = nsa.compile(text, "cpu", fuse=False)[f"copy_{case.mode}"]
    assert (len(fused.kernels), len(unfused.kernels)) == (1, sum(map(len, sets)))
    for step in (fused, unfused):
        problem = CopyProblem(case, HostArrays())
        arguments = {f"src_{n}": problem.source[n].view for n in source}
        for number, destination in enumerate(problem.destinations):
            arguments.update(
                {steps.port(number, n): a.view for n, a in destination.items()}
            )
        for name, value in arguments.items():
            if name.endswith("flashmla_metadata"):
                arguments[name] = value.reshape(-1)
        step(**arguments, **problem.sizes())
        problem.check()


def arrays() -> tuple[dict[str, Any], list[dict[str, Any]]]:
    problem = CopyProblem(CopyCase("decode", "all", 2), HostArrays())
    return problem.arguments


def wrong(change: Any) -> None:
    """Applies `change` to good arguments and expects that nothing is written."""
    src, dsts = arrays()
    sizes = {"bs": 7, "max_len": 129}
    good = [array for destination in dsts for array in destination.values()]
    error, match = change(src, dsts, sizes)
    changed = [a for d in dsts for a in d.values() if isinstance(a, np.ndarray)]
    before = [(array, array.copy()) for array in good + changed]
    with pytest.raises(error, match=match):
        nsa.ops.copy_metadata(src, dsts, sizes.pop("mode", "decode"), **sizes)
    for array, old in before:
        assert np.array_equal(array, old)


def dtype(src: Any, dsts: Any, sizes: Any) -> Any:
    dsts[1]["cache_seqlens"] = dsts[1]["cache_seqlens"].astype(np.int64)
    return TypeError, "'b1_cache_seqlens': expected dtype int32 but got int64"


def source_dtype(src: Any, dsts: Any, sizes: Any) -> Any:
    src["page_table_1"] = src["page_table_1"].astype(np.uint32)
    return TypeError, "'src_page_table_1': expected dtype int32 but got uint32"


def not_an_array(src: Any, dsts: Any, sizes: Any) -> Any:
    dsts[0]["cu_seqlens_k"] = 3
    return TypeError, "'b0_cu_seqlens_k': expected an array but got int"


def rank(src: Any, dsts: Any, sizes: Any) -> Any:
    dsts[0]["page_table_1"] = dsts[0]["page_table_1"][0]
    return ValueError, "'b0_page_table_1': expected 2 dimensions but got 1"


def small_vector(src: Any, dsts: Any, sizes: Any) -> Any:
    dsts[1]["cu_seqlens_k"] = dsts[1]["cu_seqlens_k"][:7]
    return ValueError, r"'b1_cu_seqlens_k': expected shape\[0\] to be at least 8"


def small_table(src: Any, dsts: Any, sizes: Any) -> Any:
    dsts[0]["page_table_1"] = dsts[0]["page_table_1"][:, :128]
    return ValueError, r"'b0_page_table_1': expected shape\[1\] to be at least 129"


def small_source(src: Any, dsts: Any, sizes: Any) -> Any:
    src["nsa_cu_seqlens_k"] = src["nsa_cu_seqlens_k"][:5]
    return ValueError, r"'src_nsa_cu_seqlens_k': expected shape\[0\] to be at least 8"


def small_metadata(src: Any, dsts: Any, sizes: Any) -> Any:
    dsts[0]["flashmla_metadata"] = dsts[0]["flashmla_metadata"][:2]
    return ValueError, r"'b0_flashmla_metadata': expected shape\[0\] to be at least 104"


def inner_stride(src: Any, dsts: Any, sizes: Any) -> Any:
    dsts[0]["real_page_table"] = dsts[0]["real_page_table"][:, ::2]
    return ValueError, "'b0_real_page_table': expected stride 1 in dimension 1"


def metadata_stride(src: Any, dsts: Any, sizes: Any) -> Any:
    dsts[0]["flashmla_metadata"] = dsts[0]["flashmla_metadata"][:, :7]
    return ValueError, "'b0_flashmla_metadata': expected 1 dimension but got 2"


def read_only(src: Any, dsts: Any, sizes: Any) -> Any:
    dsts[0]["cache_seqlens"].flags.writeable = False
    return ValueError, "'b0_cache_seqlens': expected a writable array"


def overlap_source(src: Any, dsts: Any, sizes: Any) -> Any:
    dsts[0]["cache_seqlens"] = base = np.zeros(9, np.int32)
    src["cache_seqlens"] = base[1:]
    return ValueError, "'b0_cache_seqlens': expected an array that overlaps no other"


def overlap_destination(src: Any, dsts: Any, sizes: Any) -> Any:
    base = np.zeros(16, np.int32)
    dsts[0]["cache_seqlens"], dsts[1]["cache_seqlens"] = base[:9], base[4:]
    return ValueError, "without being the very same view"


def overlap_itself(src: Any, dsts: Any, sizes: Any) -> Any:
    dsts[0]["cache_seqlens"] = np.lib.stride_tricks.as_strided(
        np.zeros(1, np.int32), (7,), (0,)
    )
    return ValueError, "'b0_cache_seqlens': expected elements apart from each other"


def misaligned(src: Any, dsts: Any, sizes: Any) -> Any:
    dsts[0]["cache_seqlens"] = np.zeros(41, np.uint8)[1:].view(np.int32)
    return ValueError, "'b0_cache_seqlens': expected an address aligned to 4 bytes"


def negative_size(src: Any, dsts: Any, sizes: Any) -> Any:
    sizes["bs"] = -1
    return ValueError, "'bs': expected a size from 0 to 2147483647 but got -1"


def large_size(src: Any, dsts: Any, sizes: Any) -> Any:
    sizes["max_len"] = 2**31
    return ValueError, "'max_len': expected a size from 0 to 2147483647"


def fractional_size(src: Any, dsts: Any, sizes: Any) -> Any:
    sizes["bs"] = 1.5
    return TypeError, "'bs': expected an integer but got float"


def disagreeing(src: Any, dsts: Any, sizes: Any) -> Any:
    del sizes["bs"]
    src["cache_seqlens"] = src["cache_seqlens"][:3]
    return ValueError, "'bs': expected the dimensions that name it to agree"


def unknown_field(src: Any, dsts: Any, sizes: Any) -> Any:
    dsts[0]["cache_seqlen"] = dsts[0]["cache_seqlens"]
    return ValueError, r"argument 'dsts\[0\]': expected fields of decode .* but got 'cache_seqlen'"


def unknown_source(src: Any, dsts: Any, sizes: Any) -> Any:
    src["seqlens_expanded"] = src["cache_seqlens"]
    return ValueError, "argument 'src': expected fields of decode"


def missing_field(src: Any, dsts: Any, sizes: Any) -> Any:
    del src["real_page_table"]
    return ValueError, "argument 'src': expected field 'real_page_table'"


def no_destination(src: Any, dsts: Any, sizes: Any) -> Any:
    dsts.clear()
    return ValueError, "argument 'dsts': expected at least one field"


def unknown_mode(src: Any, dsts: Any, sizes: Any) -> Any:
    sizes["mode"] = "extend"
    return ValueError, "argument 'mode': expected one of 'decode'"


CHANGES = [
    dtype,
    source_dtype,
    not_an_array,
    rank,
    small_vector,
    small_table,
    small_source,
    small_metadata,
    inner_stride,
    metadata_stride,
    read_only,
    overlap_source,
    overlap_destination,
    overlap_itself,
    misaligned,
    negative_size,
    large_size,
    fractional_size,
    disagreeing,
    unknown_field,
    unknown_source,
    missing_field,
    no_destination,
    unknown_mode,
]


@pytest.mark.parametrize("change", CHANGES, ids=[c.__name__ for c in CHANGES])
def test_wrong(change: Any) -> None:
    wrong(change)


def test_wrong_after_right() -> None:
    """A remembered binding does not let through what it has not seen."""
    src, dsts = arrays()
    nsa.ops.copy_metadata(src, dsts, bs=7, max_len=129)
    with pytest.raises(ValueError, match="'max_len'|page_table_1"):
        nsa.ops.copy_metadata(src, dsts, bs=7, max_len=5000)
    dsts[0]["cache_seqlens"] = dsts[0]["cache_seqlens"][:6]
    with pytest.raises(ValueError, match="b0_cache_seqlens"):
        nsa.ops.copy_metadata(src, dsts, bs=7, max_len=129)


def test_same_view() -> None:
    """One array may serve one field of several backends."""
    src = {"cache_seqlens": np.arange(5, dtype=np.int32)}
    shared = np.full(6, -1, np.int32)
    nsa.ops.copy_metadata(src, [{"cache_seqlens": shared}] * 3, bs=5, max_len=0)
    assert shared.tolist() == [0, 1, 2, 3, 4, -1]


@pytest.mark.parametrize("mode", ["decode", "target_verify", "draft_extend"])
def test_example(mode: str) -> None:
    """The examples do what ``nsa.ops`` does with the same fields."""
    example = Path(__file__).resolve().parents[2] / f"examples/copy_{mode}.mlir"
    step = nsa.compile(example, "cpu")[f"copy_{mode}"]
    assert len(step.kernels) == 1
    bs, rows, columns = 3, 3 if mode == "decode" else 6, 37
    sizes = {"bs": bs, "rows": rows, "max_len": columns, "max_seqlen_k": columns}
    rng = np.random.default_rng(1)
    arguments: dict[str, Any] = {}
    sets: dict[str, dict[str, Any]] = {}
    for name, kind, _, rank in step.arguments:
        if kind == "size":
            arguments[name] = sizes[name]
            continue
        owner, field = name.split("_", 1)
        shape = (rows, columns) if rank == 2 else (rows + 1,)
        array = rng.integers(1, 1 << 30, shape, np.int32)
        arguments[name] = sets.setdefault(owner, {})[field] = array
    src = sets.pop("src")
    expected = [{f: a.copy() for f, a in d.items()} for d in sets.values()]
    by_name = {"bs": bs, "max_len" if mode == "decode" else "max_seqlen_k": columns}
    if mode != "decode":
        by_name["seqlens_expanded_size"] = rows
    nsa.ops.copy_metadata(src, expected, mode, **by_name)
    step(**arguments)
    for got, want in zip(sets.values(), expected):
        for field in want:
            assert np.array_equal(got[field], want[field]), field
    assert np.array_equal(sets["b0"]["cache_seqlens"][:bs], src["cache_seqlens"][:bs])


def test_sixteen_backends_in_one_launch() -> None:
    fields = [f for f in nsa._metadata.FIELDS]
    text = steps.copy_metadata("target_verify", fields, [fields] * 16)
    step = nsa.compile(text)["copy_target_verify"]
    assert step.kernels == ["copy_target_verify"]
