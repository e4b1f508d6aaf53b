# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Arrays of every exporter, and Python code that runs while they are exported."""

from __future__ import annotations

import array
import ctypes
import threading
import weakref
from typing import Any

import numpy as np
import pytest

from conftest import HostStep
from nsa import _nsa_runtime

ARRAYS = ("lens", "table", "sums", "row")


class Exporter:
    """An array with a Python ``__dlpack__`` and nothing else, as older torch and many
    wrappers have; `hook` runs in the middle of it."""

    def __init__(self, value: np.ndarray, hook: Any = lambda: None, **options: Any) -> None:
        self.value, self.hook, self.options = value, hook, options

    def __dlpack_device__(self) -> tuple[int, int]:
        return (1, 0)

    def __dlpack__(self, **options: Any) -> Any:
        self.hook()
        return self.value.__dlpack__(**{**options, **self.options})


class Old(Exporter):
    """One from before DLPack 1.0."""

    def __dlpack__(self, stream: Any = None) -> Any:
        self.hook()
        return self.value.__dlpack__()


class Jax(Old):
    """JAX's arrays are immutable, and say so in the buffer protocol alone."""

    __module__ = "jaxlib._jax"


def arguments(factor: int = 1) -> dict[str, Any]:
    return dict(
        lens=factor * np.array([3, 1, 2], np.int64),
        table=np.arange(20, dtype=np.int32).reshape(4, 5),
        sums=np.full(4, -7, np.int32),
        row=np.full(4, -7, np.int32),
    )


def caller(host: HostStep) -> Any:
    """`host` as the operations of ``nsa.ops`` call theirs."""
    made = _nsa_runtime.Caller(lambda target, _: (host.step, {}), ARRAYS, ("n", "width"))
    return lambda values, sizes=(None, 4): made([values[name] for name in ARRAYS], sizes)


# ----------------------------------------------------------------------------
# Calls in calls
# ----------------------------------------------------------------------------


def test_threads(host: HostStep) -> None:
    """The GIL changes hands in the middle of a call, and comes back after another one."""
    call = caller(host)
    values = [arguments(1), arguments(10)]
    lens, sums = ([v[name] for v in values] for name in ("lens", "sums"))

    def run(number: int, hook: Any = lambda: None) -> None:
        changed = dict(lens=Exporter(lens[number]), sums=Exporter(sums[number], hook))
        call({**values[0], **changed})

    # All four pairs are known.
    for pair in ((0, 0), (0, 1), (1, 0), (1, 1)):
        call({**values[0], "lens": Exporter(lens[pair[0]]), "sums": Exporter(sums[pair[1]])})
    for out in sums:
        out[:] = -7
    in_first, in_second, first_done = (threading.Event() for _ in range(3))

    def first() -> None:
        run(0, lambda: (in_first.set(), in_second.wait(5)))
        first_done.set()

    def second() -> None:
        in_first.wait(5)
        run(1, lambda: (in_second.set(), first_done.wait(5)))

    threads = [threading.Thread(target=target) for target in (first, second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [out.tolist() for out in sums] == [[0, 3, 4, 6], [0, 30, 40, 60]]


def test_call_within_a_call(host: HostStep) -> None:
    call = caller(host)
    outer, inner = arguments(1), arguments(10)
    call({**outer, "sums": Exporter(outer["sums"], lambda: call(inner))})
    assert outer["sums"].tolist() == [0, 3, 4, 6]
    assert inner["sums"].tolist() == [0, 30, 40, 60]


class Size:
    """A size whose integer takes Python code to find."""

    def __init__(self, value: int, hook: Any) -> None:
        self.value, self.hook = value, hook

    def __index__(self) -> int:
        self.hook()
        return self.value


def test_call_within_a_size(host: HostStep) -> None:
    call, values = caller(host), arguments()
    # Nor is what the call found lost when everything is forgotten meanwhile.
    space = np.zeros(2000, np.int32)

    def fill() -> None:
        for at in range(1100):
            call({**values, "row": space[at : at + 4]}, (0, 0))

    call(values, (Size(2, lambda: call(values, (1, 1))), Size(3, fill)))
    assert values["sums"].tolist() == [0, 3, 4, -7]
    assert values["row"].tolist() == [0, 1, 2, -7]


def test_launch_within_a_launch(host: HostStep) -> None:
    values = arguments()
    bound = host.step.bind(**values)
    bound.launch(n=Size(2, lambda: bound.launch(n=1, width=1)), width=3)
    assert values["sums"].tolist() == [0, 3, 4, -7]
    assert values["row"].tolist() == [0, 1, 2, -7]


def test_copies_outlive_the_launch(host: HostStep) -> None:
    """What an exporter makes for the call belongs to the call until the end."""
    call, values = caller(host), arguments()

    class Copying(Exporter):
        def __dlpack__(self, **options: Any) -> Any:
            copy = self.value.copy()
            weakref.finalize(copy, host.calls.append, "freed")
            return copy.__dlpack__(**options)

    for _ in range(2):
        host.calls.clear()
        call({**values, "lens": Copying(values["lens"])})
        assert host.calls[:2] == ["prefix", "row"] and "freed" in host.calls[2:]
    assert values["sums"].tolist() == [0, 3, 4, 6]


# ----------------------------------------------------------------------------
# What may be written
# ----------------------------------------------------------------------------


def read_only() -> np.ndarray:
    value = np.zeros(4, np.int32)
    value.flags.writeable = False
    return value


@pytest.mark.parametrize(
    "out, message",
    [
        (Exporter(np.zeros(4, np.int32), copy=True), "an array to write to but got Exporter"),
        (Exporter(read_only()), "a writable array but got a read-only one"),
        (read_only(), "a writable array but got a read-only one"),
        (Jax(np.zeros(4, np.int32)), "a writable array but got a read-only one"),
        (bytes(16), "expected"),
    ],
)
@pytest.mark.parametrize("way", ["call", "bind", "caller"])
def test_refused_destination(host: HostStep, out: Any, message: str, way: str) -> None:
    values = {**arguments(), "sums": out}
    with pytest.raises((ValueError, TypeError), match=message) as info:
        if way == "caller":
            caller(host)(values)
        else:
            (host.step if way == "call" else host.step.bind)(width=4, **values)
    assert info.value.argument == "sums"
    assert host.calls == []


def test_inputs_may_be_copies(host: HostStep) -> None:
    values = arguments()
    lens = values["lens"]
    for lens in (Exporter(lens, copy=True), Jax(lens), Old(lens)):
        values["sums"][:] = -7
        host.step(**{**values, "lens": lens}, width=4)
        assert values["sums"].tolist() == [0, 3, 4, 6]


# ----------------------------------------------------------------------------
# What exporters raise
# ----------------------------------------------------------------------------


class NoAttribute:
    def __init__(self, error: type[BaseException]) -> None:
        self.error = error

    def __getattr__(self, name: str) -> Any:
        raise self.error("told")


def failing(error: type[BaseException]) -> list[Any]:
    """Things that raise `error` when they are asked what they are."""

    def fail() -> None:
        raise error("told")

    class NoDevice(Exporter):
        def __dlpack_device__(self) -> tuple[int, int]:
            raise error("told")

    value = np.zeros(3, np.int64)
    return [Exporter(value, fail), Old(value, fail), NoDevice(value), NoAttribute(error)]


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, MemoryError, OSError])
def test_what_passes_through(host: HostStep, error: type[BaseException]) -> None:
    call = caller(host)
    for lens in failing(error):
        with pytest.raises(error, match="told"):
            host.step(**{**arguments(), "lens": lens}, width=4)
        with pytest.raises(error, match="told"):
            call({**arguments(), "lens": lens})
    for name in ("n", "width"):

        def fail() -> None:
            raise error("told")

        with pytest.raises(error, match="told"):
            host.step(**arguments(), **{name: Size(1, fail)})
    with pytest.raises(error, match="told"):
        host.step(**arguments(), width=4, stream=NoAttribute(error))
    assert host.calls == []


