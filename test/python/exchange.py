# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Tensors with DLPack's exchange API, from exchange_stub.c."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sysconfig
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent


def build(folder: Path) -> Path:
    """The module in `folder`; skips the test, and says why, where it cannot be built."""
    compiler, include = shutil.which("cc"), sysconfig.get_path("include")
    if compiler is None:
        pytest.skip("no C compiler to make a module with: cc is not in PATH")
    if not Path(include, "Python.h").exists():
        pytest.skip(f"no headers of Python in {include}")
    module = folder / f"exchange_stub{sysconfig.get_config_var('EXT_SUFFIX')}"
    subprocess.run(
        [compiler, "-shared", "-fPIC", "-O1", "-I", include, HERE / "exchange_stub.c",
         "-o", module],
        check=True,
    )  # fmt: skip
    return module


def load(module: Path) -> Any:
    spec = importlib.util.spec_from_file_location("exchange_stub", module)
    assert spec is not None and spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded
