# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Runs kernels: many blocks at once, each register an array with an element a thread.

A kernel becomes a `Program`: for each basic block a list of functions of a *frame*, a
list with a value for each register, immediate and address. A value is an array, or a
scalar where all threads have the same (parameters, immediates and what follows from
them). To run a block for some of the threads is to gather the registers that it reads,
run its functions, and scatter those it writes that are still needed. For all threads
nothing is copied.

Threads that are to run are kept by basic block. The one that is first in reverse
postorder runs next, for all threads that are there, so that threads which a branch parted
come together again. What waits for other threads begins a basic block:

- *exchange* (shuffles, votes): lanes whose mask names others that are not there stay
  until they come;
- *barrier*: threads stay until all of their block are there.

When nothing can run and threads are left, somebody was waited for who never came.

Order. The blocks of the grid are run in a random order, in *waves* of as many as make
arrays of a good length. The warps of a wave are dealt to one or two *teams* at random;
a team runs until all of its threads wait at barriers or are done, then the other one. All
of it follows from a seed.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NoReturn

import numpy as np

from ._flow import SPECIAL, Flow, ends_block
from ._memory import (
    BARRIER_BITS,
    CONSTANTS,
    SHARED,
    SPACE,
    VARIABLES,
    Region,
    SharedMemory,
    Variable,
    attach_shadows,
    variable_address,
    whole,
)
from ._parse import Instruction, Kernel, parse
from ._report import PTXError, SimtError
from ._semantics import U, find, width

WARP = 32
#: Threads of a wave, about: arrays of such a length stay in a core's cache.
WAVE_THREADS = 1 << 15
#: Basic blocks that a wave may run before it is taken to have no end.
LIMIT = 10**7

_TYPE = r"(v2|v4)?\.?([busf])(8|16|32|64)"
_ORDER = r"(?:\.(?:weak|volatile|relaxed\.\w+))?"
_SPACE = r"(\.global|\.shared(?:::cta)?|\.local)?"
_CACHE = r"(?:\.(?:ca|cg|cs|lu|cv|wb|wt|L1::\w+|L2::\w+))*"
_LOAD = re.compile(rf"ld{_ORDER}{_SPACE}(\.nc)?{_CACHE}\.{_TYPE}")
_STORE = re.compile(rf"st{_ORDER}{_SPACE}{_CACHE}\.{_TYPE}")
_ATOMIC = re.compile(
    r"atom(?:\.relaxed)?(?:\.(?:cta|gpu|sys))?(\.global|\.shared(?:::cta)?)?"
    r"\.(?:(add)\.[us]|(cas)\.b)(32|64)"
)
_SHUFFLE = re.compile(r"shfl\.sync\.(up|down|bfly|idx)\.b32")
_VOTE = re.compile(r"vote\.sync\.(any|all|uni|ballot)\.(pred|b32)")
_REDUX = re.compile(r"redux\.sync\.(add|min|max|and|or|xor)\.([bus])32")
_BARRIER = re.compile(r"(?:bar|barrier|barrier\.cta)\.sync(?:\.aligned)?")
_ADDRESS = re.compile(r"\[\s*([%\w$.]+)\s*(?:\+\s*(-?\d+))?\s*\]")
_INTEGER = re.compile(r"-?(?:0[xX][0-9a-fA-F]+|\d+)U?")

Frame = list
Function = Callable[[Frame, "Lanes"], None]


class Lanes:
    """The threads that a function runs for: places in their team."""

    __slots__ = ("team", "places", "count")

    def __init__(self, team: Team, places: np.ndarray | None) -> None:
        self.team, self.places = team, places
        self.count = team.count if places is None else len(places)

    def of(self, values: np.ndarray) -> np.ndarray:
        return values if self.places is None else values[self.places]

    def only(self, chosen: np.ndarray) -> Lanes:
        return Lanes(self.team, chosen if self.places is None else self.places[chosen])


class Code:
    """A basic block, ready to run."""

    def __init__(self) -> None:
        self.functions: list[Function] = []
        self.instructions: list[Instruction] = []
        self.gather: list[int] = []
        self.scatter: list[int] = []
        self.unsure: list[int] = []
        self.waits: str | None = None
        self.priority = 0
        #: "go", "branch", "table" or "end", and what that needs.
        self.kind = "go"
        self.condition: tuple[int, bool] | None = None
        self.targets: list[int] = []
        #: Of a table: where the index is.
        self.index = -1
        #: Of an exchange: where the mask is.
        self.mask = -1


