# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Operations over sets of fields: what is remembered of them, and what is not."""

from __future__ import annotations

from collections import OrderedDict, UserDict
from typing import Any

import numpy as np
import pytest

import exchange
from conftest import HostStep
from nsa import _nsa_runtime
from test_arrays import ARRAYS, Exporter, arguments

SIZES = (None, 4)


class Sets:
    """`host` over inputs "lens" and "table" and one or two sets."""

    def __init__(self, host: HostStep) -> None:
        self.made: list[Any] = []
        self.host = host
        self.sets = _nsa_runtime.SetCaller(self.make)

    def make(self, constants: Any, names: Any) -> Any:
        self.made.append((constants, names))
        step = self.host.step
        order = [*ARRAYS[:2], *(name for each in names for name in each)]
        called = _nsa_runtime.Caller(lambda *_: (step, {}), ARRAYS, ("n", "width"))
        return called, [order.index(name) for name in ARRAYS]

    def __call__(self, *sets: Any, constants: Any = ("a", 1, None), sizes: Any = SIZES) -> None:
        values = arguments()
        self.sets.call(constants, (values["lens"], values["table"]), sets, sizes, None)


@pytest.fixture
def sets(host: HostStep) -> Sets:
    return Sets(host)


def outputs() -> dict[str, np.ndarray]:
    return {name: np.full(4, -7, np.int32) for name in ("sums", "row")}


def check(*fields: Any) -> None:
    values = {name: array for each in fields for name, array in each.items()}
    assert values["sums"].tolist() == [0, 3, 4, 6]
    assert values["row"].tolist() == [0, 1, 2, 3]


def test_names_are_looked_up(sets: Sets) -> None:
    for _ in range(3):
        # Other arrays, and names that are equal and not the same object.
        given = {"".join(["su", "ms"]): outputs()["sums"], "row": outputs()["row"]}
        sets(given)
        check(given)
    assert sets.made == [(("a", 1, None), (("sums", "row"),))]
    # Another order, and the same names in other sets.
    turned = dict(reversed(outputs().items()))
    apart = [{"sums": outputs()["sums"]}, {"row": outputs()["row"]}]
    for given in ([turned], apart, [*apart, {}], [{}, *apart]):
        sets(*given)
        check(*given)
    assert [names for _, names in sets.made[1:]] == [
        (("row", "sums"),),
        (("sums",), ("row",)),
        (("sums",), ("row",), ()),
        ((), ("sums",), ("row",)),
    ]
    sets.made.clear()
    sets(*apart)
    sets(turned)
    assert sets.made == []


def test_constants_are_what_they_are(sets: Sets) -> None:
    """1, True and 1.0 are equal, and different constants."""
    given = [("a", 1, None), ("a", True, None), ("a", 1, False), ("b", 1, None), ("a", 2**70, None)]
    for _ in range(2):
        for constants in given:
            sets(outputs(), constants=constants)
    assert [constants for constants, _ in sets.made] == given
    assert [type(constants[1]) for constants, _ in sets.made] == [int, bool, int, int, int]
    # What is no plain constant is for `make` to judge, each time.
    sets.made.clear()
    odd: list[Any] = [1.0, np.int64(1), [], type("Text", (str,), {})("a")]
    for value in odd * 2:
        sets(outputs(), constants=(value,))
    assert [constants[0] for constants, _ in sets.made] == odd * 2


def test_anything_with_names_and_values(sets: Sets) -> None:
    ordered = OrderedDict(outputs())
    ordered.move_to_end("sums")
    for given in (ordered, UserDict(outputs())):
        sets(given)
        check(given)
    assert [names for _, names in sets.made] == [(("row", "sums"),), (("sums", "row"),)]
    for wrong in (3, None, [3], {3: np.zeros(4)}):
        with pytest.raises((TypeError, AttributeError, ValueError)):
            sets(wrong)


def test_failures_are_not_remembered(sets: Sets, monkeypatch: pytest.MonkeyPatch) -> None:
    fails = [True]
    made = sets.make

    def make(constants: Any, names: Any) -> Any:
        if fails[0]:
            raise ValueError("told")
        return made(constants, names)

    sets.sets = _nsa_runtime.SetCaller(make)
    for _ in range(2):
        with pytest.raises(ValueError, match="told"):
            sets(outputs())
    fails[0] = False
    given = outputs()
    sets(given)
    check(given)
    beyond = _nsa_runtime.SetCaller(lambda *_: (made, [2]))
    with pytest.raises(IndexError):
        beyond.call((), (), [outputs()], SIZES, None)


def test_a_function_in_the_place_of_a_caller() -> None:
    calls = []
    sets = _nsa_runtime.SetCaller(lambda *_: (lambda *call: calls.append(call), [2, 0]))
    for _ in range(2):
        sets.call((), ("a",), [{"b": 1, "c": 2}], (3, None), 7)
    assert calls == 2 * [([2, "a"], (3, None), 7)]


