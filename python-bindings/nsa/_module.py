# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""A module: the steps of one source text or of one saved bundle, by name."""

import inspect
import json
import os
import tempfile

from . import _nsa_runtime
from ._nsa_runtime import Binding, DriverError, Step, device_count

__all__ = ["Binding", "DriverError", "Module", "Step", "device_count", "load"]


def _signature(step):
    """The step's arguments as an ``inspect.Signature``, all by keyword.

    The annotation of an array is its direction, dtype and shape, as in
    ``out int32[?, ?]``; that of a size is ``size``. A size with the default None takes
    the size of the dimensions that name it.
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
    parameters = []
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
            annotation = f"{argument['kind']} {argument['dtype']}[{shape}]"
        parameters.append(
            inspect.Parameter(
                argument["name"], keyword, default=default, annotation=annotation
            )
        )
    parameters.append(inspect.Parameter("stream", keyword, default=None))
    return inspect.Signature(parameters)


def _repr(step):
    return f"<nsa.Step {step.name}, {len(step.kernels)} kernel(s)>"


Step.signature = property(_signature, doc=_signature.__doc__)
Step.__repr__ = _repr


class Module:
    """Steps by name: ``module["decode_replay"]``, iteration over names, ``len``."""

    def __init__(self, steps, libraries=None):
        self._steps = {step.name: step for step in steps}
        # Of host kernels: makes [(step, manifest, shared library)].
        self._libraries = libraries

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
        by a C compiler or a linker from ``PATH``. The directory is made if it is missing.
        ``nsa.load`` and libnsa_runtime read it back, with no compiler. Raises
        ``ValueError`` for a step with neither PTX nor a text to compile again,
        ``RuntimeError`` without a linker, ``OSError`` if a file cannot be written.
        """
        if self._libraries is not None:
            libraries = self._libraries()
            os.makedirs(directory, exist_ok=True)
            for name, manifest, library in libraries:
                _write(directory, f"{name}.so", library)
                _write(directory, f"{name}.json", manifest)
            return
        for step in self.values():
            if step.ptx is None:
                raise ValueError(
                    f"step {step.name!r} has no PTX to save: compile it for target 'cuda'"
                )
        os.makedirs(directory, exist_ok=True)
        for step in self.values():
            manifest = json.loads(step.manifest)
            # The PTX first: whoever sees the manifest finds what it names.
            name = manifest.get("ptx") or f"{step.name}.ptx"
            text = step.manifest
            if manifest.get("ptx") != name:
                text = json.dumps({**manifest, "ptx": name}, indent=2) + "\n"
            _write(directory, name, step.ptx)
            _write(directory, f"{step.name}.json", text)


def _write(directory, name, contents):
    """Writes a file whole or not at all."""
    data = contents if isinstance(contents, bytes) else contents.encode()
    handle, temporary = tempfile.mkstemp(prefix=f".{name}.", dir=directory)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
        # What open() would have made of it; mkstemp keeps files to their owner.
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(temporary, 0o666 & ~umask)
        os.replace(temporary, os.path.join(directory, name))
    except BaseException:
        os.unlink(temporary)
        raise


def load(directory):
    """Loads the bundle in `directory`: every ``NAME.json`` with its PTX.

    Needs no compiler and no device; kernels are loaded when a step is first bound on a
    device. Raises ``OSError`` for a missing directory or file, ``ValueError`` for a
    manifest that is malformed or of an unknown schema.

    With ``NSA_TARGET=simt`` the PTX of the steps is run on CPU arrays (``nsa.simt``).
    """
    steps = _nsa_runtime.load_bundle(os.fspath(directory))
    if os.environ.get("NSA_TARGET") == "simt":
        from . import simt  # needs NumPy, which nothing else here does

        steps = [simt.simulate(step) for step in steps]
    return Module(steps)
