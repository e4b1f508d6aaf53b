# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Keeps what benchmarks measured, so that a regression shows.

    history.py keep RESULTS [--to DIR] [--label TEXT]
    history.py compare OLD.json NEW.json [--most 1.05] [--least-us 0.1]
    history.py story RECORD.json...

`keep` makes one record of the results (NAME.json of each benchmark) of one run on one card,
DIR/CARD/DATE.json, and compares it with what was measured of each benchmark before it, there or in
benchmarks/history. `compare` lists nsa's times that grew, and ends with 1 if any did; the two have to be
of one card. `story` says it in a line for each area.

A record's figures are medians in microseconds by what was measured:
BENCHMARK/bs=1,max_len=1024,mode=decode/gpu_us/nsa. `page.py` fills tables of pages with them.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import statistics
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
#: Records that are kept with the sources.
KEPT = ROOT / "benchmarks/history"
#: Ways that are not ours: their times say what the machine did.
OTHERS = re.compile(
    r"(peer|torch|copy$|copy_peer|empty|raw$|by_hand|a wait alone|neighbours|vllm|sglang)", re.I
)
#: Ways that do the same, by what an area's line calls it: nsa's and the peers', of each of which the fastest
#: counts. What copies whole tables stands beside whole ones.
SAME = {
    "": (re.compile(r"nsa(, two launches)?$"), re.compile(r"(peer$|sglang|vllm)", re.I)),
    "live columns": (re.compile(r"nsa_live$"), re.compile(r"peer(_repeated)?$")),
}
#: What parts the rows of a benchmark into areas.
AREAS = ("mode", "layout", "case")
#: Units by what the story calls them.
TIMES = {"gpu_us": "GPU", "cold_us": "GPU, cold cache", "queued_us": "GPU, queued", "wall_us": "wall",
         "host_us": "host"}  # fmt: skip

Record = dict[str, Any]


def figures_of(result: dict[str, Any]) -> Iterator[tuple[str, float]]:
    """The medians of a benchmark's result, by name."""
    for name, rows in result.items():
        if not isinstance(rows, list):
            continue
        for row in rows:
            if not isinstance(row, dict):
                continue
            labels = {
                key: value
                for key, value in row.items()
                if isinstance(value, (str, int, bool)) and not key.endswith("_bytes")
            }
            where = ",".join(f"{key}={labels[key]}" for key in sorted(labels))
            group = result["benchmark"] if name == "rows" else f"{result['benchmark']}.{name}"
            for unit, times in row.items():
                if not unit.endswith("_us") or not isinstance(times, dict):
                    continue
                for way, timing in times.items():
                    median = timing["median"] if isinstance(timing, dict) else timing
                    parts = (group, where, unit, way)
                    yield "/".join(p.replace("/", "|") for p in parts), round(float(median), 4)


def record_of(folder: Path, label: str | None) -> Record:
    """The record of a folder of results, all of one card."""
    results = []
    for path in sorted(folder.glob("*.json")):
        content = json.loads(path.read_text())
        if isinstance(content, dict) and {"benchmark", "machine"} <= content.keys():
            results.append(content)
    if not results:
        raise SystemExit(f"history: no results of benchmarks in {folder}")
    cards = sorted({result["machine"]["device"] for result in results})
    if len(cards) > 1:
        raise SystemExit(f"history: {folder} has results of several cards: {', '.join(cards)}")
    machine = {**results[0]["machine"], "date": max(r["machine"]["date"] for r in results)}
    for result in results:
        # A benchmark without the peer does not say its version.
        machine |= {k: v for k, v in result["machine"].items() if v and not machine.get(k)}
    figures: dict[str, float] = {}
    for result in results:
        figures |= dict(figures_of(result))
    return {"machine": machine, "label": label, "figures": figures}


def compare(old: Record, new: Record, most: float, least_us: float) -> tuple[list[str], bool]:
    """What became slower or faster of ours, and whether anything became slower."""
    cards = old["machine"]["device"], new["machine"]["device"]
    if cards[0] != cards[1]:
        raise SystemExit(f"history: records of two cards: {cards[0]} and {cards[1]}")
    before, after = old["figures"], new["figures"]
    common = [name for name in before if name in after and before[name] > 0 < after[name]]
    ours = [name for name in common if not OTHERS.match(name.rpartition("/")[2])]
    changed: dict[bool, list[tuple[float, str]]] = {True: [], False: []}
    for name in ours:
        ratio, difference = after[name] / before[name], after[name] - before[name]
        if abs(difference) > least_us and not 1 / most <= ratio <= most:
            text = f"{name}: {before[name]:.2f} -> {after[name]:.2f} us, x {ratio:.2f}"
            changed[ratio > 1].append((ratio, text))
    lines = [f"{cards[0]}, {old['machine']['date']} to {new['machine']['date']}"]
    for title, names in (("nsa", ours), ("others", [n for n in common if n not in set(ours)])):
        if names:
            logs = [math.log(after[name] / before[name]) for name in names]
            mean = math.exp(sum(logs) / len(logs))
            lines.append(f"{title}: {len(names)} times, x {mean:.3f} in the geometric mean")
    for title, is_slower in (("slower", True), ("faster", False)):
        lines += [f"{title}: {text}" for _, text in sorted(changed[is_slower], reverse=is_slower)]
    gone = [name for name in before if name not in after]
    lines += [f"no longer measured: {name}" for name in gone]
    return lines, bool(changed[True])


def short(card: str) -> str:
    """H100 of "NVIDIA H100 80GB HBM3"."""
    found = re.search(r"\b[A-Z]+\d+\w*", card.removeprefix("NVIDIA "))
    return found[0] if found else card


