# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Calls, bindings and every message, on NumPy arrays."""

import gc
import json
import re
import weakref

import numpy as np
import pytest

import nsa
from conftest import MANIFEST


@pytest.fixture
def good():
    """Arguments that pass every check, to be spoilt one at a time."""
    return dict(
        lens=np.array([3, 1, 2], np.int64),
        table=np.arange(20, dtype=np.int32).reshape(4, 5),
        sums=np.full(6, -7, np.int32),
        row=np.full(6, -7, np.int32),
        width=4,
    )


def test_call(host, good):
    host.step(**good)
    assert host.calls == ["prefix", "row"]
    assert good["sums"].tolist() == [0, 3, 4, 6, -7, -7]
    assert good["row"].tolist() == [0, 1, 2, 3, -7, -7]


def test_given_size(host, good):
    host.step(**good, n=np.int32(2))
    assert good["sums"].tolist() == [0, 3, 4, -7, -7, -7]


def test_strides(host, good):
    lens = np.array([3, 9, 1, 9, 2], np.int64)
    wide = np.full((6, 3), -7, np.int32)
    host.step(**{**good, "lens": lens[::-2], "sums": wide[:, 1], "row": wide[:, 2]})
    assert wide[:, 0].tolist() == [-7] * 6
    assert wide[:, 1].tolist() == [0, 2, 3, 6, -7, -7]
    assert wide[:, 2].tolist() == [0, 1, 2, 3, -7, -7]


def test_read_only_in(host, good):
    for name in ("lens", "table"):
        good[name].flags.writeable = False
    host.step(**good)
    assert good["sums"].tolist() == [0, 3, 4, 6, -7, -7]


def test_zero_sizes(host, good):
    good["lens"] = np.empty(0, np.int64)
    good["table"] = np.empty((0, 5), np.int32)
    good["row"] = np.empty(0, np.int32)
    host.step(**{**good, "width": 0})
    assert host.calls == ["prefix"]
    assert good["sums"].tolist() == [0] + [-7] * 5


def test_bind(host, good):
    del good["width"]
    bound = host.step.bind(**good)
    assert host.calls == []
    bound.launch(width=2)
    assert good["sums"].tolist() == [0, 3, 4, 6, -7, -7]
    assert good["row"].tolist() == [0, 1] + [-7] * 4
    good["lens"][0] = 5
    bound.launch(width=0, n=1, stream=None)
    assert good["sums"].tolist() == [0, 5, 4, 6, -7, -7]
    assert host.calls == ["prefix", "row", "prefix"]
    # Sizes of one launch are not those of the next.
    bound.launch(width=1)
    assert good["sums"].tolist() == [0, 5, 6, 8, -7, -7]
    assert bound.step is host.step


def test_bind_keeps_arrays_alive(host, good):
    sums = good["sums"].copy()
    reference = weakref.ref(sums)
    bound = host.step.bind(**{**good, "sums": sums})
    del sums
    gc.collect()
    assert reference() is not None
    bound.launch()
    del bound
    gc.collect()
    assert reference() is None


def test_step_keeps_its_kernels_alive():
    class Keep:
        pass

    keep = Keep()
    reference = weakref.ref(keep)
    step = nsa.Step(json.dumps(MANIFEST), "ptx", keep=keep)
    # A cycle through the step is seen by the collector.
    keep.step = step
    del keep, step
    gc.collect()
    assert reference() is None


def test_describes_itself(host):
    step = host.step
    assert step.name == "prefix"
    assert step.chip == "sm_80"
    assert step.kernels == ["prefix", "row"]
    assert step.ptx is None
    assert json.loads(step.manifest) == MANIFEST
    assert step.arguments[2] == ("lens", "in", "int64", 1)
    assert str(step.signature) == (
        "(*, n: 'size' = None, width: 'size', lens: 'in int64[?]', "
        "table: 'in int32[?, ?]', sums: 'out int32[?]', row: 'out int32[?]', "
        "stream=None)"
    )
    assert "prefix" in repr(step)


class Unexportable:
    def __dlpack__(self, **kwargs):
        raise BufferError("not today")

    def __dlpack_device__(self):
        return (1, 0)


def _overlapping():
    both = np.zeros((2, 6), np.int32)
    return dict(sums=both[0], row=both.reshape(-1)[3:9])


def _with_table():
    table = np.zeros((4, 5), np.int32)
    return dict(table=table, row=table.reshape(-1)[:6])


