# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Records of benchmarks: what is kept, what counts as slower, and the tables made of them, those of
docs/Performance.md among them."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def history() -> ModuleType:
    path = ROOT / "benchmarks/history.py"
    spec = importlib.util.spec_from_file_location("nsa_history", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


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


def test_record(history: ModuleType, tmp_path: Path) -> None:
    record = history.record_of(write(tmp_path), "v1")
    assert record["figures"] == {
        "cost.many/bs=4/host_us/nsa": 3.0,
        "cost.many/bs=4/host_us/raw": 2.5,
        "replay/bs=1,mode=decode/gpu_us/nsa": 2.0,
        "replay/bs=1,mode=decode/gpu_us/peer": 5.0,
        "replay/bs=1,mode=decode/gpu_us/copy": 1.0,
        "replay/bs=1,mode=decode/gpu_us/empty": 0.5,
    }
    assert (record["label"], record["machine"]["sglang"]) == ("v1", "0.5.23")


def test_no_results_and_several_cards(history: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="no results of benchmarks in"):
        history.record_of(tmp_path, None)
    write(tmp_path)
    other = json.loads((tmp_path / "cost.json").read_text())
    other["machine"]["device"] = "NVIDIA H200"
    (tmp_path / "cost.json").write_text(json.dumps(other))
    with pytest.raises(SystemExit, match="several cards: NVIDIA H100 80GB, NVIDIA H200"):
        history.record_of(tmp_path, None)


@pytest.mark.parametrize(
    ("nsa", "peer", "slower"),
    [(2.0, 5.0, False), (2.08, 5.0, False), (2.3, 5.0, True), (1.0, 5.0, False), (2.0, 9.0, False)],
)
def test_slower(
    history: ModuleType, tmp_path: Path, capsys: Any, nsa: float, peer: float, slower: bool
) -> None:
    """Only ours counts, and no more than the noise does not."""
    to = tmp_path / "history"
    first, second = write(tmp_path / "a"), write(tmp_path / "b", nsa, peer, day=2)
    assert history.main(["keep", str(first), "--to", str(to)]) == 0
    assert history.main(["keep", str(second), "--to", str(to)]) == int(slower)
    assert len(list((to / "nvidia-h100-80gb").glob("*.json"))) == 2
    output = capsys.readouterr().out
    said = f"slower: replay/bs=1,mode=decode/gpu_us/nsa: 2.00 -> {nsa:.2f} us, x {nsa / 2:.2f}"
    assert (said in output) == slower
    assert ("faster: " in output) == (nsa == 1.0)


def test_compared_records(history: ModuleType, tmp_path: Path, capsys: Any) -> None:
    to = tmp_path / "history"
    paths = [
        history.keep(write(tmp_path / "a"), to, None),
        history.keep(write(tmp_path / "b", device="NVIDIA H200"), to, None),
    ]
    with pytest.raises(SystemExit, match="two cards: NVIDIA H100 80GB and NVIDIA H200"):
        history.main(["compare", *map(str, paths)])
    fewer = json.loads(paths[0].read_text())
    del fewer["figures"]["cost.many/bs=4/host_us/nsa"]
    paths[1].write_text(json.dumps(fewer))
    assert history.main(["compare", *map(str, paths)]) == 0
    assert "no longer measured: cost.many/bs=4/host_us/nsa" in capsys.readouterr().out


def test_compared_with_what_is_kept(
    history: ModuleType, tmp_path: Path, capsys: Any, monkeypatch: Any
) -> None:
    """The first record of a folder stands beside the last one that the sources have of its card."""
    monkeypatch.setattr(history, "KEPT", tmp_path / "kept")
    history.keep(write(tmp_path / "a", 1.0), tmp_path / "kept", "old")
    history.keep(write(tmp_path / "b", 2.0, day=2), tmp_path / "kept", "last")
    history.keep(write(tmp_path / "c", 9.0, day=2, device="NVIDIA H200"), tmp_path / "kept", "x")
    # Of a benchmark that was left out then, what was measured before.
    (tmp_path / "b/replay.json").unlink()
    history.keep(tmp_path / "b", tmp_path / "to", "a part, and not again")
    later = write(tmp_path / "d", 3.0, day=3)
    assert history.main(["keep", str(later), "--to", str(tmp_path / "to")]) == 1
    assert "gpu_us/nsa: 2.00 -> 3.00 us" in capsys.readouterr().out


PAGE = """# Page

<!-- figures: replay mode=decode | requests: {bs} of {mode} | SGLang: peer or other | ratio: peer / nsa -->
| what | stood there |
<!-- end of figures -->

Between.

<!-- figures: cost.many host_us | bs: {bs} | nsa: nsa -->
<!-- end of figures -->
"""


@pytest.fixture
def of_two_cards(history: ModuleType, tmp_path: Path) -> Path:
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


def test_page(history: ModuleType, tmp_path: Path, of_two_cards: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(PAGE)
    fill = ["page", str(page), "--history", str(of_two_cards)]
    assert history.main([*fill, "--check"]) == 1
    assert page.read_text() == PAGE
    assert history.main(fill) == history.main([*fill, "--check"]) == 0
    lines = page.read_text().splitlines()
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


def test_columns_for_each_value(history: ModuleType, of_two_cards: Path) -> None:
    """The least of the rows of a name, and a column for each value of a label in a head."""
    records = history.latest(of_two_cards.glob("*/*.json"))
    asked = "replay | mode: {mode} | {bs} requests: peer / nsa | time: nsa"
    assert history.figures(asked, records).splitlines() == [
        "| card | mode | 1 requests | 32 requests | time |",
        "| --- | --- | --- | --- | --- |",
        "| H100 | decode | 2.50 | 1.50 | 2.00 |",
        "| H100 | verify | 9.00 |  | 1.00 |",
        "| H200 | decode | 4.00 | 1.50 | 1.00 |",
        "| H200 | verify | 9.00 |  | 1.00 |",
    ]
    only = history.figures("replay card=H200 | all: nsa | ratio: peer / nsa", records)
    assert only.splitlines()[2:] == ["| H200 | nsa | 1.50 |"]


def test_of_each_benchmark_what_was_measured_last(
    history: ModuleType, tmp_path: Path, of_two_cards: Path
) -> None:
    asked = "replay card=H100 | {bs} | nsa: nsa"
    before = history.latest(of_two_cards.glob("*/*.json"))
    folder = write(tmp_path / "d", day=9)
    (folder / "replay.json").unlink()
    history.keep(folder, of_two_cards, "cost alone")
    after = history.latest(of_two_cards.glob("*/*.json"))
    assert [record["machine"]["date"][:10] for record in after] == ["2026-11-09", "2026-11-01"]
    assert history.figures(asked, after) == history.figures(asked, before)
    assert history.story(after) == history.story(before)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("replay | {bs} | nsa: nsaa", "no 'nsaa' in replay, gpu_us; there are nsa, other, peer"),
        ("replay | {bs} | ratio: nsa / peers", "no 'peers' in replay"),
        ("replays | {bs} | nsa: nsa", "no record has what a page asks for: replays"),
        ("replay card=H300 | {bs} | nsa: nsa", "no record has what a page asks for: replay card=H300"),
        ("replay mode=odd | {bs} | nsa: nsa", "no record has what a page asks for: replay mode=odd"),
        ("replay us_us | {bs} | nsa: nsa", "no unit us_us; there are gpu_us, "),
        ("replay wall_us | {bs} | nsa: nsa", "no record has what a page asks for: replay wall_us"),
        ("replay | {bs}", "a mark has what, how rows are called, and columns, not 'replay | {bs}'"),
        ("replay | {bs} | nsa", "a column is 'head: way', not 'nsa'"),
        ("replay | bs: {batch} | nsa: nsa", "no 'batch' in replay; there are bs, mode, card"),
    ],
)
def test_what_a_page_asks_for(
    history: ModuleType, of_two_cards: Path, asked: str, said: str
) -> None:
    with pytest.raises(SystemExit, match=said):
        history.figures(asked, history.latest(of_two_cards.glob("*/*.json")))


