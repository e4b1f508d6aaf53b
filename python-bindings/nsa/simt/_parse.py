# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""PTX text to kernels: registers, shared memory, parameters and a list of instructions.

This reads what LLVM's NVPTX back end writes for entries, with the inline assembly of
nsa's lowering. It checks the form of the text only: which instructions there are is
known in ``_semantics`` and ``_machine``. Whatever is not understood is a ``PTXError``
with the line, never skipped.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from ._report import PTXError

_ENTRY = re.compile(r"\.entry\s+([\w$]+)\s*\(")
_LABEL = re.compile(r"([\w$]+)\s*:(?!:)")
_GUARD = re.compile(r"@(!?)(%?[\w$]+)\s+")
_OPERAND = re.compile(r"\{[^}]*\}|\[[^\]]*\]|\([^)]*\)|[^,\s][^,]*")
_REGISTERS = re.compile(r"\.reg\s+\.(\w+)\s+(.+)", re.S)
_SHARED = re.compile(
    r"\.shared\s+(?:\.align\s+(\d+)\s+)?\.(\w)(\d+)\s+([\w$]+)(?:\[(\d+)\])?$"
)
#: What a thread has of its own beside registers, as LLVM names it.
_LOCAL = re.compile(r"\.local\s+\.align\s+(\d+)\s+\.b8\s+(__local_depot\d+)\[(\d+)\]")
_GLOBAL = re.compile(
    r"^[ \t]*(?:\.visible\s+)?\.(?:global|const)\b[^;={]*?\.[busf](\d+)\s+([\w$]+)"
    r"\[(\d*)\]\s*([=;])",
    re.M,
)
_FILE = re.compile(r'^\s*\.file\s+(\d+)\s+"([^"]*)"', re.M)
_TARGETS = re.compile(r"([\w$]+)\s*:\s*\.branchtargets\s+([^;]*);")
_LOC = re.compile(r"\.loc\s+(\d+)\s+(\d+)\s+(\d+)[^\n]*")


@dataclass(frozen=True)
class Instruction:
    """One instruction: `guard` is (register, whether it has to be false)."""

    guard: tuple[str, bool] | None
    opcode: str
    operands: tuple[str, ...]
    line: int
    text: str
    #: "file:line:column" of the nsa text, from ``.loc``.
    location: str | None = None


@dataclass
class Kernel:
    name: str
    #: Parameters in order: name, bytes.
    parameters: list[tuple[str, int]] = field(default_factory=list)
    #: Threads of a block, as ``.maxntid`` or ``.reqntid`` says; None if neither is there.
    threads: int | None = None
    #: Bits by register, 1 of a predicate.
    registers: dict[str, int] = field(default_factory=dict)
    #: Bytes from the start of the block's shared memory, by name.
    shared: dict[str, int] = field(default_factory=dict)
    shared_size: int = 0
    #: The same for a thread's own memory, which lies behind it: (start, bytes a thread).
    local: dict[str, tuple[int, int]] = field(default_factory=dict)
    #: Names of constants in global memory: messages of assertions.
    constants: list[str] = field(default_factory=list)
    #: Bytes of variables in global memory, which are 0 when the module is loaded.
    variables: dict[str, int] = field(default_factory=dict)
    code: list[Instruction] = field(default_factory=list)
    #: The number of the instruction that a label stands before.
    labels: dict[str, int] = field(default_factory=dict)
    #: Labels that `brx.idx` goes to, by the table's own label.
    tables: dict[str, tuple[str, ...]] = field(default_factory=dict)


def split_operands(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in _OPERAND.findall(text))


