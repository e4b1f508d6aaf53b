# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Keeps what benchmarks measured, so that a regression shows.

    history.py keep RESULTS [--to DIR] [--label TEXT]
    history.py compare OLD.json NEW.json [--most 1.05] [--least-us 0.1]
    history.py tables RECORD.json... [--into PAGE.md]
    history.py story RECORD.json...

`keep` makes one record of the results (NAME.json of each benchmark) of one run on one card,
DIR/CARD/DATE.json, and compares it with the one before it there. `compare` lists nsa's times that
grew, and ends with 1 if any did; the two have to be of one card. `tables` writes Markdown, one
table for each benchmark with columns for each record's card: nsa's time and its ratio to the
peer's, to a copy kernel's and to an empty kernel's; with --into between two marks of that page.

A record's figures are medians in microseconds by what was measured:
BENCHMARK/bs=1,max_len=1024,mode=decode/gpu_us/nsa.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
BEGIN = "<!-- begin: benchmarks/history.py tables -->"
END = "<!-- end: benchmarks/history.py tables -->"
#: Ways that are not ours: their times say what the machine did.
OTHERS = re.compile(r"(peer|torch|copy$|copy_peer|empty|raw$|by_hand|nothing|vllm|sglang)", re.I)

#: Peers' ways that do all that nsa's does, and no more.
PEERS = re.compile(r"(peer$|peer_repeated$|sglang|vllm)", re.I)
#: What parts the rows of a benchmark into areas.
AREAS = ("mode", "layout", "case")
#: Times on the GPU, and in which state its L2 cache is.
CACHES = {"gpu_us": "warm", "cold_us": "cold"}

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
                    yield "/".join(p.replace("/", "|") for p in parts), float(median)


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


def peer_of(times: dict[str, float]) -> float | None:
    """The peer's time: that of its faster way or release, where it has several."""
    peers = [value for way, value in times.items() if PEERS.match(way)]
    return min(peers, default=None)


def ratios(times: dict[str, float]) -> list[str]:
    """nsa's time, and it beside the others'."""

    def cell(value: float | None) -> str:
        return "" if value is None else f"{value:.2f}"

    def over(name: str, is_peer: bool) -> float | None:
        other = peer_of(times) if is_peer else times.get(name)
        if not other or not ours:
            return None
        return other / ours if is_peer else ours / other

    ours = times.get("nsa")
    return [cell(ours), cell(over("peer", True)), cell(over("copy", False)),
            cell(over("empty", False))]  # fmt: skip


def tables(records: list[Record]) -> str:
    """One table for each benchmark and unit that has times of nsa."""
    groups: dict[tuple[str, str], dict[str, list[dict[str, float]]]] = {}
    for number, record in enumerate(records):
        for name, value in record["figures"].items():
            benchmark, where, unit, way = name.split("/")
            rows = groups.setdefault((benchmark, unit), {})
            rows.setdefault(where, [{} for _ in records])[number][way] = value
    cards = [short(record["machine"]["device"]) for record in records]
    parts = [
        "Of " + "; of ".join(
            f"{record['machine']['device']} on {record['machine']['date'][:10]}"
            + (f" ({record['label']})" if record["label"] else "")
            for record in records
        ) + ". Times in us; \"peer\" is the peer's time over nsa's, \"copy\" and \"empty\" nsa's "
        "time over that of a copy kernel and of an empty one.\n"
    ]  # fmt: skip
    for (benchmark, unit), rows in groups.items():
        if not any("nsa" in times for row in rows.values() for times in row):
            continue
        heads = [benchmark]
        for card in cards:
            heads += [f"{card}, us", "peer", "copy", "empty"]
        lines = [f"**{benchmark}, {unit.removesuffix('_us')}**", ""]
        lines += ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
        for where, row in rows.items():
            cells = [cell for times in row for cell in ratios(times)]
            if any(cells):
                lines.append(f"| {where.replace(',', ', ')} | " + " | ".join(cells) + " |")
        parts.append("\n".join(lines) + "\n")
    return "\n".join(parts)


