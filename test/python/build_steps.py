# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Steps written with nsa.build that no engine has as operations, each with its formula in
NumPy: a function that makes the step's arrays, and one that computes the outputs."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from composed_cases import FILL, Case

import nsa.build as nb

WINDOW, PADDED = 100, 128
PAGE = 64
TOPK = 48


@nb.step
def window_ids(s):
    """The newest tokens of a window first, -1 up to a multiple of 64."""
    n = s.size("n")
    lens = s.input("lens", "int32", (n,))
    pool = s.input("pool", "int64", (n,))
    req_to_token = s.input("req_to_token", "int32", (None, None))

    def newest(r, k):
        slot = req_to_token[pool[r], lens[r] - 1 - k].otherwise(-1)
        return nb.where(k < WINDOW, slot, -1)

    s.output(("ids", "more_ids"), s.map((n, PADDED), newest))


def window_ids_case(rng):
    n = 37
    return dict(
        lens=rng.integers(-3, 400, n).astype(np.int32),
        pool=rng.integers(-1, 12, n),
        req_to_token=rng.integers(0, 2**31, (10, 300), np.int32),
        ids=np.zeros((n, PADDED), np.int32),
        more_ids=np.zeros((n + 2, PADDED + 3), np.int32),
    )


def window_ids_reference(lens, pool, req_to_token, **_):
    ids = np.full((len(lens), PADDED), -1, np.int32)
    rows, columns = req_to_token.shape
    for r in range(len(lens)):
        for k in range(WINDOW):
            position = int(lens[r]) - 1 - k
            if 0 <= pool[r] < rows and 0 <= position < columns:
                ids[r, k] = req_to_token[pool[r], position]
    return {"ids": ids, "more_ids": ids}


