# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Steps by their text: compiled once, then found again.

In a process a step is made once. Between processes, compiled bundles are kept in
``NSA_CACHE_DIR`` (default ``$XDG_CACHE_HOME/nsa`` or ``~/.cache/nsa``; empty: nowhere),
each in a directory named after everything that it depends on: the text, the target, the
chip, the options, the version of nsa, and the compiler's own file. A bundle
appears there whole or not at all, and is taken if it is what was written, to the last byte;
else it is made anew. A directory that cannot be written is left alone.

Where there is no compiler, a step comes from a bundle that was saved under the key of
its text and options in one of the directories of ``NSA_BUNDLE_PATH`` (separated as in
``PATH``), or from those that the package ships (``nsa.prebuild``). The latter also serve
where the compiler is the very one that made them.
"""

import functools
import hashlib
import json
import logging
import os
import shutil
import threading

from . import _compile, _nsa_runtime
from ._compile import (
    CompileError,
    compile,
    default_chip,
    encode,
    host_module,
    may_compile,
)
from ._files import is_sealed, new_directory, new_name, seal, sync
from ._module import Module, load

logger = logging.getLogger("nsa")

#: The bundles that are shipped, and beside them what compiler made them.
SHIPPED = os.path.join(os.path.dirname(os.path.abspath(__file__)), "bundles")
STAMP = "compiler.json"

# What a text and its options made; one compilation, whoever asks at the same time.
_steps = {}
_lock = threading.Lock()


def _renew_lock():
    """In a forked child, which has not the thread that may hold it."""
    global _lock
    _lock = threading.Lock()


os.register_at_fork(after_in_child=_renew_lock)


def wants_pdl(target):
    """Whether ``NSA_PDL`` asks for programmatic dependent launch, and `target` has it.

    Raises ``ValueError`` if it is neither 0 nor 1.
    """
    value = os.environ.get("NSA_PDL") or "0"
    if value not in ("0", "1"):
        raise ValueError(f"NSA_PDL: expected 0 or 1 but got {value!r}")
    return value == "1" and target != "cpu"


def bundle_key(text, chip=None, fuse=True, guards=False, pdl=False):
    """The name of the directory that holds the bundle of `text`."""
    options = {"chip": chip or default_chip(pdl), "fuse": bool(fuse), "guards": bool(guards)}
    if pdl:
        options["pdl"] = True
    content = encode(text) + b"\0" + json.dumps(options, sort_keys=True).encode()
    return hashlib.sha256(content).hexdigest()


def save_bundle(text, directory, chip=None, fuse=True, guards=False, host=True, pdl=False):
    """Compiles `text` and saves it where a process with `directory` in its
    ``NSA_BUNDLE_PATH`` finds it. `host`: with host kernels beside the PTX, which takes a
    linker; there are none with `pdl`. Returns the bundle's directory."""
    path = os.path.join(directory, bundle_key(text, chip, fuse, guards, pdl))
    compile(text, "cuda", chip, fuse, guards, pdl=pdl).save(path)
    if host and not pdl:
        host_module(text, fuse, guards).save(path)
    return path


def get_module(text, target, chip=None, fuse=True, guards=False, pdl=None):
    """The steps of `text`, compiled for `target` on the first call. `pdl`: None is what
    ``NSA_PDL`` says.

    Raises ``CompileError`` if it neither compiles here nor is saved anywhere,
    ``DriverError`` if ``NSA_TARGET`` names another target, ``ValueError`` if it names none, or
    ``NSA_PDL`` neither 0 nor 1.
    """
    if target == "cpu" and _compile.simulates():
        target = "simt"
    # Before anything is compiled in vain; binding asks again.
    _nsa_runtime.check_target(target)
    if pdl is None:
        pdl = wants_pdl(target)
    key = (text, target, chip or default_chip(pdl), bool(fuse), bool(guards), pdl)
    module = _steps.get(key)
    if module is None:
        with _lock:
            module = _steps.get(key)
            if module is None:
                module = _steps[key] = _make(*key)
    return module


