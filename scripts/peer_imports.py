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

import importlib
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
#: What helpers import beside mirrored functions, and a test that calls it cannot run.
UNUSED = ("compress_forward",)
#: Names that tests of other releases have for mirrored functions.
RENAMED = {
    f"transform_index_page_table_{mode}_fast": f"transform_index_page_table_{mode}"
    for mode in ("decode", "prefill")
}


def mirrored() -> dict[str, Any]:
    """The functions by SGLang's names."""
    from nsa.compat import sglang

    found = {name: getattr(sglang, name) for name in sglang.__all__}
    return found | {name: found[today] for name, today in RENAMED.items()}


def unused(*_: Any, **__: Any) -> None:
    raise NotImplementedError("nsa has no such function")


def get_device() -> str:
    """As SGLang's: where tensors are made."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def given(module: str) -> dict[str, Any]:
    """What a module has that stands in for one of SGLang's."""
    if module == f"{HELPERS}.ci.ci_register":
        names = ("register_cuda_ci", "register_amd_ci", "register_cpu_ci")
        return dict.fromkeys(names, lambda *_, **__: None)
    if module == f"{HELPERS}.test_utils":
        return {"CustomTestCase": unittest.TestCase}
    if module == f"{PACKAGE}.srt.utils":
        return {"get_device": get_device}
    if f"{module}.".startswith(f"{HELPERS}."):
        return {}
    return {**dict.fromkeys(UNUSED, unused), **mirrored()}


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
        if name == "torch":  # of which tests patch functions
            return importlib.import_module(name)
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
