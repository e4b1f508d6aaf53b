# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Results of benchmarks for tests of what is made of them, and the modules that do."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "benchmarks")]

import history  # noqa: E402
import page  # noqa: E402

__all__ = ["ROOT", "history", "page", "write"]


def write(
    folder: Path, nsa: float = 2.0, peer: float = 5.0, day: int = 1, device: str = "NVIDIA H100 80GB"
) -> Path:
    """The results of a run: one benchmark with and one without a peer."""
    folder.mkdir(exist_ok=True)
    machine = {"device": device, "date": f"2026-11-{day:02}T10:00:00+00:00", "sglang": None}
    times = {"nsa": nsa, "peer": peer, "copy": 1.0, "empty": 0.5}
    row: dict[str, Any] = {"mode": "decode", "bs": 1, "moved_bytes": 77, "odd": [1, 2]}
    row["gpu_us"] = {way: {"median": value, "p10": 0.0} for way, value in times.items()}
    replay = {"benchmark": "replay", "machine": {**machine, "sglang": "0.5.23"}, "rows": [row]}
    cost = {"benchmark": "cost", "machine": machine, "modes": ["decode"], "many": [
        {"bs": 4, "host_us": {"nsa": 3.0, "raw": 2.5}}]}  # fmt: skip
    (folder / "replay.json").write_text(json.dumps(replay))
    (folder / "cost.json").write_text(json.dumps(cost))
    (folder / "other.json").write_text("[1]")
    return folder
