# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What type checkers see of the extension is what it has."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path

import pytest

import nsa
from nsa import _nsa_runtime

PACKAGE = Path(nsa.__file__).parent
STUB = PACKAGE / "_nsa_runtime.pyi"
pytestmark = pytest.mark.skipif(not STUB.exists(), reason="built without the stub")


def names_of(body: list[ast.stmt]) -> set[str]:
    """What a stub says that a module or a class has."""
    names = set()
    for node in body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            names.add(node.name)
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            names.add(node.target.id)
    return names


def public(owner: object) -> set[str]:
    return {name for name in dir(owner) if not name.startswith("_")}


def test_package_is_typed() -> None:
    assert (PACKAGE / "py.typed").exists()


def test_module() -> None:
    body = ast.parse(STUB.read_text()).body
    assert names_of(body) == public(_nsa_runtime)
    for node in body:
        if isinstance(node, ast.ClassDef) and node.name != "DriverError":
            described = {name for name in names_of(node.body) if not name.startswith("_")}
            assert described == public(getattr(_nsa_runtime, node.name)), node.name


def test_what_nsa_adds() -> None:
    """Written by hand, as the generator cannot see it."""
    assert isinstance(inspect.getattr_static(nsa.Step, "signature"), property)
    assert issubclass(nsa.DriverError, RuntimeError)
