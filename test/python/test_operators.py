# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Which operations nsa.torch has, from its text: torch need not be there."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path
from typing import Any

import nsa

TREE = ast.parse(Path(nsa.__file__).with_name("torch.py").read_text())
FUNCTIONS = {node.name: node for node in TREE.body if isinstance(node, ast.FunctionDef)}


#: The stream is torch's own; the others are dicts of numbers and arrays.
LEFT_OUT = ("stream", "schedules")


def registered() -> list[str]:
    """The names in the schemas that are registered."""
    names = []
    for node in ast.walk(TREE):
        if isinstance(node, ast.Call) and getattr(node.func, "id", None) == "_register":
            names.append(ast.literal_eval(node.args[0]).partition("(")[0])
    return names


def test_every_operation_is_an_operator() -> None:
    (names,) = (
        ast.literal_eval(node.value)
        for node in TREE.body
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", None) == "__all__"
    )
    assert names == nsa.ops.__all__
    assert sorted(registered()) == names


def test_functions_have_the_arguments_of_nsa_ops() -> None:
    """In their order, with their defaults, but for those that operators do not have."""
    for name in nsa.ops.__all__:
        arguments = FUNCTIONS[name].args
        defaults: list[Any] = [inspect.Parameter.empty] * len(arguments.args)
        if arguments.defaults:
            defaults[-len(arguments.defaults) :] = map(ast.literal_eval, arguments.defaults)
        found = [
            (each.arg, default, False) for each, default in zip(arguments.args, defaults)
        ] + [
            (each.arg, inspect.Parameter.empty if d is None else ast.literal_eval(d), True)
            for each, d in zip(arguments.kwonlyargs, arguments.kw_defaults)
        ]
        expected = [
            (each.name, each.default, each.kind is inspect.Parameter.KEYWORD_ONLY)
            for each in inspect.signature(getattr(nsa.ops, name)).parameters.values()
            if each.name not in LEFT_OUT
        ]
        assert found == expected, name
