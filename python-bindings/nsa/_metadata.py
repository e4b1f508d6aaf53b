# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Metadata sets: which fields they have."""

from ._errors import check_mode, wrong

MODES = ("decode", "target_verify", "draft_extend")

#: Field -> whether a set has it only if it is named, in the compiler's order.
FIELDS = {
    "cache_seqlens": False,
    "cu_seqlens_k": False,
    "seqlens_expanded": False,
    "nsa_cache_seqlens": False,
    "nsa_cu_seqlens_k": False,
    "page_table_1": False,
    "real_page_table": True,
    "flashmla_num_splits": True,
    "flashmla_metadata": True,
}


def fields_of(mode):
    """The fields that a set of `mode` can have. Raises ``ValueError`` for no mode."""
    check_mode(mode, MODES)
    return [f for f in FIELDS if mode != "decode" or f != "seqlens_expanded"]


def parse_fields(text):
    """The names of each set in ``a,b;c``."""
    return tuple(tuple(filter(None, names.split(","))) for names in text.split(";"))


def sizes_of(mode):
    """The size arguments of a copy."""
    if mode == "decode":
        return ("bs", "max_len")
    return ("bs", "max_seqlen_k", "seqlens_expanded_size")


def set_type(name, mode, fields):
    """The text of a set's type."""
    default = [f for f in fields_of(mode) if not FIELDS[f]]
    listed = [f for f in FIELDS if f in fields]
    only = ""
    if all(f in listed for f in default):
        listed = [f for f in listed if FIELDS[f]]
    else:
        only = "only "
    rest = f", {only}[{', '.join(listed)}]" if listed or only else ""
    return f"!nsa.{name}<{mode}{rest}>"


def check_fields(mode, source, destinations):
    """Refuses fields that a set of `mode` has not, or that the source has not."""
    known = fields_of(mode)
    for what, fields in [("src", source)] + [
        (f"dsts[{n}]", fields) for n, fields in enumerate(destinations)
    ]:
        for field in fields:
            if field not in known:
                expected = ", ".join(known)
                raise wrong(
                    ValueError, what, f"expected fields of {mode} ({expected}) but got {field!r}"
                )
    for number, fields in enumerate(destinations):
        for field in fields:
            if field not in source:
                raise wrong(
                    ValueError,
                    "src",
                    f"expected field {field!r}, which dsts[{number}] has, but it is missing",
                )
    if not destinations or not all(destinations):
        raise wrong(
            ValueError, "dsts", "expected at least one field in each of one or more"
        )