def get_step(name, text, target, chip=None, fuse=True, guards=False, pdl=None):
    """The step `name` of ``get_module``."""
    return get_module(text, target, chip, fuse, guards, pdl)[name]


def run_compiled(run):
    """``run()``, which may compile a step; whether there is a compiler that can."""
    if may_compile():
        try:
            run()
            return True
        except CompileError:
            # There may turn out to be none: LLVM is loaded when it is needed.
            if may_compile():
                raise
    return False


#: What a shared step served last.
_served_by_shared = set()


def has_shared():
    """Whether a shared step served anything last."""
    return bool(_served_by_shared)


def run_or_shared(key, run, shared):
    """``run()``, or ``shared()`` if the step of the one is missing and there is no compiler;
    what `key` returns remembers which one was there."""
    if run_compiled(run):
        return
    is_known = bool(_served_by_shared) and key() in _served_by_shared
    first, second = (shared, run) if is_known else (run, shared)
    try:
        first()
    except CompileError:
        # Of other dtypes the other one may be there.
        second()
        if second is shared:
            _served_by_shared.add(key())
        else:
            _served_by_shared.discard(key())


# ----------------------------------------------------------------------------
# On disk
# ----------------------------------------------------------------------------


def cache_directory():
    """Where compiled bundles are kept, or None."""
    directory = os.environ.get("NSA_CACHE_DIR")
    if directory is not None:
        return directory or None
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return os.path.join(home, "nsa") if os.path.isabs(home) else None


_fingerprint = None


def compiler_fingerprint():
    """What the compiler is, whose file is known before it is loaded."""
    global _fingerprint
    if _fingerprint is None:
        from . import __version__  # which is there by now

        status = os.stat(_compile.COMPILER_FILE)
        _fingerprint = {
            "nsa": __version__,
            "schema": _nsa_runtime.manifest_schema,
            "file": [status.st_size, status.st_mtime_ns],
            "machine": os.uname().machine,
        }
    return _fingerprint