@pytest.mark.parametrize(
    "change, error, message",
    [
        (
            dict(lens=np.zeros(3, np.int32)),
            TypeError,
            "argument 'lens': expected dtype int64 but got int32",
        ),
        (
            dict(lens=np.zeros(3, np.float64)),
            TypeError,
            "argument 'lens': expected dtype int64 but got float64",
        ),
        (
            dict(lens=np.zeros((3, 1), np.int64)),
            ValueError,
            "argument 'lens': expected 1 dimension but got 2",
        ),
        (
            dict(lens=3),
            TypeError,
            "argument 'lens': expected a 1-d int64 array but got int",
        ),
        (
            dict(lens=None),
            TypeError,
            "argument 'lens': expected a 1-d int64 array but got NoneType",
        ),
        (
            dict(lens=Unexportable()),
            ValueError,
            "argument 'lens': expected a 1-d int64 array but got Unexportable that "
            "cannot be exported: not today",
        ),
        (
            dict(length=3),
            TypeError,
            "argument 'length': step 'prefix' has no argument of that name",
        ),
        (
            dict(table=np.zeros((5, 4), np.int32).T),
            ValueError,
            "argument 'table': expected stride 1 in dimension 1 but got 4",
        ),
        (
            dict(sums=np.zeros(3, np.int32)),
            ValueError,
            "argument 'sums': expected shape[0] to be at least 4 (n + 1) but got 3",
        ),
        (
            dict(width=6),
            ValueError,
            "argument 'table': expected shape[1] to be at least 6 (width) but got 5",
        ),
        (
            dict(n=4),
            ValueError,
            "argument 'lens': expected shape[0] to be at least 4 (n) but got 3",
        ),
        (
            dict(width=-1),
            ValueError,
            "argument 'width': expected a size from 0 to 2147483647 but got -1",
        ),
        (
            dict(width=2**31),
            ValueError,
            "argument 'width': expected a size from 0 to 2147483647 but got 2147483648",
        ),
        (
            dict(width=10**30),
            ValueError,
            f"argument 'width': expected a size from 0 to 2147483647 but got {10**30}",
        ),
        (
            dict(width=-(2**63)),
            ValueError,
            f"argument 'width': expected a size from 0 to 2147483647 but got {-2**63}",
        ),
        (
            dict(width=1.0),
            TypeError,
            "argument 'width': expected an integer but got float",
        ),
        (
            dict(width=None),
            TypeError,
            "argument 'width': expected an integer but got NoneType",
        ),
        (
            dict(sums=np.broadcast_to(np.zeros(1, np.int32), (6,))),
            ValueError,
            "argument 'sums': expected a writable array but got a read-only one",
        ),
        (
            _overlapping(),
            ValueError,
            "argument 'row': expected an array that overlaps no other but it overlaps "
            "'sums' without being the very same view",
        ),
        (
            _with_table(),
            ValueError,
            "argument 'row': expected an array that overlaps no other but it overlaps "
            "'table'",
        ),
        (
            dict(stream="fast"),
            TypeError,
            "argument 'stream': expected an int, or an object with cuda_stream, ptr or "
            "__cuda_stream__, but got str",
        ),
    ],
)
def test_errors(host, good, change, error, message):
    arguments = {**good, **change}
    before = {
        name: arguments[name].copy()
        for name in ("sums", "row")
        if isinstance(arguments[name], np.ndarray)
    }
    with pytest.raises(error) as info:
        host.step(**arguments)
    assert str(info.value) == message
    # Nothing was launched, nothing was written.
    assert host.calls == []
    for name, value in before.items():
        assert np.array_equal(arguments[name], value)


@pytest.mark.parametrize("name", ["lens", "table", "sums", "row"])
def test_missing_array(host, good, name):
    del good[name]
    with pytest.raises(TypeError, match=f"argument '{name}': .* but it is missing"):
        host.step(**good)
    assert host.calls == []


def test_missing_size(host, good):
    del good["width"]
    message = "argument 'width': expected a size but it is missing"
    with pytest.raises(TypeError) as info:
        host.step(**good)
    assert str(info.value) == message
    bound = host.step.bind(**good)
    with pytest.raises(TypeError) as info:
        bound.launch()
    assert str(info.value) == message
    assert host.calls == []


def test_launch_errors(host, good):
    bound = host.step.bind(**good)
    for change, error, message in [
        (dict(bs=1), TypeError, "argument 'bs': not a size argument of this step"),
        (dict(lens=1), TypeError, "argument 'lens': not a size argument of this step"),
        (dict(n=True, width="x"), TypeError, "argument 'width': expected an integer"),
        (dict(n=9), ValueError, "argument 'lens': expected shape[0] to be at least 9"),
        (dict(width=-1), ValueError, "argument 'width': expected a size from 0"),
    ]:
        with pytest.raises(error, match=re.escape(message)):
            bound.launch(**change)
    assert host.calls == []
    bound.launch()
    assert host.calls == ["prefix", "row"]


def test_same_view_for_two_outputs(host, good):
    good["row"] = good["sums"]
    host.step(**good)
    assert host.calls == ["prefix", "row"]


def test_objects_with_dlpack_only(host, good):
    """Not every producer has the buffer protocol, or DLPack 1.0."""

    class Wrapped:
        def __init__(self, array):
            self.array = array

        def __dlpack_device__(self):
            return self.array.__dlpack_device__()

        def __dlpack__(self, **kwargs):
            return self.array.__dlpack__(**kwargs)

    class Old(Wrapped):
        def __dlpack__(self, stream=None):
            return self.array.__dlpack__(stream=stream)

    for wrap in (Wrapped, Old):
        good["sums"][:] = -7
        wrapped = {
            name: wrap(value) if isinstance(value, np.ndarray) else value
            for name, value in good.items()
        }
        host.step(**wrapped)
        assert good["sums"].tolist() == [0, 3, 4, 6, -7, -7]


def test_manifest_errors():
    for text, message in [
        ("{", "manifest: malformed JSON"),
        ("{}", "manifest: expected a member 'schema'"),
        ('{"schema": 7}', "manifest: schema: expected 1 but got 7"),
    ]:
        with pytest.raises(ValueError, match=re.escape(message)):
            nsa.Step(text)


def test_no_kernel_for_the_host(good):
    step = nsa.Step(json.dumps(MANIFEST), "ptx")
    with pytest.raises(nsa.DriverError, match="has no host kernels") as info:
        step(**good)
    assert isinstance(info.value, RuntimeError)


def test_no_driver():
    try:
        nsa.device_count()
    except nsa.DriverError as error:
        assert "CUDA driver" in str(error)
        step = nsa.Step(json.dumps(MANIFEST), "ptx")
        with pytest.raises(nsa.DriverError, match="CUDA driver"):
            step.load()
    else:
        pytest.skip("there is a driver and a device")
