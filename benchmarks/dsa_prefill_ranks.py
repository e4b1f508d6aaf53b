# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What ranks of context parallelism have of an eager DSA extend: SGLang's backend beside nsa."""

from __future__ import annotations

from typing import Any

import dsa_prefill_peer
import torch
from dsa_prefill_steps import INPUT_DTYPES, OWNERS, Case

from nsa import ops

#: Of so many ranks, this one.
RANKS = ((2, 0), (3, 2), (8, 5))
FILL = -77


def share(extends: list[int], ranks: int, rank: int) -> dict[int, int]:
    """How many rows a rank has of each request that it has rows of."""
    counts, row = {}, 0
    for b, extend in enumerate(extends):
        count = len(range(row + (rank - row) % ranks, row + extend, ranks))
        row += extend
        if count:
            counts[b] = count
    return counts


def check_rank(peer: Any, case: Case, a: dict[str, Any], ranks: int, rank: int) -> int:
    """How many fields were compared. Raises ``AssertionError`` where one differs."""
    lens, extends = a["lens"], a["extends"]
    counts = share(extends, ranks, rank)
    longest = max((lens[b] for b in counts), default=1)
    of_rank = [lens[b] for b in counts]
    shapes = case.outputs(of_rank, list(counts.values()))
    whole = case.outputs(lens, extends)
    made = {}
    for name in case.rank_fields:
        if name in OWNERS:
            shape, dtype = whole["pool_id"][0], "int8" if "mask" in name else "int32"
        else:
            shape, dtype = shapes[name.removeprefix("rank_")]
        device = a["seq_lens"].device
        made[name] = torch.full(shape, FILL, dtype=getattr(torch, dtype), device=device)
    given = {name: a[name] for name in INPUT_DTYPES}
    arguments = case.arguments(lens, extends) | {"max_len": longest}
    ops.dsa_prefill(made, **given, **arguments, ranks=ranks, rank=rank, rank_bs=len(counts))
    theirs = dsa_prefill_peer.sequence(peer, case, a, ranks, rank)()
    assert theirs.dsa_extend_seq_lens_list == list(counts.values())
    for name, mine in made.items():
        other = dsa_prefill_peer.field(theirs, name.removeprefix("rank_"))
        # A mask has bytes of ours.
        same = mine.dtype == other.dtype or mine.dtype == torch.int8
        if not same or not torch.equal(mine, other.to(mine.dtype)):
            raise AssertionError(f"{case.name}, rank {rank} of {ranks}: {name} differs")
    return len(made)
