# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Records of benchmarks: what is kept, what counts as slower, and the tables made of them."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest


@pytest.fixture(scope="module")
def history() -> ModuleType:
    path = Path(__file__).parents[2] / "benchmarks/history.py"
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


def test_tables(history: ModuleType, tmp_path: Path) -> None:
    paths = [
        history.keep(write(tmp_path / "a"), tmp_path, "v1"),
        history.keep(write(tmp_path / "b", 1.0, 4.0, device="NVIDIA H200"), tmp_path, "v1"),
    ]
    page = tmp_path / "page.md"
    page.write_text("# Page\n")
    for _ in range(2):
        history.main(["tables", *map(str, paths), "--into", str(page)])
    text = page.read_text()
    assert text.count(history.BEGIN) == text.count(history.END) == 1
    assert text.startswith("# Page\n")
    assert "| replay | H100, us | peer | copy | empty | H200, us | peer | copy | empty |" in text
    assert "| bs=1, mode=decode | 2.00 | 2.50 | 2.00 | 4.00 | 1.00 | 4.00 | 1.00 | 2.00 |" in text
    # No peer, copy or empty kernel there.
    assert "| bs=4 | 3.00 |  |  |  | 3.00 |  |  |  |" in text
    page.write_text(history.BEGIN)
    with pytest.raises(SystemExit, match="no last one"):
        history.main(["tables", *map(str, paths), "--into", str(page)])


def test_story(history: ModuleType, tmp_path: Path, capsys: Any) -> None:
    """Means over an area's shapes; of several ways of a peer the fastest counts."""
    write(tmp_path)
    result = json.loads((tmp_path / "replay.json").read_text())
    row = result["rows"][0]
    row["cold_us"] = {"nsa": 4.0, "peer": 6.0}
    times = {"nsa": 1.0, "peer": 1.6, "peer_copy": 0.1, "SGLang 0.5.23": 1.8, "empty": 0.5}
    result["rows"] += [{**row, "bs": 2, "gpu_us": times}, {"bs": 1, "gpu_us": {"copy": 1.0}}]
    result["rows"].append({"bs": 3, "mode": "verify", "gpu_us": {"nsa": 2.0, "copy": 1.0}})
    (tmp_path / "replay.json").write_text(json.dumps(result))
    kept = history.keep(tmp_path, tmp_path / "to", "v1")
    history.main(["story", str(kept), str(kept)])
    lines = capsys.readouterr().out.splitlines()
    head = "H100: peer / nsa | least | nsa / copy | nsa / empty"
    assert lines[0] == f"| area | cache | {head} | {head} |"
    warm, cold, bare = "2.00 | 1.60 | 2.00 | 2.83", "1.50 | 1.50 |  | ", " |  | 2.00 | "
    assert lines[2:] == [
        f"| replay, decode | warm | {warm} | {warm} |",
        f"| replay, decode | cold | {cold} | {cold} |",
        f"| replay, verify | warm | {bare} | {bare} |",
    ]
