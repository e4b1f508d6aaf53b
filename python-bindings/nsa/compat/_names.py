# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""SGLang's names for what nsa calls otherwise: fields, arguments, errors."""

import functools
import inspect
import re

from .._arguments import describe
from .._errors import renamed

#: SGLang's name of a field -> ours, in the order of its arguments.
FIELDS = {
    "cache_seqlens": "cache_seqlens",
    "cu_seqlens_k": "cu_seqlens_k",
    "page_table_1": "page_table_1",
    "dsa_cache_seqlens": "nsa_cache_seqlens",
    "seqlens_expanded": "seqlens_expanded",
    "dsa_cu_seqlens_k": "nsa_cu_seqlens_k",
    "real_page_table": "real_page_table",
    "flashmla_num_splits": "flashmla_num_splits",
    "flashmla_metadata": "flashmla_metadata",
}
#: Older names of arguments, beside those that began with nsa_.
_RENAMED = {"real_page_size": "physical_page_size"}
_THEIRS = {ours: theirs for theirs, ours in FIELDS.items()}
_THEIRS["paged_mqa_ctx_lens"] = "paged_mqa_ctx_lens_2d"
def current_name(name, known):
    """What an argument of an older release is called in the pinned one."""
    if name in known:
        return name
    renamed = _RENAMED.get(name, re.sub("^nsa_", "dsa_", name))
    return renamed if renamed in known else name


def accepts_older_names(function):
    """Lets callers name arguments as older releases did."""
    known = frozenset(inspect.signature(function).parameters)

    @functools.wraps(function)
    def call(*args, **kwargs):
        if not known.issuperset(kwargs):
            kwargs = {current_name(name, known): value for name, value in kwargs.items()}
        return function(*args, **kwargs)

    return call


def their_name(field):
    """SGLang's name of a field."""
    return _THEIRS[field]


def translate(error, names, arrays):
    """The error in SGLang's names, and of SGLang's type where its callers look for it.

    `names`: the name of an argument here -> its name there. `arrays`: the name of an
    argument here -> its array, for those that have to be int32.
    """
    made = renamed(error, names)
    array = arrays.get(getattr(error, "argument", None))
    if array is None or not isinstance(error, TypeError):
        return made
    try:
        dtype, _, _ = describe(made.argument, array)
    except (TypeError, ValueError):
        return made
    if dtype == "int32":
        return made
    text = f"Tensor {made.argument} must have dtype int32, but got {dtype}"
    wrong_dtype = RuntimeError(text)
    wrong_dtype.argument = made.argument
    return wrong_dtype