@nb.step
def slot_mapping(s):
    """Where the key of each token goes, -1 for padding rows."""
    tokens, bound = s.size("tokens"), s.size("bound")
    positions = s.input("positions", "int64", (tokens,))
    requests = s.input("requests", "int32", (tokens,))
    block_table = s.input("block_table", "int32", (None, None))

    def slot(t):
        position = positions[t].otherwise(-1)
        block = block_table[requests[t].otherwise(-1), position // PAGE].otherwise(-1)
        inside = block.astype("int64") * PAGE + position % PAGE
        return nb.where(block >= 0, inside, -1)

    s.output("slots", s.map(bound, slot))


def slot_mapping_case(rng):
    tokens, bound = 200, 256
    return dict(
        positions=rng.integers(-70, 1000, tokens),
        requests=rng.integers(-1, 9, tokens).astype(np.int32),
        block_table=rng.integers(-1, 5000, (8, 15), np.int32),
        slots=np.zeros(bound + 3, np.int64),
        bound=bound,
    )


def slot_mapping_reference(positions, requests, block_table, bound, **_):
    slots = np.full(bound, -1, np.int64)
    rows, columns = block_table.shape
    for t, (position, request) in enumerate(zip(positions, requests)):
        page = position // PAGE
        if 0 <= request < rows and 0 <= page < columns:
            block = block_table[request, page]
            if block >= 0:
                slots[t] = block * PAGE + position % PAGE
    return {"slots": slots}


@nb.step
def valid_entries(s):
    """How many entries of each row of an index table are one, and of all rows."""
    rows = s.size("rows")
    table = s.input("table", "int32", (rows, None))
    counts = s.count((rows, table.shape[1]), lambda r, c: table[r, c] >= 0)
    s.output("counts", counts)
    s.output("total", s.sum(counts))
    s.output("most", s.max(counts))
    s.output("least", s.min(counts))


def valid_entries_case(rng):
    table = rng.integers(0, 9, (33, 300), np.int32)
    table[rng.random(table.shape) < rng.random((33, 1))] = -1
    table[5] = -1
    one = lambda: np.zeros(1, np.int32)  # noqa: E731
    return dict(
        table=table, counts=np.zeros(40, np.int32), total=one(), most=one(), least=one()
    )


def valid_entries_reference(table, **_):
    counts = (table >= 0).sum(1).astype(np.int32)
    return {
        "counts": counts,
        "total": counts.sum(keepdims=True),
        "most": counts.max(keepdims=True),
        "least": counts.min(keepdims=True),
    }


@nb.step
def owners(s):
    """The request of each query, and the first and the last key that it may see."""
    bs, queries = s.size("bs"), s.size("queries")
    counts = s.input("counts", "int32", (bs,))
    lens = s.input("lens", "int32", (bs,))
    starts = s.scan(counts)
    keys = s.scan(lens)

    owner = s.map(queries, lambda q: starts.search(q) - 1, dtype="int32")

    def last(q):
        b = owner[q]
        seen = lens[b].otherwise(0) - counts[b].otherwise(0)
        seen = seen + q.astype("int32") - starts[b].otherwise(0) + 1
        return keys[b].otherwise(0) + nb.maximum(seen, 0)

    s.output("owner", owner)
    s.output("first_key", s.map(queries, lambda q: keys[owner[q]].otherwise(0)))
    s.output("last_key", s.map(queries, last))


def owners_case(rng):
    bs = 23
    counts = rng.integers(0, 9, bs).astype(np.int32)
    counts[3:6] = 0
    queries = int(counts.sum())
    new = lambda: np.zeros(queries, np.int32)  # noqa: E731
    return dict(
        counts=counts,
        lens=counts + rng.integers(0, 99, bs).astype(np.int32),
        queries=queries,
        owner=new(),
        first_key=new(),
        last_key=new(),
    )


def owners_reference(counts, lens, queries, **_):
    owner = np.repeat(np.arange(len(counts), dtype=np.int32), counts)
    first = np.cumsum(np.append(0, lens))[owner].astype(np.int32)
    within = np.arange(queries) - np.cumsum(np.append(0, counts))[owner]
    last = first + lens[owner] - counts[owner] + within + 1
    return {"owner": owner, "first_key": first, "last_key": last.astype(np.int32)}


@nb.step
def compacted(s):
    """The valid entries of each row at its front, in order, and their number."""
    rows = s.size("rows")
    table = s.input("table", "int32", (rows, TOPK))
    flags = s.map((rows, TOPK), lambda r, c: nb.where(table[r, c] >= 0, 1, 0))
    ranks = s.scan(flags, inclusive=True)

    def entry(r, m):
        # Before the m-th valid entry are those columns whose sums are at most m.
        column = ranks.search(m, row=r)
        return table[r, column].otherwise(-1)

    s.output("front", s.map((rows, TOPK), entry))
    s.output("count", s.sum(flags))


def compacted_case(rng):
    table = rng.integers(0, 999, (29, TOPK), np.int32)
    table[rng.random(table.shape) < 0.5] = -1
    table[4], table[7] = -1, 3
    return dict(table=table, front=np.zeros((29, TOPK), np.int32), count=np.zeros(29, np.int32))


def compacted_reference(table, **_):
    front = np.full_like(table, -1)
    for row, entries in zip(front, table):
        valid = entries[entries >= 0]
        row[: len(valid)] = valid
    return {"front": front, "count": (table >= 0).sum(1).astype(np.int32)}


@nb.step
def mixed(s):
    """Maps of named operations, and named operations of maps."""
    bs, columns = s.size("bs"), s.size("columns")
    lens = s.input("lens", "int64", (bs,))
    pool = s.input("pool", "int32", (bs,))
    req_to_token = s.input("req_to_token", "int32", (None, None))
    length = s.seqlens(lens, 1)
    padded = s.map(bs, lambda b: nb.ceildiv(length[b], 8) * 8)
    table = s.page_table(req_to_token, pool, columns)
    pages = s.real_page_table(table, 4)
    sums = s.cu_seqlens(s.clip_seqlens(padded, 40))
    s.output("sums", sums)
    s.output("span", s.map(bs, lambda b: sums[b + 1] - sums[b]))
    s.output(
        "newest", s.map((bs, columns), lambda b, c: table[b, columns - 1 - c].otherwise(0))
    )
    # The sizes of an operation's result are sizes.
    s.output("twice", s.map(pages.shape, lambda b, j: pages[b, j] * 2 + length[b]))


def mixed_case(rng):
    bs, columns = 19, 30
    new = lambda *shape: np.zeros(shape, np.int32)  # noqa: E731
    return dict(
        lens=rng.integers(0, 60, bs),
        pool=rng.integers(0, 7, bs).astype(np.int32),
        req_to_token=rng.integers(0, 2**20, (7, 33), np.int32),
        columns=columns,
        sums=new(bs + 1),
        span=new(bs),
        newest=new(bs, columns),
        twice=new(bs, 8),
    )


def mixed_reference(lens, pool, req_to_token, columns, **_):
    length = (lens + 1).astype(np.int32)
    clipped = np.minimum(-(-length // 8) * 8, 40)
    table = req_to_token[pool, :columns]
    return {
        "sums": np.cumsum(np.append(0, clipped)).astype(np.int32),
        "span": clipped,
        "newest": table[:, ::-1],
        "twice": table[:, ::4] // 4 * 2 + length[:, None],
    }


@nb.step
def parts(s):
    """Parts of 40 tokens and the rest of the request that they end in: each begins where the
    one before ends."""
    n, workers = s.size("n"), s.size("workers")
    counts = s.input("counts", "int32", (n,))
    ends = s.scan(s.map(n, lambda b: nb.maximum(counts[b], 0)))

    def end(i, begin):
        goal = begin + 40
        return ends[ends.search(goal - 1)].otherwise(ends[n])

    begins = s.iterate(workers, end, dtype="int32")
    s.output("begins", begins)
    s.output("sizes", s.map(workers, lambda i: begins[i + 1] - begins[i]))
    s.output("longest", s.max(s.map(workers, lambda i: begins[i + 1] - begins[i])))


def parts_case(rng):
    n, workers = 23, 7
    return dict(
        counts=rng.integers(-2, 30, n).astype(np.int32),
        begins=np.zeros(workers + 1, np.int32),
        sizes=np.zeros(workers, np.int32),
        longest=np.zeros(1, np.int32),
        workers=workers,
    )


def parts_reference(counts, workers, **_):
    begins, request, left = [0], 0, list(np.maximum(counts, 0))
    for _ in range(workers):
        taken = 0
        while taken < 40 and request < len(left):
            taken += left[request]
            request += 1
        begins.append(begins[-1] + taken)
    begins = np.array(begins, np.int32)
    sizes = np.diff(begins)
    return {"begins": begins, "sizes": sizes, "longest": sizes.max(keepdims=True)}


@nb.step
def draft_ends(s):
    """Draft ids behind the tokens that ragged rows have, in one array of all rows: as many as
    each row's request accepted, and none past the array."""
    requests = s.size("requests")
    lens = s.input("lens", "int32", (requests,))
    drafts = s.input("drafts", "int32", (requests, 4))
    accepted = s.input("accepted", "int32", (requests,))

    def taken(b):
        return nb.maximum(nb.minimum(accepted[b], 4), 0)

    rows = s.map(requests, lambda b: nb.maximum(lens[b], 0) + taken(b))
    starts = s.scan(rows)

    def end(b, j):
        return starts[b] + nb.maximum(lens[b], 0) + j

    kept = s.map((requests, 4), lambda b, j: nb.where(j < taken(b), 1, 0))
    ids = s.map((requests, 4), lambda b, j: drafts[b, j])
    places = s.map((requests, 4), end, dtype="int32")
    s.output("tokens", ids, when=kept, at=places)
    s.output("starts", starts)


def draft_ends_case(rng):
    lens, accepted = rng.integers(-1, 9, 37, np.int32), rng.integers(-1, 7, 37, np.int32)
    total = int(sum(max(n, 0) + min(max(a, 0), 4) for n, a in zip(lens, accepted)))
    return dict(
        lens=lens,
        drafts=rng.integers(0, 999, (37, 4), np.int32),
        accepted=accepted,
        # The last rows do not fit.
        tokens=np.zeros(total - 5, np.int32),
        starts=np.zeros(38, np.int32),
    )


def draft_ends_reference(lens, drafts, accepted, tokens, **_):
    filled, starts = [], [0]
    for length, row, count in zip(lens.tolist(), drafts, accepted.tolist()):
        filled += [FILL] * max(length, 0) + row[: min(max(count, 0), 4)].tolist()
        starts.append(len(filled))
    return {
        "tokens": np.array(filled[: len(tokens)], np.int32),
        "starts": np.array(starts, np.int32),
    }


STEPS = {
    step.name: (step, globals()[f"{step.name}_case"], globals()[f"{step.name}_reference"])
    for step in (window_ids, slot_mapping, valid_entries, owners, compacted, mixed, parts, draft_ends)
}


def cases(name: str) -> Iterator[Case]:
    """Arguments of a step, and what its outputs are then: what it leaves alone is FILL."""
    step, make, reference = STEPS[name]
    for seed in range(3):
        arguments = make(np.random.default_rng(seed))
        wanted = {}
        for output, value in reference(**arguments).items():
            wanted[output] = np.full_like(arguments.pop(output), FILL)
            wanted[output][tuple(slice(size) for size in value.shape)] = value
        yield Case(name, step.text, arguments, wanted)


def texts() -> set[str]:
    return {step.text for step, _, _ in STEPS.values()}
