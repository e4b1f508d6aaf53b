# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Constants of operations: what they may be, and that a wrong one leaves no trace."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import nsa
from nsa import layouts, ops, steps
from nsa._errors import renamed, wrong
from nsa.compat import sglang

needs_compiler = pytest.mark.skipif(
    not nsa.has_compiler(), reason="built without the compiler"
)


def vector(*values: int) -> np.ndarray:
    return np.array(values, np.int32)


def out(*shape: int) -> np.ndarray:
    return np.full(shape, -7, np.int32)


def replay(mode: str, field: str, rows: int, **constants: Any) -> np.ndarray:
    table = {}
    shape = (rows,)
    if field == "paged_mqa_ctx_lens":
        shape = (rows, 1)
    if field == "real_page_table":
        shape = (rows, 4)
        table = dict(
            req_pool_indices=vector(0, 1),
            req_to_token=np.arange(8, dtype=np.int32).reshape(2, 4),
            max_len=4,
        )
    written = out(*shape)
    ops.replay_metadata(
        [{field: written}], mode=mode, seq_lens=np.array([5, 100]), **table, **constants
    )
    return written


def expand(topk: Any) -> np.ndarray:
    clipped = out(2)
    ops.expand_seqlens(vector(1, 1), vector(5, 100), topk, out(2), clipped)
    return clipped


def swa(window: Any) -> np.ndarray:
    ids = out(4)
    ops.build_swa_token_ids(
        vector(5), vector(2), vector(0), vector(0, 1, 2, 3, 4)[None], vector(5, 6, 7, 8, 9),
        window, ids,
    )
    return ids


def compressed(ratio: Any, page_size: Any) -> np.ndarray:
    ids = out(1, 4)
    ops.build_compressed_token_ids(vector(3, 4)[None], vector(0, 1), ids, ratio, page_size)
    return ids


def combine(window: Any, compress_ratio: Any, topk: Any) -> np.ndarray:
    indices = out(2, 128)
    ops.combine_topk_swa_indices(
        None, vector(0, 2), vector(6), vector(3), vector(0), vector(50), window,
        compress_ratio, topk, indices, out(2),
    )
    return indices


def dequantize(page_size: Any) -> np.ndarray:
    rows = np.zeros((2, 512), np.int16)
    cache = np.arange(2 * 4 * 528, dtype=np.uint8).reshape(2, -1)
    layout = layouts.parse(
        "data_bytes = 528, fields = [e4m3[512] at 0], scales = ue8m0[16] at 512 per 32 inline"
    )
    ops.dequantize_k_cache_paged(cache, vector(0, 5), rows, layout, page_size=page_size)
    return rows


#: What takes a constant, its name, a good value.
USES = [
    (lambda v: replay("target_verify", "seqlens_expanded", 6, next_n=v), "next_n", 3),
    (lambda v: replay("target_verify", "paged_mqa_ctx_lens", 2, next_n=v), "next_n", 1),
    (lambda v: replay("decode", "nsa_cache_seqlens", 2, topk=v), "topk", 64),
    (lambda v: replay("decode", "real_page_table", 2, page_size=v), "page_size", 2),
    (
        lambda v: replay("draft_extend", "seqlens_expanded", 2, extend_seq_lens=v),
        "extend_seq_lens",
        1,
    ),
    (expand, "topk", 64),
    (swa, "window", 3),
    (lambda v: compressed(v, 4), "ratio", 4),
    (lambda v: compressed(4, v), "page_size", 4),
    (lambda v: combine(v, 4, 1), "window", 3),
    (lambda v: combine(3, v, 1), "compress_ratio", 4),
    (lambda v: combine(3, 4, v), "topk", 1),
    (dequantize, "page_size", 4),
]


class Integer:
    """What ``operator.index`` takes and no more."""

    def __init__(self, value: int) -> None:
        self.value = value

    def __index__(self) -> int:
        return self.value


@needs_compiler
@pytest.mark.parametrize("use", range(len(USES)))
def test_wrong_constants_leave_no_trace(use: int) -> None:
    call, name, good = USES[use]
    wrong_ones = [float(good), str(good), -1, 2**31, 10**30, np.float32(good), [good]]
    if good == 1:
        wrong_ones += [True, False]
    for before in (False, True):
        for bad in wrong_ones:
            with pytest.raises((TypeError, ValueError)) as info:
                call(bad)
            assert info.value.argument == name, bad
            assert str(info.value).startswith(f"argument '{name}': expected ")
        expected = call(good)
        for same in (np.int64(good), np.uint8(good), Integer(good)):
            assert np.array_equal(call(same), expected)


