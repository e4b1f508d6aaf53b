# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""SGLang's names for what nsa calls otherwise: fields, arguments, errors."""

import functools
import inspect
import re

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
_PORT = re.compile(r"\b(?:src|b(?P<number>\d+))_(?P<field>%s)\b" % "|".join(_THEIRS))


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


def translate(error, name):
    """The error in SGLang's names, and of SGLang's type where its callers look for it.

    `name`: from SGLang's name of a field and the number of a destination, or None for the
    source, to the name of the argument.
    """

    def rename(match):
        number = match["number"]
        return name(_THEIRS[match["field"]], None if number is None else int(number))

    text = _PORT.sub(rename, str(error))
    wrong = re.match(r"argument '(\w+)': expected dtype int32 but got (\w+)", text)
    if wrong:
        return RuntimeError(f"Tensor {wrong[1]} must have dtype int32, but got {wrong[2]}")
    return type(error)(text)
