# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The command line of nsa.

    python -m nsa info                         what is here, for bug reports
    python -m nsa list                         steps that need no compiler
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
import sys
from collections.abc import Sequence

from . import CompileError, DriverError, __version__, _compile, prebuild, tvm_ffi
from ._tool import facts, finding, info, running
from ._tool.graph import draw_step
from ._tool.inspecting import as_text
from ._tool.page import as_page


def _info(options: argparse.Namespace, rest: list[str]) -> str:
    gathered = info.gather()
    return json.dumps(gathered, indent=2) if options.json else info.as_text(gathered)


def _list(options: argparse.Namespace, rest: list[str]) -> str:
    rows = [["key", "step", "kernels for", "arguments"]]
    paths = [options.directory] if options.directory else list(finding.bundles())
    for path in paths:
        for found in finding.find(path):
            key = os.path.basename(os.path.abspath(path))
            names = [
                a["name"] if a["kind"] == "size" else f"{a['name']}:{a['dtype']}"
                for a in found.manifest["arguments"]
            ]
            targets = ",".join(finding.targets_of(found.step)) or "nothing here"
            rows.append([key[:12], found.step.name, targets, " ".join(names)])
    if len(rows) == 1:
        return "no bundles: nsa was built without them, and NSA_BUNDLE_PATH names none"
    return facts.as_table(rows)


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
            raise finding.UsageError(f"{options.bundle}: the text of the step is not kept there")
        with open(options.graph, "w", encoding="utf-8") as stream:
            stream.write(draw_step(text))
        return f"{options.graph}: which fields are computed from what"
    return "\n\n".join(shown)


def _run(options: argparse.Namespace, rest: list[str]) -> str:
    found = finding.find_one(options.bundle, options.step)
    device = options.device or running.default_device(found)
    return running.run(found, rest, device, options.save)


def _bench(options: argparse.Namespace, rest: list[str]) -> str:
    found = finding.find_one(options.bundle, options.step)
    device = options.device or running.default_device(found)
    return running.bench(found, rest, device, options.repeats)


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
    command.add_argument("directory", nargs="?", help="a bundle (default: all that are found)")

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
    command.add_argument("--repeats", type=int, default=1000, metavar="N")
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
        prebuild.main(arguments[1:])
        return 0
    parser = _parser()
    options, rest = parser.parse_known_args(arguments)
    if rest and options.command not in ("inspect", "run", "bench"):
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    try:
        print(options.function(options, rest))
    except BrokenPipeError:
        # As with "| head".
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    except finding.UsageError as error:
        print(f"nsa {options.command}: {error}", file=sys.stderr)
        return 2
    except (CompileError, DriverError, OSError, TypeError, ValueError, RuntimeError) as error:
        print(f"nsa {options.command}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
