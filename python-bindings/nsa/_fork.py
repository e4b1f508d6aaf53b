# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Compilations and forks.

A forked child has one thread, and what another one held at that moment stays held there:
locks of Python, of LLVM, of the C library. So a fork waits until no thread compiles, which
takes some milliseconds, and the child begins with locks of its own.
"""

from __future__ import annotations

import os
import threading


class Compilations:
    """A context for whoever runs the compiler; any number of threads at once."""

    def __init__(self) -> None:
        self._begin()
        os.register_at_fork(
            before=self._wait, after_in_parent=self._go_on, after_in_child=self._begin
        )

    def _begin(self) -> None:
        self._changed = threading.Condition()
        self._threads: list[int] = []
        self._forking = False

    def __enter__(self) -> None:
        with self._changed:
            while self._forking:
                self._changed.wait()
            self._threads.append(threading.get_ident())

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._threads.remove(threading.get_ident())
            self._changed.notify_all()

    def _wait(self) -> None:
        self._changed.acquire()
        self._forking = True
        me = threading.get_ident()
        # A signal handler may fork in the middle of a compilation of its own thread.
        while any(thread != me for thread in self._threads):
            self._changed.wait()

    def _go_on(self) -> None:
        self._forking = False
        self._changed.notify_all()
        self._changed.release()