class Program:
    """A kernel as functions of frames. Raises ``PTXError`` for what is not known."""

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self.flow = Flow(kernel)
        self.places = dict(self.flow.places)
        self.template: list[Any] = [None] * len(self.flow.names)
        for name in self.flow.padding:
            self.template[self.places[name]] = np.uint32(0)
        self.sizes = dict(kernel.parameters)
        self.values: dict[str, int] = {}
        #: Registers of which it has to be known in which threads they were written.
        self.tracked: set[int] = set()
        #: By place in a frame: the parameter, its first bit, bits.
        self.parameters: dict[int, tuple[str, int, int]] = {}
        self.codes = [self._block(block) for block in self.flow.blocks]
        for code in self.codes:
            self.tracked |= set(code.unsure)

    # -- Blocks

    def _block(self, block) -> Code:
        code = Code()
        code.waits, code.priority = block.waits, block.priority
        code.gather = _members(block.reads)
        code.scatter = _members(block.writes & block.live_out)
        code.unsure = _members(block.unsure)
        code.targets = list(block.successors)
        for number in range(block.start, block.end):
            instruction = self.kernel.code[number]
            code.instructions.append(instruction)
            if ends_block(instruction):
                self._terminator(code, instruction)
            elif function := self._instruction(instruction):
                if instruction.guard:
                    function = self._guarded(function, instruction)
                code.functions.append(function)
        first = code.instructions[0]
        if block.waits == "exchange":
            if first.guard:
                raise PTXError(f"a guarded '{first.opcode}'", first.line)
            code.mask = self._operand(first.operands[-1], "b32", first)
        return code

    def _terminator(self, code: Code, instruction: Instruction) -> None:
        name = instruction.opcode
        known = ("bra", "bra.uni", "brx.idx", "brx.idx.uni", "ret", "exit", "trap")
        if name not in (*known, "call.uni", "call"):
            raise PTXError(f"unknown instruction '{name}'", instruction.line)
        if instruction.guard:
            code.condition = (self.places[instruction.guard[0]], instruction.guard[1])
        if name.startswith("bra"):
            code.kind = "branch" if instruction.guard else "go"
            return
        if name.startswith("brx"):
            if instruction.guard:
                raise PTXError(f"a guarded '{name}'", instruction.line)
            code.kind = "table"
            code.index = self._operand(instruction.operands[0], "u32", instruction)
            return
        code.kind = "end"
        if name == "trap":
            self._failing(code, instruction, "trap", "a trap is reached")
        elif name.startswith("call"):
            if not instruction.operands[0].startswith("__assertfail"):
                raise PTXError(
                    f"unknown function '{instruction.operands[0]}'", instruction.line
                )
            self._failing(code, instruction, "assertion", "an assertion does not hold")

    def _failing(
        self, code: Code, instruction: Instruction, kind: str, detail: str
    ) -> None:
        def fail(frame: Frame, lanes: Lanes) -> None:
            lanes.team.wave.machine.fail(kind, detail, instruction, lanes, 0)

        code.functions.append(
            self._guarded(fail, instruction) if instruction.guard else fail
        )

    def _guarded(self, function: Function, instruction: Instruction) -> Function:
        assert instruction.guard is not None
        register, negated = instruction.guard
        place = self.places[register]
        results = [self.places[n] for n in self.flow.effects(instruction)[1]]
        kinds = [self._empty(result) for result in results]

        def run(frame: Frame, lanes: Lanes) -> None:
            chosen = np.flatnonzero(whole(frame[place], lanes.count) ^ negated)
            if not len(chosen):
                return
            part = [
                v[chosen] if isinstance(v, np.ndarray) and v.ndim else v for v in frame
            ]
            function(part, lanes.only(chosen))
            for result, kind in zip(results, kinds):
                old = frame[result]
                merged = np.array(whole(kind(0) if old is None else old, lanes.count))
                merged[chosen] = part[result]
                frame[result] = merged

        return run

    def _empty(self, place: int) -> Any:
        bits = self.kernel.registers.get(self.flow.names[place], 32)
        return np.bool_ if bits == 1 else U[bits]

    # -- Operands

    def _constant(self, value: Any) -> int:
        self.template.append(value)
        return len(self.template) - 1

    def _operand(self, text: str, type_name: str, instruction: Instruction) -> int:
        """The place of an operand in frames, of the type's width."""
        bits = width(type_name)
        if text in self.places:
            return self.places[text]
        if type_name == "pred" and text in ("0", "1", "-1"):
            return self._constant(np.bool_(text != "0"))
        if match := re.fullmatch(r"0[fF]([0-9a-fA-F]{8})|0[dD]([0-9a-fA-F]{16})", text):
            digits = match[1] or match[2]
            if 4 * len(digits) == bits:
                return self._constant(U[bits](int(digits, 16)))
        elif _INTEGER.fullmatch(text) and bits > 1:
            value = int(text.rstrip("U"), 0)
            return self._constant(U[bits](value & (2**bits - 1)))
        elif text in self.kernel.shared:
            return self._constant(U[bits](SHARED + self.kernel.shared[text]))
        elif text in self.kernel.constants:
            address = CONSTANTS + (self.kernel.constants.index(text) << 16)
            return self._constant(np.uint64(address))
        elif text in self.kernel.variables:
            number = list(self.kernel.variables).index(text)
            return self._constant(np.uint64(variable_address(number)))
        raise PTXError(
            f"unknown operand '{text}' in '{instruction.text}'", instruction.line
        )

    def _bits(self, text: str) -> int | None:
        """Bits of a register; None of what is none."""
        if SPECIAL.fullmatch(text):
            return 64 if text in self.kernel.local else 32
        return self.kernel.registers.get(text)

    def _source(self, text: str, type_name: str, instruction: Instruction) -> Callable:
        """A function that takes an operand, of the type's width, from a frame."""
        place, have, want = (
            self._operand(text, type_name, instruction),
            self._bits(text),
            width(type_name),
        )
        if have is None or have == want:
            return lambda frame: frame[place]
        if want == 1 or have < want:
            raise PTXError(
                f"operand '{text}' has {have} bits where {want} are needed",
                instruction.line,
            )
        kind = U[want]
        return lambda frame: frame[place].astype(kind)

    def _result(
        self, text: str, type_name: str, instruction: Instruction
    ) -> Callable[[Frame, Any], None]:
        """A function that puts a result of the type into a frame."""
        if text == "_":
            return lambda frame, value: None
        if text not in self.kernel.registers:
            raise PTXError(f"unknown register '{text}'", instruction.line)
        place, have, want = (
            self.places[text],
            self.kernel.registers[text],
            width(type_name),
        )
        if have == want:

            def put(frame, value):
                frame[place] = value
        elif have < want or want == 1:
            raise PTXError(
                f"register '{text}' has {have} bits where {want} are needed",
                instruction.line,
            )
        elif type_name[0] == "s":
            signed, kind = np.dtype(f"i{want // 8}"), np.dtype(f"i{have // 8}")

            def put(frame, value):
                frame[place] = value.view(signed).astype(kind).view(U[have])
        else:

            def put(frame, value):
                frame[place] = value.astype(U[have])

        return put

    # -- Instructions

    def _instruction(self, instruction: Instruction) -> Function | None:
        opcode = instruction.opcode
        if opcode.startswith("ld.param"):
            return self._parameter(instruction)
        if opcode.startswith("st.param"):
            return None  # arguments of an assertion
        if match := _LOAD.fullmatch(opcode):
            return self._load(instruction, match)
        if match := _STORE.fullmatch(opcode):
            return self._store(instruction, match)
        if match := _ATOMIC.fullmatch(opcode):
            return self._atomic(instruction, match)
        if match := _SHUFFLE.fullmatch(opcode):
            return self._shuffle(instruction, match[1])
        if match := _VOTE.fullmatch(opcode):
            return self._vote(instruction, match[1])
        if match := _REDUX.fullmatch(opcode):
            return self._redux(instruction, match[1], match[2])
        if _BARRIER.fullmatch(opcode):
            if instruction.operands != ("0",):
                raise PTXError("a barrier other than 0 of all threads", instruction.line)
            return None
        if opcode in ("griddepcontrol.wait", "griddepcontrol.launch_dependents"):
            return None
        if opcode.startswith("mov.b") and "{" in "".join(instruction.operands):
            return self._pack(instruction)
        operation = find(opcode)
        if operation is None:
            raise PTXError(f"unknown instruction '{opcode}'", instruction.line)
        if len(instruction.operands) != 1 + len(operation.sources):
            raise PTXError(
                f"expected {1 + len(operation.sources)} operands but got "
                f"{len(instruction.operands)}: {instruction.text}",
                instruction.line,
            )
        text, *texts = instruction.operands
        if "|" in text:
            raise PTXError(f"a second result of '{opcode}'", instruction.line)
        texts = list(texts)
        negated = texts[-1].startswith("!") if texts else False
        if negated:
            texts[-1] = texts[-1][1:]
        sources = [
            self._source(t, n, instruction) for t, n in zip(texts, operation.sources)
        ]
        if negated:
            last = sources[-1]
            sources[-1] = lambda frame: ~last(frame)
        put = self._result(text, operation.results[0], instruction)
        function = operation.function
        if len(sources) == 1:
            (a,) = sources
            return lambda frame, lanes: put(frame, function(a(frame)))
        if len(sources) == 2:
            a, b = sources
            return lambda frame, lanes: put(frame, function(a(frame), b(frame)))
        return lambda frame, lanes: put(frame, function(*(s(frame) for s in sources)))

    def _parameter(self, instruction: Instruction) -> Function:
        match = re.fullmatch(r"ld\.param\.([busf](?:8|16|32|64))", instruction.opcode)
        name, _, offset = instruction.operands[1].strip("[] ").partition("+")
        if not match or name not in self.sizes or (offset and not offset.isdigit()):
            raise PTXError(f"unknown parameter in '{instruction.text}'", instruction.line)
        bits, first = width(match[1]), int(offset or 0)
        if first % (bits // 8) or first + bits // 8 > self.sizes[name]:
            raise PTXError(f"not in the parameter: '{instruction.text}'", instruction.line)
        put = self._result(instruction.operands[0], match[1], instruction)
        # Machines put the value into their copy of the template.
        place = self._constant(None)
        self.parameters[place] = (name, 8 * first, bits)
        return lambda frame, lanes: put(frame, frame[place])

    def bind(self, values: list[int]) -> list[Any]:
        """A frame with the parameters' values."""
        template = list(self.template)
        by_name = dict(zip((name for name, _ in self.kernel.parameters), values))
        for place, (name, first, bits) in self.parameters.items():
            template[place] = U[bits](by_name[name] >> first & (2**bits - 1))
        return template

    def _address(self, text: str, instruction: Instruction) -> Callable:
        match = _ADDRESS.fullmatch(text)
        if not match:
            raise PTXError(f"unknown address '{text}'", instruction.line)
        base = self._operand(match[1], "b64", instruction)
        if self._bits(match[1]) not in (None, 64):
            raise PTXError(
                f"an address of other than 64 bits: '{text}'", instruction.line
            )
        offset = np.uint64(int(match[2] or 0) & (2**64 - 1))
        if not offset:
            return lambda frame, lanes: whole(frame[base], lanes.count)
        return lambda frame, lanes: whole(frame[base] + offset, lanes.count)

    def _load(self, instruction: Instruction, match: re.Match[str]) -> Function:
        space, coherent = (match[1] or "").strip("."), not match[2]
        type_name, size = match[4] + match[5], int(match[5]) // 8
        texts = _elements(instruction.operands[0], match[3], instruction)
        results = [self._result(text, type_name, instruction) for text in texts]
        address = self._address(instruction.operands[1], instruction)

        def run(frame: Frame, lanes: Lanes) -> None:
            machine = lanes.team.wave.machine
            values = machine.load(
                address(frame, lanes),
                size,
                len(results),
                space,
                coherent,
                instruction,
                lanes,
            )
            for put, value in zip(results, values):
                put(frame, value)

        return run

    def _store(self, instruction: Instruction, match: re.Match[str]) -> Function:
        space = (match[1] or "").strip(".")
        type_name, size = match[3] + match[4], int(match[4]) // 8
        texts = _elements(instruction.operands[1], match[2], instruction)
        sources = [self._source(text, type_name, instruction) for text in texts]
        address = self._address(instruction.operands[0], instruction)

        def run(frame: Frame, lanes: Lanes) -> None:
            machine = lanes.team.wave.machine
            values = [source(frame) for source in sources]
            machine.store(address(frame, lanes), size, values, space, instruction, lanes)

        return run

    def _atomic(self, instruction: Instruction, match: re.Match[str]) -> Function:
        space, bits = (match[1] or "").strip("."), match[4]
        put = self._result(instruction.operands[0], f"u{bits}", instruction)
        address = self._address(instruction.operands[1], instruction)
        count = 3 if match[2] else 4
        if len(instruction.operands) != count:
            raise PTXError(
                f"expected {count} operands but got {len(instruction.operands)}: "
                f"{instruction.text}",
                instruction.line,
            )
        sources = [
            self._source(text, f"u{bits}", instruction)
            for text in instruction.operands[2:]
        ]

        def run(frame: Frame, lanes: Lanes) -> None:
            machine = lanes.team.wave.machine
            values = [whole(source(frame), lanes.count) for source in sources]
            where = address(frame, lanes)
            put(
                frame,
                machine.atomic(where, int(bits) // 8, values, space, instruction, lanes),
            )

        return run

    def _pack(self, instruction: Instruction) -> Function:
        bits = int(instruction.opcode[len("mov.b") :])
        to, source = instruction.operands
        split = to if to.startswith("{") else source
        texts = [text.strip() for text in split.strip("{}").split(",")]
        part = bits // len(texts)
        if len(texts) * part != bits or part not in U:
            raise PTXError(f"parts of other than {bits} bits in all", instruction.line)
        shifts = [U[bits](part * k) for k in range(len(texts))]
        if split is to:
            results = [self._result(text, f"b{part}", instruction) for text in texts]
            value = self._source(source, f"b{bits}", instruction)

            def unpack(frame: Frame, lanes: Lanes) -> None:
                whole_value = value(frame)
                for put, shift in zip(results, shifts):
                    put(frame, (whole_value >> shift).astype(U[part]))

            return unpack
        sources = [self._source(text, f"b{part}", instruction) for text in texts]
        put = self._result(to, f"b{bits}", instruction)

        def pack(frame: Frame, lanes: Lanes) -> None:
            total = U[bits](0)
            for take, shift in zip(sources, shifts):
                total = total | take(frame).astype(U[bits]) << shift
            put(frame, total)

        return pack

    def _shuffle(self, instruction: Instruction, mode: str) -> Function:
        texts = instruction.operands
        first, _, second = texts[0].partition("|")
        put = self._result(first.strip(), "b32", instruction)
        put_pred = self._result(second.strip() or "_", "pred", instruction)
        value, distance, clamp, mask = (
            self._source(text, "b32", instruction) for text in texts[1:]
        )

        def run(frame: Frame, lanes: Lanes) -> None:
            team = lanes.team
            here = lanes.of(team.lane)
            by = whole(distance(frame), lanes.count).astype(np.int64) & 31
            limits = whole(clamp(frame), lanes.count).astype(np.int64)
            segment = (limits >> 8) & 31
            last = (here & segment) | (limits & 31 & ~segment)
            if mode == "up":
                source = here - by
                valid = source >= last
            elif mode == "down":
                source = here + by
                valid = source <= last
            elif mode == "bfly":
                source = here ^ by
                valid = source <= last
            else:
                source = (here & segment) | (by & ~segment)
                valid = source <= last
            source = np.where(valid, source, here)
            named = whole(mask(frame), lanes.count) >> source.astype(
                np.uint32
            ) & np.uint32(1)
            there = team.find(lanes, source)
            bad = (named == 0) | (there < 0)
            if bad.any():
                at = int(np.argmax(bad))
                team.wave.machine.fail(
                    "shuffle not reached",
                    f"lane {here[at]} reads lane {source[at]}, which takes no part",
                    instruction,
                    lanes,
                    at,
                )
            put(frame, whole(value(frame), lanes.count)[there])
            put_pred(frame, valid)

        return run

    def _vote(self, instruction: Instruction, mode: str) -> Function:
        kind = "b32" if mode == "ballot" else "pred"
        put = self._result(instruction.operands[0], kind, instruction)
        text = instruction.operands[1]
        source = self._source(text.lstrip("!"), "pred", instruction)
        negated = text.startswith("!")
        mask = self._source(instruction.operands[2], "b32", instruction)

        def run(frame: Frame, lanes: Lanes) -> None:
            warp, lane = lanes.of(lanes.team.warp), lanes.of(lanes.team.lane)
            votes = (whole(source(frame), lanes.count) ^ negated).astype(np.uint32)
            ballots = np.zeros(lanes.team.warps, np.uint32)
            np.bitwise_or.at(ballots, warp, votes << lane.astype(np.uint32))
            taking = np.zeros(lanes.team.warps, np.uint32)
            np.bitwise_or.at(taking, warp, np.uint32(1) << lane.astype(np.uint32))
            named = whole(mask(frame), lanes.count) & taking[warp]
            ballot = ballots[warp] & named
            results = {
                "any": ballot != 0,
                "all": ballot == named,
                "uni": (ballot == 0) | (ballot == named),
                "ballot": ballot,
            }
            put(frame, results[mode])

        return run

    def _redux(self, instruction: Instruction, name: str, sign: str) -> Function:
        put = self._result(instruction.operands[0], "b32", instruction)
        source = self._source(instruction.operands[1], "b32", instruction)
        mask = self._source(instruction.operands[2], "b32", instruction)
        combine = {
            "add": np.add,
            "min": np.minimum,
            "max": np.maximum,
            "and": np.bitwise_and,
            "or": np.bitwise_or,
            "xor": np.bitwise_xor,
        }[name]
        kind = np.int32 if sign == "s" else np.uint32
        bounds = np.iinfo(kind)
        neutral = kind({"min": bounds.max, "max": bounds.min}.get(name, 0))
        if name == "and":
            neutral = kind(bounds.max if sign != "s" else -1)

        def run(frame: Frame, lanes: Lanes) -> None:
            # Lanes of a warp are in groups of the same mask.
            pairs = lanes.of(lanes.team.warp).astype(np.int64) << 32
            pairs |= whole(mask(frame), lanes.count).astype(np.int64)
            _, group = np.unique(pairs, return_inverse=True)
            totals = np.full(group.max() + 1, neutral, kind)
            combine.at(totals, group, whole(source(frame), lanes.count).view(kind))
            put(frame, totals[group].view(np.uint32))

        return run


def _members(bits: int) -> list[int]:
    """The places of the bits that are set."""
    places = []
    while bits:
        places.append((bits & -bits).bit_length() - 1)
        bits &= bits - 1
    return places


def _elements(text: str, vector: str | None, instruction: Instruction) -> list[str]:
    """The registers of a load or a store."""
    texts = [part.strip() for part in text.strip("{}").split(",")]
    if len(texts) != int((vector or "v1")[1:]):
        raise PTXError(
            f"expected {vector or 'one register'} but got '{text}'", instruction.line
        )
    return texts


@lru_cache(maxsize=512)
def programs(text: str) -> dict[str, Program]:
    """The kernels of a PTX module, ready to run."""
    return {name: Program(kernel) for name, kernel in parse(text).items()}


def module_variables(program: Program) -> list[Variable]:
    """The variables of a kernel's module, new."""
    return [
        Variable(name, nbytes, number)
        for number, (name, nbytes) in enumerate(program.kernel.variables.items())
    ]


class Team:
    """Some warps of a wave: their registers, and where each thread is."""

    def __init__(self, wave: Wave, warps: np.ndarray) -> None:
        self.wave = wave
        machine = wave.machine
        threads, per_block = machine.threads, machine.warps_per_block
        lanes = warps[:, None] % per_block * WARP + np.arange(WARP)
        block = np.repeat(warps // per_block, WARP)
        thread = lanes.reshape(-1)
        there = thread < threads
        #: Of each thread: its block's place in the wave, its number in the block.
        self.block = block[there].astype(np.int64)
        self.thread = thread[there].astype(np.int64)
        self.count = len(self.thread)
        self.lane = self.thread % WARP
        self.warp = np.repeat(np.arange(len(warps)), WARP)[there]
        self.warps = len(warps)
        self.number = wave.numbers[self.block]
        self.stamp = ((self.number * threads + self.thread + 1) << BARRIER_BITS).astype(
            np.int64
        )
        self.existing = np.zeros(self.warps, np.uint32)
        np.bitwise_or.at(
            self.existing, self.warp, np.uint32(1) << self.lane.astype(np.uint32)
        )
        self.registers: list[Any] = [None] * len(machine.program.flow.names)
        for name, place in machine.program.places.items():
            if SPECIAL.fullmatch(name):
                self.registers[place] = self._special(name)
        #: Registers whose arrays nothing else refers to.
        self.own: set[int] = set()
        self.written = {
            place: np.zeros(self.count, bool) for place in machine.program.tracked
        }
        self.queue: dict[int, list[np.ndarray]] = {0: [np.arange(self.count)]}
        #: Basic blocks whose threads wait for lanes that are not there yet.
        self.stuck: set[int] = set()
        self.scratch = np.full(self.warps * WARP, -1, np.int64)
        self.slot = self.warp * WARP + self.lane

    def _special(self, name: str) -> Any:
        machine = self.wave.machine
        if name == "%tid.x":
            return self.thread.astype(np.uint32)
        if name == "%ctaid.x":
            return self.number.astype(np.uint32)
        if name == "%laneid":
            return self.lane.astype(np.uint32)
        if name == "%warpid":
            return (self.thread // WARP).astype(np.uint32)
        local = machine.program.kernel.local
        if name in local:
            start, each = local[name]
            return (SHARED + start + self.thread * each).astype(np.uint64)
        sizes = {"%ntid.x": machine.threads, "%nctaid.x": machine.blocks}
        default = 1 if name.startswith("%n") else 0
        return np.uint32(sizes.get(name, default))

    def find(self, lanes: Lanes, source: np.ndarray) -> np.ndarray:
        """Where in `lanes` the lane `source` of each one's warp is, or -1."""
        own = lanes.of(self.slot)
        self.scratch[own] = np.arange(lanes.count)
        found = self.scratch[own - lanes.of(self.lane) + source]
        self.scratch[own] = -1
        return found

    def push(self, code: int, places: np.ndarray) -> None:
        if len(places):
            self.queue.setdefault(code, []).append(places)
            self.stuck.discard(code)

    def next(self) -> int | None:
        codes = self.wave.machine.program.codes
        ready = [code for code in self.queue if code not in self.stuck]
        return min(ready, key=lambda code: codes[code].priority) if ready else None

    def run(self) -> bool:
        """Runs until all threads wait or are done; returns whether any ran."""
        ran = False
        machine = self.wave.machine
        while (number := self.next()) is not None:
            pieces = self.queue.pop(number)
            places = pieces[0] if len(pieces) == 1 else np.concatenate(pieces)
            code = machine.program.codes[number]
            if code.waits == "barrier":
                self.wave.wait(self, number, places)
                continue
            lanes = Lanes(self, None if len(places) == self.count else places)
            if code.waits == "exchange":
                complete = self._complete(code, lanes)
                if complete is not None:
                    if lanes.places is None:
                        places = np.arange(self.count)
                    late = places[~complete]
                    self.push(number, late)
                    self.stuck.add(number)
                    places = places[complete]
                    if not len(places):
                        continue
                    lanes = Lanes(self, places)
            ran = True
            self.execute(code, lanes)
        return ran

    def _complete(self, code: Code, lanes: Lanes) -> np.ndarray | None:
        """Which lanes have everybody with them whom their mask names; None if all."""
        mask = self._value(code.mask, lanes)
        warp = lanes.of(self.warp)
        present = np.zeros(self.warps, np.uint32)
        lane = lanes.of(self.lane).astype(np.uint32)
        if lanes.places is None:
            present = self.existing
        else:
            np.bitwise_or.at(present, warp, np.uint32(1) << lane)
        named = mask & self.existing[warp]
        own = (mask >> lane) & np.uint32(1)
        if not np.all(own):
            at = int(np.argmin(whole(own, lanes.count)))
            self.wave.machine.fail(
                "shuffle not reached",
                f"the mask does not name the lane itself, {lane[at]}",
                code.instructions[0],
                lanes,
                at,
            )
        complete = (named & ~present[warp]) == 0
        return None if complete.all() else complete

    def _value(self, place: int, lanes: Lanes) -> Any:
        if place >= len(self.registers):
            return self.wave.machine.template[place]
        value = self.registers[place]
        if isinstance(value, np.ndarray) and value.ndim:
            return lanes.of(value)
        return np.uint32(0) if value is None else value

    def execute(self, code: Code, lanes: Lanes) -> None:
        machine = self.wave.machine
        machine.count_block(len(code.instructions) * lanes.count, code, lanes)
        frame = list(machine.template)
        places, registers = lanes.places, self.registers
        for place in code.unsure:
            written = lanes.of(self.written[place])
            if not written.all():
                self._unwritten(code, place, lanes, int(np.argmin(written)))
        for place in code.gather:
            value = registers[place]
            if value is None:
                value = machine.program._empty(place)(0)
            elif places is not None and value.ndim:
                value = value[places]
            frame[place] = value
        for function in code.functions:
            function(frame, lanes)
        for place in code.scatter:
            value = frame[place]
            if places is None:
                registers[place] = value
                self.own.discard(place)
                continue
            if place not in self.own:
                # It may be another register's array, after a move.
                old = registers[place]
                if old is None:
                    old = np.zeros((), value.dtype)
                registers[place] = np.array(whole(old, self.count))
                self.own.add(place)
            registers[place][places] = value
        if self.written:
            for place in code.scatter:
                if place in self.written:
                    self.written[place][slice(None) if places is None else places] = True
        self._leave(code, frame, lanes)

    def _unwritten(self, code: Code, place: int, lanes: Lanes, at: int) -> NoReturn:
        name = self.wave.machine.program.flow.names[place]
        for instruction in code.instructions:
            if name in self.wave.machine.program.flow.effects(instruction)[0]:
                break
        self.wave.machine.fail(
            "uninitialised register",
            f"{name} is read before it is written",
            instruction,
            lanes,
            at,
        )

    def _leave(self, code: Code, frame: Frame, lanes: Lanes) -> None:
        places = lanes.places
        if places is None:
            places = np.arange(self.count)
        if code.kind == "table":
            index = whole(frame[code.index], lanes.count)
            past = index >= len(code.targets)
            if past.any():
                at = int(np.argmax(past))
                self.wave.machine.fail(
                    "branch past its table",
                    f"target {index[at]} of {len(code.targets)}",
                    code.instructions[-1],
                    lanes,
                    at,
                )
            for number in np.unique(index):
                self.push(code.targets[number], places[index == number])
            return
        if code.condition is None:
            if code.kind == "go":
                self.push(code.targets[0], places)
            return
        place, negated = code.condition
        condition = frame[place] ^ negated
        if not condition.ndim:
            taken, other = (places, places[:0]) if condition else (places[:0], places)
        else:
            taken, other = places[condition], places[~condition]
        if code.kind == "branch":
            self.push(code.targets[0], taken)
            self.push(code.targets[1], other)
        else:
            self.push(code.targets[0], other)


class Wave:
    """Blocks that run together."""

    def __init__(self, machine: Machine, numbers: np.ndarray) -> None:
        self.machine = machine
        #: Numbers of the blocks in the grid.
        self.numbers = numbers.astype(np.int64)
        self.shared = SharedMemory(
            machine.program.kernel.shared_size, len(numbers), machine.threads
        )
        warps = machine.random.permutation(len(numbers) * machine.warps_per_block)
        teams = 1 + int(machine.random.integers(2)) if len(warps) > 1 else 1
        self.teams = [Team(self, part) for part in np.array_split(warps, teams)]
        #: Threads at barriers, by basic block.
        self.waiting: dict[int, list[tuple[Team, np.ndarray]]] = {}

    def wait(self, team: Team, code: int, places: np.ndarray) -> None:
        self.waiting.setdefault(code, []).append((team, places))

    def run(self) -> None:
        while True:
            ran = False
            for team in self.teams:
                ran |= team.run()
            if self._release() or ran:
                continue
            break
        if self.waiting or any(team.queue for team in self.teams):
            self._report()

    def _release(self) -> bool:
        """Lets the threads of blocks go on that are at a barrier as a whole."""
        released = False
        for code, arrivals in list(self.waiting.items()):
            counts = np.zeros(len(self.numbers), np.int64)
            for team, places in arrivals:
                counts += np.bincount(team.block[places], minlength=len(counts))
            complete = counts == self.machine.threads
            if not complete.any():
                continue
            released = True
            rest = []
            for team, places in arrivals:
                ready = complete[team.block[places]]
                going = places[ready]
                if len(going):
                    team.stamp[going] += 1
                    self.machine.after_barrier(team, code, going)
                if not ready.all():
                    rest.append((team, places[~ready]))
            if rest:
                self.waiting[code] = rest
            else:
                del self.waiting[code]
        return released

    def _report(self) -> NoReturn:
        program = self.machine.program
        if self.waiting:
            code, arrivals = next(iter(self.waiting.items()))
            team, places = arrivals[0]
            block = team.block[places[0]]
            there = np.concatenate(
                [t.thread[p[t.block[p] == block]] for t, p in arrivals]
            )
            absent = sorted(set(range(self.machine.threads)) - set(there.tolist()))
            self.machine.fail(
                "barrier not reached",
                f"{len(absent)} of {self.machine.threads} threads of the block are not "
                f"there, the first is thread {absent[0]}",
                program.codes[code].instructions[0],
                Lanes(team, places),
                0,
            )
        team = next(team for team in self.teams if team.queue)
        number, pieces = next(iter(team.queue.items()))
        places = np.concatenate(pieces)
        lanes = Lanes(team, places)
        mask = int(whole(team._value(program.codes[number].mask, lanes), lanes.count)[0])
        mask &= int(team.existing[team.warp[places[0]]])
        here = {
            int(n) for n in team.lane[places[team.warp[places] == team.warp[places[0]]]]
        }
        absent = [n for n in range(WARP) if mask >> n & 1 and n not in here]
        self.machine.fail(
            "shuffle not reached",
            f"the mask {mask:#010x} names lanes that are not there, the first is lane "
            f"{absent[0]}",
            program.codes[number].instructions[0],
            lanes,
            0,
        )


class Machine:
    """One launch of a kernel. `values` are its parameters, pointers being those of
    `regions`. Raises ``SimtError``; arrays are as the kernel left them then."""

    def __init__(
        self,
        program: Program,
        blocks: int,
        values: list[int],
        regions: list[Region],
        seed: int = 0,
        threads: int | None = None,
        variables: list[Variable] | None = None,
    ) -> None:
        self.program, self.blocks, self.seed = program, blocks, seed
        self.threads = threads or program.kernel.threads or WARP
        self.warps_per_block = -(-self.threads // WARP)
        self.template = program.bind(values)
        if variables is None:
            variables = module_variables(program)
        self.regions = {region.start >> SPACE: region for region in [*regions, *variables]}
        self.random = np.random.default_rng(seed)
        #: Instructions times threads.
        self.lane_instructions = 0
        self.steps = 0
        program.flow.check_waits()
        attach_shadows(regions, self.threads)

    def run(self) -> None:
        with np.errstate(all="ignore"):
            order = self.random.permutation(self.blocks)
            each = max(WAVE_THREADS // self.threads, 1)
            for start in range(0, self.blocks, each):
                self.steps = 0
                Wave(self, order[start : start + each]).run()

    def count_block(self, instructions: int, code: Code, lanes: Lanes) -> None:
        self.lane_instructions += instructions
        self.steps += 1
        if self.steps > LIMIT:
            self.fail(
                "endless",
                f"{LIMIT} basic blocks were run and threads are left",
                code.instructions[0],
                lanes,
                0,
            )

    def after_barrier(self, team: Team, code: int, places: np.ndarray) -> None:
        """Runs the block that begins with a barrier which these threads have passed."""
        lanes = Lanes(team, None if len(places) == team.count else places)
        team.execute(self.program.codes[code], lanes)

    def fail(
        self,
        kind: str,
        detail: str,
        instruction: Instruction,
        lanes: Lanes,
        at: int,
        argument: str | None = None,
        element: tuple[int, ...] | None = None,
        stamp: int | None = None,
    ) -> NoReturn:
        """Reports what the thread at a place of `lanes` did."""
        team = lanes.team
        other = None
        if stamp is not None:
            number = (stamp >> BARRIER_BITS) - 1
            other = (number // self.threads, number % self.threads)
        raise SimtError(
            kind,
            detail,
            kernel=self.program.kernel.name,
            line=instruction.line,
            instruction=instruction.text,
            location=instruction.location,
            argument=argument,
            element=element,
            block=int(lanes.of(team.number)[at]),
            thread=int(lanes.of(team.thread)[at]),
            other=other,
            seed=self.seed,
        )

    # -- Memory

    def load(self, addresses, size, count, space, coherent, instruction, lanes):
        """A vector's elements, an array each."""
        results = None
        for memory, offsets, chosen in self._access(
            addresses, size * count, space, False, coherent, instruction, lanes
        ):
            view, lead = memory.view(size)
            first = (offsets + lead if lead else offsets) >> (size.bit_length() - 1)
            values = [view[first + k if k else first] for k in range(count)]
            if chosen is None:
                return values
            if results is None:
                results = [np.zeros(lanes.count, U[8 * size]) for _ in range(count)]
            for result, value in zip(results, values):
                result[chosen] = value
        return results

    def store(self, addresses, size, values, space, instruction, lanes):
        count = len(values)
        for memory, offsets, chosen in self._access(
            addresses, size * count, space, True, True, instruction, lanes
        ):
            view, lead = memory.view(size)
            first = (offsets + lead if lead else offsets) >> (size.bit_length() - 1)
            for k, value in enumerate(values):
                if chosen is not None and value.ndim:
                    value = value[chosen]
                view[first + k if k else first] = value

    def atomic(self, addresses, size, values, space, instruction, lanes):
        """Adds `values`, or puts the second where the first is, one lane after the other;
        returns what each found."""
        others = addresses >> np.uint64(SPACE) <= np.uint64(VARIABLES)
        if others.any():
            at = int(np.argmax(others))
            region = self.regions.get(int(addresses[at]) >> SPACE)
            name = region.name if region else None
            self.fail(
                "atomic access",
                f"to {repr(name) if name else hex(int(addresses[at]))}, which is no variable "
                "of the module: races with it are not looked for",
                instruction,
                lanes,
                at,
                name,
            )
        found = np.zeros(lanes.count, U[8 * size])
        for memory, offsets, chosen in self._access(
            addresses, size, space, True, True, instruction, lanes
        ):
            view, lead = memory.view(size)
            places = (offsets + lead) >> (size.bit_length() - 1)
            which = np.arange(lanes.count) if chosen is None else chosen
            for lane, place in zip(which, places):
                found[lane] = view[place]
                if len(values) == 1:
                    view[place] += values[0][lane]
                elif found[lane] == values[0][lane]:
                    view[place] = values[1][lane]
        return found

    def _access(self, addresses, size, space, write, coherent, instruction, lanes):
        """Checks accesses; yields (memory, offsets, which lanes, None for all)."""
        bad = addresses & np.uint64(size - 1)
        if bad.any():
            at = int(np.argmax(bad != 0))
            region = self.regions.get(int(addresses[at]) >> SPACE)
            element = None
            if region:
                element = region.element(int(addresses[at]) - region.start)
            self.fail(
                "misaligned",
                f"{size} bytes at an address that is no multiple of that"
                + (f", in '{region.name}' element {list(element)}" if region else ""),
                instruction,
                lanes,
                at,
                region.name if region else None,
                element,
            )
        spaces = addresses >> np.uint64(SPACE)
        first = spaces[0]
        if (spaces == first).all():
            yield self._one(
                addresses, size, space, write, coherent, instruction, lanes, None
            )
            return
        for tag in np.unique(spaces):
            chosen = np.flatnonzero(spaces == tag)
            yield self._one(
                addresses[chosen],
                size,
                space,
                write,
                coherent,
                instruction,
                lanes.only(chosen),
                chosen,
            )

    def _one(self, addresses, size, space, write, coherent, instruction, lanes, chosen):
        """Checks accesses that go to one region."""
        tag = int(addresses[0]) >> SPACE
        verb = "store to" if write else "load from"
        if tag == 0 and space != "global":
            return self._in_shared(
                addresses, size, write, instruction, lanes, chosen, verb
            )
        region = self.regions.get(tag)
        if region is None or space.startswith("shared"):
            name = region.name if region else None
            self.fail(
                "out of bounds",
                f"{verb} {int(addresses[0]):#x}, which is in no "
                + ("shared memory" if space.startswith("shared") else "argument"),
                instruction,
                lanes,
                0,
                name,
            )
        offsets, bad = region.locate(addresses, size)
        at = 0 if bad is None else int(np.argmax(bad))

        def fail(kind: str, detail: str, at: int, stamp: int | None = None) -> NoReturn:
            element = region.element(int(offsets[at]))
            where = f"element {list(element)} of {list(region.shape)}"
            what = f"{detail} '{region.name}' {where}"
            self.fail(kind, what, instruction, lanes, at, region.name, element, stamp)

        if bad is not None:
            fail("out of bounds", f"{size}-byte {verb}", at)
        if write and not region.writable:
            fail("write to input", "store to", 0)
        if not write and not region.readable:
            fail("read of output", "load from", 0)
        shadow = region.shadow
        if shadow is not None:
            stamps = lanes.of(lanes.team.stamp)
            for granule in shadow.granules(region.shadow_places(offsets), size):
                note = shadow.write if write else shadow.read
                if found := note(granule, stamps):
                    what, at, stamp = found
                    kind = "race" if coherent else "non-coherent load"
                    fail(kind, f"{verb[:5].strip()} not in order with {what}:", at, stamp)
                if not coherent:
                    written = shadow.writer[granule] != 0
                    if written.any():
                        at = int(np.argmax(written))
                        stamp = int(shadow.writer[granule][at])
                        fail(
                            "non-coherent load",
                            "ld.global.nc of what the grid wrote:",
                            at,
                            stamp,
                        )
                    shadow.note_non_coherent(granule)
                elif write and shadow.non_coherent is not None:
                    loaded = shadow.non_coherent[granule]
                    if loaded.any():
                        at = int(np.argmax(loaded))
                        fail(
                            "non-coherent load", "store to what ld.global.nc loaded:", at
                        )
        return region, offsets, chosen

    def _in_shared(self, addresses, size, write, instruction, lanes, chosen, verb):
        memory = lanes.team.wave.shared
        blocks = lanes.of(lanes.team.block)
        offsets, bad = memory.locate(addresses, size, blocks)

        def fail(kind: str, detail: str, at: int, stamp: int | None = None) -> NoReturn:
            place = int(addresses[at]) - SHARED
            what = f"{detail} shared memory at byte {place} of {memory.size}"
            self.fail(
                kind, what, instruction, lanes, at, "shared memory", (place,), stamp
            )

        if bad is not None:
            fail("out of bounds", f"{size}-byte {verb}", int(np.argmax(bad)))
        stamps = lanes.of(lanes.team.stamp)
        shadow = memory.shadow
        for granule in shadow.granules(offsets, size):
            if not write:
                unset = shadow.writer[granule] == 0
                if unset.any():
                    at = int(np.argmax(unset))
                    fail("uninitialised shared memory", "load of what nobody wrote:", at)
            note = shadow.write if write else shadow.read
            if found := note(granule, stamps):
                what, at, stamp = found
                fail("race", f"{verb[:5].strip()} not in order with {what}:", at, stamp)
        return memory, offsets, chosen
