# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Random batches of every schedule on the host, against whole-array formulas.

    python test/python/schedule_random.py [--count N] [--seed N]

Draws as many batches of each convention, layout and architecture (N in all), and raises
``AssertionError`` that names the kind and the seed of the first that differs.
"""

from __future__ import annotations

import argparse

import flashmla_cases
import numpy as np
import topk_plan_cases
from schedule_cases import CONVENTIONS, FORWARD, SPLITS

import nsa

#: The longest request of a batch.
LONGEST = (1, 3, 100, 700, 5_000, 40_000, 131_072, 2**31 - 1)


def lengths(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Of one magnitude; some batches have requests that are empty, negative or alike."""
    longest = int(rng.choice(LONGEST))
    lens = rng.integers(-(longest // 8), longest, shape, endpoint=True)
    if rng.random() < 0.2:
        lens[:] = longest
    if rng.random() < 0.3:
        lens = np.where(rng.random(shape) < 0.5, 0, lens)
    return lens.astype(np.int32)


def paged_mqa(lens: np.ndarray, convention: str, slots: int) -> np.ndarray:
    """[slots + 1, 2], all rows at once."""
    bs, next_n = lens.shape
    per_item, halves, cost = 1, 1, 1
    if convention == "jit":
        of = lens.ravel()
    else:
        of = lens[:, -1]
    if convention in ("sm90", "sm120"):
        halves = cost = -(-next_n // 2)
    elif convention in ("sm100", "vllm_sm100"):
        per_item = next_n
        cost = next_n if convention == "sm100" else 8 * -(-next_n // 4) + next_n
    splits = -(-np.maximum(of.astype(np.int64), 0) // SPLITS[convention])
    ends = np.cumsum(splits * cost)
    total = int(ends[-1]) if len(ends) else 0
    each, rest = divmod(total, slots)
    slot = np.arange(slots + 1)
    more = np.minimum(slot, rest)
    if convention not in FORWARD:
        more = np.maximum(slot - (slots - rest), 0)
    place = slot * each + more
    item = np.searchsorted(ends, place, "right")
    is_item = item < len(ends)
    rows = np.stack([np.full(slots + 1, len(ends) * per_item * halves), 0 * slot], 1)
    item, place = item[is_item], place[is_item]
    offset = place - ends[item] + splits[item] * cost
    if convention in ("sm90", "sm120"):
        here = splits[item]
        rows[is_item] = np.stack([item * halves + offset // here, offset % here], 1)
    else:
        rows[is_item] = np.stack([item * per_item, offset // cost], 1)
    return rows


def topk_plan(lens: np.ndarray, arch: str) -> np.ndarray:
    """[listed + 1, 2]"""
    limits = np.array(list(topk_plan_cases.TABLES[arch]))
    most = np.array(list(topk_plan_cases.TABLES[arch].values()))
    above = np.flatnonzero((lens[:, None] > limits).sum(0) > most)
    number = 0 if len(above) == 0 else min(above[-1] + 1, len(limits) - 1)
    threshold = max(int(limits[number]), 32768)
    listed = np.flatnonzero(lens > threshold)
    return np.concatenate([[[threshold, len(listed)]], np.stack([listed, lens[listed]], 1)])


def flashmla(lens: np.ndarray, parts: int, sparse: bool) -> tuple[np.ndarray, np.ndarray]:
    """Part by part where they begin, all else at once; blocks of 64, an overhead of 5."""
    entries = np.maximum(lens.astype(np.int64), int(sparse))
    blocks = np.maximum(-(-entries // 64), 1)
    starts = np.concatenate([[0], np.cumsum(blocks + 5)])
    bs, total = len(lens), int(starts[-1])
    share = -(-total // parts)
    begins, asked = [0], starts.tolist()
    for _ in range(parts):
        even = begins[-1] + share
        if even + 5 >= total:
            begins.append(total)
        else:
            place = int(np.searchsorted(starts, even + 5, "right")) - 1
            begins.append(max(even, asked[place]))
    begin = np.array(begins)
    request = np.minimum(np.searchsorted(starts, begin, "right") - 1, bs)
    block = begin - starts[request]
    inside = (block > 0).astype(int)
    owned = np.bincount(request[inside == 1], minlength=bs + 1)[: bs + 1]
    splits = np.arange(bs + 1) + np.concatenate([[0], np.cumsum(owned)[:-1]])
    first, k, is_cut = request[:-1], block[:-1], block[1:] > 0
    last = np.where(is_cut, request[1:], request[1:] - 1)
    has = (last >= 0) & (np.append(entries, 0)[last] > 0)
    ends = np.append(blocks, 0)[last]
    stop = np.where(is_cut, block[1:], np.where(has, ends, 0))
    before = np.searchsorted(begin, starts[first], "right")
    split = np.where(k > 0, np.arange(1, parts + 1) - before, 0)
    cuts = np.stack([k > 0, has & (stop != ends)])
    cuts = np.where(first == last, cuts.any(0), cuts)
    return np.stack([first, last, k, stop, split, *cuts, 0 * k], 1), splits


KINDS = (
    *(("paged_mqa", name) for name in CONVENTIONS),
    *(("topk_plan", arch) for arch in topk_plan_cases.TABLES),
    ("flashmla", "dense"),
    ("flashmla", "sparse"),
)


def check(kind: str, name: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    said = f"{kind}, {name}, seed {seed}"
    if kind == "topk_plan":
        lens = rng.integers(0, rng.choice([40_000, 200_000, 600_000]), rng.integers(2, 513))
        lens = lens.astype(np.int32)
        out = np.full((len(lens) + 1, 2), -7, np.int32)
        nsa.ops.plan_topk(lens, out, clusters=1, arch=name)
        wanted = topk_plan(lens, name)
        np.testing.assert_array_equal(out[: len(wanted)], wanted, said)
        assert (out[len(wanted) :] == -7).all(), said
        return
    slots, bs = int(rng.choice([1, 2, 33, 64, 132, 148])), int(rng.integers(0, 300))
    if kind == "paged_mqa":
        lens = lengths(rng, (bs, int(rng.integers(1, 3))))
        out = np.full((slots + 1, 2), -7, np.int32)
        nsa.ops.paged_mqa_schedule(
            lens, out, convention=name, num_sms=slots, next_n=lens.shape[1]
        )
        np.testing.assert_array_equal(out, paged_mqa(lens, name, slots), said)
        return
    lens = lengths(rng, (bs + 1,))
    rows = np.full((slots, 8), flashmla_cases.UNTOUCHED, np.int32)
    splits = np.full(len(lens) + 1, flashmla_cases.UNTOUCHED, np.int32)
    nsa.ops.flashmla_schedule(lens, rows, splits, sparse=name == "sparse")
    for made, wanted in zip((rows, splits), flashmla(lens, slots, name == "sparse")):
        np.testing.assert_array_equal(made, wanted, said)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    for number in range(given.count):
        check(*KINDS[number % len(KINDS)], given.seed + number)
    print(f"{given.count} batches are as they should be")


if __name__ == "__main__":
    main()
