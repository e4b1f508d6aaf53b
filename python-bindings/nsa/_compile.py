# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""nsa text to a module of steps, in this process."""

import hashlib
import importlib.util
import linecache
import logging
import os
import time

from ._errors import wrong
from ._extension import extension
from ._fork import Compilations
from ._module import Module, Step

__all__ = ["CompileError", "DEFAULT_CHIP", "compile", "has_compiler"]

#: PTX for it runs on every GPU from there on.
DEFAULT_CHIP = "sm_80"
#: The same with programmatic dependent launch.
DEFAULT_PDL_CHIP = "sm_90"

logger = logging.getLogger("nsa")

_compilations = Compilations()

_NAME = "_nsa_compiler"
_nsa_compiler = None
#: Why there is no compiler, or None as far as is known.
_missing = None

#: What the compiler is in, or None. It is loaded when something has to be compiled: with LLVM
#: that takes longer than to find and load what was compiled before.
COMPILER_FILE = None
if spec := importlib.util.find_spec(f"{__package__}.{_NAME}"):
    COMPILER_FILE = spec.origin
else:
    try:
        extension(_NAME)
    except ImportError as error:  # built without it, or for another Python
        _missing = str(error)


class CompileError(Exception):
    """The text does not compile; ``diagnostics`` has the compiler's messages, each with
    file, line and column. Also raised where no compiler is available."""

    def __init__(self, message, diagnostics=""):
        super().__init__(message)
        self.diagnostics = diagnostics


def simulates():
    """Whether ``NSA_TARGET`` sends CPU arrays to the simulator."""
    return os.environ.get("NSA_TARGET") == "simt"


def compiler():
    """The extension module, or None."""
    global _nsa_compiler, _missing
    if _nsa_compiler is None and _missing is None:
        try:
            with _compilations:
                _nsa_compiler = extension(_NAME)
        except ImportError as error:  # LLVM is not there
            _missing = str(error)
    return _nsa_compiler


def may_compile():
    """Whether this installation can compile, as far as is known without loading LLVM."""
    return _missing is None


def has_compiler():
    """Whether this installation can compile."""
    return compiler() is not None


#: What diagnostics call a text that is in no file.
_TEXT = b"<string>"


def _remember(text):
    """A name for a text, by which ``linecache`` has its lines."""
    name = f"<nsa-{hashlib.sha256(text).hexdigest()[:12]}>"
    lines = text.decode("utf-8", "surrogateescape").splitlines(keepends=True)
    linecache.cache[name] = (len(text), None, lines, name)
    return name.encode()


def _read(text_or_path):
    """(text, the name that diagnostics show), both as bytes."""
    is_path = isinstance(text_or_path, os.PathLike)
    if not is_path and text_or_path:
        # No text that holds a step is a single line without a brace.
        marks = (b"\n", b"{") if isinstance(text_or_path, bytes) else "\n{"
        is_path = not any(mark in text_or_path for mark in marks)
    if not is_path:
        return encode(text_or_path), _TEXT
    with open(text_or_path, "rb") as stream:
        return stream.read(), os.fsencode(text_or_path)


def _source(text_or_path):
    """What `_read` returns, where there is a compiler for it."""
    if not isinstance(text_or_path, (str, bytes, os.PathLike)):
        raise wrong(
            TypeError,
            "text_or_path",
            f"expected text or a path but got {type(text_or_path).__name__}",
        )
    _needed()
    return _read(text_or_path)


def encode(text):
    """The bytes of a text; those of no character are what ``os.fsdecode`` makes of them."""
    return text if isinstance(text, bytes) else text.encode("utf-8", "surrogateescape")


def _needed():
    """The compiler; raises ``CompileError`` if there is none."""
    if not has_compiler():
        raise CompileError(f"this installation of nsa has no compiler ({_missing})")
    return _nsa_compiler


def _run(source, name, **options):
    """(the compiler's module, diagnostics); raises ``CompileError``."""
    with _compilations:
        module, diagnostics = _needed().compile(source, name, **options)
    diagnostics = diagnostics.decode("utf-8", "surrogateescape")
    if module is None:
        raise CompileError(diagnostics.strip() or "compilation failed", diagnostics)
    return module, diagnostics


def default_chip(pdl=False):
    """What is compiled for where no chip is named."""
    return DEFAULT_PDL_CHIP if pdl else DEFAULT_CHIP


def _program(source, fuse, guards, large_parameters=False, pdl=False):
    """What the kernels of a text compute, however they were compiled."""
    options = f"\0{bool(fuse)} {bool(guards)}" + " large" * large_parameters + " pdl" * pdl
    return hashlib.sha256(source + options.encode()).hexdigest()