def parse(text: str) -> dict[str, Kernel]:
    """The kernels of a PTX module by name. Raises ``PTXError``."""
    text = re.sub(r"/\*.*?\*/", lambda m: "\n" * m[0].count("\n"), text, flags=re.S)
    text = re.sub(r"//[^\n]*", "", text)
    files = {number: name for number, name in _FILE.findall(text)}
    constants, variables = [], {}
    for bits, name, count, end in _GLOBAL.findall(text):
        if end == "=":
            constants.append(name)
        else:
            variables[name] = int(bits) // 8 * int(count)
    kernels = {}
    for entry in _ENTRY.finditer(text):
        close = text.index(")", entry.end())
        begin = text.find("{", close)
        if begin < 0:
            raise PTXError(f"entry '{entry[1]}' has no body", _line(text, entry.start()))
        kernel = Kernel(entry[1], constants=constants, variables=variables)
        for parameter in text[entry.end() : close].split(","):
            match = re.search(
                r"\.param\s+\.[a-z]+(\d+)\b.*?([\w$]+)\s*$", parameter, re.S
            )
            if match:
                kernel.parameters.append((match[2], int(match[1]) // 8))
            elif parameter.strip():
                line = _line(text, entry.start())
                raise PTXError(f"unknown parameter '{parameter.strip()}'", line)
        if bound := re.search(r"\.(?:max|req)ntid\s+([\d\s,]+)", text[close:begin]):
            kernel.threads = 1
            for size in bound[1].split(","):
                kernel.threads *= int(size)
        _Body(text, begin, kernel, files).read()
        kernels[kernel.name] = kernel
    return kernels


def _line(text: str, at: int) -> int:
    return text.count("\n", 0, at) + 1


class _Body:
    """Reads the statements between an entry's braces."""

    def __init__(self, text: str, begin: int, kernel: Kernel, files: dict[str, str]):
        self.text, self.at, self.kernel, self.files = text, begin + 1, kernel, files
        self.line = _line(text, begin + 1)
        self.location: str | None = None
        # Registers of inner scopes: name to its unique name.
        self.scopes: list[dict[str, str]] = [{}]

    def read(self) -> None:
        text = self.text
        while True:
            space = re.compile(r"\s*").match(text, self.at)
            assert space is not None
            self._advance(space.end())
            if self.at >= len(text):
                raise PTXError(f"entry '{self.kernel.name}' does not end", self.line)
            if text[self.at] == "{":
                self.scopes.append({})
                self._advance(self.at + 1)
            elif text[self.at] == "}":
                self.scopes.pop()
                self._advance(self.at + 1)
                if not self.scopes:
                    break
            elif match := _LOC.match(text, self.at):
                name = self.files.get(match[1], f"file {match[1]}")
                # Line 0 is of no place, or of several.
                self.location = f"{name}:{match[2]}:{match[3]}" if match[2] != "0" else None
                self._advance(match.end())
            elif match := _TARGETS.match(text, self.at):
                self.kernel.tables[match[1]] = split_operands(match[2])
                self._advance(match.end())
            elif match := _LABEL.match(text, self.at):
                self.kernel.labels[match[1]] = len(self.kernel.code)
                self._advance(match.end())
            else:
                end = text.find(";", self.at)
                if end < 0:
                    raise PTXError("a statement without ';'", self.line)
                self._statement(text[self.at : end].strip())
                self._advance(end + 1)

    def _advance(self, to: int) -> None:
        self.line += self.text.count("\n", self.at, to)
        self.at = to

    def _statement(self, text: str) -> None:
        if text.startswith("."):
            self._directive(text)
            return
        guard = None
        rest = text
        if match := _GUARD.match(text):
            guard = (self._resolve(match[2]), match[1] == "!")
            rest = text[match.end() :]
        opcode, _, operands = rest.replace("\t", " ").partition(" ")
        names = split_operands(operands)
        if len(self.scopes) > 1:
            names = tuple(
                re.sub(r"%?[\w$]+", lambda m: self._resolve(m[0]), n) for n in names
            )
        self.kernel.code.append(
            Instruction(
                guard, opcode, names, self.line, " ".join(text.split()), self.location
            )
        )

    def _resolve(self, name: str) -> str:
        for scope in reversed(self.scopes):
            if name in scope:
                return scope[name]
        return name

    def _directive(self, text: str) -> None:
        if match := _REGISTERS.fullmatch(text):
            bits = 1 if match[1] == "pred" else int(match[1].strip("busf"))
            for name in match[2].split(","):
                self._register(name.strip(), bits)
        elif match := _SHARED.fullmatch(" ".join(text.split())):
            align, bits, count = int(match[1] or 1), int(match[3]), int(match[5] or 1)
            start = -(-self.kernel.shared_size // align) * align
            self.kernel.shared[match[4]] = start
            self.kernel.shared_size = start + bits // 8 * count
        elif match := _LOCAL.fullmatch(" ".join(text.split())):
            align, each = int(match[1]), int(match[3])
            start = -(-self.kernel.shared_size // align) * align
            self.kernel.local[match[2]] = start, each
            self.kernel.shared_size = start + each * (self.kernel.threads or 1)
        elif not text.startswith((".param", ".pragma")):
            raise PTXError(f"unknown directive '{text}'", self.line)

    def _register(self, name: str, bits: int) -> None:
        registers = self.kernel.registers
        if family := re.fullmatch(r"(%?[\w$]+)<(\d+)>", name):
            for number in range(int(family[2])):
                registers[f"{family[1]}{number}"] = bits
            return
        unique = name if len(self.scopes) == 1 else f"{name}.{len(registers)}"
        self.scopes[-1][name] = unique
        registers[unique] = bits
