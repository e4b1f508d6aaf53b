# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Steps by what a command line names them: a bundle's folder, the key of a bundle that is
shipped or in ``NSA_BUNDLE_PATH``, or a text to compile."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

from .. import _cache, _compile, _module, prebuild



class UsageError(Exception):
    """What the command line names is not there, or not what it has to be."""


@dataclass
class Found:
    """A step, and what else is known of it."""

    step: Any
    where: str
    text: str | None = None

    @cached_property
    def remarks(self) -> list[str]:
        """What the passes say of the text."""
        return remarks_of(self.text, self.where) if self.text is not None else []

    @property
    def manifest(self) -> dict[str, Any]:
        return json.loads(self.step.manifest)


def bundles() -> Iterator[str]:
    """The folders of all bundles that are found by a key, in the order of the search."""
    for directory in _cache.bundle_directories():
        yield from bundles_in(directory)


def bundles_in(directory: str) -> Iterator[str]:
    """The folders of bundles in a folder of them."""
    if os.path.isdir(directory):
        for name in sorted(os.listdir(directory)):
            path = os.path.join(directory, name)
            if os.path.isdir(path):
                yield path


@cache
def shipped_texts() -> dict[str, str]:
    """The texts of the usual steps, by key."""
    return {_cache.bundle_key(text): text for text in prebuild.texts()}


def remarks_of(text: str, name: str) -> list[str]:
    """What the passes say about a text, a line each; none without the compiler."""
    if not _compile.has_compiler():
        return []
    _, said = _compile._run(
        _compile.encode(text), os.fsencode(name), ptx=False, remarks=True
    )
    marked = [line for line in said.splitlines() if " remark: [" in line]
    return list(dict.fromkeys(line.split(" remark: ")[1] for line in marked))


def _by_key(name: str) -> str:
    """The folder of the bundle whose key begins with `name`; the first that the search has."""
    if os.path.isfile(name):
        raise UsageError(
            f"{name}: a file; a bundle is a folder, here {os.path.dirname(name) or '.'}"
        )
    known = {os.path.basename(path): path for path in reversed(list(bundles()))}
    keys = [key for key in known if name and key.startswith(name)]
    if not keys:
        raise UsageError(
            f"{name}: no folder, no text (.mlir), and no key of a bundle; 'python -m nsa"
            " list' shows the keys"
        )
    if len(keys) > 1:
        raise UsageError(f"{name}: {len(keys)} keys begin with that; 'python -m nsa list' shows them")
    return known[keys[0]]


def find(name: str, step: str | None = None, chip: str | None = None) -> list[Found]:
    """The steps that `name` names; with `step` that one alone."""
    path, text = name, None
    if name.endswith(".mlir"):
        with open(name, encoding="utf-8", errors="surrogateescape") as stream:
            text = stream.read()
        module = _compile.compile(text, "cuda", chip)
        where = name
    else:
        if not os.path.isdir(name):
            path = _by_key(name)
        module = _module.load(path)
        text = shipped_texts().get(os.path.basename(os.path.abspath(path)))
        where = path
    if step is not None and step not in module:
        raise UsageError(f"{name}: no step {step!r}; there is: {', '.join(module)}")
    chosen = [module[step]] if step is not None else list(module.values())
    return [Found(each, where, text) for each in chosen]


def find_one(name: str, step: str | None, chip: str | None = None) -> Found:
    found = find(name, step, chip)
    if len(found) > 1:
        names = ", ".join(each.step.name for each in found)
        raise UsageError(f"{name}: more than one step ({names}); --step NAME says which")
    return found[0]


def targets_of(step: Any) -> list[str]:
    return [
        target
        for target, has in (("cuda", step.ptx is not None), ("cpu", step.runs_on_host))
        if has
    ]
