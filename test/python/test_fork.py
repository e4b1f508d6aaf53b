# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Processes that fork while other threads compile."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from nsa import _cache, _fork

pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")

SECONDS = 20


def in_child(function: Callable[[], Any]) -> str:
    """What becomes of a child that calls `function`."""
    process = os.fork()
    if process == 0:
        status = 1
        try:
            function()
            status = 0
        finally:
            os._exit(status)
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        ended, status = os.waitpid(process, os.WNOHANG)
        if ended:
            return f"ended with {os.waitstatus_to_exitcode(status)}"
        time.sleep(0.01)
    os.kill(process, signal.SIGKILL)
    os.waitpid(process, 0)
    return "hung"


def test_the_lock_of_the_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread that makes a step holds the lock; the child has no such thread."""
    inside, go_on = threading.Event(), threading.Event()

    def make(text: str, *_: Any) -> dict[str, str]:
        if text == "slow":
            inside.set()
            go_on.wait(SECONDS)
        return {"step": text}

    monkeypatch.setattr(_cache, "_make", make)
    monkeypatch.setattr(_cache, "_steps", {})
    thread = threading.Thread(target=lambda: _cache.get_step("step", "slow", "cpu"))
    thread.start()
    inside.wait(SECONDS)
    try:
        assert in_child(lambda: _cache.get_step("step", "fast", "cpu")) == "ended with 0"
        # The parent's lock is as it was.
        assert not _cache._lock.acquire(blocking=False)
    finally:
        go_on.set()
        thread.join()
    assert _cache.get_step("step", "slow", "cpu") == "slow"


def test_a_fork_waits_for_compilations() -> None:
    """Locks in the compiler cannot be made anew, so nobody holds one in a child."""
    compilations = _fork.Compilations()
    order: list[str] = []
    inside, go_on = threading.Event(), threading.Event()

    def compile() -> None:
        with compilations:
            inside.set()
            go_on.wait(SECONDS)
            order.append("compiled")

    def use() -> None:
        with compilations:
            pass

    def fork() -> None:
        order.append(in_child(use))

    threads = [threading.Thread(target=compile), threading.Thread(target=fork)]
    threads[0].start()
    inside.wait(SECONDS)
    threads[1].start()
    while not compilations._forking:
        time.sleep(0.001)
    # One that comes meanwhile waits for the fork.
    late = threading.Thread(target=use)
    late.start()
    go_on.set()
    for thread in (*threads, late):
        thread.join(SECONDS)
        assert not thread.is_alive()
    assert order == ["compiled", "ended with 0"]


def test_a_fork_in_a_compilation_of_its_own() -> None:
    """As in the handler of a signal that comes in the middle of one."""
    compilations = _fork.Compilations()

    def use() -> None:
        with compilations:
            pass

    with compilations:
        assert in_child(use) == "ended with 0"
