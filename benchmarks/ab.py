# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""A benchmark's kernels as two compilers made them, beside each other in one run.

    python benchmarks/ab.py [--loads N] [--json FILE] OLD NEW -- BENCHMARK.py [ARGUMENT ...]

OLD and NEW are folders as NSA_BUNDLE_PATH names them, with all that the benchmark asks for. Each is loaded N times: the
same machine code lies up to 4 % apart between loads, and up to 5 % by where its arrays are, so that the two take turns at being
first, and start behind arrays of random sizes. Prints what nsa's ways take with NEW over OLD, of means over loads;
peers, copies and times on the host are left out. Benchmarks draw what they measure on with seeds of their own: else
each load has other lengths. Ends with 1 if a ratio lies above 1.02. See benchmarks/README.md.
"""

from __future__ import annotations

import argparse
import functools
import importlib
import json
import os
import random
import re
import statistics
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "benchmarks"), str(ROOT / "test/python")]

import harness  # noqa: E402
import reporting  # noqa: E402

#: What a row may take longer than before.
LIMIT = 1.02
#: Of calls that a benchmark times on the host.
ROUNDS = 20
#: Sizes of what lies before a player's arrays.
PLACES = random.Random(0)
#: Ways that are none of nsa's.
OTHERS = re.compile(r"peer|torch|copy|empty|hand|sglang|wait", re.IGNORECASE)
#: What takes the times, and peers, which can be imported once.
SHARED = {"harness", "reporting", "peers", "vllm_peer", "v4_peer", "kpool_peer", "dsa_prefill_peer"}


def is_own(name: str, module: ModuleType) -> bool:
    """Whether each player has a module for itself: nsa, whose kernels it keeps, and what
    imports it. An extension module cannot be loaded twice, and keeps no kernels."""
    file = getattr(module, "__file__", None) or ""
    if name.partition(".")[0] == "nsa":
        return not file.endswith(".so")
    of_project = any(Path(file).parent == ROOT / place for place in ("benchmarks", "test/python"))
    return of_project and name not in SHARED and name != "__main__"


class Player(threading.Thread):
    """The benchmark with one load of one folder's kernels. Players run one at a time, and each stops
    where it would measure, until all have."""

    current: Player | None = None

    def __init__(self, side: str, folder: str, benchmark: str) -> None:
        super().__init__(daemon=True)
        self.side, self.folder, self.benchmark = side, folder, benchmark
        self.modules: dict[str, ModuleType] = {}
        self.turn, self.paused = threading.Semaphore(0), threading.Semaphore(0)
        self.asked: tuple[dict[str, harness.Operation], int, bool] | None = None
        self.samples: dict[str, list[float]] = {}
        self.before: list[torch.Tensor] = []
        self.error: BaseException | None = None

    def enter(self) -> None:
        """Lets what is imported and loaded from now on be this player's."""
        if Player.current is self:
            return
        own = {name: module for name, module in sys.modules.items() if is_own(name, module)}
        if Player.current is not None:
            Player.current.modules = own
        for name in own:
            del sys.modules[name]
        sys.modules.update(self.modules)
        os.environ["NSA_BUNDLE_PATH"] = self.folder
        Player.current = self

    def run(self) -> None:
        self.turn.acquire()
        try:
            importlib.import_module(self.benchmark).main()
        except BaseException as error:  # noqa: BLE001 # said by who waits for it
            self.error = error
        self.asked = None
        self.paused.release()

    def resume(self) -> None:
        self.enter()
        # What it allocates next lies elsewhere, each time.
        self.before = [
            torch.empty(512 * PLACES.randrange(1, 1 << bits), dtype=torch.uint8, device="cuda")
            for bits in (6, 12)
        ]
        self.turn.release()
        self.paused.acquire()
        torch.cuda.synchronize()
        if self.error is not None:
            raise self.error

    def measure(
        self, operations: dict[str, harness.Operation], rounds: int, cold: bool = False
    ) -> dict[str, list[float]]:
        self.asked = operations, rounds, cold
        self.paused.release()
        self.turn.acquire()
        return self.samples

    def bound(self, operation: harness.Operation) -> harness.Operation:
        def run(repetition: int) -> object:
            self.enter()
            return operation(repetition)

        return run


