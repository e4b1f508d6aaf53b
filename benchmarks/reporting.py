# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What the benchmarks have in common: arguments, the machine, tables and results."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from collections.abc import Iterable, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import torch
import triton
from harness import Timing
from peers import SGLang, SparsePrefill

import nsa

ROOT = Path(__file__).resolve().parent.parent


def argument_parser(
    description: str | None, *, needs_peer: bool = False
) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(description or "").splitlines()[0])
    parser.add_argument(
        "--sglang", type=Path, required=needs_peer, help="folder with the unpacked wheel"
    )
    parser.add_argument(
        "--out", type=Path, default=Path(os.environ.get("OUT", ROOT / "build/bench"))
    )
    parser.add_argument("--rounds", type=int, default=40, help="replays of each graph")
    return parser


def peer_parser(description: str | None, quick: str) -> argparse.ArgumentParser:
    """For what is compared with the peer, field by field, before it is timed."""
    parser = argument_parser(description)
    parser.set_defaults(sglang=ROOT / ".peers/sglang")
    parser.add_argument("--check", action="store_true", help="compare, and time nothing")
    parser.add_argument("--quick", action="store_true", help=quick)
    parser.add_argument("--json", type=Path, help="where results go, besides --out")
    return parser


def has_device(benchmark: str) -> bool:
    """Says so if there is no GPU; else gives the benchmark a stream of its own.

    A launch on the legacy default stream would wait for all others.
    """
    if not torch.cuda.is_available():
        print(f"{benchmark}: no CUDA device; the benchmarks need one", file=sys.stderr)
        return False
    torch.cuda.set_stream(torch.cuda.Stream())
    return True


def machine(
    sglang: SGLang | Sequence[SparsePrefill] | None, chip: str = "sm_80"
) -> dict[str, Any]:
    releases = sglang if isinstance(sglang, Sequence) else [sglang] if sglang else []
    return {
        "device": torch.cuda.get_device_name(),
        "cuda": torch.version.cuda,
        "torch": torch.__version__,
        "triton": triton.__version__,
        "python": platform.python_version(),
        "sglang": " and ".join(release.version for release in releases) or None,
        "nsa": nsa.__version__,
        "chip": chip,
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }


def headline(title: str, result: dict[str, Any]) -> str:
    about = ", ".join(f"{name} {value}" for name, value in result["machine"].items())
    return f"{title}: {about}\n"


def as_json(timings: dict[str, Timing]) -> dict[str, dict[str, float]]:
    return {name: vars(timing) for name, timing in timings.items()}


def medians(row: dict[str, Any], key: str = "gpu_us") -> dict[str, float]:
    return {name: timing["median"] for name, timing in row[key].items()}


def markdown(title: str, heads: Iterable[str], rows: Iterable[Iterable[Any]]) -> str:
    """A table; floats get two places, None an empty cell."""

    def cell(value: Any) -> str:
        if value is None:
            return ""
        return f"{value:.2f}" if isinstance(value, float) else str(value)

    heads = list(heads)
    lines = [f"**{title}**", "", "| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    lines += ["| " + " | ".join(map(cell, row)) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def verdict(what: str, value: float, bar: float, least: bool = True) -> str:
    """A line that says whether a bar is met."""
    met = value >= bar if least else value <= bar
    sense = "at least" if least else "at most"
    return f"- {what}: {value:.2f}, {sense} {bar:g}: {'met' if met else 'MISSED'}"


def save(
    result: dict[str, Any], text: str, directory: Path, also: Path | None = None
) -> None:
    """NAME.json and NAME.md, by the result's name, and the results in `also`, if it is given; the
    text is printed, too."""
    directory.mkdir(parents=True, exist_ok=True)
    name = result["benchmark"]
    written = json.dumps(result, indent=1)
    for path in filter(None, (directory / f"{name}.json", also)):
        path.write_text(written)
    (directory / f"{name}.md").write_text(text.rstrip("\n") + "\n")
    print(text)
