# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Compiles and runs a step beside its reference; in processes of their own, so that a crash
has a name."""

from __future__ import annotations

import json
import multiprocessing
import multiprocessing.connection
import os
import re
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import as_strided

from .. import _compile
from .._accesses import AccessError
from .._module import Step
from ..simt import simulate
from .operations import ANY, KNOWN, NAN, dims
from .programs import DTYPES, Program

__all__ = ["BUILDS", "Outcome", "Task", "check", "run_all"]

NAME = "<fuzz>"
ERROR = re.compile(rf"^{re.escape(NAME)}:(\d+):\d+: error: ", re.MULTILINE)
#: What only MLIR's own passes and verifiers say, of texts that ours let through.
UPSTREAM = re.compile(
    r"failed to (legalize|materialize|verify|convert|translate)|unregistered|LLVM ERROR"
    r"|unrealized_conversion_cast|'(gpu|llvm|nvvm|memref|cf|vector|func|builtin)\.[\w.]+' op"
    r"|missing `?LLVMTranslationDialectInterface|does not dominate|redefinition of symbol"
)
PATTERN = 0x5A
#: What the names of runs on a GPU end with.
CUDA = ", cuda"
#: (fused, with guards) of the builds of a step.
BUILDS = ((True, False), (False, True), (True, True), (False, False))


class Outcome(NamedTuple):
    """`kind` is ok, refused, fault or crash; `what` says more; `ran` names what was run."""

    kind: str
    what: str = ""
    ran: tuple[str, ...] = ()


@dataclass(frozen=True)
class Task:
    """A step, and the sizes and seeds to run it with."""

    name: str
    program: Program
    seeds: tuple[int, ...] = (0,)
    sizes: tuple[dict[str, int], ...] = ()
    ptx: bool = True
    builds: tuple[tuple[bool, bool], ...] = BUILDS
    #: Of which of the builds there is PTX, where there is some.
    ptx_builds: tuple[int, ...] = (0, 1)
    #: Execute the PTX, too, in the simulator.
    simt: bool = False
    #: Execute the PTX, too, on a GPU, whose arrays are CuPy's.
    cuda: bool = False
    #: So many builds have host kernels as users get them. The others go without LLVM's passes,
    #: which take three quarters of the time, and without a verifier after each of ours.
    optimized: int = len(BUILDS)


# ----------------------------------------------------------------------------
# Compiling
# ----------------------------------------------------------------------------


def diagnose(text: str, diagnostics: str) -> str:
    """What is wrong with how a text was refused."""
    found = ERROR.search(diagnostics)
    if not found:
        return f"refused without an error with a place: {diagnostics[:300]!r}"
    if UPSTREAM.search(diagnostics):
        return f"refused in words of other dialects: {diagnostics[:500]}"
    return ""


def compile_all(task: Task) -> tuple[Outcome, list[tuple[str, Step]]]:
    """The steps of each build for the host, with `simt` and `cuda` the PTX of `ptx_builds` as
    well, and why there are none."""
    text = task.program.text()
    made, refused = [], []
    for number, (fuse, guards) in enumerate(task.builds):
        has_ptx = number in task.ptx_builds
        module, raw = _compile.compiler().compile(
            _compile.encode(text),
            NAME.encode(),
            fuse=fuse,
            guards=guards,
            ptx=(task.ptx or task.simt or task.cuda) and has_ptx,
            host=True,
            optimize_host=number < task.optimized,
            verify_passes=number < task.optimized,
        )
        diagnostics = raw.decode()
        how = f"{'fused' if fuse else 'unfused'}{', guards' if guards else ''}"
        if module is None:
            wrong = diagnose(text, diagnostics)
            if wrong:
                return Outcome("fault", f"{how}: {wrong}"), []
            refused.append(diagnostics)
            if made:
                break
            continue
        if "error:" in diagnostics:
            return Outcome("fault", f"{how}: accepted with an error: {diagnostics[:300]}"), []
        (_, manifest, text_of_ptx, kernels), *_ = module.steps
        made.append((how, Step(manifest, None, kernels, keep=module)))
        if task.simt and has_ptx:
            made.append((f"{how}, simt", simulate(Step(manifest, text_of_ptx))))
        if task.cuda and has_ptx:
            made.append((how + CUDA, Step(manifest, text_of_ptx)))
        if refused:
            break
    if made and refused:
        words = f"some builds refuse it: {refused[0][:300]}"
        return Outcome("fault", words), []
    return Outcome("refused", refused[0].strip()) if refused else Outcome("ok"), made


# ----------------------------------------------------------------------------
# Arrays
# ----------------------------------------------------------------------------


def evaluate(size: Any, sizes: dict[str, int], shapes: dict[str, list[int]]) -> int:
    """A size expression of a manifest."""
    if isinstance(size, int):
        return size
    if isinstance(size, str):
        return sizes[size]
    operator, a, b = size
    if operator == "dim":
        return shapes[a][b]
    a, b = evaluate(a, sizes, shapes), evaluate(b, sizes, shapes)
    if operator in ("add", "mul"):
        return a + b if operator == "add" else a * b
    if b == 0:
        return 0
    return {"floordiv": a // b, "ceildiv": -(-a // b), "mod": a % b}.get(operator) or 0


def draw_contents(name: str, dtype: str, shape: Sequence[int], limit: int, rng) -> np.ndarray:
    """Numbers that make sense, mixed with those that make none."""
    count = int(np.prod(shape))
    info = np.iinfo(dtype)
    if name == "starts":
        # As they are defined: ascending, plus a constant.
        steps = rng.choice([0, 0, 1, 2, 3, 40], count)
        first = rng.choice([0, 7, 2**31 - 3])
        return (np.cumsum(steps) + first).astype(np.uint32).view(np.int32).reshape(shape)
    some = [*range(8), limit - 1, limit, limit + 1, 63, 64, -1, -7, info.min, info.max, info.max - 1]
    hostile = np.clip(np.array(some, object), info.min, info.max).astype(dtype)
    # Small ones, too: sums of others are past every bound after a few.
    ordinary = rng.integers(0, min(max(rng.choice([limit, 4]), 1), info.max), count).astype(dtype)
    mixed = np.where(rng.random(count) < rng.choice([0.0, 0.3, 1.0]), rng.choice(hostile, count), ordinary)
    if dtype in ("int8", "uint16"):
        mixed = rng.integers(info.min, int(info.max) + 1, count).astype(dtype)
    return mixed.reshape(shape)


def input_shapes(program: Program, manifest: dict, sizes: dict[str, int]) -> dict[str, list[int]]:
    """The smallest shapes that the step takes."""
    shapes = {}
    for name, port in program.ports.items():
        if port.type == "index":
            continue
        static, _ = dims(port.type)
        shapes[name] = []
        for dim, size in enumerate(static):
            extent = port.extents[dim] if port.extents else None
            if size != "?":
                shapes[name].append(int(size))
            elif extent:
                shapes[name].append(sizes[extent[0]] + extent[1])
            else:
                shapes[name].append(port.free[dim])
    for name, type in program.inouts.items():
        shapes[name] = [0] * len(dims(of_memref(type))[0])
    outs = [a["name"] for a in manifest["arguments"] if a["name"] not in shapes]
    for require in manifest["requires"]:
        name, dim = require["argument"], require["dim"]
        if name in outs:
            continue
        need = evaluate(require["at_least"], sizes, shapes)
        shapes[name][dim] = max(shapes[name][dim], need)
    return shapes


def of_memref(type: str) -> str:
    """The tensor with the sizes and elements of a memref, if `type` is one."""
    return re.sub(r"^memref<([^,>]*).*", r"tensor<\1>", type)


class Storage(NamedTuple):
    """An array in a storage of its own, whose other elements nobody may write."""

    whole: np.ndarray
    view: np.ndarray


def place(shape: Sequence[int], dtype: str, strides: Sequence[int], shift: int) -> Storage:
    """With `shift` elements before it, and a margin behind; aligned to 64 bytes without."""
    span = 0 if 0 in shape else 1 + sum((n - 1) * s for n, s in zip(shape, strides))
    item = np.dtype(dtype).itemsize
    whole = np.full((span + shift + 64) * item + 64, PATTERN, np.uint8)
    skip = -whole.ctypes.data % 64
    whole = whole[skip : skip + (span + shift + 32) * item].view(dtype)
    view = as_strided(whole[shift:], tuple(shape), tuple(s * item for s in strides))
    return Storage(whole, view)


def place_output(
    type: str, shape: Sequence[int], element: str, rng, exact: bool = False
) -> Storage:
    """As the type of a destination lets, and unless `exact` sometimes larger than has to be."""
    larger = [n + (0 if exact else int(rng.choice([0, 0, 1, 5]))) for n in shape]
    strides = np.cumprod([1, *larger[:0:-1]])[::-1].tolist()
    strides = [max(s, 1) for s in strides]
    if "strided<[" in type:
        stated = re.search(r"strided<\[([^\]]*)\]", type)[1].split(", ")
        for dim, stride in enumerate(stated):
            if stride != "?":
                strides[dim] = int(stride)
                if dim == 0 and len(stated) == 2:
                    # Wider rows than the stride overlap, which the launcher refuses.
                    larger[1] = min(larger[1], max(int(stride), shape[1]))
            elif len(stated) == 1:
                strides[dim] = int(rng.choice([1, 2, 3]))
            else:
                strides[dim] = larger[1] + int(rng.choice([0, 1, 3]))
    shift = 0 if "alignment" in type else int(rng.choice([0, 1, 3]))
    return place(larger, DTYPES[element], strides, shift)


def place_input(array: np.ndarray, argument: dict, rng) -> Storage:
    """A copy where the manifest's argument lets it be: between other elements, in rows or with
    a stride that are wider than they have to be, at any address."""
    strides = np.cumprod([1, *array.shape[:0:-1]])[::-1].tolist()
    strides = [max(int(stride), 1) for stride in strides]
    if argument["strides"][0] is None:
        if array.ndim == 1:
            strides = [int(rng.choice([1, 1, 2]))]
        else:
            strides[0] += int(rng.choice([0, 1, 4]))
    shift = 0
    if argument["alignment"] == array.itemsize:
        shift = int(rng.choice([0, 0, 1, 3]))
    storage = place(array.shape, array.dtype, strides, shift)
    storage.view[...] = array
    return storage


@cache
def gpu() -> Any:
    """CuPy, on one of the GPUs, each of which serves some of the processes."""
    import cupy

    cupy.cuda.Device(os.getpid() % cupy.cuda.runtime.getDeviceCount()).use()
    return cupy


class OnGPU:
    """Copies of storages in GPU memory, in one piece: processes that share a GPU wait for each
    other with every copy. `views` are views of the same elements."""

    def __init__(self, storages: dict[str, Storage]) -> None:
        self.storages = storages
        self.places, end = {}, 0
        for name, storage in storages.items():
            self.places[name] = slice(end, end + storage.whole.nbytes)
            end += -(-storage.whole.nbytes // 256) * 256
        image = np.full(end, PATTERN, np.uint8)
        for name, place in self.places.items():
            image[place] = storages[name].whole.view(np.uint8)
        self.whole = gpu().asarray(image)
        self.views = {}
        for name, storage in storages.items():
            shift = storage.view.ctypes.data - storage.whole.ctypes.data
            self.views[name] = gpu().lib.stride_tricks.as_strided(
                self.whole[self.places[name]].view(storage.whole.dtype)[
                    shift // storage.whole.itemsize :
                ],
                storage.view.shape,
                storage.view.strides,
            )

    def fetch(self) -> None:
        """Brings what is there now to the storages."""
        image = gpu().asnumpy(self.whole)
        for name, place in self.places.items():
            self.storages[name].whole.view(np.uint8)[...] = image[place]


# ----------------------------------------------------------------------------
# Running
# ----------------------------------------------------------------------------


def difference(
    storage: Storage, value: Any, begin: int, element: str, before: Any = None
) -> str:
    """Where an output is not what it has to be; `before`: what an `inout` port held."""
    image = place_like(storage)
    if before is not None:
        image.view[tuple(slice(n) for n in before.shape)] = before
    got, want = storage.view, image.view
    region = tuple(slice(n) for n in value.data.shape)
    state = value.state.copy()
    data = value.data
    if data.ndim == 1:
        state[:begin] = 2
    part, inside = want[region], got[region]
    known = state == KNOWN
    part[known] = data[known].astype(part.dtype)
    loose = state == ANY
    part[loose] = inside[loose]
    if element == "bf16":
        # A NaN has any payload.
        both = ((inside & 0x7FFF) > 0x7F80) & ((part & 0x7FFF) > 0x7F80)
        part[both & known] = inside[both & known]
    if element == "f32":
        both = np.isnan(inside) & np.isnan(part)
        part[both & known] = inside[both & known]
    if storage.whole.tobytes() == image.whole.tobytes():
        return ""
    wrong = np.argwhere(got != want)
    if not len(wrong):
        return "an element outside of the array was written"
    at = tuple(wrong[0].tolist())
    return f"{len(wrong)} elements differ, the first at {at}: expected {want[at]} but got {got[at]}"


def place_like(storage: Storage) -> Storage:
    whole = np.full(storage.whole.nbytes, PATTERN, np.uint8).view(storage.whole.dtype)
    shift = (storage.view.ctypes.data - storage.whole.ctypes.data) // whole.itemsize
    return Storage(whole, as_strided(whole[shift:], storage.view.shape, storage.view.strides))


def draw_inputs(
    task: Task, sizes: dict[str, int], seed: int, manifest: dict | None = None
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The arrays of the `in` ports, and every value of the reference."""
    program = task.program
    rng = np.random.default_rng(seed)
    used = {name: sizes[name] for name, port in program.ports.items() if port.type == "index"}
    if manifest is None:
        manifest = json.loads(_compile.compile(program.text(), "cpu")["step"].manifest)
    shapes = input_shapes(program, manifest, used)
    arrays = {}
    for name, shape in shapes.items():
        if np.prod(shape) > 1 << 24:
            raise MemoryError(f"{name}: {shape}")
        element = dims(of_memref(program.types[name]))[1]
        limit = max([*shape, *used.values(), 4])
        arrays[name] = draw_contents(name, DTYPES[element], shape, limit, rng)
    return arrays, program.evaluate(used, arrays)


