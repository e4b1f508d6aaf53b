# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The builder of texts, and what replay_metadata says before it launches."""

import numpy as np
import pytest
from step_texts import TEXTS

import nsa
from nsa import _cache, _replay, ops, steps

FLAGSHIP = """\
nsa.step @decode_replay(
    in %bs : index,
    in %max_len : index,
    in %seq_lens[%bs] : tensor<?xi64>,
    in %req_pool_indices[%bs] : tensor<?xi32>,
    in %req_to_token : tensor<?x?xi32>,
    out %b0_cache_seqlens : memref<?xi32, strided<[?]>>,
    out %b0_nsa_cu_seqlens_k : memref<?xi32, strided<[?]>>,
    out %b1_cu_seqlens_k : memref<?xi32, strided<[?]>>,
    out %b1_real_page_table : memref<?x?xi32, strided<[?, 1]>>) {
  %len = nsa.seqlens %seq_lens plus 0 : tensor<?xi64> -> tensor<?xi32>
  %clip = nsa.clip_seqlens %len to 2048 : tensor<?xi32>
  %ccu = nsa.cu_seqlens %clip : tensor<?xi32> -> tensor<?xi32>
  %cu = nsa.cu_seqlens %len : tensor<?xi32> -> tensor<?xi32>
  %tab = nsa.page_table %req_to_token[%req_pool_indices] columns %max_len \
: tensor<?x?xi32>, tensor<?xi32> -> tensor<?x?xi32>
  %real = nsa.real_page_table %tab page_size 64 : tensor<?x?xi32> -> tensor<?x?xi32>
  nsa.copy %len to %b0_cache_seqlens : tensor<?xi32> to memref<?xi32, strided<[?]>>
  nsa.copy %ccu to %b0_nsa_cu_seqlens_k : tensor<?xi32> to memref<?xi32, strided<[?]>>
  nsa.copy %cu to %b1_cu_seqlens_k : tensor<?xi32> to memref<?xi32, strided<[?]>>
  nsa.copy %real to %b1_real_page_table \
: tensor<?x?xi32> to memref<?x?xi32, strided<[?, 1]>>
}
"""


def test_text():
    text = steps.decode_replay(
        [["nsa_cu_seqlens_k", "cache_seqlens"], ["cu_seqlens_k", "real_page_table"]],
        "int64",
        "int32",
        topk=2048,
        page_size=64,
    )
    assert text == FLAGSHIP


@pytest.mark.parametrize("make, text", TEXTS)
def test_texts_do_not_change(make, text):
    assert make() == text


def test_only_what_is_needed():
    text = steps.decode_replay([["cu_seqlens_k"]], "int32")
    assert "max_len" not in text and "req_to_token" not in text and "clip" not in text
    assert "in %seq_lens[%bs] : tensor<?xi32>" in text
    text = steps.decode_replay([["page_table_1"]])
    assert "%seq_lens" not in text and "nsa.real_page_table" not in text


def test_order_of_fields_means_nothing():
    a = steps.decode_replay([["cache_seqlens", "cu_seqlens_k"]])
    assert a == steps.decode_replay([["cu_seqlens_k", "cache_seqlens"]])


@pytest.mark.parametrize(
    "arguments, error, message",
    [
        (([["nope"]],), ValueError, "field 'nope': expected one of cache_seqlens"),
        (([[]],), ValueError, "expected at least one field"),
        (([["nsa_cache_seqlens"]],), ValueError, "argument 'topk': expected an integer"),
        (([["real_page_table"]],), ValueError, "argument 'page_size': expected an int"),
        (
            ([["cache_seqlens"]], "float32"),
            TypeError,
            "argument 'seq_lens': expected dtype int32 or int64 but got float32",
        ),
    ],
)
def test_text_errors(arguments, error, message):
    with pytest.raises(error, match=message):
        steps.decode_replay(*arguments)


