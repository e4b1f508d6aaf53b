# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""MLIR's generic form to operations: what ``nsa-opt --mlir-print-op-generic`` prints.

Attributes stay text. Names are resolved here: a value is an object, and which text it had
does not matter.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

__all__ = ["Block", "Operation", "ParseError", "Value", "parse", "split"]

_HEAD = re.compile(r'(?:(%[\w$.-]+)(?::(\d+))? = )?"([\w.]+)"\(([^)]*)\)')
_ALIAS = re.compile(r"#(\w+) = (.+)")


class ParseError(Exception):
    """A line that is not understood."""


@dataclass(eq=False)
class Value:
    type: str


@dataclass(eq=False)
class Block:
    arguments: list[Value] = field(default_factory=list)
    operations: list[Operation] = field(default_factory=list)


@dataclass(eq=False)
class Operation:
    name: str
    operands: list[Value]
    results: list[Value]
    #: Properties and attributes as they are written.
    attributes: str
    #: The blocks of each region: structured control flow has one, or none.
    regions: list[Block | None]
    line: int
    text: str

    def attribute(self, pattern: str) -> str | None:
        """The first group of a pattern in the attributes."""
        match = re.search(pattern, self.attributes)
        return match[1] if match else None

    def walk(self) -> Iterator[Operation]:
        yield self
        for block in self.regions:
            for operation in block.operations if block else ():
                yield from operation.walk()


def close(text: str, at: int) -> int:
    """The place behind the bracket that closes the one at `at`."""
    depth = 0
    quoted = False
    for place in range(at, len(text)):
        letter = text[place]
        if letter == '"':
            quoted = not quoted
        elif quoted:
            continue
        elif letter in "<([{":
            depth += 1
        elif letter in ")]}" or (letter == ">" and text[place - 1] != "-"):
            depth -= 1
            if not depth:
                return place + 1
    raise ParseError(f"a bracket is not closed: {text}")


def split(text: str) -> list[str]:
    """The parts of a list, at the commas that are in no bracket."""
    parts, depth, begin = [], 0, 0
    for place, letter in enumerate(text):
        if letter in "<([{":
            depth += 1
        elif letter in ")]}" or (letter == ">" and text[place - 1] != "-"):
            depth -= 1
        elif letter == "," and not depth:
            parts.append(text[begin:place].strip())
            begin = place + 1
    last = text[begin:].strip()
    return [*parts, last] if last else parts


class _Parser:
    def __init__(self, text: str) -> None:
        self.lines = text.split("\n")
        self.at = 0
        self.aliases: dict[str, str] = {}
        self.scopes: list[dict[str, Value]] = [{}]

    def line(self) -> str:
        return self.lines[self.at].strip()

    def module(self) -> Operation:
        while match := _ALIAS.fullmatch(self.line()):
            self.aliases[match[1]] = match[2]
            self.at += 1
        return self.operation()

    def find(self, name: str) -> Value:
        for scope in reversed(self.scopes):
            if name in scope:
                return scope[name]
        raise ParseError(f"line {self.at + 1}: no value {name}")

    def operation(self) -> Operation:
        text, number = self.line(), self.at + 1
        self.at += 1
        match = _HEAD.match(text)
        if not match:
            raise ParseError(f"line {number}: {text}")
        operands = [self.find(name) for name in split(match[4])]
        rest = text[match.end() :].strip()
        attributes = ""
        if rest.startswith("<{"):
            end = close(rest, 0)
            attributes, rest = rest[:end], rest[end:].strip()
        regions: list[Block | None] = []
        if rest == "({":
            rest = self.regions(regions)
        if rest.startswith("{"):
            end = close(rest, 0)
            attributes, rest = attributes + rest[:end], rest[end:].strip()
        if not rest.startswith(": ("):
            raise ParseError(f"line {number}: {text}")
        types = rest[close(rest, 2) :].strip().removeprefix("->").strip()
        if types.startswith("("):
            types = types[1 : close(types, 0) - 1]
        results = [Value(type) for type in split(types)]
        if match[1] and match[2]:
            for place, value in enumerate(results):
                self.scopes[-1][f"{match[1]}#{place}"] = value
        elif match[1]:
            self.scopes[-1][match[1]] = results[0]
        attributes = re.sub(
            r"#(\w+)", lambda m: self.aliases.get(m[1], m[0]), attributes
        )
        return Operation(match[3], operands, results, attributes, regions, number, text)

    def regions(self, regions: list[Block | None]) -> str:
        """Reads up to where the last region is closed; returns what follows."""
        while True:
            block = Block()
            self.scopes.append({})
            if match := re.fullmatch(r"\^bb0\((.*)\):", self.line()):
                self.at += 1
                for argument in split(match[1]):
                    name, _, type = argument.partition(": ")
                    block.arguments.append(Value(type))
                    self.scopes[-1][name] = block.arguments[-1]
            while not self.line().startswith("}"):
                block.operations.append(self.operation())
            self.scopes.pop()
            filled = block.arguments or block.operations
            regions.append(block if filled else None)
            end = self.line()
            self.at += 1
            if end != "}, {":
                return end.removeprefix("})").strip()


def parse(text: str) -> Operation:
    """The module of a text. Raises ``ParseError``."""
    return _Parser(text).module()