def run(
    task: Task, sizes: dict[str, int], seed: int, steps: list[tuple[str, Step]]
) -> str:
    """What is wrong with a run."""
    program = task.program
    used = {name: sizes[name] for name, port in program.ports.items() if port.type == "index"}
    manifest = json.loads(steps[0][1].manifest)
    arguments = {argument["name"]: argument for argument in manifest["arguments"]}
    try:
        arrays, values = draw_inputs(task, sizes, seed, manifest)
    except MemoryError:
        return ""  # larger than is worth it
    if any(values[copy.value].data.size > 1 << 22 for copy in program.copies):
        return ""
    stored = [(copy, copy.stored(values)) for copy in program.copies]
    for how, step in steps:
        # Other strides for other sizes.
        layout = np.random.default_rng([seed + 1, *used.values()])
        outputs = {}
        for copy, value in stored:
            element = dims(program.types[copy.value])[1]
            for name, type in copy.destinations:
                shape, before = value.data.shape, None
                # A place that is inside of an array has to be known to the reference.
                storage = place_output(type, shape, element, layout, exact=bool(copy.places))
                if name in program.inouts:
                    before = arrays[name]
                    storage.view[tuple(slice(n) for n in before.shape)] = before
                outputs[name] = (storage, value, copy.begin, element, before)
        inputs = {
            name: place_input(array, arguments[name], layout)
            for name, array in arrays.items()
            if name not in outputs
        }
        given = {**inputs, **{name: output[0] for name, output in outputs.items()}}
        placed = OnGPU(given) if how.endswith(CUDA) else None
        views = placed.views if placed else {name: of.view for name, of in given.items()}
        try:
            step(**used, **views)
        except (ValueError, TypeError) as error:
            return f"{how}: the call was refused: {error}"
        if placed:
            gpu().cuda.Device().synchronize()
            placed.fetch()
        if "guards" in json.loads(step.manifest):
            wrong = ask_guards(step, [copy.late(values) for copy in program.copies])
            if wrong:
                return f"{how}: {wrong}"
        for name, output in outputs.items():
            wrong = difference(*output)
            if wrong:
                return f"{how}: output {name} with {used}: {wrong}"
    return ""


