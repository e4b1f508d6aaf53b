# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Fills tables of a page from the records that `history.py` keeps.

    page.py PAGE.md [--check] [--history DIR]

What stands between such marks becomes a table with rows for each card, of what was measured of the
benchmark last:

    <!-- figures: replay mode=decode gpu_us | bs x max_len: {bs} x {max_len} | nsa: nsa | ratio: peer or torch / nsa -->
    <!-- end of figures -->

The benchmark, which of its rows (and of which card, `card=H100`), and the unit; how a row is called;
and columns: a way, of several the fastest, or one over another. Of rows that are called the same the
least counts, and a column whose head has a label, "{bs} requests: peer / nsa", is one for each of its
values. `<!-- figures: story -->` asks for the story of all cards. With --check it ends with 1 if the
page is not what the records make it.
"""

from __future__ import annotations

import argparse
import re
import statistics
import sys
from pathlib import Path
from typing import NamedTuple

sys.path[:0] = [str(Path(__file__).resolve().parent)]

import history  # noqa: E402

MARKS = re.compile(r"<!-- figures: (.+?) -->\n.*?<!-- end of figures -->", re.DOTALL)

#: By the number of a column, and what its head is for a row.
Cells = dict[tuple[int, str], list[float]]


def refuse(text: str) -> SystemExit:
    return SystemExit(f"page: {text}")


class Column(NamedTuple):
    """Of "head: a or b / c" the head, and the ways above and below the line, of which the fastest count."""

    head: str
    ways: list[str]
    under: list[str]

    @classmethod
    def parse(cls, text: str) -> Column:
        head, found, ways = text.partition(": ")
        if not found:
            raise refuse(f"a column is 'head: way', not '{text}'")
        over, _, under = ways.partition(" / ")
        return cls(head, over.split(" or "), under.split(" or ") if under else [])

    def value(self, times: dict[str, float]) -> float | None:
        time = min((times[way] for way in self.ways if way in times), default=None)
        if not self.under or time is None:
            return time
        divisor = min((times[way] for way in self.under if way in times), default=None)
        return time / divisor if divisor else None


class Mark(NamedTuple):
    """What a mark asks for."""

    benchmark: str
    chosen: dict[str, str]
    unit: str
    title: str
    row: str
    columns: list[Column]

    @classmethod
    def parse(cls, text: str) -> Mark:
        what, *rest = text.split(" | ")
        if len(rest) < 2:
            raise refuse(f"a mark has what, how rows are called, and columns, not '{text}'")
        benchmark, *chosen = re.split(r" (?=\w+=|\w+_us$)", what)
        unit = chosen.pop() if chosen and "=" not in chosen[-1] else "gpu_us"
        if unit not in history.TIMES:
            raise refuse(f"no unit {unit}; there are {', '.join(history.TIMES)}")
        title, _, row = rest[0].partition(": ")
        columns = [Column.parse(column) for column in rest[1:]]
        return cls(benchmark, dict(c.split("=") for c in chosen), unit, title, row, columns)

    def cells(self, card: str, rows: dict[str, dict[str, float]]) -> dict[str, Cells]:
        """What stands where, by how a row is called."""
        found: dict[str, Cells] = {}
        for where, times in rows.items():
            labels = {**history.labels_of(where), "card": card}
            if not self.chosen.items() <= labels.items():
                continue
            try:
                cells = found.setdefault(self.row.format(**labels), {})
                heads = [column.head.format(**labels) for column in self.columns]
            except KeyError as error:
                known = ", ".join(labels)
                raise refuse(f"no {error} in {self.benchmark}; there are {known}") from None
            for number, (head, column) in enumerate(zip(heads, self.columns)):
                value = column.value(times)
                cells.setdefault((number, head), []).extend([] if value is None else [value])
        return found

    def means(self, rows: list[Cells]) -> list[tuple[str, Cells]]:
        """The mean and the least of each ratio, where each cell is of one row."""
        if len(rows) < 2 or any(len(values) > 1 for row in rows for values in row.values()):
            return []
        ratios: Cells = {}
        for row in rows:
            for place, values in row.items():
                if self.columns[place[0]].under and values:
                    ratios.setdefault(place, []).extend(values)
        each = ("geometric mean", statistics.geometric_mean), ("least", min)
        return [(name, {p: [of(v)] for p, v in ratios.items()}) for name, of in each if ratios]


def table(text: str, records: list[history.Record]) -> str:
    """The table that a mark asks for, of one record for each card."""
    if text == "story":
        return history.story(records)
    mark = Mark.parse(text)
    by_card = {
        history.short(record["machine"]["device"]): rows
        for record in records
        if (rows := history.rows_of(record).get((mark.benchmark, mark.unit)))
    }
    known = {way for rows in by_card.values() for times in rows.values() for way in times}
    for way in (way for column in mark.columns for way in column.ways + column.under):
        if known and way not in known:
            ways = ", ".join(sorted(known))
            raise refuse(f"no '{way}' in {mark.benchmark}, {mark.unit}; there are {ways}")
    lines: list[tuple[str, str, Cells]] = []
    for card, rows in by_card.items():
        cells = mark.cells(card, rows)
        for name, row in [*cells.items(), *mark.means(list(cells.values()))]:
            lines.append((card, name, row))
    if not lines:
        raise refuse(f"no record has what is asked for: {text.partition(' | ')[0]}")
    # In the order of the columns, and of a column's labels as rows have them.
    places = sorted({place: None for *_, row in lines for place in row}, key=lambda place: place[0])
    return history.markdown(
        ["card", mark.title, *(head for _, head in places)],
        [
            [card, name, *(history.cell(min(row.get(p, []), default=None)) for p in places)]
            for card, name, row in lines
        ],
    )


def filled(page: str, records: list[history.Record]) -> str:
    """The page with what its marks ask for."""
    return MARKS.sub(
        lambda mark: f"<!-- figures: {mark[1]} -->\n\n{table(mark[1], records)}\n<!-- end of figures -->",
        page,
    )


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("page", type=Path)
    parser.add_argument("--check", action="store_true", help="1 if the page would change")
    parser.add_argument("--history", type=Path, default=history.KEPT, help="where records are")
    options = parser.parse_args(arguments)
    old = options.page.read_text()
    new = filled(old, history.latest(options.history.glob("*/*.json")))
    if options.check:
        return int(new != old)
    options.page.write_text(new)
    return 0


if __name__ == "__main__":
    sys.exit(main())
