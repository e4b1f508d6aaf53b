# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Records of benchmarks: what is kept, what counts as slower, and the story that they tell."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from benchmark_records import history, write


def test_record(tmp_path: Path) -> None:
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


def test_no_results_and_several_cards(tmp_path: Path) -> None:
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
def test_slower(tmp_path: Path, capsys: Any, nsa: float, peer: float, slower: bool) -> None:
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


@pytest.mark.parametrize(
    ("way", "ours"),
    [("nsa_live", True), ("incremental", True), ("a wait alone", False), ("neighbours_pdl", False),
     ("SGLang 0.5.23", False), ("by_hand", False)],
)  # fmt: skip
def test_whose_time_it_is(tmp_path: Path, way: str, ours: bool) -> None:
    """What machines and neighbours take is no regression of nsa's."""
    records = [history.record_of(write(tmp_path), None) for _ in range(2)]
    for record, us in zip(records, (2.0, 3.0)):
        record["figures"] = {f"expand/bs=1/wall_us/{way}": us}
    lines, is_slower = history.compare(*records, 1.05, 0.1)
    assert is_slower == ours == any(line.startswith("slower: ") for line in lines)


def test_compared_records(tmp_path: Path, capsys: Any) -> None:
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
    tmp_path: Path, capsys: Any, monkeypatch: Any
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


def test_story(tmp_path: Path, capsys: Any) -> None:
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
