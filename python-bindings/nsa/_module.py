# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""A module: the steps of one source text or of one saved bundle, by name."""

import contextlib
import inspect
import json
import os
from keyword import iskeyword

from . import _nsa_runtime
from ._files import write_whole
from ._nsa_runtime import Binding, DriverError, GraphNode, Step, device_count

__all__ = ["Binding", "DriverError", "GraphNode", "Module", "Step", "device_count", "load"]


_OTHERS = "others"
#: Names in a signature that are no argument of the step.
_TAKEN = ("stream", _OTHERS)


def _signature(step):
    """The step's arguments as an ``inspect.Signature``, all by keyword.

    The annotation of an array is its direction, dtype and shape, as in
    ``out int32[?, ?]``; that of a size is ``size``. A size with the default None takes
    the size of the dimensions that name it; an array with that default may be left out.
    Arguments whose names Python has no room for,
    as its keywords, are given as ``**{"class": ...}``, and listed in the annotation of
    ``**others``.
    """
    arguments = json.loads(step.manifest)["arguments"]
    # A dimension names a size, or ["add", size, constant].
    named = {
        extent if isinstance(extent, str) else extent[1]
        for argument in arguments
        for extent in argument.get("extents") or []
        if extent is not None
    }
    keyword = inspect.Parameter.KEYWORD_ONLY
    parameters, others = [], []
    for argument in arguments:
        default = inspect.Parameter.empty
        if argument["kind"] == "size":
            annotation = "size"
            if argument["name"] in named:
                default = None
        else:
            shape = ", ".join(
                "?" if size is None else str(size) for size in argument["shape"]
            )
            access = argument.get("access", argument["kind"])
            annotation = f"{access} {argument['dtype']}[{shape}]"
            if argument.get("optional"):
                default = None
        name = argument["name"]
        if not name.isidentifier() or iskeyword(name) or name in _TAKEN:
            others.append(f"{name}: {annotation}")
            continue
        parameters.append(
            inspect.Parameter(name, keyword, default=default, annotation=annotation)
        )
    parameters.append(inspect.Parameter("stream", keyword, default=None))
    if others:
        parameters.append(
            inspect.Parameter(
                _OTHERS, inspect.Parameter.VAR_KEYWORD, annotation=", ".join(others)
            )
        )
    return inspect.Signature(parameters)


def _repr(step):
    return f"<nsa.Step {step.name}, {len(step.kernels)} kernel(s)>"


Step.signature = property(_signature, doc=_signature.__doc__)
Step.__repr__ = _repr


class Module:
    """Steps by name: ``module["decode_replay"]``, iteration over names, ``len``."""

    def __init__(self, steps, libraries=None, program=None):
        self._steps = {step.name: step for step in steps}
        # Of host kernels: makes [(step, manifest, shared library)].
        self._libraries = libraries
        # What it computes: the same for kernels of the same text on either target.
        self._program = program

    def __getitem__(self, name):
        try:
            return self._steps[name]
        except KeyError:
            known = ", ".join(self._steps) or "none"
            raise KeyError(f"no step {name!r}; there is: {known}") from None

    def __iter__(self):
        return iter(self._steps)

    def __len__(self):
        return len(self._steps)

    def __contains__(self, name):
        return name in self._steps

    def keys(self):
        return self._steps.keys()

    def values(self):
        return self._steps.values()

    def items(self):
        return self._steps.items()

    def __repr__(self):
        return f"<nsa.Module {', '.join(self._steps)}>"

    def save(self, directory):
        """Writes ``NAME.json`` and ``NAME.ptx`` of every step into `directory`.

        Of a module that was compiled for the host, ``NAME.json`` and ``NAME.so``, linked
        by a C compiler or a linker from ``PATH``. The directory is made if it is missing;
        a module that was compiled for each target is saved to one directory, and loaded
        as one.
        ``nsa.load`` and libnsa_runtime read it back, with no compiler. Raises
        ``ValueError`` for a step with neither PTX nor a text to compile again,
        ``RuntimeError`` without a linker, ``OSError`` if a file cannot be written.
        """
        directory = os.fsdecode(directory)
        if self._libraries is not None:
            libraries = self._libraries()
            os.makedirs(directory, exist_ok=True)
            for name, manifest, library in libraries:
                self._save_step(directory, name, manifest, {"host": (f"{name}.so", library)})
            return
        for step in self.values():
            if step.ptx is None:
                raise ValueError(
                    f"step {step.name!r} has no PTX to save: compile it for target 'cuda'"
                )
        os.makedirs(directory, exist_ok=True)
        for step in self.values():
            name = json.loads(step.manifest).get("ptx") or f"{step.name}.ptx"
            self._save_step(directory, step.name, step.manifest, {"ptx": (name, step.ptx)})

    def _save_step(self, directory, name, text, files):
        """Writes the kernels of a step, `files` (file, contents) by the manifest's member,
        and its manifest. Kernels of the same program for the other target stay; those of
        another one go, as no manifest names them any more."""
        manifest = json.loads(text)
        made = {k: v for k, v in manifest.items() if k not in _FILES}
        if self._program is not None:
            made["program"] = self._program
        made |= {member: file for member, (file, _) in files.items()}
        old = _read_manifest(os.path.join(directory, f"{name}.json"))
        if old == manifest or ("program" in made and _computed(old) == _computed(made)):
            kept = {m: old[m] for m in _FILES if m in old and m not in files}
            made = {**made, **kept}
            # The chip is that of the kernels for it.
            if "chip" in old and "host" in files:
                made["chip"] = old["chip"]
        # The manifest last: whoever sees it finds what it names.
        for file, contents in files.values():
            write_whole(directory, file, contents)
        text = _as_text(made, manifest, text)
        write_whole(directory, f"{name}.json", text)
        for member in _FILES:
            file = old.get(member)
            if file and file.startswith(f"{name}.") and file != made.get(member):
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(os.path.join(directory, file))


#: Members of a manifest that name a file.
_FILES = ("ptx", "cubin", "host")


def _computed(manifest):
    """What a manifest says of the program, and not of one compilation."""
    return {k: v for k, v in manifest.items() if k not in (*_FILES, "chip")}


def _as_text(made, manifest, text):
    """`made` as text: that of `manifest`, which is written by the compiler and easy on the
    eye, as far as that is it."""
    if made == manifest:
        return text
    head = "{\n"
    if text.startswith(head) and made == {**manifest, "program": made.get("program")}:
        return f'{head}  "program": "{made["program"]}",\n{text[len(head):]}'
    return json.dumps(made, indent=2) + "\n"


def _read_manifest(path):
    """A manifest, or an empty one if there is none that can be read."""
    try:
        with open(path, "rb") as stream:
            manifest = json.load(stream)
    except (OSError, ValueError):
        return {}
    return manifest if isinstance(manifest, dict) else {}


def load(directory):
    """Loads the bundle in `directory`: every ``NAME.json`` with its PTX.

    Hidden files, and JSON of something else, are passed over. Needs no compiler and no
    device; kernels are loaded when a step is first bound on a device. Raises ``OSError``
    for a missing directory or file, ``ValueError`` for a manifest that is malformed or of
    an unknown schema.

    With ``NSA_TARGET=simt`` the PTX of the steps is run on CPU arrays (``nsa.simt``).
    """
    steps = _nsa_runtime.load_bundle(os.fsencode(directory))
    if os.environ.get("NSA_TARGET") == "simt":
        from . import simt  # needs NumPy, which nothing else here does

        steps = [simt.simulate(step) for step in steps]
    return Module(steps)
