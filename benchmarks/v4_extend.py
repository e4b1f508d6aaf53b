# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""An extend of V4 or V4.1 beside SGLang's backend, field for field."""

from __future__ import annotations

from typing import Any

import torch
import v4_peer
from v4_steps import (
    INDEX_PAGE, PAGE, RINGS, SWA_PAGE, TOPK, WINDOW, Case, extend_fields,
)  # fmt: skip

from nsa import ops

#: Rows of padding.
PADDING = 5


def sort_rows(plan: Any) -> Any:
    """The rows in the order of their elements."""
    for column in reversed(range(plan.shape[1])):
        plan = plan[torch.argsort(plan[:, column], stable=True)]
    return plan


class _Extend(Case):
    """Without speculation."""

    @property
    def rings(self) -> tuple[int, int]:
        return RINGS[False]


def inputs(bs: int, context: int, device: str, most: int = 40) -> dict[str, Any]:
    """Requests of one token and more, up to `most`, some of them new, some that fill the
    context."""
    slots, generator = 1 << 20, torch.Generator().manual_seed(bs)

    def draw(high: int, *shape: int) -> Any:
        return torch.randint(0, high, shape, generator=generator)

    extends = (draw(most, bs) + 1).tolist()
    lens = [
        [e, context, e + int(more)][b % 3]
        for b, (e, more) in enumerate(zip(extends, draw(context - most, bs)))
    ]
    made = {
        "seq_lens": torch.tensor(lens),
        "extend_seq_lens": torch.tensor(extends),
        "req_pool_indices": torch.randperm(2 * bs, generator=generator)[:bs] + 1,
        "req_to_token": draw(slots - 1, 2 * bs + 1, context).to(torch.int32),
        "full_to_swa": draw(slots, slots),
        "out_cache_loc": draw(slots - 1, sum(extends) + PADDING),
    }
    # What SGLang's torch functions, on the host, read for "none".
    made["full_to_swa"][-1] = -1
    placed = {name: array.to(device) for name, array in made.items()}
    return {**placed, "lens": lens, "extends": extends}


def shapes(fields: tuple[str, ...], rows: int, context: int, offsets: int) -> dict[str, Any]:
    """Shapes and dtypes of the fields."""
    columns = -(-context // PAGE)
    widths = {
        "swa_page_indices": WINDOW, "page_table": columns,
        "c128_page_indices": -(-columns * PAGE // 128 // 64) * 64,
        **{f"c{q}_sparse_page_indices": TOPK for q in (1, 2, 4)},
        **{f"c{q}_plan_c": 4 for q in (4, 128)}, **{f"c{q}_plan_w": 2 for q in (4, 128)},
    }  # fmt: skip
    found = {}
    for name in fields:
        long = name in ("req_indices", "pos_i64") or name.endswith("_out_loc")
        shape: tuple[int, ...] = (rows, widths[name]) if name in widths else (rows,)
        if name == "extend_offsets":
            shape = (2, offsets)
        found[name] = shape, torch.int64 if long else torch.int32
    return found


def ways(
    peer: Any, model: str, a: dict[str, Any], padding: int = 0, skip: tuple[str, ...] = ()
) -> dict[str, Any]:
    """SGLang's sequence for an extend, and nsa's launch, into arrays that are kept and into new
    ones, after a comparison. Raises ``AssertionError`` where a field differs. `padding`: rows
    beyond those of requests. `skip`: fields that end so are left out."""
    case, context = _Extend("target_verify", model, 2), a["req_to_token"].shape[1]
    rows, device = sum(a["extends"]) + padding, a["seq_lens"].device
    fields = tuple(n for n in extend_fields(model) if not n.endswith(skip))
    found = shapes(fields, rows, context, min(a["req_to_token"].shape[0], rows))
    names = ("seq_lens", "extend_seq_lens", "req_pool_indices", "req_to_token", "full_to_swa")
    given = {name: a[name] for name in names} | {"out_cache_loc": a["out_cache_loc"][:rows]}

    def call(made: dict[str, Any]) -> None:
        ops.replay_v4(
            [made], "extend", **given, rows=rows, num_tokens=sum(a["extends"]),
            max_len=context, topk=TOPK, page_size=PAGE, window=WINDOW,
            index_page_size=INDEX_PAGE, swa_page_size=SWA_PAGE, rings=case.rings,
        )  # fmt: skip

    def allocate() -> None:
        call({n: torch.empty(s, dtype=d, device=device) for n, (s, d) in found.items()})

    theirs = v4_peer.extend(peer, case, a, rows)
    ours = {n: torch.full(s, -77, dtype=d, device=device) for n, (s, d) in found.items()}
    call(ours)
    metadata = theirs()
    for name, mine in ours.items():
        other = v4_peer.field(metadata, name)
        if "_plan_" in name:
            mine, other = sort_rows(mine), sort_rows(other)
        if mine.shape != other.shape or not torch.equal(mine.long(), other.long()):
            raise AssertionError(f"{model} extend, {len(a['lens'])} requests: {name} differs")
    return {
        "peer": theirs, "nsa": lambda: call(ours), "nsa, allocating": allocate,
        "bytes": sum(array.nbytes for array in ours.values()), "fields": len(fields),
    }  # fmt: skip


def check_extend(
    peer: Any, model: str, bs: int, context: int, device: str = "cuda", skip: tuple[str, ...] = ()
) -> None:
    """Raises ``AssertionError`` where a field differs."""
    ways(peer, model, inputs(bs, context, device), PADDING, skip)
