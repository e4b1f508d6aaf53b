# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The command line of nsa.

    python -m nsa info                         what is here, for bug reports
    python -m nsa list [NAME]                  steps that need no compiler
    python -m nsa compile IN.mlir -o DIR       a bundle
    python -m nsa inspect BUNDLE --html FILE   ports, launches, bytes; as a page
    python -m nsa run BUNDLE --lens=@lens.npy  on arrays from files
    python -m nsa bench BUNDLE --bs=32         how long a launch takes
    python -m nsa prebuild DIR                 the usual steps, with other constants

BUNDLE is the folder of one, a text (.mlir), or the first characters of a key that ``list``
shows. Exit status 1: what was asked for could not be done; 2: what was asked for is no
question.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from collections.abc import Callable, Sequence

from . import CompileError, DriverError, __version__, _compile, prebuild, tvm_ffi
from ._tool import facts, finding, info, running
from ._tool.graph import draw_step
from ._tool.inspecting import as_text
from ._tool.page import as_page


def _info(options: argparse.Namespace, rest: list[str]) -> str:
    gathered = info.gather()
    return json.dumps(gathered, indent=2) if options.json else info.as_text(gathered)


def _list(options: argparse.Namespace, rest: list[str]) -> str:
    name = options.name
    rows = [["key", "step", "kernels for", "arguments"]]
    is_part = name is not None and not os.path.exists(name) and os.sep not in name
    paths = list(finding.bundles()) if name is None or is_part else [name]
    for path in paths:
        key = os.path.basename(os.path.abspath(path))[:12]
        try:
            steps = finding.find(path)
        except (OSError, ValueError) as error:
            # One that is broken hides no others.
            if len(paths) == 1:
                raise
            print(f"nsa list: {failure(error)}", file=sys.stderr)
            continue
        for found in steps:
            if is_part and not (name in found.step.name or key.startswith(name)):
                continue
            names = [
                a["name"] if a["kind"] == "size" else f"{a['name']}:{a['dtype']}"
                for a in found.manifest["arguments"]
            ]
            targets = ",".join(finding.targets_of(found.step)) or "nothing here"
            rows.append([key, found.step.name, targets, " ".join(names)])
    if len(rows) == 1 and is_part:
        raise finding.UsageError(f"{name}: no folder, and no step has that in its name")
    if len(rows) == 1:
        return "no bundles: nsa was built without them, and NSA_BUNDLE_PATH names none"
    lines = facts.as_table(rows).splitlines()
    if sys.stdout.isatty() and not options.wide:
        width = shutil.get_terminal_size().columns
        lines = [line if len(line) <= width else f"{line[: width - 1]}…" for line in lines]
    return "\n".join(lines)


def _compile_command(options: argparse.Namespace, rest: list[str]) -> str:
    targets = options.target.split(",")
    for target in targets:
        if target not in ("cuda", "cpu", "tvm-ffi"):
            raise finding.UsageError(
                f"--target: expected some of cuda, cpu, tvm-ffi but got {target!r}"
            )
    steps: dict[str, None] = {}
    how = (options.chip, not options.no_fuse, options.guards)
    for target in targets:
        if target == "tvm-ffi":
            paths = tvm_ffi.build(
                options.input, options.output, *how, pdl=options.pdl
            )
            names = [os.path.basename(path).removesuffix(".ffi.so") for path in paths]
        else:
            module = _compile.compile(options.input, target, *how, pdl=options.pdl)
            module.save(options.output)
            names = list(module)
        steps.update(dict.fromkeys(names))
    return "\n".join(
        f"{name}: {', '.join(targets)} in {options.output}" for name in steps
    )


def _inspect(options: argparse.Namespace, rest: list[str]) -> str:
    found = finding.find(options.bundle, options.step, options.chip)
    shown = []
    for each in found:
        given = running.parse_arguments(rest, each.manifest)
        sizes = {name: running.parse_size(name, value) for name, value in given.items()}
        shown.append(as_text(each, sizes))
    if options.html:
        if len(found) > 1:
            found = [finding.find_one(options.bundle, options.step, options.chip)]
        page = as_page(found[0], sizes)
        with open(options.html, "w", encoding="utf-8") as stream:
            stream.write(page)
        return f"{options.html}: {len(page.encode())} bytes"
    if options.graph:
        text = finding.find_one(options.bundle, options.step, options.chip).text
        if text is None:
            raise finding.UsageError(
                f"{options.bundle}: the text of the step is not kept there: name the text"
            )
        with open(options.graph, "w", encoding="utf-8") as stream:
            stream.write(draw_step(text))
        return f"{options.graph}: which fields are computed from what"
    return "\n\n".join(shown)