def rows_of(record: Record) -> dict[tuple[str, str], dict[str, dict[str, float]]]:
    """The times of each row, by benchmark and unit, and by what parts the rows."""
    found: dict[tuple[str, str], dict[str, dict[str, float]]] = {}
    for name, value in record["figures"].items():
        benchmark, where, unit, way = name.split("/")
        found.setdefault((benchmark, unit), {}).setdefault(where, {})[way] = value
    return found


def labels_of(where: str) -> dict[str, str]:
    """{"bs": "1", "mode": "decode"} of "bs=1,mode=decode"; a value may have commas."""
    parts = re.split(r",(?=\w+=)", where)
    return dict(part.partition("=")[::2] for part in parts)


def ratios_of(record: Record) -> Iterator[tuple[str, str, str, float]]:
    """Of each row its area, unit, and the peer's time over nsa's, or nsa's over another's."""
    for (benchmark, unit), rows in rows_of(record).items():
        for where, times in rows.items() if unit in TIMES else ():
            labels = labels_of(where)
            area = [benchmark, *(labels[key] for key in AREAS if key in labels)]
            for what, (own, same) in SAME.items():
                ours = min((time for way, time in times.items() if own.match(way)), default=None)
                peer = min((time for way, time in times.items() if same.match(way)), default=None)
                called = ", ".join([*area, what] if what else area)
                if ours and peer:
                    yield called, unit, "peer", peer / ours
                for other in ("empty",) if what else ("copy", "empty"):
                    if ours and times.get(other):
                        yield called, unit, other, ours / times[other]


def story(records: list[Record]) -> str:
    """A line for each area and kind of time: the peer's time over nsa's, in the geometric mean
    and least, and nsa's over a copy kernel's and an empty one's, in the mean."""
    found: dict[tuple[str, str], list[dict[str, list[float]]]] = {}
    heads = ["area", "time"]
    for number, record in enumerate(records):
        card = short(record["machine"]["device"])
        heads += [f"{card}: peer / nsa", "least", "nsa / copy", "nsa / empty"]
        for area, unit, other, ratio in ratios_of(record):
            cells = found.setdefault((area, unit), [{} for _ in records])[number]
            cells.setdefault(other, []).append(ratio)
    mean, order = statistics.geometric_mean, list(TIMES)
    wanted = (("peer", mean), ("peer", min), ("copy", mean), ("empty", mean))
    lines = [
        [area, TIMES[unit]]
        + [cell(of(c[key]) if key in c else None) for c in found[area, unit] for key, of in wanted]
        for area, unit in sorted(found, key=lambda key: (key[0], order.index(key[1])))
    ]
    return markdown(heads, lines)


def cell(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def markdown(heads: list[str], lines: list[list[str]]) -> str:
    rows = [heads, ["---"] * len(heads), *lines]
    return "".join("| " + " | ".join(row) + " |\n" for row in rows)


def latest(paths: Iterable[Path]) -> list[Record]:
    """One record for each card: of each benchmark what was measured last."""
    records = [json.loads(path.read_text()) for path in paths]
    found: dict[str, Record] = {}
    for record in sorted(records, key=lambda record: record["machine"]["date"]):
        again = {name.partition("/")[0] for name in record["figures"]}
        before = found.get(record["machine"]["device"], {"figures": {}})["figures"]
        left = {name: us for name, us in before.items() if name.partition("/")[0] not in again}
        found[record["machine"]["device"]] = {**record, "figures": left | record["figures"]}
    return [found[device] for device in sorted(found)]


def keep(folder: Path, to: Path, label: str | None) -> Path:
    """Writes the record of a folder of results; returns where."""
    record = record_of(folder, label or commit())
    card = re.sub(r"\W+", "-", record["machine"]["device"].lower()).strip("-")
    date = re.sub(r"[^\dT]", "", record["machine"]["date"][:19])
    path = to / card / f"{date}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(record, indent=1) + "\n")
    return path


def commit() -> str | None:
    """Of the tree, where git knows it."""
    try:
        done = subprocess.run(
            ["git", "-C", ROOT, "describe", "--always", "--dirty"], capture_output=True, text=True
        )
    except OSError:
        return None
    return done.stdout.strip() or None


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("keep", help="make a record of a folder of results")
    one.add_argument("results", type=Path)
    one.add_argument("--to", type=Path, default=KEPT)
    one.add_argument("--label", help="by default the commit")
    two = commands.add_parser("compare", help="what became slower; 1 if anything did")
    two.add_argument("old", type=Path)
    two.add_argument("new", type=Path)
    for each in (one, two):
        each.add_argument("--most", type=float, default=1.05, help="ratio that is no change")
        each.add_argument("--least-us", type=float, default=0.1, help="so is so much less")
    short_one = commands.add_parser("story", help="a line for each area")
    short_one.add_argument("records", type=Path, nargs="+")
    options = parser.parse_args(arguments)
    if options.command == "story":
        print(story([json.loads(path.read_text()) for path in options.records]), end="")
        return 0
    if options.command == "keep":
        options.new = keep(options.results, options.to, options.label)
        print(f"history: {options.new}\n\n{story([json.loads(options.new.read_text())])}")
        new = json.loads(options.new.read_text())
        folders = {folder / options.new.parent.name for folder in (KEPT, options.to)}
        paths = [path for folder in folders for path in folder.glob("*.json")]
        earlier = latest(path for path in paths if path.name < options.new.name)
        if not earlier:
            return 0
        old = earlier[0]
    else:
        old, new = (json.loads(path.read_text()) for path in (options.old, options.new))
    lines, is_slower = compare(old, new, options.most, options.least_us)
    print("\n".join(lines))
    return int(is_slower)


if __name__ == "__main__":
    sys.exit(main())