def ask_guards(step: Step, late: list[int | None]) -> str:
    """What is wrong with what guards tell, where so many elements of each copy come to a place
    after another one."""
    told, unclaimed = 0, 0
    try:
        unclaimed = step.check()
    except AccessError as error:
        if any(access.kind != "duplicate" for access in error.accesses):
            return str(error)
        told, unclaimed = error.count, error.unclaimed
    known = [count for count in late if count is not None]
    least, most = sum(known) - unclaimed, sum(known)
    if told < least or (told > most and len(known) == len(late)):
        return f"guards tell of {told} elements of a place that is taken, of {most}"
    return ""


def check(task: Task) -> Outcome:
    """Compiles a step in all ways and runs them."""
    outcome, steps = compile_all(task)
    if outcome.kind != "ok":
        return outcome
    for sizes in task.sizes:
        for seed in task.seeds:
            wrong = run(task, sizes, seed, steps)
            if wrong:
                return Outcome("fault", wrong)
    return outcome._replace(ran=tuple(how for how, _ in steps))


# ----------------------------------------------------------------------------
# Processes
# ----------------------------------------------------------------------------


def _work(tasks: Sequence[Task], begin: int, stride: int, connection: Any, log: str) -> None:
    # What a crash prints goes with it.
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    os.dup2(descriptor, 2)
    for number in range(begin, len(tasks), stride):
        os.ftruncate(descriptor, 0)
        try:
            outcome = check(tasks[number])
        except Exception as error:  # of the reference or of this file
            outcome = Outcome("fault", f"{type(error).__name__}: {error}")
            if tasks[number].cuda:
                # Maybe the GPU's, after which this process can do nothing there.
                print(outcome.what, file=sys.stderr, flush=True)
                os._exit(4)
        connection.send((number, outcome))
    connection.close()
    os._exit(0)