def _run(options: argparse.Namespace, rest: list[str]) -> str:
    found = finding.find_one(options.bundle, options.step)
    return running.run(found, rest, options.device, options.save)


def _bench(options: argparse.Namespace, rest: list[str]) -> str:
    found = finding.find_one(options.bundle, options.step)
    return running.bench(found, rest, options.device, options.repeats)


def _count(text: str) -> int:
    """A number of launches."""
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"expected a number from 1 on but got {text!r}")
    return int(text)


def failure(error: BaseException) -> str:
    """What is said of an error: of files as other programs say it."""
    if isinstance(error, OSError) and error.strerror and error.filename is not None:
        return f"{os.fsdecode(error.filename)}: {error.strerror}"
    if isinstance(error, MemoryError):
        return f"out of memory: {error}"
    return str(error) or type(error).__name__


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="nsa", description=(__doc__ or "").partition("\n")[0], allow_abbrev=False
    )
    parser.add_argument("--version", action="version", version=_version())
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(name: str, function: object, help: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=help, description=help, allow_abbrev=False)
        command.set_defaults(function=function)
        return command

    command = add("info", _info, "what is here, for bug reports")
    command.add_argument("--json", action="store_true", help="for programs")

    command = add("list", _list, "steps that need no compiler")
    command.add_argument(
        "name", nargs="?", metavar="NAME",
        help="a bundle's folder, or a part of a step's name (default: all that are found)",
    )
    command.add_argument(
        "--wide", action="store_true", help="whole lines, on a terminal as well"
    )

    command = add("compile", _compile_command, "a bundle from a text; needs the compiler")
    command.add_argument("input", metavar="IN.mlir")
    command.add_argument("-o", dest="output", required=True, metavar="DIR")
    command.add_argument("--target", default="cuda", help="some of cuda, cpu, tvm-ffi, with commas")
    command.add_argument("--chip", help="sm_80 if it is not given; with --pdl, sm_90")
    command.add_argument("--no-fuse", action="store_true", help="a launch a destination")
    command.add_argument("--guards", action="store_true", help="check every access")
    command.add_argument("--pdl", action="store_true", help="programmatic dependent launch")

    def add_bundle(command: argparse.ArgumentParser) -> None:
        command.add_argument("bundle", metavar="BUNDLE", help="a folder, a text or a key")
        command.add_argument("--step", metavar="NAME", help="one of several")

    command = add("inspect", _inspect, "ports, launches, segments and bytes moved")
    add_bundle(command)
    command.add_argument("--chip", help="to compile a text for")
    command.add_argument("--html", metavar="FILE", help="one page that needs nothing else")
    command.add_argument("--graph", metavar="FILE", help="a text's fields and sources, as SVG")
    command.epilog = "--NAME=SIZE: a size argument, for the bytes"

    command = add("run", _run, "launch once, on arrays from files")
    add_bundle(command)
    command.add_argument("--device", choices=("cpu", "cuda"))
    command.add_argument("--save", metavar="DIR", help="write what is written as NAME.npy")
    command.epilog = "--NAME=SIZE, --NAME=@FILE.npy, and of arrays that are written --NAME=3x70"

    command = add("bench", _bench, "how long a launch takes")
    add_bundle(command)
    command.add_argument("--device", choices=("cpu", "cuda"))
    command.add_argument("--repeats", type=_count, default=1000, metavar="N")
    command.epilog = "--NAME=SIZE, --NAME=@FILE.npy, --NAME=3x70; what is not given is made, of 0"

    commands.add_parser("prebuild", help="the usual steps, with other constants", add_help=False)
    return parser


def _version() -> str:
    compiler = _compile.compiler()
    llvm = f"LLVM {compiler.versions['llvm']}" if compiler else "no compiler"
    return f"nsa {__version__}, {llvm}"


def main(arguments: Sequence[str] | None = None) -> int:
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    if arguments[:1] == ["prebuild"]:
        return _attempt("prebuild", lambda: prebuild.main(arguments[1:], "nsa prebuild"))
    parser = _parser()
    options, rest = parser.parse_known_args(arguments)
    if rest and options.command not in ("inspect", "run", "bench"):
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    return _attempt(options.command, lambda: print(options.function(options, rest), flush=True))


def _attempt(command: str, function: Callable[[], None]) -> int:
    """Calls `function`; returns the exit status, and says what went wrong in a line."""
    try:
        function()
    except BrokenPipeError:
        # As with "| head".
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    except KeyboardInterrupt:
        return 130
    except finding.UsageError as error:
        print(f"nsa {command}: {error}", file=sys.stderr)
        return 2
    except (
        ArithmeticError, CompileError, DriverError, MemoryError, OSError, TypeError, ValueError,
        RuntimeError,
    ) as error:  # fmt: skip
        print(f"nsa {command}: {failure(error)}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
