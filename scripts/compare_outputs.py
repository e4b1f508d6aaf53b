#!/usr/bin/env python3
# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Compares what two compilers make of every text of the project, byte for byte.

    compare_outputs.py --old DIR --new DIR [--only REGEX] [FILE...]

DIR is a build directory, or a folder with nsa-compile and nsa-opt. Texts are the examples,
the steps that are shipped, and those of test/**/*.mlir; FILE... stands for these. Each goes
through nsa-compile (PTX, manifest and header are compared) and through nsa-opt's lowering
for the host; examples and tests also unfused and with guards, tests through their own passes
as well. A text that
one compiler refuses has to be refused by the other. What differs is printed with the first
lines of a diff, and the last line is the sum. Other wording of a diagnostic is counted, and
is no difference. The exit status is 1 where something differs or a compiler crashed.
"""

from __future__ import annotations

import argparse
import difflib
import os
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
VARIANTS = ((), ("--no-fuse",), ("--guards",))
#: PTX is nsa-compile's.
PIPELINES = ((), ("--nsa-to-llvm",), ("--nsa-to-llvm=fuse=false guards=true",))
#: How long it took, in what nsa-opt prints of a binary.
TOOK = re.compile(r"\bLLVMIRToISATimeInMs = \d+")
SEPARATOR = re.compile(r"^// -----.*\n", re.MULTILINE)
#: Shipped steps in one run of a compiler.
BATCH = 8
TIMEOUT = 300


@dataclass(frozen=True)
class Job:
    """A run of a tool on a text."""

    name: str
    text: str
    tool: str
    arguments: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.name}: {shlex.join([self.tool, *self.arguments])}"


@dataclass
class Outcome:
    status: int | str
    files: dict[str, str]
    diagnostics: str

    @property
    def kind(self) -> str:
        if self.status == 0:
            return "accepted"
        # 1 is a diagnostic; a signal, LLVM's handlers and sanitizers give something else.
        return "refused" if self.status == 1 else f"crashed ({self.status})"


# ----------------------------------------------------------------------------
# Texts
# ----------------------------------------------------------------------------


def compiles(name: str, text: str, variants=VARIANTS) -> Iterator[Job]:
    for options in variants:
        yield Job(name, text, "nsa-compile", options)


def optimises(name: str, text: str, pipelines=PIPELINES) -> Iterator[Job]:
    for pipeline in pipelines:
        yield Job(name, text, "nsa-opt", ("--split-input-file", *pipeline))


def own_pipelines(text: str) -> list[tuple[str, ...]]:
    """What the RUN lines of a test have nsa-opt do."""
    text = re.sub(r"\\\n// RUN:", "", text)
    found = []
    for command in re.findall(r"^// RUN:.*?\bnsa-opt\b([^|>\n]*)", text, re.MULTILINE):
        words = [
            word
            for word in shlex.split(command)
            if word.startswith("-") and "%" not in word
            and not word.lstrip("-").startswith(("split-input-file", "verify-diagnostics"))
        ]
        found.append(tuple(words))
    return [pipeline for pipeline in dict.fromkeys(found) if pipeline not in PIPELINES]


def of_file(path: Path) -> Iterator[Job]:
    name = str(path.relative_to(ROOT) if path.is_relative_to(ROOT) else path)
    text = path.read_text()
    yield from optimises(name, text, [*PIPELINES, *own_pipelines(text)])
    # Most of these are refused, which no option changes.
    variants = VARIANTS[:1] if "verify-diagnostics" in text else VARIANTS
    parts = SEPARATOR.split(text)
    for number, part in enumerate(parts):
        if "nsa.step" in part:
            label = f"{name} #{number}" if len(parts) > 1 else name
            yield from compiles(label, part, variants)


def shipped() -> Iterator[Job]:
    from nsa import prebuild

    texts = prebuild.texts()
    for begin in range(0, len(texts), BATCH):
        # One module; several of the steps have the same name.
        text = "\n".join(
            text.replace("nsa.step @", f"nsa.step @n{begin + n}_", 1)
            for n, text in enumerate(texts[begin : begin + BATCH])
        )
        name = f"shipped steps {begin} to {begin + BATCH - 1}"
        yield from compiles(name, text, VARIANTS[:1])
        yield from optimises(name, text, PIPELINES[:2])


def jobs(files: list[Path]) -> Iterator[Job]:
    if files:
        for path in files:
            yield from of_file(path.resolve())
        return
    for path in sorted((ROOT / "examples").glob("*.mlir")):
        yield from of_file(path)
    yield from shipped()
    for path in sorted((ROOT / "test").rglob("*.mlir")):
        if "nsa.step" in path.read_text():
            yield from of_file(path)


# ----------------------------------------------------------------------------
# Runs
# ----------------------------------------------------------------------------


def find_tool(directory: Path, tool: str) -> Path:
    for path in (directory / "bin" / tool, directory / tool):
        if path.is_file():
            return path.resolve()
    sys.exit(f"no {tool} in {directory}")


def run(folder: Path, job: Job) -> Outcome:
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        # The same name for both, as diagnostics have it.
        (work / "text.mlir").write_text(job.text)
        command = [find_tool(folder, job.tool), *job.arguments, "text.mlir"]
        if job.tool == "nsa-compile":
            command += ["-o", "out"]
        try:
            result = subprocess.run(
                command, cwd=work, capture_output=True, timeout=TIMEOUT, check=False
            )
        except subprocess.TimeoutExpired:
            return Outcome(f"no end after {TIMEOUT} s", {}, "")
        # Of a text that is refused the tools print nothing that counts, but for nsa-opt
        # with several texts: those that it accepts.
        files = {"stdout": TOOK.sub("", result.stdout.decode(errors="replace"))}
        for path in sorted((work / "out").glob("*")):
            files[path.name] = path.read_text(errors="replace")
        return Outcome(result.returncode, files, result.stderr.decode(errors="replace"))


def short_diff(name: str, old: str, new: str, limit: int) -> str:
    lines = list(
        difflib.unified_diff(
            old.splitlines(), new.splitlines(), f"old/{name}", f"new/{name}", "", "", 1, ""
        )
    )
    shown = [line[:200] for line in lines[:limit]]
    if len(lines) > limit:
        shown.append(f"... {len(lines) - limit} lines more")
    return "\n".join(f"    {line}" for line in shown)


def compare(job: Job, old: Outcome, new: Outcome, limit: int) -> list[str]:
    """What differs, or is wrong in the new one, in words."""
    if old.kind != new.kind:
        # The message that says why, or the end of what a crash left.
        words = (new if old.kind == "accepted" else old).diagnostics.splitlines()
        errors = [line for line in words if "error:" in line] or words[:1]
        return [f"old {old.kind}, new {new.kind}: {' '.join(errors[:1])[:300]}"]
    if new.kind.startswith(("crashed", "no end")):
        return [f"both {new.kind}"]
    found = []
    for name in sorted(old.files.keys() | new.files.keys()):
        if name not in old.files or name not in new.files:
            found.append(f"{name}: only the {'old' if name in old.files else 'new'} has it")
        elif old.files[name] != new.files[name]:
            found.append(
                f"{name}:\n{short_diff(name, old.files[name], new.files[name], limit)}"
            )
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--old", type=Path, required=True, metavar="DIR")
    parser.add_argument("--new", type=Path, required=True, metavar="DIR")
    parser.add_argument("--only", default="", metavar="REGEX", help="runs whose line has it")
    parser.add_argument("--lines", type=int, default=12, help="of a diff (default: 12)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("files", type=Path, nargs="*", metavar="FILE")
    options = parser.parse_args()
    # The shipped texts, from the sources that belong to a build.
    for build in (options.new, options.old, ROOT / "build"):
        if (build / "python/nsa").is_dir():
            sys.path.insert(0, str(build / "python"))
            break
    for directory in (options.old, options.new):
        for tool in ("nsa-compile", "nsa-opt"):
            find_tool(directory, tool)

    selected = [job for job in jobs(options.files) if re.search(options.only, str(job))]

    def both(job: Job) -> tuple[Outcome, Outcome]:
        return run(options.old, job), run(options.new, job)

    differ = refused = reworded = files = 0
    with ThreadPoolExecutor(options.jobs) as pool:
        for job, (old, new) in zip(selected, pool.map(both, selected), strict=True):
            files += len(new.files)
            refused += new.kind == "refused"
            reworded += old.kind == new.kind and old.diagnostics != new.diagnostics
            found = compare(job, old, new, options.lines)
            if found:
                differ += 1
                print(f"{job}\n  " + "\n  ".join(found), flush=True)
    print(
        f"{len(selected)} runs, {refused} of them refused, {files} outputs; "
        f"{differ} runs differ, {reworded} print other diagnostics"
    )
    return 1 if differ else 0


if __name__ == "__main__":
    sys.exit(main())