def core_seconds(process: int) -> float:
    """What a process has had of cores, as far as that is known here."""
    try:
        with open(f"/proc/{process}/stat") as stream:
            fields = stream.read().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def run_all(
    tasks: Sequence[Task], jobs: int = 0, timeout: float = 60, until: float = 0
) -> Iterator[tuple[Task, Outcome]]:
    """Outcomes as they come; a task that ends its process, or takes longer than `timeout`
    seconds of a core (or ten times that, waiting for one), is a crash. Stops at the time
    `until`."""
    import tempfile

    jobs = min(jobs or os.cpu_count() or 1, len(tasks))
    context = multiprocessing.get_context("fork")
    with tempfile.TemporaryDirectory() as folder:
        running: dict[Any, list[Any]] = {}

        def start(number: int) -> None:
            if number >= len(tasks):
                return
            receiver, sender = context.Pipe(duplex=False)
            log = os.path.join(folder, str(number))
            process = context.Process(
                target=_work, args=(tasks, number, jobs, sender, log), daemon=True
            )
            process.start()
            sender.close()
            running[receiver] = [process, number, time.monotonic(), 0.0, log]

        for number in range(jobs):
            start(number)
        while running:
            ready = multiprocessing.connection.wait(list(running), timeout=1)
            now = time.monotonic()
            if until and time.time() > until:
                for process, *_ in running.values():
                    process.kill()
                return
            for receiver, entry in list(running.items()):
                process, number, since, used, log = entry
                if receiver in ready:
                    try:
                        done, outcome = receiver.recv()
                        entry[1:4] = [done + jobs, now, core_seconds(process.pid)]
                        yield tasks[done], outcome
                        continue
                    except EOFError:
                        process.join()
                        why = f"exit status {process.exitcode}"
                elif now - since > timeout and (
                    now - since > 10 * timeout or core_seconds(process.pid) - used > timeout
                ):
                    process.kill()
                    why = f"no end after {timeout} s"
                else:
                    continue
                del running[receiver]
                if number < len(tasks):
                    with open(log, errors="replace") as stream:
                        printed = stream.read()[-600:]
                    yield tasks[number], Outcome("crash", f"{why}\n{printed}".strip())
                    start(number + jobs)
