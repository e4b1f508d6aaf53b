# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Basic blocks of a kernel, and what is known of its registers without running it.

Sets of registers are integers whose bits are places in ``Flow.names``.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field

from ._parse import Instruction, Kernel
from ._report import PTXError, SimtError

_NAME = re.compile(r"%?[A-Za-z_$][\w$.]*|%[\w$.]+")
#: What ends a basic block.
_ENDS = ("bra", "brx", "ret", "exit", "trap", "call")
#: What threads wait at for each other.
_BARRIERS = re.compile(r"(bar\.sync|barrier\.sync|barrier\.cta\.sync)\b")
_EXCHANGES = re.compile(r"(shfl|vote|redux)\.sync\b")
#: Instructions whose first operand is not written.
_NO_RESULT = re.compile(
    r"(st|bra|brx|ret|exit|trap|call|bar|barrier|griddepcontrol|prefetch)\b"
)
_NUMBER = re.compile(r"(0x[0-9a-fA-F]+|\d+)U?")
SPECIAL = re.compile(r"%(tid|ntid|ctaid|nctaid)\.[xyz]|%laneid|%warpid|__local_depot\d+")


@dataclass
class Block:
    start: int
    end: int = 0
    successors: list[int] = field(default_factory=list)
    #: "barrier" or "exchange" if its first instruction waits for other threads.
    waits: str | None = None
    #: Smaller runs first.
    priority: int = 0
    reads: int = 0
    writes: int = 0
    live_out: int = 0
    #: Registers that are read here and not written on every path to here.
    unsure: int = 0


def ends_block(instruction: Instruction) -> bool:
    return instruction.opcode.split(".")[0] in _ENDS


