# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Schedules of paged MQA logits: lengths, what becomes of them, and what their consumers do."""

from __future__ import annotations

import numpy as np

from nsa import _paged_mqa

SPLITS = {
    "jit": 256, "sm90": 256, "sm100": 256, "sm120": 128, "vllm_sm90": 256, "vllm_sm100": 384,
    "gen1": 256,
}  # fmt: skip
CONVENTIONS = tuple(SPLITS)
FORWARD = ("sm100", "vllm_sm100", "gen1")
EDGES = (0, 1, 127, 128, 129, 255, 256, 257, 383, 384, 385, 511, 512, 513, -3, 100_000)


def items_of(
    lens: np.ndarray, convention: str, indices: np.ndarray | None = None
) -> list[tuple[int, int, int]]:
    """(first token, tokens, length) of each item; for jit a token is a length."""
    bs, next_n = lens.shape
    if convention == "jit":
        return [(j, 1, int(length)) for j, length in enumerate(lens.ravel())]
    if indices is None:
        return [(b * next_n, next_n, int(lens[b, -1])) for b in range(bs)]
    items, start = [], 0
    for t in range(bs):
        if t + 1 == bs or indices[t + 1] != indices[t]:
            items.append((start, t + 1 - start, int(lens[t, 0])))
            start = t + 1
    return items


def units_of(
    lens: np.ndarray, convention: str, split: int, indices: np.ndarray | None = None
) -> np.ndarray:
    """What slots take, one by one, [units, 2]: what a row says that begins there."""
    units = [np.zeros((0, 2), np.int64)]
    for number, (start, tokens, length) in enumerate(items_of(lens, convention, indices)):
        splits = np.arange(-(-max(length, 0) // split))
        if convention in ("sm90", "sm120"):
            halves = -(-tokens // 2)
            rows = np.repeat(number * halves + np.arange(halves), len(splits))
            units.append(np.stack([rows, np.tile(splits, halves)], 1))
            continue
        cost = 1
        if convention == "sm100":
            cost = tokens
        if convention == "vllm_sm100":
            cost = 8 * -(-tokens // 4) + tokens
        row = start if convention in FORWARD[:2] else number
        rows = np.full(len(splits) * cost, row)
        units.append(np.stack([rows, np.repeat(splits, cost)], 1))
    return np.concatenate(units)


def end_of(lens: np.ndarray, convention: str) -> int:
    bs, next_n = lens.shape
    if convention in ("jit", "sm100", "vllm_sm100"):
        return bs * next_n
    return bs * (-(-next_n // 2) if convention in ("sm90", "sm120") else 1)


def reference(
    lens: np.ndarray,
    convention: str,
    slots: int,
    split: int | None = None,
    indices: np.ndarray | None = None,
) -> np.ndarray:
    """Slot by slot, with all units in a list."""
    units = units_of(lens, convention, split or SPLITS[convention], indices)
    sizes = [len(units) // slots] * slots
    rest = len(units) % slots
    for slot in range(rest):
        sizes[slot if convention in FORWARD else slots - 1 - slot] += 1
    rows = np.zeros((slots + 1, 2), np.int64)
    place = 0
    for slot in range(slots + 1):
        rows[slot] = units[place] if place < len(units) else (end_of(lens, convention), 0)
        place += sizes[slot] if slot < slots else 0
    return rows.astype(np.int32)


def in_chunks(lens: np.ndarray, convention: str, slots: int, chunk: int) -> np.ndarray:
    """[chunks, slots + 1, 2]"""
    parts = [lens[at : at + chunk] for at in range(0, len(lens), chunk)]
    rows = [reference(part, convention, slots) for part in parts]
    return np.array(rows, np.int32).reshape(-1, slots + 1, 2)


def walk(rows: np.ndarray, lens: np.ndarray, convention: str, split: int) -> list:
    """The (row, split) pairs that a consumer works on, slot by slot: it goes on from split to
    split, and to the next row that has any, until it is where the next slot begins. Raises
    ``LookupError`` where it leaves the rows."""
    next_n = lens.shape[1]
    if convention == "jit":
        lengths, step = lens.ravel(), 1
    else:
        lengths = lens[:, -1]
        step = next_n if convention in FORWARD[:2] else 1
    by_row = np.zeros((len(lengths), step), np.int64)
    by_row[:, 0] = lengths
    if convention in ("sm90", "sm120"):
        by_row = np.repeat(by_row, -(-next_n // 2), axis=1)
    splits = [-(-max(int(length), 0) // split) for length in by_row.ravel()]
    done = []
    for slot in range(len(rows) - 1):
        row, part = map(int, rows[slot])
        while (row, part) != tuple(rows[slot + 1]):
            if row == len(splits):
                raise LookupError(f"slot {slot} leaves the rows")
            if part < splits[row]:
                done.append((row, part))
                part += 1
            while row < len(splits) and part >= splits[row]:
                row, part = row + 1, 0
    return done


def draw(rng: np.random.Generator, bs: int, next_n: int, dtype: str) -> np.ndarray:
    return rng.choice(EDGES, (bs, next_n)).astype(dtype)


def draw_indices(rng: np.random.Generator, tokens: int) -> np.ndarray:
    """Runs of 1 to 9 tokens; neighbours differ, others may be equal."""
    sizes = rng.integers(1, 10, tokens)
    numbers = np.cumsum(rng.integers(1, 3, tokens)) % 5
    return np.repeat(numbers, sizes)[:tokens].astype(np.int32)


def texts() -> set[str]:
    """The steps that the GPU tests ask for."""
    options = [_paged_mqa.options_of(name, next_n=2) for name in CONVENTIONS]
    one = {_paged_mqa.text(each, "int32") for each in options}
    one |= {
        _paged_mqa.text(_paged_mqa.options_of(name), "int32", indices="int32")
        for name in ("sm100", "vllm_sm100")
    }
    chunked = {
        _paged_mqa.text(_paged_mqa.options_of(name, next_n=2, chunk=132), "int32")
        for name in CONVENTIONS
    }
    two = set()
    for name in CONVENTIONS:
        for next_n in (1, 2):
            each = _paged_mqa.options_of(name, next_n=next_n)
            two.add(_paged_mqa.text(each, "int32", many=True))
    return one | chunked | two
