# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Generated steps of fixed seeds, and that a wrong value would be noticed."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

import nsa
from nsa.fuzz import check, formulas
from nsa.fuzz.check import BUILDS, Task, run_all
from nsa.fuzz.generate import draw_formulas, draw_task
from nsa.fuzz.operations import FORMS, Array
from nsa.fuzz.programs import Copy, Program
from nsa.fuzz.shrink import as_test, shrink

pytestmark = pytest.mark.skipif(not nsa.has_compiler(), reason="built without the compiler")


def test_steps():
    counts: Counter[str] = Counter()
    tasks = [replace(draw_task(seed), optimized=4 * (seed % 8 == 0)) for seed in range(60)]
    for task, outcome in run_all(tasks):
        counts[outcome.kind] += 1
        assert outcome.kind in ("ok", "refused"), as_test(task, outcome)
    assert counts["ok"] > 20


def test_a_single_build(monkeypatch, capsys):
    """As a run over many seeds takes it: the fused host kernels alone."""
    from nsa.fuzz import __main__ as main

    seen = []
    monkeypatch.setattr(main, "run_all", lambda tasks, *_, **__: seen.extend(tasks) or run_all(tasks))
    arguments = ["nsa.fuzz", "--formulas", "--count", "1", "--seed", "3", "--builds", "1"]
    monkeypatch.setattr("sys.argv", arguments)
    assert main.main() == 0
    assert [task.builds for task in seen] == [BUILDS[:1]]
    assert "1 steps from seed 3" in capsys.readouterr().out