class Flow:
    """The basic blocks of a kernel in the order of the text."""

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self.names: list[str] = list(kernel.registers)
        self.places = {name: place for place, name in enumerate(self.names)}
        self.blocks: list[Block] = []
        self._split()
        self._connect()
        self._order()
        self.padding = self._padding()
        self._registers()

    def effects(self, instruction: Instruction) -> tuple[list[str], list[str]]:
        """(registers that it reads, registers that it writes)."""
        operands = list(instruction.operands)
        results = []
        if operands and not _NO_RESULT.match(instruction.opcode):
            results = self._mentioned(operands.pop(0))
        reads = [name for operand in operands for name in self._mentioned(operand)]
        if instruction.guard:
            reads.append(instruction.guard[0])
        return reads, results

    def _mentioned(self, operand: str) -> list[str]:
        names = []
        for name in _NAME.findall(operand):
            if name in self.places:
                names.append(name)
            elif SPECIAL.fullmatch(name):
                self.places[name] = len(self.names)
                self.names.append(name)
                names.append(name)
        return names

    def _split(self) -> None:
        code, labels = self.kernel.code, self.kernel.labels
        starts = {0, *labels.values()}
        masks: set[str] = set()
        for number, instruction in enumerate(code):
            if number in starts:
                masks = set()
            if _BARRIERS.match(instruction.opcode):
                starts.add(number)
                masks = set()
            elif _EXCHANGES.match(instruction.opcode):
                # Lanes that have met in straight code under a constant mask stay together.
                mask = instruction.operands[-1]
                if mask.startswith("%") or mask not in masks or instruction.guard:
                    starts.add(number)
                    masks = {mask}
            if ends_block(instruction):
                starts.add(number + 1)
        ordered = sorted(start for start in starts if start < len(code))
        for start, end in zip(ordered, [*ordered[1:], len(code)]):
            block = Block(start, end)
            if _BARRIERS.match(code[start].opcode):
                block.waits = "barrier"
            elif _EXCHANGES.match(code[start].opcode):
                block.waits = "exchange"
            self.blocks.append(block)
        self.starting = {block.start: n for n, block in enumerate(self.blocks)}

    def _connect(self) -> None:
        for number, block in enumerate(self.blocks):
            last = self.kernel.code[block.end - 1]
            name = last.opcode.split(".")[0]
            labels: tuple[str, ...] = ()
            if name == "bra":
                labels = last.operands[:1]
            elif name == "brx":
                labels = self.kernel.tables.get(last.operands[1], ())
                if not labels:
                    raise PTXError(f"no table '{last.operands[1]}'", last.line)
            for label in labels:
                if label not in self.kernel.labels:
                    raise PTXError(f"no label '{label}'", last.line)
                target = self.starting.get(self.kernel.labels[label])
                if target is None:
                    raise PTXError(f"nothing behind label '{label}'", last.line)
                block.successors.append(target)
            if name in _ENDS and not last.guard:
                continue
            if number + 1 == len(self.blocks):
                raise PTXError("the code ends without 'ret'", last.line)
            block.successors.append(number + 1)

    def _order(self) -> None:
        """Reverse postorder, loops before what follows them: threads that are behind are
        run first, so that threads come together again as early as they can."""
        finished: list[int] = []
        seen = {0}
        stack = (
            [(0, iter(sorted(self.blocks[0].successors, reverse=True)))]
            if self.blocks
            else []
        )
        while stack:
            number, successors = stack[-1]
            for successor in successors:
                if successor not in seen:
                    seen.add(successor)
                    ahead = sorted(self.blocks[successor].successors, reverse=True)
                    stack.append((successor, iter(ahead)))
                    break
            else:
                finished.append(number)
                stack.pop()
        for place, number in enumerate(reversed(finished)):
            self.blocks[number].priority = place

    def _padding(self) -> set[str]:
        """Registers that nobody writes, of whose bytes none gets anywhere but into such
        bytes of others: a vector is packed before its last element is there."""
        written: Counter[str] = Counter()
        readers: dict[str, list[Instruction]] = {}
        for instruction in self.kernel.code:
            reads, results = self.effects(instruction)
            written.update(results)
            for name in reads:
                readers.setdefault(name, []).append(instruction)

        def moved(reader: Instruction, name: str, bytes: int) -> dict[str, int] | None:
            """Where bytes of a register are put; None of what does not only move them."""
            if reader.opcode == "mov.b32":
                to, source = ([o.strip() for o in x.strip("{}").split(",")] for x in reader.operands)
                if len(to) == 2:
                    return {part: bytes >> 2 * at & 0b11 for at, part in enumerate(to)}
                of_part = [bytes & 0b11 if part == name else 0 for part in source]
                return {to[0]: of_part[0] | of_part[1] << 2} if len(source) == 2 else None
            if reader.opcode != "prmt.b32":
                return None
            result, *sources, selector = reader.operands
            if not _NUMBER.fullmatch(selector):
                return None
            of_source = [bytes if source == name else 0 for source in sources]
            either = of_source[0] | of_source[1] << 4
            choices = int(selector.rstrip("U"), 0)
            chosen = (either >> (choices >> 4 * byte & 7) & 1 for byte in range(4))
            return {result: sum(bit << byte for byte, bit in enumerate(chosen))}

        seen: set[tuple[str, int]] = set()

        def is_harmless(name: str, bytes: int) -> bool:
            """Whether these bytes of a register are only permuted, and dropped in the end."""
            if (name, bytes) in seen:
                return True
            seen.add((name, bytes))
            for reader in readers.get(name, ()):
                taken = None if reader.guard else moved(reader, name, bytes)
                if taken is None or not all(
                    written[result] == 1 and is_harmless(result, some)
                    for result, some in taken.items()
                    if some
                ):
                    return False
            return True

        return {
            name
            for name in readers
            if not written[name] and not SPECIAL.fullmatch(name) and is_harmless(name, 0b1111)
        }

    def _registers(self) -> None:
        defined: list[int] = []
        ignored = {1 << self.places[name] for name in self.padding}
        for block in self.blocks:
            always = plain = 0
            for instruction in self.kernel.code[block.start : block.end]:
                reads, writes = self.effects(instruction)
                bits = sum({1 << self.places[name] for name in reads} - ignored)
                results = sum({1 << self.places[name] for name in writes})
                plain |= bits & ~block.writes
                if instruction.guard:
                    # Lanes that it is not executed for keep what they have.
                    bits |= results
                else:
                    always |= results
                block.reads |= bits & ~block.writes
                block.writes |= results
            defined.append(block.writes)
            block.unsure = plain
        self._liveness()
        self._assignments(defined)

    def _liveness(self) -> None:
        changed = True
        while changed:
            changed = False
            for block in reversed(self.blocks):
                live = 0
                for successor in block.successors:
                    behind = self.blocks[successor]
                    live |= behind.reads | (behind.live_out & ~behind.writes)
                if live != block.live_out:
                    block.live_out, changed = live, True

    def _assignments(self, defined: list[int]) -> None:
        everything = (1 << len(self.names)) - 1
        special = sum(1 << self.places[n] for n in self.names if SPECIAL.fullmatch(n))
        before = [everything] * len(self.blocks)
        before[0] = special
        changed = True
        while changed:
            changed = False
            for number, block in enumerate(self.blocks):
                after = before[number] | defined[number]
                for successor in block.successors:
                    known = before[successor] & after
                    if known != before[successor]:
                        before[successor], changed = known, True
        for number, block in enumerate(self.blocks):
            block.unsure &= ~before[number]

    def check_waits(self) -> None:
        """In a kernel with ``griddepcontrol.wait``, every path waits before it touches
        global memory or ends. Raises ``SimtError``.

        LLVM takes the instruction for one that touches no memory, so loads may move above
        it; only what is emitted tells.
        """
        code = self.kernel.code
        if not any(i.opcode == "griddepcontrol.wait" for i in code):
            return
        seen: set[int] = set()
        ahead = [0]
        while ahead:
            number = ahead.pop()
            if number in seen:
                continue
            seen.add(number)
            block = self.blocks[number]
            for instruction in code[block.start : block.end]:
                if instruction.opcode == "griddepcontrol.wait" and not instruction.guard:
                    break
                parts = instruction.opcode.split(".")
                spaces = {part.split("::")[0] for part in parts}
                # A copy has two.
                touches = parts[0] in ("ld", "st", "atom", "red", "cp") and (
                    "global" in spaces or not {"param", "shared", "local"} & spaces
                )
                if touches or parts[0] in ("ret", "exit"):
                    what = "an access to global memory" if touches else "an end"
                    raise SimtError(
                        "access before wait",
                        f"{what} on a path without griddepcontrol.wait",
                        kernel=self.kernel.name,
                        line=instruction.line,
                        instruction=instruction.text,
                        location=instruction.location,
                    )
            else:
                ahead += block.successors
