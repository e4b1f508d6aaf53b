# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What a bound launch costs, in calls: times are for the benchmarks."""

from __future__ import annotations

import json
from pathlib import Path

import exchange
import stub_driver

import nsa


def test_a_launch_asks_for_nothing_but_launches(tmp_path: Path) -> None:
    """Two kernels are two calls of the driver beside the context's, and no allocation."""
    counted = json.loads(stub_driver.run(tmp_path, "launch_counts.py", exchange.build(tmp_path)))
    # What allocates is seen.
    assert counted.pop("bound anew")["allocations"] > 0
    operations = {
        f"{name}, {kind}": 1
        for name in ("replay_metadata", "copy_metadata")
        for kind in ("Tensor", "HandleTensor")
    }
    assert {name: c["launches"] for name, c in counted.items()} == {
        "as bound": 2, "on a stream": 2, "other sizes": 2, "nothing to do": 1,
        **(operations if nsa.has_compiler() else {}),
    }
    for each in counted.values():
        assert each["allocations"] == 0
        # The context of the arrays is made current, and the one before again.
        assert each["other_calls"] <= 2


def test_a_launch_holds_its_arrays_while_python_runs(tmp_path: Path) -> None:
    """A size or a stream that is an object may let go of them, before they are described."""
    held = stub_driver.run(tmp_path, "launch_holds.py", exchange.build(tmp_path))
    assert json.loads(held) == {
        "plain": {"launches": 1, "asked": 0, "read": 4},
        "a size": {"launches": 1, "freed": 0, "freed after": 4},
        "a stream": {"launches": 1, "freed": 0, "freed after": 4},
    }


def test_a_launch_is_on_the_stream_of_the_library_whose_arrays_it_has(tmp_path: Path) -> None:
    """Also where they lie at addresses that arrays of another library had before."""
    streams = stub_driver.run(tmp_path, "launch_streams.py", exchange.build(tmp_path))
    assert json.loads(streams) == {
        "the last call's": [7, 9, 9, 7, 9],
        "an earlier call's": [7, 9, 9, 7, 9],
    }