def compile(
    text_or_path,
    target="cuda",
    chip=None,
    fuse=True,
    guards=False,
    *,
    large_parameters=False,
    pdl=False,
    line_info=False,
):
    """Compiles nsa text and returns a ``Module`` of its steps.

    `text_or_path`: the text, or the path of a file (a path object, or a string of one
    line without a brace); bytes serve as well, and bytes in comments may be any. `target`:
    ``"cuda"`` makes PTX, ``"cpu"`` makes host kernels, ``"simt"`` makes PTX that is run and
    checked on CPU arrays (``nsa.simt``).
    `chip`: the GPU to compile for, as in ``"sm_90"``; by default ``"sm_80"``, whose PTX
    runs on every later GPU. `fuse=False` makes each destination of each copy a launch of
    its own. `guards=True` checks every array access in the kernels: a wrong one loads 0 or
    stores nothing, and is recorded for ``Step.check``; so is a store to a computed place
    where another element of the launch has gone.
    `large_parameters=True` lets a kernel have 32,764 bytes of parameters instead of 4,352,
    as steps with hundreds of arrays need to be one launch: the PTX is then of version 8.1,
    which needs a driver of CUDA 12.1 (from ``"sm_100"`` on, all PTX is).
    `pdl=True` is programmatic dependent launch, of CUDA and from ``"sm_90"`` on, which is then
    the default chip: kernels begin while the kernel before them in the stream still runs, and
    wait for its end before they touch an array. A kernel after them that is launched so, too,
    has to wait (``griddepcontrol.wait``) before it reads or writes what they do.
    `line_info=True` makes PTX that says where in the text its code is from, for profilers and
    for reports of the simulator, which name the operation; the code is the same.

    Raises ``CompileError`` with the diagnostics, ``ValueError`` for an unknown target,
    ``OSError`` for a file that cannot be read.
    """
    if target not in ("cuda", "cpu", "simt"):
        raise wrong(ValueError, "target", f"expected 'cuda', 'cpu' or 'simt' but got {target!r}")
    text, name = _source(text_or_path)
    chip = chip or default_chip(pdl)
    if line_info and name == _TEXT:
        name = _remember(text)
    start = time.perf_counter()
    module, diagnostics = _run(
        text,
        name,
        chip=chip,
        fuse=fuse,
        guards=guards,
        ptx=target != "cpu",
        host=target == "cpu",
        large_parameters=large_parameters,
        pdl=pdl,
        line_info=line_info,
    )
    if diagnostics:
        logger.warning("%s", diagnostics.rstrip())
    steps = [
        Step(manifest, ptx, kernels, keep=module)
        for _, manifest, ptx, kernels in module.steps
    ]
    logger.info(
        "compiled %s for %s in %.1f ms",
        ", ".join(step.name for step in steps),
        chip if target != "cpu" else "the host",
        1e3 * (time.perf_counter() - start),
    )
    if target == "simt":
        from . import simt  # needs NumPy, which nothing else here does

        steps = [simt.simulate(step) for step in steps]
    return Module(
        steps,
        (lambda: host_libraries(text, name, fuse, guards, large_parameters))
        if target == "cpu"
        else None,
        _program(text, fuse, guards, large_parameters, pdl),
    )


def host_module(text, fuse=True, guards=False):
    """A module without steps in this process, to be saved: its host kernels are compiled
    to shared libraries when that happens."""

    source = encode(text)

    def libraries():
        start = time.perf_counter()
        made = host_libraries(source, _TEXT, fuse, guards)
        logger.info(
            "compiled %s for the host in %.1f ms",
            ", ".join(step for step, _, _ in made),
            1e3 * (time.perf_counter() - start),
        )
        return made

    return Module([], libraries, _program(source, fuse, guards))


def host_libraries(text, name, fuse, guards, large_parameters=False):
    """[(step, manifest, shared library)] of the host kernels of `text`.

    Raises ``RuntimeError`` if there is no linker, ``CompileError`` as ``compile`` does.
    """
    module, _ = _run(
        text,
        name,
        fuse=fuse,
        guards=guards,
        ptx=False,
        host_object=True,
        large_parameters=large_parameters,
    )
    with _compilations:
        return _needed().host_libraries(module)


def ffi_modules(text_or_path, chip, fuse, guards, pdl=False):
    """[(step, shared library)] for ``nsa.tvm_ffi``."""
    text, name = _source(text_or_path)
    module, _ = _run(
        text,
        name,
        chip=chip or default_chip(pdl),
        fuse=fuse,
        guards=guards,
        host_object=True,
        pdl=pdl,
    )
    with _compilations:
        return _needed().ffi_modules(module)
