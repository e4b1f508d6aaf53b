# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Tables that pages take from records of benchmarks, those of docs/Performance.md among them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from benchmark_records import ROOT, history, page, write

PAGE = """# Page

<!-- figures: replay mode=decode | requests: {bs} of {mode} | SGLang: peer or other | ratio: peer / nsa -->
| what | stood there |
<!-- end of figures -->

Between.

<!-- figures: cost.many host_us | bs: {bs} | nsa: nsa -->
<!-- end of figures -->
"""


@pytest.fixture
def of_two_cards(tmp_path: Path) -> Path:
    """Records of two cards, of one of them an older one, too, whose second row no other has."""
    folder = write(tmp_path / "a", 9.0)
    history.keep(folder, tmp_path / "of", "old")
    for name, day, times, device in (
        ("b", 2, {"nsa": 2.0, "peer": 5.0, "other": 4.0}, "NVIDIA H100 80GB"),
        ("c", 1, {"nsa": 1.0, "peer": 4.0}, "NVIDIA H200"),
    ):
        folder = write(tmp_path / name, day=day, device=device)
        result = json.loads((folder / "replay.json").read_text())
        result["rows"] = [
            {"mode": "decode", "bs": 1, "gpu_us": times},
            {"mode": "decode", "bs": 32, "gpu_us": {"nsa": 2.0, "peer": 3.0}},
            {"mode": "verify", "bs": 1, "gpu_us": {"nsa": 1.0, "peer": 9.0}},
        ]
        (folder / "replay.json").write_text(json.dumps(result))
        if name == "c":
            (folder / "cost.json").unlink()
        history.keep(folder, tmp_path / "of", "new")
    return tmp_path / "of"


def test_page(tmp_path: Path, of_two_cards: Path) -> None:
    file = tmp_path / "page.md"
    file.write_text(PAGE)
    fill = [str(file), "--history", str(of_two_cards)]
    assert page.main([*fill, "--check"]) == 1
    assert file.read_text() == PAGE
    assert page.main(fill) == page.main([*fill, "--check"]) == 0
    lines = file.read_text().splitlines()
    assert lines[2] == PAGE.splitlines()[2]
    assert lines[4:14] == [
        "| card | requests | SGLang | ratio |",
        "| --- | --- | --- | --- |",
        "| H100 | 1 of decode | 4.00 | 2.50 |",
        "| H100 | 32 of decode | 3.00 | 1.50 |",
        "| H100 | geometric mean |  | 1.94 |",
        "| H100 | least |  | 1.50 |",
        "| H200 | 1 of decode | 4.00 | 4.00 |",
        "| H200 | 32 of decode | 3.00 | 1.50 |",
        "| H200 | geometric mean |  | 2.45 |",
        "| H200 | least |  | 1.50 |",
    ]
    assert "Between." in lines
    # The other card has no such row, and one row has no mean.
    assert lines[-4:-2] == ["| --- | --- | --- |", "| H100 | 4 | 3.00 |"]


def test_columns_for_each_value(of_two_cards: Path) -> None:
    """The least of the rows of a name, and a column for each value of a label in a head."""
    records = history.latest(of_two_cards.glob("*/*.json"))
    asked = "replay | mode: {mode} | {bs} requests: peer / nsa | time: nsa"
    assert page.table(asked, records).splitlines() == [
        "| card | mode | 1 requests | 32 requests | time |",
        "| --- | --- | --- | --- | --- |",
        "| H100 | decode | 2.50 | 1.50 | 2.00 |",
        "| H100 | verify | 9.00 |  | 1.00 |",
        "| H200 | decode | 4.00 | 1.50 | 1.00 |",
        "| H200 | verify | 9.00 |  | 1.00 |",
    ]
    only = page.table("replay card=H200 | all: nsa | ratio: peer / nsa", records)
    assert only.splitlines()[2:] == ["| H200 | nsa | 1.50 |"]


def test_of_each_benchmark_what_was_measured_last(
    tmp_path: Path, of_two_cards: Path
) -> None:
    asked = "replay card=H100 | {bs} | nsa: nsa"
    before = history.latest(of_two_cards.glob("*/*.json"))
    folder = write(tmp_path / "d", day=9)
    (folder / "replay.json").unlink()
    history.keep(folder, of_two_cards, "cost alone")
    after = history.latest(of_two_cards.glob("*/*.json"))
    assert [record["machine"]["date"][:10] for record in after] == ["2026-11-09", "2026-11-01"]
    assert page.table(asked, after) == page.table(asked, before)
    assert history.story(after) == history.story(before)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("replay | {bs} | nsa: nsaa", "no 'nsaa' in replay, gpu_us; there are nsa, other, peer"),
        ("replay | {bs} | ratio: nsa / peers", "no 'peers' in replay"),
        ("replays | {bs} | nsa: nsa", "no record has what is asked for: replays"),
        ("replay card=H300 | {bs} | nsa: nsa", "no record has what is asked for: replay card=H300"),
        ("replay mode=odd | {bs} | nsa: nsa", "no record has what is asked for: replay mode=odd"),
        ("replay us_us | {bs} | nsa: nsa", "no unit us_us; there are gpu_us, "),
        ("replay wall_us | {bs} | nsa: nsa", "no record has what is asked for: replay wall_us"),
        ("replay | {bs}", "a mark has what, how rows are called, and columns, not 'replay | {bs}'"),
        ("replay | {bs} | nsa", "a column is 'head: way', not 'nsa'"),
        ("replay | bs: {batch} | nsa: nsa", "no 'batch' in replay; there are bs, mode, card"),
    ],
)
def test_what_a_page_asks_for(
    of_two_cards: Path, asked: str, said: str
) -> None:
    with pytest.raises(SystemExit, match=said):
        page.table(asked, history.latest(of_two_cards.glob("*/*.json")))


def test_pages() -> None:
    """Tables of pages are what the records make them."""
    for name, least in (("docs/Performance.md", 20), ("README.md", 1)):
        text = (ROOT / name).read_text()
        assert text.count("<!-- figures: ") == text.count("<!-- end of figures -->") >= least
        is_filled = page.filled(text, history.latest(history.KEPT.glob("*/*.json"))) == text
        assert is_filled, f"run: python benchmarks/page.py {name}"
