# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The operations of sparse prefill on the host, against the reference."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from strided_arrays import HostArrays
from prefill_cases import cases, guarded_step, problems
from prefill_reference import combine

import nsa

pytestmark = pytest.mark.skipif(not nsa.has_compiler(), reason="built without the compiler")


def test_cases() -> None:
    for problem in problems(HostArrays()):
        problem.run()
        problem.check()


def test_guards_hold() -> None:
    """Kernels that check every access find nothing, over all that may go wrong."""
    built: dict[str, Any] = {}
    for problem in list(problems(HostArrays()))[::2]:
        text = problem.case.text
        if text not in built:
            built[text] = guarded_step(problem.case, "cpu")
        problem.run_step(built[text])
        built[text].check()
        problem.check()


def test_one_kernel_each() -> None:
    for text in {case.text: None for case in list(cases())[::7]}:
        module = nsa.compile(text, target="cpu")
        (step,) = (module[name] for name in module)
        assert len(step.kernels) == 1


DESTINATION = "memref<?x?xi32, strided<[?, 1]>>"
PORTS = f"""in %bs : index, in %queries : index, in %lens[%bs] : tensor<?xi32>,
    in %query_start_loc[%bs + 1] : tensor<?xi32>, out %x : {DESTINATION},
    out %y : {DESTINATION}"""
INDICES = """%x0 = nsa.combine_indices topk 5 queries %queries at %query_start_loc
      lengths %lens gathers %lens bases %lens, %lens ratio 4 window 128
      : tensor<?xi32>, tensor<?xi32>, tensor<?xi32>, tensor<?xi32>, tensor<?xi32>
      -> tensor<?x256xi32>"""
OF_INDICES = {
    "pages": (
        "%y0 = nsa.real_page_table %x0 page_size 4 : tensor<?x256xi32> -> tensor<?x64xi32>",
        64,
        lambda indices: np.floor_divide(indices[:, ::4], 4),
    ),
    "repeated": (
        """%three = nsa.expansion by 3
        %y0 = nsa.expand_rows %x0 over %three : tensor<?x256xi32> -> tensor<?x256xi32>""",
        256,
        lambda indices: np.repeat(indices, 3, axis=0),
    ),
}


@pytest.mark.parametrize("fuse", [True, False])
@pytest.mark.parametrize("kind", OF_INDICES)
def test_values_made_of_indices(kind: str, fuse: bool) -> None:
    """Rows of indices are values like others: pages of them, rows repeated."""
    value, width, expect = OF_INDICES[kind]
    text = f"""nsa.step @step({PORTS}) {{
      {INDICES}
      {value}
      nsa.copy %x0 to %x : tensor<?x256xi32> to {DESTINATION}
      nsa.copy %y0 to %y : tensor<?x{width}xi32> to {DESTINATION}
    }}"""
    step = nsa.compile(text, target="cpu", fuse=fuse, guards=True)["step"]
    assert len(step.kernels) == (1 if fuse else 2)
    lens, start_loc, queries = vector(10, 5, 200, 600), vector(0, 3, 3, 203, 204), 207
    indices, _ = combine(None, start_loc, lens, lens, lens, lens, 128, 4, 5, queries)
    x, expected = np.zeros_like(indices), expect(indices)
    y = np.zeros_like(expected)
    step(queries=queries, lens=lens, query_start_loc=start_loc, x=x, y=y)
    step.check()
    assert np.array_equal(x, indices) and np.array_equal(y, expected)


def vector(*values: int) -> np.ndarray:
    return np.array(values, np.int32)


SWA = dict(
    seq_lens=vector(6, 7),
    extend_seq_lens=vector(2, 3),
    req_pool_indices=vector(0, 1),
    req_to_token=np.arange(16, dtype=np.int32).reshape(2, 8),
    full_to_swa=100 + np.arange(16),
    window=4,
    out_ids=np.zeros(11, np.int32),
)
COMPRESSED = dict(
    table=np.zeros((9, 3), np.int32),
    query_start_loc=vector(0, 4, 9),
    out_ids=np.zeros((2, 5), np.int32),
    ratio=4,
)
COMBINE = dict(
    topk_indices=np.zeros((9, 17), np.int32),
    query_start_loc=vector(0, 4, 9),
    seq_lens=vector(4, 5),
    gather_lens=vector(4, 5),
    compressed_base=vector(0, 0),
    swa_base=vector(0, 0),
    window=128,
    compress_ratio=4,
    topk=17,
    out_indices=np.zeros((9, 256), np.int32),
    out_lens=np.zeros(9, np.int32),
)


def test_by_hand() -> None:
    out = {name: np.zeros(n, np.int32) for name, n in
           (("out_first", 2), ("out_lens", 2), ("out_offsets", 3))}  # fmt: skip
    ids = np.zeros(11, np.int32)
    nsa.ops.build_swa_token_ids(**{**SWA, "out_ids": ids}, **out)
    assert ids.tolist() == [*range(101, 106), *range(109, 115)]
    assert out["out_first"].tolist() == [1, 1] and out["out_lens"].tolist() == [5, 6]
    assert out["out_offsets"].tolist() == [0, 5, 11]


