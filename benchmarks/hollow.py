# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Modules that are hollow: whatever is imported from one is a class that can be a base, a type
or a decorated thing, and does nothing. A part of a serving engine is imported among them,
unmodified, without the rest."""

from __future__ import annotations

import types
from collections.abc import Callable, Collection, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_file_location
from pathlib import Path
from typing import Any


class _Hollow(type):
    """A class with whatever attributes are asked for."""

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return hollow(name)

    def __getitem__(cls, _: Any) -> Any:
        return cls


def hollow(name: str) -> Any:
    members = {
        "__init__": lambda self, *args, **kwargs: None,
        # A decorator that takes arguments leaves what it decorates.
        "__call__": lambda self, *args, **kwargs: args[0] if args else None,
    }
    return _Hollow(name, (), members)


class _HollowModule(types.ModuleType):
    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        value = hollow(name)
        setattr(self, name, value)
        return value


class Finder(MetaPathFinder, Loader):
    """Finds modules of `packages`: under `root` those that are `real`, and hollow ones else,
    which have what `given` says by their names."""

    def __init__(
        self,
        root: Path,
        packages: Collection[str],
        real: Callable[[str], bool],
        given: Callable[[str], dict[str, Any]],
    ) -> None:
        self.root, self.packages, self.real, self.given = root, packages, real, given

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: Any = None
    ) -> ModuleSpec | None:
        if name.partition(".")[0] not in self.packages:
            return None
        if self.real(name):
            path_of = self.root / name.replace(".", "/")
            if path_of.is_dir():
                return spec_from_file_location(name, path_of / "__init__.py")
            return spec_from_file_location(name, path_of.with_suffix(".py"))
        return ModuleSpec(name, self, is_package=True)

    def create_module(self, spec: ModuleSpec) -> types.ModuleType:
        module = _HollowModule(spec.name)
        vars(module).update(self.given(spec.name))
        return module

    def exec_module(self, module: types.ModuleType) -> None:
        pass