def test_forgetting(sets: Sets) -> None:
    sets(outputs())
    sets.sets.forget()
    sets(outputs())
    assert len(sets.made) == 2
    for number in range(1100):
        sets({**outputs(), f"field{number}": 0})
    given = outputs()
    sets(given)
    check(given)


def test_what_changes_in_a_call(sets: Sets) -> None:
    """An exporter may do anything, even empty the set that it is in."""
    values = outputs()
    given: dict[str, Any] = {}

    def hook() -> None:
        sets.sets.forget()
        given.clear()

    for _ in range(2):
        for name in values:
            values[name][:] = -7
        given.update(sums=Exporter(values["sums"], hook), row=Exporter(values["row"]))
        sets(given)
        check(values)
        assert given == {}


def test_kinds_in_turn(sets: Sets) -> None:
    """What the last call was is no matter: order and number of names, sets, and constants."""
    for _ in range(3):
        for constants in (("a", 1, None), ("a", True, None), ("b", 1, None), ("a", 1)):
            out = outputs()
            sets(out, constants=constants)
            check(out)
        for names in (("row", "sums"), ("sums", "row")):
            out = outputs()
            sets({name: out[name] for name in names})
            check(out)
            out = outputs()
            sets(*({name: out[name]} for name in names))
            check(out)
    # ("a", 1, None) of ("sums", "row") is there twice.
    assert len(sets.made) == 7
    with pytest.raises(ValueError):
        sets({"sums": outputs()["sums"]})
    out = outputs()
    sets(out)
    check(out)


# ----------------------------------------------------------------------------
# DLPack's exchange API
# ----------------------------------------------------------------------------


def test_tensors_of_the_exchange_api(host: HostStep, tmp_path: Any) -> None:
    """They are exported when they are new; then their description is all that is asked for."""
    stub = exchange.load(exchange.build(tmp_path))

    def tensor(value: np.ndarray, *shape: int) -> Any:
        made = stub.Tensor(value.ctypes.data, 1, 8 * value.itemsize, shape or value.shape)
        return made

    call = _nsa_runtime.Caller(lambda *_: (host.step, {}), ARRAYS, ("n", "width"))
    values = arguments()
    for _ in range(3):
        values["sums"][:] = values["row"][:] = -7
        call([tensor(values[name]) for name in ARRAYS], SIZES)
        check(values)
        assert stub.exports() == len(ARRAYS)
    # Other shapes at the same addresses are other arrays, and are told apart again.
    for lens, expected in ((2, [0, 3, 4, -7]), (3, [0, 3, 4, 6]), (2, [0, 3, 4, -7])):
        values["sums"][:] = -7
        arrays = [tensor(values["lens"], lens), *(tensor(values[n]) for n in ARRAYS[1:])]
        call(arrays, SIZES)
        assert values["sums"].tolist() == expected
    assert stub.exports() == 2 * len(ARRAYS)
    # Types may be mixed in a call.
    values["sums"][:] = -7
    call([values["lens"], tensor(values["table"]), values["sums"], tensor(values["row"])], SIZES)
    check(values)


def test_the_same_tensor_may_become_another(host: HostStep, tmp_path: Any) -> None:
    """Whatever a tensor is given to be between two calls, the next one sees."""
    stub = exchange.load(exchange.build(tmp_path))
    call = _nsa_runtime.Caller(lambda *_: (host.step, {}), ARRAYS, ("n", "width"))
    values = arguments()
    arrays = [
        stub.Tensor(v.ctypes.data, 1, 8 * v.itemsize, v.shape) for v in map(values.get, ARRAYS)
    ]
    lens, _, sums, _ = arrays

    def run() -> list[int]:
        values["sums"][:] = -7
        call(arrays, SIZES)
        return values["sums"].tolist()

    assert run() == [0, 3, 4, 6]
    # Shorter, as before, elsewhere.
    lens.__init__(values["lens"].ctypes.data, 1, 64, (2,))
    assert run() == [0, 3, 4, -7]
    lens.__init__(values["lens"].ctypes.data, 1, 64, (3,))
    assert run() == [0, 3, 4, 6]
    moved = np.array([5, 6, 7])
    lens.__init__(moved.ctypes.data, 1, 64, (3,))
    assert run() == [0, 5, 11, 18]
    # Not what the step takes: nothing is written.
    lens.__init__(moved.ctypes.data, 1, 32, (3,))
    with pytest.raises(TypeError, match="lens"):
        run()
    assert values["sums"].tolist() == [-7] * 4
    lens.__init__(moved.ctypes.data, 1, 64, (3,))
    # A tensor that is too short for the same sizes.
    sums.__init__(values["sums"].ctypes.data, 1, 32, (3,))
    with pytest.raises(ValueError, match="sums"):
        run()
    sums.__init__(values["sums"].ctypes.data, 1, 32, (4,))
    assert run() == [0, 5, 11, 18]