def cache_key(text, target, chip, fuse, guards, pdl=False):
    """The name of a bundle's directory in the cache."""
    facts = {
        "bundle": bundle_key(text, chip, fuse, guards, pdl),
        "target": target,
        "compiler": compiler_fingerprint(),
    }
    content = json.dumps(facts, sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()


def _find(path, target):
    """The bundle in the cache, or None. What is broken is as good as missing: it is looked
    at before it is loaded, as the loader of libraries takes files at their word."""
    try:
        if not os.path.isdir(path):
            return None
        if not is_sealed(path):
            raise OSError("not what was written")
        module = load(path)
        if not _serves(module, target):
            raise OSError("its library cannot be loaded")
        return module
    except (OSError, ValueError) as error:
        logger.debug("%s: not used: %s", path, error)
        return None


def _keep(module, path, target):
    """Puts a module's bundle at `path`, whole, and returns whether it is there; says why
    it is not at most in the log."""
    parent = os.path.dirname(path)
    waste = []
    try:
        os.makedirs(parent, exist_ok=True)
        temporary = new_directory(parent)
        waste.append(temporary)
        module.save(temporary)
        seal(temporary)
        try:
            os.rename(temporary, path)
        except OSError:
            # Another process was first, or what is there is broken.
            if _find(path, target) is not None:
                return True
            broken = new_name(parent)
            os.rename(path, broken)
            waste.append(broken)
            os.rename(temporary, path)
        sync(parent)
        return True
    except (OSError, ValueError, RuntimeError) as error:
        # Read-only homes, full disks, no linker.
        logger.debug("%s: not kept: %s", path, error)
        return False
    finally:
        for each in waste:
            if os.path.isdir(each) and not os.path.islink(each):
                shutil.rmtree(each, ignore_errors=True)
            elif os.path.lexists(each):
                os.unlink(each)


def bundle_directories():
    """Where bundles are looked for, in order."""
    named = os.environ.get("NSA_BUNDLE_PATH", "").split(os.pathsep)
    return [directory for directory in (*named, SHIPPED) if directory]


@functools.cache
def _ships_own_bundles():
    """Whether the compiler that is here made the bundles that are shipped."""
    try:
        with open(os.path.join(SHIPPED, STAMP)) as stream:
            return json.load(stream) == compiler_fingerprint()
    except (OSError, ValueError):
        return False


def _serves(module, target):
    """Whether a bundle has kernels for `target` that can be loaded."""
    if target == "cpu":
        return all(step.runs_on_host for step in module.values())
    return all(step.ptx is not None for step in module.values())


def _is_for(module, target):
    """Whether a bundle is meant to have kernels for `target`. One that cannot be loaded says
    why when it is bound."""
    named = "host" if target == "cpu" else "ptx"
    return _serves(module, target) or all(
        json.loads(step.manifest).get(named) for step in module.values()
    )


def _prebuilt(key, target, directories):
    """The first bundle that was made ahead for `target`, or None."""
    for directory in directories:
        path = os.path.join(directory, key)
        if os.path.isdir(path) and _is_for(module := load(path), target):
            return module
    return None


def _shipped(key, target):
    """The same of those that the package ships, or None if it cannot be used."""
    try:
        module = _prebuilt(key, target, [SHIPPED])
        if module is not None and not _serves(module, target):
            raise OSError("its library cannot be loaded")
        return module
    except (OSError, ValueError) as error:
        logger.warning("%s: not used: %s", os.path.join(SHIPPED, key), error)
        return None


def _make(text, target, chip, fuse, guards, pdl):
    if target == "simt":
        from . import simt  # needs NumPy, which nothing else here does

        module = _make(text, "cuda", chip, fuse, guards, pdl)
        # What NSA_TARGET=simt loads is simulated already.
        steps = [step if step.simulates else simt.simulate(step) for step in module.values()]
        return Module(steps)
    key = bundle_key(text, chip, fuse, guards, pdl)
    if may_compile():
        if _ships_own_bundles() and (module := _shipped(key, target)):
            return module
        try:
            return _compile_or_find(text, target, chip, fuse, guards, pdl)
        except CompileError:
            if may_compile():
                raise
    directories = bundle_directories()
    module = _prebuilt(key, target, directories)
    if module is None:
        arrays = "CPU arrays" if target == "cpu" else "CUDA arrays"
        options = ", pdl=True" if pdl else ""
        raise CompileError(
            "a step is missing: this installation of nsa has no compiler, and there is no "
            f"bundle {key} with kernels for {arrays} in {', '.join(directories)}. Where there "
            f"is a compiler, 'python -m nsa.prebuild DIR' makes those of other constants, and "
            f"nsa.compile(text, '{target}'{options}).save('DIR/{key}') that of any text; "
            f"NSA_BUNDLE_PATH=DIR then finds it. Its text:\n{_shown(text)}"
        )
    return module


def _shown(text):
    return text if isinstance(text, str) else text.decode("utf-8", "surrogateescape")


def _compile_or_find(text, target, chip, fuse, guards, pdl):
    directory = cache_directory()
    if directory is None:
        return compile(text, target, chip, fuse, guards, pdl=pdl)
    path = os.path.join(directory, cache_key(text, target, chip, fuse, guards, pdl))
    module = _find(path, target)
    if module is None:
        if target == "cpu":
            # The library that is kept serves this process, too.
            made = host_module(text, fuse, guards)
            module = _find(path, target) if _keep(made, path, target) else None
        else:
            module = compile(text, target, chip, fuse, guards, pdl=pdl)
            _keep(module, path, target)
    return module or compile(text, target, chip, fuse, guards, pdl=pdl)
