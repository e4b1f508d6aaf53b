# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Ragged compressed rows, and indices with given windows, element by element."""

from __future__ import annotations

from typing import Any

import numpy as np

import nsa
from nsa._ragged_prefill import OUTPUTS, GivenWindows, RaggedRows

FILL = -77
PAGE, WINDOW = 256, 128
#: (window, ratio, topk, are there indices, are there positions)
COMBINES = [(128, 1, 512, True, True), (128, 2, 40, True, False), (100, 4, 64, False, True),
            (128, 4, 0, False, False)]  # fmt: skip


def draw_starts(rng: np.random.Generator, bs: int) -> np.ndarray:
    counts = np.where(rng.random(bs) < 0.3, 0, rng.integers(0, 9, bs))
    return (np.concatenate([[0], np.cumsum(counts)]) + int(rng.choice([0, 5]))).astype(np.int32)


def run_rows(ratio: int, seed: int, small: bool = False, gpu: Any = None) -> None:
    """Hostile where `seed` is odd."""
    place = gpu.asarray if gpu else lambda array: array
    fetch = gpu.asnumpy if gpu else lambda array: array
    rng = np.random.default_rng(seed)
    bs = int(rng.choice([1, 3] if small else [0, 1, 2, 20]))
    starts = draw_starts(rng, bs)
    n = int(starts[-1] - starts[0])
    lens = np.where(rng.random(bs) < 0.4, rng.choice([0, 1, 3, 4, 255, 256, 257], bs),
                    rng.integers(0, 900, bs))  # fmt: skip
    extends = np.diff(starts).astype(np.int64)
    table = rng.integers(0, 99, (n, 4)).astype(np.int32)
    room = int((np.maximum(lens, 0) // ratio).sum()) + int(rng.choice([0, 3]))
    if seed % 2:
        lens[rng.random(bs) < 0.2] = rng.choice([-5, 2**31 - 1, 2000])
        extends[rng.random(bs) < 0.2] = rng.choice([-200, 2**31 - 1])
        table[rng.random(table.shape) < 0.2] = rng.choice([-1, -(2**31)])
        room = int(rng.choice([0, 100, 3000]))
    per_page = PAGE // ratio
    counts = [max(int(x), 0) // ratio for x in lens]
    gathers = [max(min(int(x), int(e) + WINDOW - 1), 0) for x, e in zip(lens, extends)]
    ids: list[int] = []
    for b, count in enumerate(counts):
        row = min(int(starts[b] - starts[0]), n - 1)
        for i in range(min(count, room - len(ids))):
            inside = n > 0 and i // per_page < table.shape[1]
            page = int(table[row, i // per_page]) if inside else -1
            ids.append(page * per_page + i % per_page if page >= 0 else 0)
    wanted = {
        "out_ids": ids + [FILL] * (room - len(ids)),
        "out_base": [sum(counts[:b]) for b in range(bs)] + [FILL],
        "out_swa_base": [sum(counts) + sum(gathers[:b]) for b in range(bs)] + [FILL],
        "out_lens": counts + [FILL],
    }
    outs = {name: place(np.full(len(value), FILL, np.int32)) for name, value in wanted.items()}
    nsa.ops.build_ragged_compressed_ids(
        place(table), place(starts), place(lens), outs["out_ids"], ratio, PAGE,
        extend_seq_lens=place(extends), window=WINDOW,
        **{name: array for name, array in outs.items() if name != "out_ids"},
    )  # fmt: skip
    for name, value in wanted.items():
        image = np.array(value, np.int64).astype(np.int32)
        np.testing.assert_array_equal(fetch(outs[name]), image, err_msg=name)


def run_combine(case: tuple, seed: int, small: bool = False, gpu: Any = None) -> None:
    """Hostile where `seed` is odd."""
    window, ratio, topk, has_topk_indices, has_query_pos = case
    place = gpu.asarray if gpu else lambda array: array
    fetch = gpu.asnumpy if gpu else lambda array: array
    rng = np.random.default_rng(seed)
    bs = int(rng.choice([1, 3] if small else [0, 1, 2, 20]))
    starts = draw_starts(rng, bs)
    owned = int(starts[-1] - starts[0])
    n = owned + int(rng.choice([0, 3]))
    lens = rng.integers(0, 900, bs)
    positions = rng.integers(0, 900, n).astype(np.int32)
    swa_lengths = rng.integers(0, window + 1, n).astype(np.int32)
    swa_indices = rng.integers(-1, 5000, (n, window)).astype(np.int32)
    topk_indices = rng.integers(-1, 5000, (n, topk + 1)).astype(np.int32)
    bases = rng.integers(0, 10**6, (2, bs)).astype(np.int32)
    if seed % 2:
        positions[rng.random(n) < 0.3] = rng.choice([-1, -9, 2**31 - 1, -(2**31)])
        lens[rng.random(bs) < 0.2] = rng.choice([-1, 2**31 - 1, 10**6])
        swa_lengths[rng.random(n) < 0.2] = rng.choice([-1, window + 1, 2**31 - 1])
        swa_indices, topk_indices = swa_indices[: n - 1], topk_indices[: n - 1]
    width = -(-(topk + window) // 128) * 128
    wanted, wanted_lens = np.full((n, width), -1, np.int32), np.zeros(n, np.int32)
    for t in range(owned):
        b = int(np.searchsorted(starts, starts[0] + t, "right")) - 1
        pos = int(lens[b]) - (int(starts[b + 1] - starts[0]) - t)
        if has_query_pos:
            pos = int(positions[t])
        k = min(max((pos + 1) // ratio, 0), topk)
        w = min(max(int(swa_lengths[t]), 0), window)
        row = []
        for j in range(k):
            chosen = j
            if has_topk_indices:
                chosen = int(topk_indices[t, j]) if t < len(topk_indices) else -1
            row.append(chosen + int(bases[0, b]) if chosen >= 0 else -1)
        for j in range(w):
            inner = int(swa_indices[t, j]) if t < len(swa_indices) else -1
            row.append(inner + int(bases[1, b]) if inner >= 0 else -1)
        wanted[t, : k + w], wanted_lens[t] = row, k + w
    out, out_lens = (place(np.full(shape, FILL, np.int32)) for shape in ((n + 1, width), n + 1))
    nsa.ops.combine_topk_swa_indices(
        place(topk_indices) if has_topk_indices else None, place(starts), place(lens), None,
        place(bases[0]), place(bases[1]), window, ratio, topk, out, out_lens,
        query_pos=place(positions) if has_query_pos else None,
        swa_indices=place(swa_indices), swa_lengths=place(swa_lengths),
    )  # fmt: skip
    np.testing.assert_array_equal(fetch(out)[:n], wanted)
    np.testing.assert_array_equal(fetch(out_lens)[:n], wanted_lens)
    assert np.all(fetch(out)[n:] == FILL)
    assert np.all(fetch(out_lens)[n:] == FILL)


def texts() -> set[str]:
    """The steps that the GPU test asks for."""
    rows = {
        RaggedRows(
            ratio, PAGE, WINDOW, dict.fromkeys(("seq_lens", "extend_seq_lens"), "int64")
        )
        .write(OUTPUTS)
        .s.text
        for ratio in (1, 2, 4)
    }
    return rows | {GivenWindows(*case, {"seq_lens": "int64"}).s.text for case in COMBINES}
