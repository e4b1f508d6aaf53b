# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Compares nsa with SGLang's own functions, one by one.

    python test/python/sglang_peer_check.py [DIR] [NAME ...]

DIR: a folder that holds ``sglang/`` (scripts/fetch_peers.sh), .peers/sglang if left out. Every
array has to have the same elements; how many were compared is printed for each function. On
the host, with TRITON_INTERPRET=1, Triton interprets SGLang's kernels (with NumPy before 2.4, in
Triton 3.6), and what needs nvcc is left out.
"""

from __future__ import annotations

import os
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import sglang_peer_cases
import sglang_peer_dsa_cases
import sglang_peer_prefill_cases
import sglang_peer_rank_cases
import sglang_peer_window_cases
from sglang_peer_cases import Draw, PeerCase

from nsa import _cache

ROOT = Path(__file__).resolve().parents[2]
CASES = {
    **sglang_peer_dsa_cases.CASES,
    **sglang_peer_cases.CASES,
    **sglang_peer_window_cases.CASES,
    **sglang_peer_prefill_cases.CASES,
    **sglang_peer_rank_cases.CASES,
}
SEEDS = range(12)


def asked_texts(call: Callable[[], None]) -> set[str]:
    """The steps that a call asks for."""
    asked = set()
    get = _cache.get_module

    def recorded(text: str, *arguments: Any) -> Any:
        asked.add(text)
        return get(text, *arguments)

    _cache.get_module = recorded
    try:
        call()
    finally:
        _cache.get_module = get
    return asked


def texts() -> set[str]:
    """The steps that all cases ask for."""

    def call() -> None:
        for make in CASES.values():
            for seed in SEEDS:
                case = make(Draw(seed))
                case.ours(SimpleNamespace(**case.arrays))

    return asked_texts(call)


def place(arrays: dict[str, Any], device: str) -> SimpleNamespace:
    import torch

    return SimpleNamespace(
        **{
            name: torch.from_numpy(np.array(value)).to(device)
            if isinstance(value, np.ndarray)
            else value
            for name, value in arrays.items()
        }
    )


def sorted_rows(array: Any) -> Any:
    return array[np.lexsort(array.T[::-1])]


def pairs(case: PeerCase, peer: Any, device: str) -> Iterator[tuple[str, Any, Any]]:
    """Arrays of ours and of theirs, by name."""
    a = place(case.arrays, device)
    ours = case.ours(a)
    theirs = case.theirs(peer, a)
    for found in theirs if isinstance(theirs, list) else [theirs]:
        assert set(found) >= set(ours), "a field is missing"
        for name, mine in ours.items():
            mine, other = mine.cpu().numpy(), found[name].cpu().numpy()
            if name in case.unordered:
                mine, other = sorted_rows(mine), sorted_rows(other)
            yield name, mine, other


def check(name: str, peer: Any, device: str) -> int:
    """How many arrays were compared. Raises ``AssertionError`` where one differs."""
    count = 0
    for seed in SEEDS:
        case = CASES[name](Draw(seed))
        if case.cuda and device == "cpu":
            return 0
        for field, mine, other in pairs(case, peer, device):
            where = f"{name}, seed {seed}: {field}"
            np.testing.assert_array_equal(mine, other, err_msg=where, strict=False)
            assert mine.shape == other.shape, where
            # A mask has bytes of ours.
            same = mine.dtype == other.dtype or {mine.dtype, other.dtype} == {
                np.dtype("int8"), np.dtype("bool")
            }  # fmt: skip
            assert same, f"{where}: {mine.dtype}, not {other.dtype}"
            count += 1
    return count


def main(arguments: list[str]) -> int:
    """1 if a function differs; the others are compared all the same."""
    import sglang_peer

    failed = False
    folder = arguments[0] if arguments else ROOT / ".peers/sglang"
    device = "cpu" if os.environ.get("TRITON_INTERPRET") == "1" else "cuda"
    peer = sglang_peer.load(folder)
    for name in arguments[1:] or CASES:
        begin = time.monotonic()
        try:
            count = check(name, peer, device)
        except Exception:
            print(f"{name}: FAILED", flush=True)
            traceback.print_exc()
            failed = True
            continue
        if count:
            seconds = time.monotonic() - begin
            equal = f"{count} arrays equal to SGLang {peer.version}"
            print(f"{name}: {equal}, {seconds:.1f} s", flush=True)
        else:
            print(f"{name}: left out, it needs a GPU", flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
