# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Lets `sglang` mean nsa: what scripts/prepare_peer_tests.py has SGLang's tests import.

Every module of `sglang` is there and has the functions of nsa.compat.sglang, and nothing else:
importing another name is an ``ImportError``. Modules of `sglang.test` are those of the wheel
where it has them; what registers a test with SGLang's CI does nothing, and a CustomTestCase is
a TestCase.
"""

from __future__ import annotations

import sys
import types
import unittest
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_file_location
from pathlib import Path
from typing import Any

PACKAGE, HELPERS = "sglang", "sglang.test"


def mirrored() -> dict[str, Any]:
    """The functions by SGLang's names."""
    from nsa.compat import sglang

    return {name: getattr(sglang, name) for name in sglang.__all__}


def given(module: str) -> dict[str, Any]:
    """What a module has that stands in for one of SGLang's."""
    if module == f"{HELPERS}.ci.ci_register":
        names = ("register_cuda_ci", "register_amd_ci", "register_cpu_ci")
        return dict.fromkeys(names, lambda *_, **__: None)
    if module == f"{HELPERS}.test_utils":
        return {"CustomTestCase": unittest.TestCase}
    return {} if f"{module}.".startswith(f"{HELPERS}.") else mirrored()


def helper(module: str, wheel: Path) -> Path | None:
    """The wheel's file of a module of helpers, if it has one."""
    if given(module) or not module.startswith(f"{HELPERS}."):
        return None
    path = wheel / (module.replace(".", "/") + ".py")
    return path if path.is_file() else None


class _Module(types.ModuleType):
    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        # An AttributeError would have it looked for among modules, which are all there.
        raise ImportError(f"cannot import name {name!r} from {self.__name__!r}: nsa has none")


class Finder(MetaPathFinder, Loader):
    """Finds every module of `sglang`."""

    def __init__(self, wheel: Path) -> None:
        self.wheel = wheel

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: Any = None
    ) -> ModuleSpec | None:
        if name.partition(".")[0] != PACKAGE:
            return None
        file = helper(name, self.wheel)
        if file:
            return spec_from_file_location(name, file)
        return ModuleSpec(name, self, is_package=True)

    def create_module(self, spec: ModuleSpec) -> types.ModuleType:
        module = _Module(spec.name)
        vars(module).update(given(spec.name))
        return module

    def exec_module(self, module: types.ModuleType) -> None:
        pass


def install(wheel: str | Path) -> None:
    """From now on `sglang` means nsa. `wheel`: a folder with files of SGLang's wheel, for what
    tests have in common. Raises ``RuntimeError`` if it means something else already."""
    if PACKAGE in sys.modules:
        raise RuntimeError("sglang is imported already")
    sys.meta_path.insert(0, Finder(Path(wheel)))
