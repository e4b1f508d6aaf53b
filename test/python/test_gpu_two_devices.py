# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""One step on two GPUs of one process: calls in turn, in threads and in graphs of each, whichever
device is current. Skipped, with the reason, where there is one. (Modules of tvm-ffi:
test_gpu_tvm_ffi.py.)"""

from __future__ import annotations

import os
import threading
from typing import Any

import numpy as np
import pytest
from conftest import device_or_skip
from replay_cases import Case, arguments, draw, variants
from test_gpu_replay import get_step, place

import nsa

DEVICES = (0, 1)
(VARIANT, *_) = variants(36)


@pytest.fixture(scope="module")
def cupy() -> Any:
    device_or_skip()
    count = nsa.device_count()
    if count < 2:
        pytest.skip(f"two CUDA devices are needed, and there is {count}")
    if not nsa.has_compiler() and not os.environ.get("NSA_BUNDLE_PATH"):
        pytest.skip("no compiler, and no bundles: NSA_BUNDLE_PATH is not set")
    return pytest.importorskip("cupy")


class Placed:
    """A case whose arrays are on one device."""

    def __init__(self, cupy: Any, device: int, seed: int, case: Case | None = None) -> None:
        self.cupy, self.device = cupy, cupy.cuda.Device(device)
        self.case = case or self.draw(np.random.default_rng(seed))
        self.step = get_step(self.case)
        with self.device:
            self.arrays = arguments(self.case, self.step, lambda array: place(cupy, array))
            self.stream = cupy.cuda.Stream(non_blocking=True)
            self.device.synchronize()

    @staticmethod
    def draw(rng: np.random.Generator) -> Case:
        case = draw(VARIANT, rng, max_bs=33)
        while case.sizes["bs"] == 0:
            case = draw(VARIANT, rng, max_bs=33)
        return case

    def spoil(self) -> None:
        with self.device:
            for name in self.case.outputs:
                self.arrays[name][...] = -7
            self.device.synchronize()

    def check(self) -> None:
        with self.device:
            self.device.synchronize()
            self.case.check({name: self.arrays[name].get() for name in self.case.outputs})


@pytest.fixture
def placed(cupy: Any) -> list[Placed]:
    return [Placed(cupy, device, seed=device) for device in DEVICES]


def test_calls_in_turn(cupy: Any, placed: list[Placed]) -> None:
    """On the device of the arrays; the current one stays."""
    for current in DEVICES:
        with cupy.cuda.Device(current):
            for each in placed:
                each.spoil()
            for _ in range(5):
                for each in placed:
                    each.step(**each.arrays, stream=each.stream.ptr)
                    assert cupy.cuda.Device().id == current
            for each in placed:
                each.check()


def test_bindings_in_turn(cupy: Any, placed: list[Placed]) -> None:
    bound = [each.step.bind(**each.arrays) for each in placed]
    for current in DEVICES:
        with cupy.cuda.Device(current):
            for each in placed:
                each.spoil()
            for _ in range(100):
                for each, binding in zip(placed, bound):
                    binding.launch(stream=each.stream.ptr)
            assert cupy.cuda.Device().id == current
            for each in placed:
                each.check()


def test_threads(cupy: Any) -> None:
    """Four threads to a device, with streams of their own."""
    placed = [Placed(cupy, number % 2, seed=number) for number in range(8)]
    for each in placed:
        each.spoil()
    failures: list[BaseException] = []

    def work(each: Placed) -> None:
        try:
            bound = each.step.bind(**each.arrays)
            for _ in range(2000):
                bound.launch(stream=each.stream.ptr)
            each.check()
        except BaseException as error:  # noqa: BLE001 - of another thread
            failures.append(error)

    threads = [threading.Thread(target=work, args=(each,)) for each in placed]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures, failures[0]


def test_a_graph_of_each(cupy: Any, placed: list[Placed]) -> None:
    """A capture on one while kernels of the other run, and are loaded."""
    graphs = []
    for each, other in zip(placed, reversed(placed)):
        bound = each.step.bind(**each.arrays)
        with each.device, each.stream:
            bound.launch(stream=each.stream.ptr)
            each.stream.begin_capture()
            bound.launch(stream=each.stream.ptr)
            graphs.append(each.stream.end_capture())
        other.step(**other.arrays, stream=other.stream.ptr)
        other.check()
    for _ in range(3):
        for each, graph in zip(placed, graphs):
            each.spoil()
            with each.device:
                graph.launch(each.stream)
        for each in placed:
            each.check()


def test_arrays_of_both_are_refused(placed: list[Placed]) -> None:
    here, there = placed
    mixed = Placed(here.cupy, 0, seed=0, case=here.case)
    last = next(reversed(here.case.outputs))
    with there.device:
        mixed.arrays[last] = place(here.cupy, here.case.outputs[last])
    mixed.spoil()
    with pytest.raises(ValueError, match=f"argument '{last}': expected an array on") as info:
        mixed.step(**mixed.arrays, stream=mixed.stream.ptr)
    assert info.value.argument == last
    # Nothing was launched.
    for name in here.case.outputs:
        with mixed.arrays[name].device:
            assert (mixed.arrays[name].get() == -7).all()