@pytest.mark.parametrize(
    ("changes", "kind", "text"),
    [
        (dict(window=0), ValueError, "argument 'window': expected an integer from 1 to .* but got 0"),
        (dict(extend_seq_lens=vector(2)), ValueError, "argument 'extend_seq_lens'"),
        (dict(req_pool_indices=vector(2)), ValueError, "argument 'req_pool_indices'"),
        (dict(req_to_token=vector(2)), ValueError, "argument 'req_to_token'"),
        (dict(req_to_token=np.zeros((2, 8))), TypeError, "argument 'req_to_token'"),
        (dict(full_to_swa=np.zeros(16)), TypeError, "argument 'full_to_swa': expected dt"),
        (dict(seq_lens=np.zeros(2, np.int16)), TypeError, "argument 'seq_lens': expected"),
        (dict(seq_lens=np.zeros((2, 1), np.int32)), ValueError, "'seq_lens': expected 1"),
        (dict(out_ids=np.zeros((2, 1), np.int32)), ValueError, "'out_ids': expected 1 dim"),
        (dict(out_ids=np.zeros(11, np.int64)), TypeError, "argument 'out_ids'"),
        (dict(out_first=vector(1)), ValueError, "argument 'out_first'"),
        (dict(out_lens=vector(1)), ValueError, "argument 'out_lens'"),
        (dict(out_offsets=vector(1, 2)), ValueError, "argument 'out_offsets'"),
        (dict(out_lens=SWA["seq_lens"]), ValueError, "'out_lens': .*overlaps 'seq_lens'"),
    ],
)
def test_errors_of_swa_token_ids(changes: dict, kind: type, text: str) -> None:
    check_error(nsa.ops.build_swa_token_ids, SWA, changes, kind, text)


@pytest.mark.parametrize(
    ("changes", "kind", "text"),
    [
        (dict(ratio=8), ValueError, "argument 'ratio': expected 4 or 128 but got 8"),
        (dict(page_size=0), ValueError, "argument 'page_size': expected an integer from 1"),
        (dict(query_start_loc=vector()), ValueError, "'query_start_loc': expected an el"),
        (dict(query_start_loc=np.zeros(3, np.int64)), TypeError, "'query_start_loc'"),
        (dict(table=vector(1)), ValueError, "argument 'table'"),
        (dict(table=np.zeros((9, 3), np.int64)), TypeError, "argument 'table'"),
        (dict(out_ids=vector(1)), ValueError, "argument 'out_ids': expected 2 dimensions"),
        (dict(out_ids=np.zeros((1, 5), np.int32)), ValueError, "argument 'out_ids'"),
    ],
)
def test_errors_of_compressed_token_ids(changes: dict, kind: type, text: str) -> None:
    check_error(nsa.ops.build_compressed_token_ids, COMPRESSED, changes, kind, text)


@pytest.mark.parametrize(
    ("changes", "kind", "text"),
    [
        (dict(window=0), ValueError, "argument 'window': expected an integer from 1 to .* but got 0"),
        (dict(compress_ratio=0), ValueError, "argument 'compress_ratio': expected an integer from 1"),
        (dict(topk=-1), ValueError, "argument 'topk': expected an integer from 0 to .* but got -1"),
        (dict(topk=18), ValueError, "argument 'topk_indices'"),
        (dict(topk_indices=vector(1)), ValueError, "'topk_indices': expected 2 dimensions"),
        (dict(topk_indices=np.zeros((9, 17))), TypeError, "argument 'topk_indices'"),
        (dict(query_start_loc=vector()), ValueError, "'query_start_loc': expected an el"),
        (dict(query_pos=vector(1)), ValueError, "argument 'query_pos'"),
        (dict(query_pos=np.zeros(9, np.int64)), TypeError, "argument 'query_pos'"),
        (dict(seq_lens=vector(1)), ValueError, "argument 'seq_lens'"),
        (dict(gather_lens=vector(1)), ValueError, "argument 'gather_lens'"),
        (dict(gather_lens=np.zeros(2, np.int64)), TypeError, "argument 'gather_lens'"),
        (dict(compressed_base=vector(1)), ValueError, "argument 'compressed_base'"),
        (dict(swa_base=vector(1)), ValueError, "argument 'swa_base'"),
        (dict(out_indices=np.zeros((9, 255), np.int32)), ValueError, "'out_indices'"),
        (dict(out_indices=np.zeros((8, 256), np.int32)), ValueError, "'out_indices'"),
        (dict(out_lens=np.zeros(8, np.int32)), ValueError, "argument 'out_lens'"),
    ],
)
def test_errors_of_combine(changes: dict, kind: type, text: str) -> None:
    check_error(nsa.ops.combine_topk_swa_indices, COMBINE, changes, kind, text)


def check_error(op: Any, arguments: dict, changes: dict, kind: type, text: str) -> None:
    arguments = {**arguments, **changes}
    outputs = {n: a.copy() for n, a in arguments.items() if n.startswith("out_")}
    with pytest.raises(kind, match=text):
        op(**arguments)
    for name, before in outputs.items():
        assert np.array_equal(arguments[name], before)