@needs_compiler
def test_what_was_wrong_before() -> None:
    """Equal keys once made one call's failure that of all later ones, and let it work after."""
    for next_n in (3.0, 3, 3.0):
        if isinstance(next_n, float):
            with pytest.raises(TypeError, match="'next_n': .* from 1 to 2147483647 but got 3.0"):
                replay("target_verify", "seqlens_expanded", 6, next_n=next_n)
        else:
            rows = replay("target_verify", "seqlens_expanded", 6, next_n=next_n)
            assert rows.tolist() == [6, 7, 8, 101, 102, 103]
    for extend in (True, 1, True):
        if extend is True:
            with pytest.raises(TypeError, match="'extend_seq_lens': .* but got True"):
                replay("draft_extend", "seqlens_expanded", 2, extend_seq_lens=extend)
        else:
            rows = replay("draft_extend", "seqlens_expanded", 2, extend_seq_lens=extend)
            assert rows.tolist() == [5, 100]


@pytest.mark.parametrize(
    ("write", "argument"),
    [
        (lambda v: steps.replay("decode", [["nsa_cache_seqlens"]], topk=v), "topk"),
        (lambda v: steps.replay("decode", [["real_page_table"]], page_size=v), "page_size"),
        (
            lambda v: steps.replay("target_verify", [["paged_mqa_ctx_lens"]], next_n=v),
            "next_n",
        ),
        (
            lambda v: steps.replay("draft_extend", [["seqlens_expanded"]], extend=v),
            "extend",
        ),
        (lambda v: steps.expand_seqlens(topk=v), "topk"),
        (lambda v: steps.swa_token_ids(v), "window"),
        (lambda v: steps.compressed_token_ids(v), "ratio"),
        (lambda v: steps.compressed_token_ids(4, v), "page_size"),
        (lambda v: steps.combine_indices(v, 4), "window"),
        (lambda v: steps.combine_indices(128, v), "ratio"),
        (lambda v: steps.dequant_paged([("v32", v, "int32")]), "page_size"),
        (lambda v: layouts.Run("e4m3", v, 0), "count"),
        (lambda v: layouts.Run("e4m3", 4, v), "offset"),
    ],
)
def test_texts(write: Any, argument: str) -> None:
    for bad in (4.0, True, -1, 2**31, [4]):
        with pytest.raises((TypeError, ValueError)) as info:
            write(bad)
        assert info.value.argument == argument
    assert str(write(np.int64(4))) == str(write(4))


def test_layouts() -> None:
    good = layouts.parse("v4")
    for change in (dict(data_bytes=576.0), dict(group=True), dict(footer_bytes="8")):
        with pytest.raises(TypeError, match=f"argument '{list(change)[0]}': expected an int"):
            layouts.KVLayout(**{**good.__dict__, **change})
    with pytest.raises(ValueError, match="argument 'data_bytes': .* but got 99999999999"):
        layouts.parse(layouts.NAMED["v4"].replace("576", "99999999999"))
    with pytest.raises(TypeError, match="argument 'layout': .* but got 3"):
        layouts.parse(3)


def test_modes() -> None:
    for mode in (["decode"], None, np.array(["decode"]), "prefill"):
        with pytest.raises(ValueError, match="argument 'mode': expected one of 'decode'"):
            ops.replay_metadata([{"cache_seqlens": out(2)}], mode, seq_lens=vector(1, 2))


def test_sglang_names() -> None:
    """Constants are refused by the names that the caller knows."""
    arrays = [out(2) for _ in range(3)], [out(3) for _ in range(2)]
    (cache, clipped, pool), (cu, clipped_cu) = arrays
    table = np.zeros((2, 4), np.int32)

    def fill(topk: Any = 64, page_size: Any = 2) -> None:
        sglang.fused_dsa_decode_metadata(
            vector(5, 6), vector(0, 1), table.copy(), cache, cu, None, clipped, clipped_cu,
            out(2, 2), 2, 4, topk, page_size,
        )

    for values, name in [
        (dict(topk=64.0), "dsa_index_topk"),
        (dict(page_size=2.0), "physical_page_size"),
        (dict(page_size=True), "physical_page_size"),
    ]:
        with pytest.raises(TypeError, match=f"argument '{name}': expected an integer") as info:
            fill(**values)
        assert info.value.argument == name


def test_renamed() -> None:
    error = wrong(ValueError, "b0_x", "it overlaps 'src_x', b0_x.shape[0] is 3")
    made = renamed(error, {"b0_x": "x_dst", "src_x": "x_src"})
    assert isinstance(made, ValueError) and made.argument == "x_dst"
    assert str(made) == "argument 'x_dst': it overlaps 'x_src', x_dst.shape[0] is 3"
    assert renamed(ValueError("no argument"), {"a": "b"}).argument is None