def test_pages(history: ModuleType) -> None:
    """Tables of pages are what the records make them."""
    for name, least in (("docs/Performance.md", 20), ("README.md", 1)):
        page = (ROOT / name).read_text()
        assert page.count("<!-- figures: ") == page.count("<!-- end of figures -->") >= least
        is_filled = history.filled(page, history.latest(history.KEPT.glob("*/*.json"))) == page
        assert is_filled, f"run: python benchmarks/history.py page {name}"


def test_story(history: ModuleType, tmp_path: Path, capsys: Any) -> None:
    """Means over an area's shapes; of several ways of a peer the fastest counts."""
    write(tmp_path)
    result = json.loads((tmp_path / "replay.json").read_text())
    row = result["rows"][0]
    row["cold_us"] = {"nsa": 4.0, "peer": 6.0}
    row["gpu_us"] |= {"nsa_live": 1.0, "peer_repeated": 4.0}
    times = {"nsa": 1.0, "peer": 1.6, "peer_copy": 0.1, "SGLang 0.5.23": 1.8, "empty": 0.5}
    result["rows"] += [{**row, "bs": 2, "gpu_us": times}, {"bs": 1, "gpu_us": {"copy": 1.0}}]
    several = {"nsa": 4.0, "nsa, two launches": 2.0, "copy": 1.0}
    result["rows"].append({"bs": 3, "mode": "verify", "gpu_us": several})
    (tmp_path / "replay.json").write_text(json.dumps(result))
    kept = history.keep(tmp_path, tmp_path / "to", "v1")
    history.main(["story", str(kept), str(kept)])
    lines = capsys.readouterr().out.splitlines()
    head = "H100: peer / nsa | least | nsa / copy | nsa / empty"
    assert lines[0] == f"| area | time | {head} | {head} |"
    warm, cold, bare = "2.00 | 1.60 | 2.00 | 2.83", "1.50 | 1.50 |  | ", " |  | 2.00 | "
    # Beside live columns are those of a peer that writes no others, and no copy of all.
    live = "4.00 | 4.00 |  | 2.00"
    assert [line for line in lines[2:] if line.startswith("| replay")] == [
        f"| replay, decode | GPU | {warm} | {warm} |",
        f"| replay, decode | GPU, cold cache | {cold} | {cold} |",
        f"| replay, decode, live columns | GPU | {live} | {live} |",
        f"| replay, verify | GPU | {bare} | {bare} |",
    ]