@pytest.mark.parametrize("error", [BufferError, TypeError, ValueError, RuntimeError])
def test_what_is_refused(host: HostStep, error: type[BaseException]) -> None:
    """An exporter that says no makes a wrong argument, and the reason is its cause."""
    for lens in failing(error)[:3]:
        with pytest.raises(ValueError, match="argument 'lens': .* cannot be exported") as info:
            host.step(**{**arguments(), "lens": lens}, width=4)
        assert isinstance(info.value.__cause__, error)
        assert info.value.argument == "lens"


def test_errors_name_their_argument(host: HostStep) -> None:
    """Callers branch on the attribute, which every error has."""
    for change, name in [
        (dict(lens=np.zeros(3, np.float32)), "lens"),
        (dict(sums=np.zeros(1, np.int32)), "sums"),
        (dict(width=5), "row"),
        (dict(width=-1), "width"),
        (dict(width="x"), "width"),
        (dict(width=2**70), "width"),
        (dict(lens=3), "lens"),
        (dict(no_such=3), "no_such"),
        (dict(stream="x"), "stream"),
    ]:
        with pytest.raises((TypeError, ValueError)) as info:
            host.step(**{**arguments(), "width": 4, **change})
        assert info.value.argument == name
        assert str(info.value).startswith(f"argument '{name}': ")
    # A name that is no UTF-8 is no name, and no address either.
    with pytest.raises(ValueError, match="surrogates not allowed"):
        host.step(**arguments(), width=4, **{"\udcff": 1})


# ----------------------------------------------------------------------------
# Buffers
# ----------------------------------------------------------------------------


def test_buffers_without_strides(host: HostStep) -> None:
    """ctypes gives a shape and no strides, whatever it is asked for."""
    rows = ctypes.c_int32 * 5
    for table in ((rows * 4)(rows(5, 6, 7, 8, 9)), memoryview((rows * 4)(rows(5, 6, 7, 8, 9)))):
        for lens in ((ctypes.c_int64 * 3)(3, 1, 2), array.array("q", [3, 1, 2])):
            sums, row = (ctypes.c_int32 * 4)(), (ctypes.c_int32 * 4)()
            host.step(lens=lens, table=table, sums=sums, row=row, width=4)
            assert list(sums) == [0, 3, 4, 6]
            assert list(row) == [5, 6, 7, 8]
    empty = (ctypes.c_int64 * 0)()
    values = {**arguments(), "lens": empty}
    host.step(**values, width=4)
    assert values["sums"].tolist() == [0, -7, -7, -7]


def test_refused_buffers(host: HostStep) -> None:
    class Pair(ctypes.Structure):
        _fields_ = [("a", ctypes.c_int64)]

    big = (ctypes.c_int64.__ctype_be__ * 3)(1, 2, 3)
    for lens, message in [
        (big, "cannot be exported"),
        ((Pair * 3)(), "cannot be exported"),
        (ctypes.c_int64(3), "expected 1 dimension but got 0"),
        ((ctypes.c_int64 * 3 * 2)(), "expected 1 dimension but got 2"),
        ((ctypes.c_int32 * 3)(), "expected dtype int64 but got int32"),
    ]:
        with pytest.raises((TypeError, ValueError), match=f"argument 'lens': .*{message}"):
            host.step(**{**arguments(), "lens": lens}, width=4)
    assert host.calls == []
