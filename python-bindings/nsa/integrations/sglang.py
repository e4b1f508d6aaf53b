# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Has an installed sglang run on nsa's operations.

    import nsa.integrations.sglang
    nsa.integrations.sglang.install()      # before the attention backends are made
    ...
    nsa.integrations.sglang.uninstall()

Every function of ``nsa.compat.sglang`` but ``get_mla_metadata``, whose newer form has no
lengths, takes the place of the one of its name, in the module that defines it and in every
module that has imported it, and each is logged (logger ``nsa``, level WARNING). Objects that
have put a function aside before keep it: SGLang's attention backends do when they are made.

SGLang calls some of these inside of ``try: ... except Exception``, prints, and goes on with
its own. So that nobody runs on a fallback without knowing, what goes wrong in ours is raised
as ``Failure``, which is no ``Exception``.
"""

from __future__ import annotations

import functools
import importlib
import logging
import sys
from collections.abc import Callable, Iterator
from importlib import metadata
from typing import Any

from ..compat import sglang as ours

__all__ = ["Failure", "VERSION", "install", "installed", "uninstall"]

#: The release whose functions ``nsa.compat.sglang`` has.
VERSION = "0.5.23"

logger = logging.getLogger("nsa")

_KERNELS = "sglang.kernels.ops.attention"
#: module -> its functions that are swapped.
_FUNCTIONS = {
    f"{_KERNELS}.dsa.metadata": (
        "fused_dsa_decode_metadata",
        "fused_dsa_target_verify_metadata",
        "fused_dsa_draft_extend_metadata",
    ),
    **{
        f"{_KERNELS}.dsa.kpool_metadata.{file}": (f"fused_dsa_{mode}_metadata_kpool",)
        for file, mode in (
            ("decode", "decode"), ("verify", "target_verify"), ("draft_extend", "draft_extend"),
        )
    },
    f"{_KERNELS}.dsa.fused_metadata_copy": (
        "fused_metadata_copy_cuda",
        "fused_metadata_copy_multi_cuda",
    ),
    f"{_KERNELS}.dsa.dequant_k_cache": ("dequantize_k_cache_paged_dsa",),
    f"{_KERNELS}.dsv4.dequant_k_cache": ("dequantize_k_cache_paged_dsv4",),
    f"{_KERNELS}.dsv4.attn": ("get_paged_mqa_logits_metadata",),
    f"{_KERNELS}.dsv4.topk": ("plan_topk_v2",),
    f"{_KERNELS}.dsv4.sparse_prefill_kernels": (
        "build_swa_token_ids",
        "combine_topk_swa_indices",
    ),
}

#: (module, name, theirs, ours), of all places.
_swapped: list[tuple[Any, str, Any, Any]] = []


class Failure(BaseException):
    """One of nsa's functions failed where SGLang called it; ``__cause__`` says why. No
    ``Exception``: SGLang would catch it and go on without."""


def _loud(name: str, theirs: Callable[..., Any], function: Callable[..., Any]) -> Any:
    """`function`, with failures that no handler of exceptions swallows."""

    @functools.wraps(theirs)
    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except Exception as error:
            raise Failure(f"nsa, in the place of sglang's {name}: {error}") from error

    return call


def _places(theirs: Any) -> Iterator[tuple[Any, str]]:
    """(module, name) of every module that has a function under a name."""
    modules = {id(module): module for module in list(sys.modules.values())}
    for module in modules.values():
        for name, value in list(getattr(module, "__dict__", {}).items()):
            if value is theirs:
                yield module, name


def installed() -> list[str]:
    """The places, as ``module.name``, that nsa's functions have now."""
    return [f"{module.__name__}.{name}" for module, name, _, _ in _swapped]


def install(any_version: bool = False) -> list[str]:
    """Swaps SGLang's functions for nsa's, and returns the places, as ``module.name``; all of
    them or, with an error, none. A second call changes what has been imported since.

    Raises ``ImportError`` if sglang is not installed or lacks a function, ``RuntimeError`` if it
    is not of the release ``VERSION`` and `any_version` does not say that it may be another.
    """
    try:
        version = metadata.version("sglang")
    except metadata.PackageNotFoundError:
        raise ImportError("sglang is not installed") from None
    if version != VERSION and not any_version:
        raise RuntimeError(
            f"nsa has the functions of sglang {VERSION}, and this is {version}: "
            "install(any_version=True) swaps them all the same"
        )
    known = {id(new): new for *_, new in _swapped}
    found = []
    for module_name, names in _FUNCTIONS.items():
        module = importlib.import_module(module_name)
        for name in names:
            theirs = getattr(module, name, None)
            if theirs is None:
                raise ImportError(f"sglang {version} has no {module_name}.{name}")
            if id(theirs) in known:
                theirs, new = theirs.__wrapped__, theirs
            else:
                new = _loud(name, theirs, getattr(ours, name))
            found += [(*place, theirs, new) for place in _places(theirs)]
    for module, name, theirs, new in found:
        setattr(module, name, new)
        logger.warning("sglang %s: %s.%s is nsa's now", version, module.__name__, name)
    _swapped.extend(found)
    return installed()


def uninstall() -> list[str]:
    """Puts SGLang's functions back wherever nsa's are, also where they were imported since, and
    returns those places."""
    restored = []
    for theirs, new in {id(new): (theirs, new) for *_, theirs, new in _swapped}.values():
        for module, name in list(_places(new)):
            setattr(module, name, theirs)
            restored.append(f"{module.__name__}.{name}")
            logger.warning("sglang: %s.%s is its own again", module.__name__, name)
    _swapped.clear()
    return restored