def story(records: list[Record]) -> str:
    """A line for each area and state of the cache: the peer's time over nsa's, in the geometric mean
    and least, and nsa's over a copy kernel's and an empty one's, in the mean."""
    found: dict[tuple[str, str], list[dict[str, list[float]]]] = {}
    for number, record in enumerate(records):
        rows: dict[tuple[str, str, str], dict[str, float]] = {}
        for name, value in record["figures"].items():
            benchmark, where, unit, way = name.split("/")
            if unit in CACHES:
                rows.setdefault((benchmark, where, unit), {})[way] = value
        for (benchmark, where, unit), times in rows.items():
            ours, peer = times.get("nsa"), peer_of(times)
            if not ours:
                continue
            labels = dict(label.partition("=")[::2] for label in where.split(","))
            area = ", ".join([benchmark, *(labels[key] for key in AREAS if key in labels)])
            cells = found.setdefault((area, CACHES[unit]), [{} for _ in records])[number]
            for key, ratio in (
                ("peer", peer and peer / ours),
                ("copy", times.get("copy") and ours / times["copy"]),
                ("empty", times.get("empty") and ours / times["empty"]),
            ):
                if ratio:
                    cells.setdefault(key, []).append(ratio)

    def cell(values: list[float], of: Callable[[list[float]], float]) -> str:
        return f"{of(values):.2f}" if values else ""

    heads = ["area", "cache"]
    for record in records:
        card = short(record["machine"]["device"])
        heads += [f"{card}: peer / nsa", "least", "nsa / copy", "nsa / empty"]
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    mean = statistics.geometric_mean
    order = list(CACHES.values())
    for area, cache in sorted(found, key=lambda key: (key[0], order.index(key[1]))):
        of_records = found[area, cache]
        cells = [area, cache]
        for ratios_of in of_records:
            peers = ratios_of.get("peer", [])
            cells += [cell(peers, mean), cell(peers, min)]
            cells += [cell(ratios_of.get(key, []), mean) for key in ("copy", "empty")]
        if any(cells[2:]):
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def into(page: Path, text: str) -> None:
    """Puts the text between the marks of a page; at its end if it has none."""
    content = page.read_text()
    if BEGIN not in content:
        content = f"{content.rstrip()}\n\n{BEGIN}\n{END}\n"
    before, _, rest = content.partition(BEGIN)
    _, found, after = rest.partition(END)
    if not found:
        raise SystemExit(f"history: {page} has a first mark but no last one: {END}")
    page.write_text(f"{before}{BEGIN}\n{text}{END}{after}")


def keep(folder: Path, to: Path, label: str | None) -> Path:
    """Writes the record of a folder of results; returns where."""
    record = record_of(folder, label or commit())
    card = re.sub(r"\W+", "-", record["machine"]["device"].lower()).strip("-")
    date = re.sub(r"[^\dT]", "", record["machine"]["date"][:19])
    path = to / card / f"{date}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(record, indent=1, sort_keys=True) + "\n")
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
    one.add_argument("--to", type=Path, default=ROOT / "benchmarks/history")
    one.add_argument("--label", help="by default the commit")
    two = commands.add_parser("compare", help="what became slower; 1 if anything did")
    two.add_argument("old", type=Path)
    two.add_argument("new", type=Path)
    for each in (one, two):
        each.add_argument("--most", type=float, default=1.05, help="ratio that is no change")
        each.add_argument("--least-us", type=float, default=0.1, help="so is so much less")
    many = commands.add_parser("tables", help="Markdown with columns for each record")
    many.add_argument("records", type=Path, nargs="+")
    many.add_argument("--into", type=Path, help="a page, between its marks")
    short_one = commands.add_parser("story", help="a line for each area")
    short_one.add_argument("records", type=Path, nargs="+")
    options = parser.parse_args(arguments)
    if options.command == "story":
        print(story([json.loads(path.read_text()) for path in options.records]), end="")
        return 0
    if options.command == "tables":
        text = tables([json.loads(path.read_text()) for path in options.records])
        if options.into:
            into(options.into, text)
        else:
            print(text, end="")
        return 0
    if options.command == "keep":
        options.new = keep(options.results, options.to, options.label)
        print(f"history: {options.new}\n\n{story([json.loads(options.new.read_text())])}")
        earlier = [p for p in sorted(options.new.parent.glob("*.json")) if p < options.new]
        if not earlier:
            return 0
        options.old = earlier[-1]
    lines, is_slower = compare(
        *(json.loads(path.read_text()) for path in (options.old, options.new)),
        options.most,
        options.least_us,
    )
    print("\n".join(lines))
    return int(is_slower)


if __name__ == "__main__":
    sys.exit(main())
