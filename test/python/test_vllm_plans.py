# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Which launches of ``nsa.vllm.one_launch`` are known again, and that each computes what its
calls do, whatever is known."""

from __future__ import annotations

import gc
from functools import partial
from typing import Any

import numpy as np
import pytest

import nsa
from nsa import vllm
from nsa.vllm import _together

pytestmark = pytest.mark.skipif(not nsa.has_compiler(), reason="built without the compiler")


@pytest.fixture
def found_out(monkeypatch):
    """The times that calls had to be found out since it was last asked."""
    times: list[int] = []
    collect = _together.collect

    def counting(functions):
        times.append(len(functions))
        return collect(functions)

    monkeypatch.setattr(_together, "collect", counting)
    monkeypatch.setattr(
        _together, "_plans", _together.CallPlans(_together.make_plan, _together.as_bytes)
    )

    def since() -> int:
        count = len(times)
        times.clear()
        return count

    return since


def local(lens: Any, out: Any, *, size: int = 2, rank: int = 0, **more: Any) -> partial[None]:
    return partial(vllm.dcp_local_seq_lens, lens, out, context_parallel=(size, rank), **more)


def new(count: int, size: int = 4) -> list[np.ndarray]:
    return [np.full(size, -5, np.int32) for _ in range(count)]


LENS = np.array([9, 4, 1, 0], np.int32)


def check(outs, wanted):
    np.testing.assert_array_equal(outs, wanted)


def test_known_again(found_out):
    """Other arrays, numbers and objects of equal value are the same launch."""
    for number, (lens, num_reqs) in enumerate(((LENS, 4), (LENS + 7, 3), (LENS[::-1], 0))):
        one, two = new(2)
        # A name that is made anew is not the same object.
        named = {"".join(["num_", "reqs"]): num_reqs}
        vllm.one_launch(local(lens, one, **named), local(one, two))
        assert found_out() == (1 if number == 0 else 0)
        check(one, np.where(np.arange(4) < num_reqs, (lens + 1) // 2, 0))
        check(two, (one + 1) // 2)


def test_others(found_out):
    """What makes another launch is found out once."""
    one, two, three = new(3)
    others = [
        (local(LENS, one), local(LENS, two)),
        (local(LENS, one), local(one, two)),
        (local(LENS, one), local(LENS, two, rank=1)),
        (local(LENS, one), local(LENS, two), local(LENS, three)),
        (local(LENS, one),),
        (local(LENS, one, num_reqs=4), local(LENS, two)),
        (local(LENS, one), local(LENS, two, num_reqs=4)),
        (local(lens := LENS.astype(np.int64), one), local(lens, two)),
        (local(LENS, one, num_reqs=None), local(LENS, two)),
        (partial(vllm.dcp_local_seq_lens, LENS, one, context_parallel=[2, 0]),),
        (partial(vllm.dcp_local_seq_lens, seq_lens=LENS, out=one, context_parallel=(2, 0)),),
        (partial(vllm.dcp_local_seq_lens, out=one, seq_lens=LENS, context_parallel=(2, 0)),),
        (partial(vllm.dcp_local_seq_lens, LENS, out=one, context_parallel=(True, 0)),),
    ]
    for number in range(3):
        for calls in others[:-1]:
            one[:], two[:], three[:] = -5, -5, -5
            vllm.one_launch(*calls)
            check(one, (LENS + 1) // 2)
            if len(calls) > 1:
                of, rank = calls[1].args[0], calls[1].keywords["context_parallel"][1]
                check(two, (of + 1 - rank) // 2)
            check(three, (LENS + 1) // 2 if len(calls) == 3 else -5)
        # dtypes are no other launch here, but another step.
        assert found_out() == (len(others) - 2 if number == 0 else 0)
        with pytest.raises(TypeError, match="'context_parallel'"):
            vllm.one_launch(*others[-1])
        found_out()


def test_num_reqs_of_all(found_out):
    one, two = new(2)
    for num_reqs in (4, 2, 3, None, 2, None):
        vllm.one_launch(local(LENS, one), local(LENS, two), num_reqs=num_reqs)
        there = np.arange(4) < (4 if num_reqs is None else num_reqs)
        check([one, two], [np.where(there, (LENS + 1) // 2, 0)] * 2)
    assert found_out() == 2
    for wrong, error in ((-1, ValueError), (2.5, TypeError), ("4", TypeError)):
        with pytest.raises(error, match="num_reqs"):
            vllm.one_launch(local(LENS, one), local(LENS, two), num_reqs=wrong)


def test_what_is_not_known(found_out):
    """Functions of others, of other types, and what is no array, are called each time."""
    (out,) = new(1)

    def call():
        vllm.dcp_local_seq_lens(LENS, out, context_parallel=(2, 0))
        return "called"

    parallel = vllm.ContextParallel(2, 0, 1)
    own = partial(vllm.dcp_local_seq_lens, LENS, out, context_parallel=parallel)
    for function, returned in ((call, "called"), (partial(call), "called"), (own, None)):
        for _ in range(2):
            out[:] = -5
            assert vllm.one_launch(function) == (returned,)
            check(out, (LENS + 1) // 2)
            assert found_out() >= 1
    with pytest.raises(TypeError):
        vllm.one_launch(4)
    with pytest.raises(TypeError):
        vllm.one_launch(partial(vllm.dcp_local_seq_lens, LENS, out))


def test_many_arrays(found_out):
    """Up to 192 arrays are known again; more are called each time."""
    for count in (96, 97):
        outs = new(count)
        calls = [local(LENS.copy(), out) for out in outs]
        for _ in range(2):
            found_out()
            vllm.one_launch(*calls)
        assert found_out() == (0 if count == 96 else 1)
        check(outs, np.broadcast_to((LENS + 1) // 2, (count, 4)))


def test_types_may_go(found_out):
    """An array type that is gone, and another one at its place, are not mistaken."""
    for size in (4, 2, 3):

        class Lens:
            """What exports an array."""

            def __init__(self, array: np.ndarray) -> None:
                self.array = array

            def __dlpack__(self, **how: Any) -> Any:
                return self.array.__dlpack__(**how)

            def __dlpack_device__(self) -> tuple[int, int]:
                return self.array.__dlpack_device__()

        (out,) = new(1, size)
        vllm.one_launch(local(Lens(LENS[:size].copy()), out))
        check(out, (LENS[:size] + 1) // 2)
        del Lens
        gc.collect()
