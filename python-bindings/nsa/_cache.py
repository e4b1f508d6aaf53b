# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Steps by their text: compiled once per process, or found in saved bundles.

Where there is no compiler, a step comes from a bundle that was saved under the key of
its text and options in one of the directories of ``NSA_BUNDLE_PATH`` (separated as in
``PATH``).
"""

import hashlib
import json
import os
import threading

from ._compile import DEFAULT_CHIP, CompileError, compile, has_compiler
from ._module import load

_lock = threading.Lock()
_steps = {}


def bundle_key(text, chip=None, fuse=True, guards=False):
    """The name of the directory that holds the bundle of `text`."""
    options = {"chip": chip or DEFAULT_CHIP, "fuse": bool(fuse), "guards": bool(guards)}
    content = text + "\0" + json.dumps(options, sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()


def save_bundle(text, directory, chip=None, fuse=True, guards=False):
    """Compiles `text` and saves it where a process with `directory` in its
    ``NSA_BUNDLE_PATH`` finds it. Returns the bundle's directory."""
    path = os.path.join(directory, bundle_key(text, chip, fuse, guards))
    compile(text, "cuda", chip, fuse, guards).save(path)
    return path


def get_step(name, text, target, chip=None, fuse=True, guards=False):
    """The step `name` of `text`, compiled for `target` on the first call.

    Raises ``CompileError`` if it neither compiles here nor is saved anywhere.
    """
    key = (name, text, target, chip or DEFAULT_CHIP, fuse, guards)
    step = _steps.get(key)
    if step is None:
        # One compilation, whoever asks at the same time.
        with _lock:
            step = _steps.get(key)
            if step is None:
                step = _steps[key] = _make(*key)
    return step


def _make(name, text, target, chip, fuse, guards):
    if has_compiler():
        return compile(text, target, chip, fuse, guards)[name]
    if target != "cuda":
        raise CompileError(
            f"step {name!r} needs the compiler for CPU arrays, and this installation of "
            "nsa has none"
        )
    key = bundle_key(text, chip, fuse, guards)
    searched = [d for d in os.environ.get("NSA_BUNDLE_PATH", "").split(os.pathsep) if d]
    for directory in searched:
        path = os.path.join(directory, key)
        if os.path.isdir(path):
            return load(path)[name]
    where = ", ".join(searched) if searched else "NSA_BUNDLE_PATH, which is not set"
    raise CompileError(
        f"step {name!r} is missing: this installation of nsa has no compiler, and there is "
        f"no bundle {key} in {where}"
    )