def test_quick_and_simulated(monkeypatch, capsys):
    """What is run is counted by name; of sixteen steps one is optimised, of four one has
    guards, and builds take turns in the simulator."""
    from nsa.fuzz import __main__ as main

    seen = []
    monkeypatch.setattr(main, "run_all", lambda tasks, *_, **__: seen.extend(tasks) or run_all(tasks))
    arguments = "nsa.fuzz --seed 1000000 --count 17 --builds 2 --simt --quick".split()
    monkeypatch.setattr("sys.argv", arguments)
    assert main.main() == 0
    assert [task.optimized for task in seen] == [4, *[0] * 15, 1]
    assert seen[0].builds == BUILDS[:2]
    with_guards = [number for number in range(1, 17) if seen[number].builds[1] == BUILDS[1]]
    assert with_guards == [1, 5, 9, 13]
    turns = [(0, 1), *((number // 4 % 2,) for number in range(1, 17))]
    assert [task.ptx_builds for task in seen] == turns
    printed = capsys.readouterr().out
    (ok,) = {int(n) for n in re.findall(r"'ok': (\d+)", printed)}
    assert ok > 3
    ran = {how: int(n) for how, n in re.findall("    (.*): (.*)\n", printed)}
    assert ran.pop("fused") == ok
    assert ran["unfused"] + ran["unfused, guards"] == ok
    simulated = [n for how, n in ran.items() if how.endswith("simt")]
    assert set(ran) >= {"fused, simt", "unfused, guards, simt"}
    assert ok <= sum(simulated) <= ok + 1


def test_arrays_of_a_gpu(monkeypatch):
    """Copies have the layout of what they are copies of, and what is written there is
    compared: with NumPy for CuPy, the simulator for a GPU."""

    def asarray(array):
        copied = np.full(array.size + 64, array.flat[0], array.dtype)[: array.size]
        copied[:] = array
        return copied

    def synchronize():
        synchronized.append(True)

    synchronized = []
    device = SimpleNamespace(Device=lambda: SimpleNamespace(synchronize=synchronize))
    stand_in = SimpleNamespace(asarray=asarray, asnumpy=np.array, lib=np.lib, cuda=device)
    monkeypatch.setattr(check, "gpu", lambda: stand_in)
    tasks = [draw_task(seed) for seed in range(1000000, 1000004)]
    ran = 0
    for task in tasks:
        task = replace(task, builds=BUILDS[:1], simt=True)
        outcome, steps = check.compile_all(task)
        steps = [(how + check.CUDA, step) for how, step in steps if "simt" in how]
        for sizes in task.sizes if steps else ():
            assert check.run(task, sizes, task.seeds[0], steps) == ""
            before = check.OnGPU.fetch
            monkeypatch.setattr(check.OnGPU, "fetch", spoil)
            assert check.run(task, sizes, task.seeds[0], steps) != ""
            monkeypatch.setattr(check.OnGPU, "fetch", before)
            ran += 1
    assert ran > 3 and len(synchronized) == 2 * ran


fetch = check.OnGPU.fetch


def spoil(placed):
    fetch(placed)
    name = next(name for name in placed.storages if name.startswith("o"))
    placed.storages[name].whole.view(np.uint8)[-1] ^= 1


def test_seeds_are_repeatable():
    assert draw_task(5).program.text() == draw_task(5).program.text()
    assert draw_task(5).program.text() != draw_task(6).program.text()


def test_formulas_are_stored_in_all_ways():
    """To computed places, under conditions, and in place of what they are computed from."""
    tasks = [draw_formulas(seed, count=10) for seed in range(8)]
    texts = "".join(task.program.text() for task in tasks)
    assert all(word in texts for word in ("inout %", " when %", " at [%"))
    for task, outcome in run_all([replace(task, builds=BUILDS[:2]) for task in tasks]):
        assert outcome.kind == "ok", as_test(task, outcome)


@pytest.mark.parametrize("ignored", [{"mask": ""}, {"places": ()}, "inout"])
def test_wrong_store_is_noticed(monkeypatch, ignored):
    """Where the reference leaves out the condition, the places or what was there before."""
    if ignored == "inout":
        value = formulas.Evaluator.get_read

        def without_own(self, node, *operands):
            return np.array(operands[-1]) if node.data == "own" else value(self, node, *operands)

        monkeypatch.setattr(formulas.Evaluator, "get_read", without_own)
    else:
        stored = Copy.stored
        monkeypatch.setattr(
            Copy, "stored", lambda copy, found: stored(replace(copy, **ignored), found)
        )
    tasks = [replace(draw_formulas(seed, count=10), builds=BUILDS[:1]) for seed in range(4)]
    assert "fault" in {outcome.kind for _, outcome in run_all(tasks)}


def test_wrong_value_is_noticed_and_shrunk(monkeypatch):
    def wrong(source, plus):
        return Array(source.data.astype("int32") + 1, source.state)

    program = Program()
    program.need("bs")
    length = program.add("seqlens", {"source": "lens"}, {"plus": 0})
    clip = program.add("clip_seqlens", {"source": "more"}, {"limit": 5})
    program.copies.append(Copy(clip, (("a", "memref<?xi32>"),)))
    program.copies.append(
        Copy(length, (("b", "memref<?xi32>"), ("c", "memref<?xi32, strided<[?]>>")))
    )
    task = Task("wrong", program, (0,), ({"bs": 3}, {"bs": 64}), ptx=False)
    assert [outcome.kind for _, outcome in run_all([task])] == ["ok"]
    monkeypatch.setitem(FORMS, "seqlens", replace(FORMS["seqlens"], value=wrong))
    ((_, outcome),) = run_all([task])
    assert outcome.kind == "fault" and "elements differ" in outcome.what
    small, outcome = shrink(task, outcome)
    assert "clip_seqlens" not in small.program.text()
    assert len(small.sizes) == 1 and len(small.program.copies[0].destinations) == 1
    assert "nsa.compile(text" in as_test(small, outcome)


def test_crash_has_a_name(monkeypatch):
    def crash(source, plus):
        import os

        os._exit(3)

    program = Program()
    program.need("bs")
    value = program.add("seqlens", {"source": "lens"})
    program.copies.append(Copy(value, (("a", "memref<?xi32>"),)))
    bad = Task("bad", program, (0,), ({"bs": 3},), ptx=False)
    copied = Program()
    copied.need("bs")
    copied.copies.append(Copy(copied.need("lens"), (("a", "memref<?xi32>"),)))
    good = Task("good", copied, (0,), ({"bs": 3},), ptx=False)
    monkeypatch.setitem(FORMS, "seqlens", replace(FORMS["seqlens"], value=crash))
    kinds = {task.name: outcome for task, outcome in run_all([bad, good], jobs=1)}
    assert kinds["bad"].kind == "crash" and "exit status 3" in kinds["bad"].what
    assert kinds["good"].kind == "ok"