@pytest.mark.parametrize(
    "change, error, message",
    [
        (dict(mode="prefill"), ValueError, "'mode': expected one of 'decode', "),
        (dict(extend_seq_lens=1), ValueError, "'extend_seq_lens': decode takes none"),
        (dict(next_n=2), ValueError, "'next_n': expected 1 in decode but got 2"),
        (dict(next_n=0), ValueError, "'next_n': expected an integer from 1 to .* got 0"),
        (dict(seq_lens=3), TypeError, "'seq_lens': expected an array but got int"),
        (
            dict(seq_lens=np.zeros((2, 2), np.int64)),
            ValueError,
            "'seq_lens': expected 1 dimension but got 2",
        ),
        (dict(req_to_token=None), TypeError, "'req_to_token': missing"),
        (dict(max_len=None), TypeError, "'max_len': missing"),
    ],
)
def test_replay_errors(change, error, message):
    arguments = dict(
        dsts=[{"page_table_1": np.zeros((2, 4), np.int32)}],
        seq_lens=np.zeros(2, np.int64),
        req_pool_indices=np.zeros(2, np.int64),
        req_to_token=np.zeros((3, 4), np.int32),
        max_len=4,
    )
    with pytest.raises(error, match=message):
        ops.replay_metadata(**{**arguments, **change})


@pytest.mark.skipif(not nsa.has_compiler(), reason="built without the compiler")
def test_replay_asks_for_its_text(monkeypatch):
    """Each combination of dtypes has its text; with the same arrays none is asked for."""
    asked = []

    def get_step(name, text, target):
        asked.append((name, text, target))
        return _cache.get_step(name, text, target)

    monkeypatch.setattr(_replay, "get_step", get_step)
    out = [np.zeros(3, np.int32) for _ in range(2)]
    dsts = [{"cache_seqlens": out[0]}, {"seqlens_expanded": out[1]}]
    for dtype in ("int32", "int64"):
        lens = np.arange(3, dtype=dtype)
        for _ in range(3):
            ops.replay_metadata(dsts, seq_lens=lens, live_only=True)
        assert out[0].tolist() == out[1].tolist() == [0, 1, 2]
        text = steps.decode_replay([["cache_seqlens"], ["seqlens_expanded"]], dtype)
        assert asked.pop() == ("decode_replay", text, "cpu") and not asked


@pytest.mark.skipif(not nsa.has_compiler(), reason="built without the compiler")
def test_replay_of_fewer_requests():
    """`bs` may be less than there is room for; nothing past it is read or written."""
    lens = np.array([3, 9, 5], np.int64)
    out = {"cache_seqlens": np.full(3, -7, np.int32), "cu_seqlens_k": np.full(4, -7, np.int32)}
    ops.replay_metadata([out], seq_lens=lens, bs=2)
    assert out["cache_seqlens"].tolist() == [3, 9, -7]
    assert out["cu_seqlens_k"].tolist() == [0, 3, 12, -7]
    with pytest.raises(ValueError, match="'seq_lens': expected shape.* at least 4"):
        ops.replay_metadata([out], seq_lens=lens, bs=4)
    # A step that has no use for the lengths knows bs all the same.
    table = np.arange(12, dtype=np.int32).reshape(3, 4)
    pages = {"page_table_1": np.full((3, 4), -7, np.int32)}
    ops.replay_metadata(
        [pages], seq_lens=lens[:2], req_pool_indices=lens * 0, req_to_token=table, max_len=4
    )
    assert pages["page_table_1"][:, 0].tolist() == [0, 0, -7]


@pytest.mark.skipif(not nsa.has_compiler(), reason="built without the compiler")
def test_replay_on_the_host():
    """One small run through everything; the compiler's own tests do the numerics."""
    lens = np.array([3, 0, 5], np.int64)
    pool = np.array([1, 0, 2], np.int64)
    table = np.arange(24, dtype=np.int32).reshape(3, 8)
    dsts = [
        dict(
            cache_seqlens=np.full(4, -7, np.int32),
            cu_seqlens_k=np.full(5, -7, np.int32),
            nsa_cache_seqlens=np.full(4, -7, np.int32),
            page_table_1=np.full((3, 9), -7, np.int32),
            real_page_table=np.full((3, 4), -7, np.int32),
        )
        for _ in range(2)
    ]
    ops.replay_metadata(
        dsts,
        seq_lens=lens,
        req_pool_indices=pool,
        req_to_token=table,
        max_len=6,
        topk=4,
        page_size=4,
    )
    for dst in dsts:
        assert dst["cache_seqlens"].tolist() == [3, 0, 5, -7]
        assert dst["cu_seqlens_k"].tolist() == [0, 3, 3, 8, -7]
        assert dst["nsa_cache_seqlens"].tolist() == [3, 0, 4, -7]
        assert np.array_equal(dst["page_table_1"][:, :6], table[pool, :6])
        assert (dst["page_table_1"][:, 6:] == -7).all()
        assert np.array_equal(dst["real_page_table"][:, :2], table[pool, :6:4] // 4)
        assert (dst["real_page_table"][:, 2:] == -7).all()