def measure_together(
    players: list[Player], gpu_samples: Callable[..., dict[str, list[float]]]
) -> dict[str, dict[str, list[float]]]:
    """One call of ``harness.gpu_samples`` of all players: the medians by way and side."""
    merged: dict[str, harness.Operation] = {}
    rounds, cold = 0, False
    for number, player in enumerate(players):
        assert player.asked is not None
        operations, rounds, cold = player.asked
        for name, operation in operations.items():
            if not OTHERS.search(name):
                merged[f"{number}|{name}"] = player.bound(operation)
    found = gpu_samples(merged, rounds, cold) if merged else {}
    medians: dict[str, dict[str, list[float]]] = {}
    for number, player in enumerate(players):
        assert player.asked is not None
        # What was left out gets times that nobody reads.
        names = {name: f"{number}|{name}" for name in player.asked[0]}
        player.samples = {name: found.get(key, [1.0] * 4) for name, key in names.items()}
        for name, key in names.items():
            if key in found:
                of_side = medians.setdefault(name, {}).setdefault(player.side, [])
                of_side.append(statistics.median(found[key]))
    return medians


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--loads", type=int, default=3, choices=range(1, 17), metavar="N")
    parser.add_argument("--json", type=Path)
    parser.add_argument("old")
    parser.add_argument("new")
    parser.add_argument("benchmark", nargs="+")
    options = parser.parse_args()
    if not reporting.has_device("ab"):
        return 1
    # Its own report would be of these times.
    sys.argv = [options.benchmark[0], *options.benchmark[1:], "--out", tempfile.mkdtemp()]
    benchmark = Path(options.benchmark[0]).stem
    sides = {"old": options.old, "new": options.new}
    players = [
        Player(side, sides[side], benchmark)
        for load in range(options.loads)
        for side in (list(sides) if load % 2 == 0 else reversed(sides))
    ]

    gpu_samples = harness.gpu_samples
    nothing = harness.Timing(1.0, 1.0, 1.0)

    def of_gpu(
        ways: dict[str, Callable[[], object]], *_: Any, **__: Any
    ) -> dict[str, harness.Timing]:
        operations = {
            name: functools.partial(lambda way, _: way(), way) for name, way in ways.items()
        }
        return harness.gpu_times(operations, ROUNDS)

    patched: dict[str, Any] = {
        "gpu_samples": lambda *a, **k: threading.current_thread().measure(*a, **k),  # type: ignore[attr-defined]
        "host_time": lambda *a, **k: nothing,
        "host_times": lambda calls, *a, **k: dict.fromkeys(calls, nothing),
        "wall_times": of_gpu,
        "queued_times": of_gpu,
        "count_kernels": lambda step: 1,
    }
    for name, function in patched.items():
        setattr(harness, name, function)
    reporting.save = lambda *a, **k: None
    for name in SHARED:
        module = importlib.import_module(name)
        for key in [key for key in vars(module) if re.match(r"load(_|$)", key)]:
            setattr(module, key, functools.cache(getattr(module, key)))

    rows: list[dict[str, Any]] = []
    for player in players:
        player.start()
    number = 0
    while True:
        for player in players:
            player.resume()
        if any(player.asked is None for player in players):
            break
        for name, sides_of in measure_together(players, gpu_samples).items():
            old, new = (statistics.mean(sides_of[side]) for side in sides)
            rows.append({"benchmark": benchmark, "call": number, "way": name, **sides_of})
            mark = "  SLOWER" if new / old > LIMIT else ""
            print(
                f"{benchmark} {number} {name}: {old:.3f} {new:.3f} {new / old:.3f}{mark}",
                flush=True,
            )
        torch.cuda.empty_cache()
        number += 1
    ratios = [statistics.mean(row["new"]) / statistics.mean(row["old"]) for row in rows]
    if options.json:
        options.json.write_text(json.dumps(rows))
    if not ratios:
        print(f"ab: {benchmark} measured nothing of nsa's", file=sys.stderr)
        return 1
    print(f"{benchmark}: {len(ratios)} rows, new / old: geometric mean {statistics.geometric_mean(ratios):.3f},"
          f" from {min(ratios):.3f} to {max(ratios):.3f}")  # fmt: skip
    return int(max(ratios) > LIMIT)


if __name__ == "__main__":
    sys.exit(main())
