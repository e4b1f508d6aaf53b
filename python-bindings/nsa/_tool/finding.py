# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Steps by what a command line names them: a bundle's folder, the key of a bundle that is
shipped or in ``NSA_BUNDLE_PATH``, or a text to compile."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from .. import _cache, _compile, _module, prebuild

#: Fewer characters of a key would name too much.
_KEY_CHARACTERS = 6


class UsageError(Exception):
    """What the command line names is not there, or not what it has to be."""


@dataclass
class Found:
    """A step, and what else is known of it."""

    step: Any
    where: str
    text: str | None = None
    remarks: list[str] = field(default_factory=list)

    @property
    def manifest(self) -> dict[str, Any]:
        return json.loads(self.step.manifest)


def bundles() -> Iterator[str]:
    """The folders of all bundles that are found by a key, in the order of the search."""
    for directory in _cache.bundle_directories():
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


def find(name: str, step: str | None = None, chip: str | None = None) -> list[Found]:
    """The steps that `name` names; with `step` that one alone."""
    path, text = name, None
    if name.endswith(".mlir"):
        with open(name, encoding="utf-8", errors="surrogateescape") as stream:
            text = stream.read()
        module = _compile.compile(text, "cuda", chip)
        where = name
    else:
        if not os.path.isdir(name) and len(name) >= _KEY_CHARACTERS:
            known = [each for each in bundles() if os.path.basename(each).startswith(name)]
            path = known[0] if known else name
        if not os.path.isdir(path):
            raise UsageError(
                f"{name}: no folder, no text (.mlir), and no key of a bundle; 'python -m nsa"
                " list' shows the keys"
            )
        module = _module.load(path)
        text = shipped_texts().get(os.path.basename(os.path.abspath(path)))
        where = path
    if step is not None and step not in module:
        raise UsageError(f"{name}: no step {step!r}; there is: {', '.join(module)}")
    chosen = [module[step]] if step is not None else list(module.values())
    remarks = remarks_of(text, name) if text is not None else []
    return [Found(each, where, text, remarks) for each in chosen]


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
