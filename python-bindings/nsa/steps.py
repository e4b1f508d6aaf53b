# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The nsa texts behind ``nsa.ops``.

Each function here returns the text of one step, made to measure: it has the ports that
the asked fields need and no others. A text depends on its arguments alone, so it serves
as a key.
"""

import re

from . import _metadata, layouts
from ._errors import check_mode, constant, optional_constant, wrong
from ._prefill_steps import combine_indices, compressed_token_ids, swa_token_ids
from ._text import TABLE, VECTOR, Text, element

__all__ = [
    "DECODE_FIELDS",
    "FIELDS",
    "MODES",
    "combine_indices",
    "compressed_token_ids",
    "copy_metadata",
    "decode_replay",
    "dequant_paged",
    "expand_seqlens",
    "port",
    "port_names",
    "replay",
    "swa_token_ids",
]

MODES = ("decode", "target_verify", "draft_extend")

#: Field of a destination -> (value in the text, rank).
FIELDS = {
    "cache_seqlens": ("len", 1),
    "cu_seqlens_k": ("cu", 1),
    "seqlens_expanded": ("rows", 1),
    "nsa_cache_seqlens": ("clip", 1),
    "nsa_cu_seqlens_k": ("ccu", 1),
    "page_table_1": ("row_tab", 2),
    "real_page_table": ("real", 2),
    "paged_mqa_ctx_lens": ("ctx", 2),
}
#: The fields of a decode replay without the table of context lengths.
DECODE_FIELDS = {k: v for k, v in FIELDS.items() if k != "paged_mqa_ctx_lens"}

def port(backend, field):
    """The name of the port that `field` of the destination number `backend` goes to."""
    return f"b{backend}_{field}"


def port_names(text):
    """The names of the ports of a step."""
    return re.findall(r"(?:in|out) %(\w+)", text)


def copy_metadata(mode, source, destinations, name=None):
    """The text of a step that copies one metadata set to many.

    `mode`: decode, target_verify or draft_extend. `source`: the names of the source's
    fields; `destinations`: for each destination the names of its own, all of which the
    source has. Ports: sizes bs and max_len, or outside of decode bs, max_seqlen_k and
    seqlens_expanded_size; in ``src_<field>``, out ``b<i>_<field>``, for the fields that a
    destination has. Raises ``ValueError`` for what cannot be written down.
    """
    return _metadata.copy_text(mode, source, destinations, name or f"copy_{mode}")


class _Replay(Text):
    """The values of a metadata set, by forward mode; a method each."""

    def __init__(self, mode, lens, pool, topk, page_size, next_n, extend, live_only, padded):
        super().__init__()
        self.mode, self.topk, self.page_size = mode, topk, page_size
        self.next_n, self.extend = next_n, extend
        self.live_only, self.padded = live_only, padded
        self.lens_dtype, self.pool_dtype = lens, pool
        self.size("bs")

    def get(self, name):
        return self.value(name, getattr(self, name))

    def _seqlens(self, plus):
        source, type = self.array("seq_lens", self.lens_dtype)
        return f"nsa.seqlens {source} plus {plus} : {type} -> {VECTOR}"

    def len(self):
        return self._seqlens(self.next_n if self.mode == "target_verify" else 0)

    def base(self):
        return self._seqlens(0)

    def cu(self):
        return f"nsa.cu_seqlens {self.get('len')} : {VECTOR} -> {VECTOR}"

    def ctx(self):
        type = f"tensor<?x{self.next_n}xi32>"
        return f"nsa.context_lens {self.get('len')} columns {self.next_n} : {VECTOR} -> {type}"

    def expansion(self):
        by, type = f"{1 if self.mode == 'decode' else self.next_n}", ""
        ragged = False
        if self.mode == "draft_extend":
            ragged = not isinstance(self.extend, int)
            by = str(self.extend)
            if ragged:
                by, array_type = self.array("extend_seq_lens", self.extend)
                type = f" : {array_type}"
        if self.padded:
            by += f" padded to {self.size('row_bound')}"
        elif ragged:
            by += f" within {self.size('row_bound')}"
        return f"nsa.expansion by {by}{type}"

    @property
    def expands(self):
        return self.mode != "decode" or self.padded

    def rows(self):
        if not self.expands:
            return self.get("len")
        kind, source = {
            "decode": ("broadcast", "len"),
            "target_verify": ("following", "base"),
            "draft_extend": ("causal", "len"),
        }[self.mode]
        return (
            f"nsa.expand_seqlens {kind} {self.get(source)} over {self.get('expansion')}"
            f" : {VECTOR} -> {VECTOR}"
        )

    def clip(self):
        if self.topk is None:
            raise wrong(ValueError, "topk", "expected an integer for the nsa_ fields")
        return f"nsa.clip_seqlens {self.get('rows')} to {self.topk} : {VECTOR}"

    def ccu(self):
        return f"nsa.cu_seqlens {self.get('clip')} : {VECTOR} -> {VECTOR}"

    def tab(self):
        columns = self.size("max_len")
        pool, type = self.array("req_pool_indices", self.pool_dtype)
        table = self.port("req_to_token", f"in %req_to_token : {TABLE}")
        live = f" live {self.get('len')} : {VECTOR}" if self.live_only else ""
        return (
            f"nsa.page_table {table}[{pool}] columns {columns}{live}"
            f" : {TABLE}, {type} -> {TABLE}"
        )

    def row_tab(self):
        if not self.expands:
            return self.get("tab")
        return (
            f"nsa.expand_rows {self.get('tab')} over {self.get('expansion')}"
            f" : {TABLE} -> {TABLE}"
        )

    def real(self):
        if self.page_size is None:
            raise wrong(ValueError, "page_size", "expected an integer for real_page_table")
        return (
            f"nsa.real_page_table {self.get('row_tab')} page_size {self.page_size}"
            f" : {TABLE} -> {TABLE}"
        )


def replay(
    mode,
    fields,
    seq_lens_dtype="int64",
    req_pool_indices_dtype="int64",
    topk=None,
    page_size=None,
    next_n=1,
    extend=None,
    live_only=False,
    padded=False,
    name=None,
):
    """The text of a step that computes metadata and writes it to its destinations.

    `mode`: one of ``MODES``. `fields`: for each destination, the names of its fields (of
    ``FIELDS``). `topk` clips the ``nsa_`` fields; `page_size`, in tokens, divides
    real_page_table. `next_n`: rows of a request in target_verify. `extend`, in
    draft_extend: rows of a request, an integer for all or the dtype of a device array.
    `live_only`: columns past a request's length may keep what they hold. `padded`: rows
    up to the size row_bound are defined.

    Ports, each only if a field needs it: sizes bs, max_len and row_bound; in seq_lens,
    extend_seq_lens, req_pool_indices [bs] and req_to_token [any, any] (int32); out
    ``b<i>_<field>``. Raises ``ValueError`` for what cannot be written down.
    """
    check_mode(mode, MODES)
    topk = optional_constant("topk", topk, 0)
    page_size = optional_constant("page_size", page_size, 1)
    next_n = constant("next_n", next_n, 1)
    if extend is not None and not isinstance(extend, str):
        extend = constant("extend", extend, 0)
    for destination in fields:
        for field in destination:
            if field not in FIELDS:
                raise ValueError(f"field {field!r}: expected one of {', '.join(FIELDS)}")
            if field == "paged_mqa_ctx_lens" and mode == "draft_extend":
                raise ValueError(f"field {field!r}: draft_extend has none")
    # In the table's order, so that equal sets give equal texts.
    fields = [[f for f in FIELDS if f in destination] for destination in fields]
    if not any(fields):
        raise ValueError("fields: expected at least one field")

    text = _Replay(
        mode,
        seq_lens_dtype,
        req_pool_indices_dtype,
        topk,
        page_size,
        next_n,
        extend,
        live_only,
        padded,
    )
    for destination in fields:
        for field in destination:
            text.get(FIELDS[field][0])
    for backend, destination in enumerate(fields):
        for field in destination:
            value, rank = FIELDS[field]
            type = {1: VECTOR, 2: TABLE}[rank]
            if value == "ctx":
                type = f"tensor<?x{next_n}xi32>"
            text.copy(text.get(value), type, port(backend, field), rank)
    return text.step(name or f"{mode}_replay")


def decode_replay(
    fields,
    seq_lens_dtype="int64",
    req_pool_indices_dtype="int64",
    topk=None,
    page_size=None,
    name="decode_replay",
):
    """``replay`` for decode."""
    return replay(
        "decode", fields, seq_lens_dtype, req_pool_indices_dtype, topk, page_size, name=name
    )


def expand_seqlens(
    extend_dtype="int32", seq_lens_dtype="int32", topk=0, causal=True, total=False
):
    """The text of a step that gives each row of each request its length.

    Ports: sizes bs and row_bound; in extend_seq_lens and seq_lens [bs]; out
    out_seqlens_expanded and out_nsa_cache_seqlens [row_bound] and, if `total`,
    out_total [1].
    """
    topk = constant("topk", topk, 0)
    text = Text()
    text.size("bs")
    bound = text.size("row_bound")
    extend, extend_type = text.array("extend_seq_lens", extend_dtype)
    lens, lens_type = text.array("seq_lens", seq_lens_dtype)
    kind = "causal" if causal else "broadcast"
    text.body += [
        f"%len = nsa.seqlens {lens} plus 0 : {lens_type} -> {VECTOR}",
        f"%expansion = nsa.expansion by {extend} within {bound} : {extend_type}",
        f"%rows = nsa.expand_seqlens {kind} %len over %expansion : {VECTOR} -> {VECTOR}",
        f"%clip = nsa.clip_seqlens %rows to {topk} : {VECTOR}",
    ]
    text.copy("%rows", VECTOR, "out_seqlens_expanded", 1)
    text.copy("%clip", VECTOR, "out_nsa_cache_seqlens", 1)
    if total:
        text.body.append("%total = nsa.total_rows %expansion : tensor<1xi32>")
        text.copy("%total", "tensor<1xi32>", "out_total", 1)
    return text.step("expand_seqlens")


def dequant_paged(parts, name="dequant_paged"):
    """The text of a step that dequantises each of `parts` in one launch.

    `parts`: for each, (layout, page size, dtype of the ids). Ports of part i: size
    tokens<i>; in cache<i> [pages, bytes] (int8) and ids<i> [tokens<i>]; out out<i>
    [tokens<i> or more, columns of the layout or more] (bfloat16).
    """
    ports, body = [], []
    for i, (layout, page_size, dtype) in enumerate(parts):
        layout = layouts.parse(layout)
        page_size = constant("page_size", page_size, 1)
        cache, ids = "tensor<?x?xi8>", f"tensor<?x{element(f'ids{i}', dtype)}>"
        value = f"tensor<?x{layout.row}xbf16>"
        out = "memref<?x?xbf16, strided<[?, 1]>>"
        ports += [
            f"in %tokens{i} : index",
            f"in %cache{i} : {cache}",
            f"in %ids{i}[%tokens{i}] : {ids}",
            f"out %out{i} : {out}",
        ]
        body += [
            f"%kv{i} = nsa.dequant_paged %cache{i}[%ids{i}] layout {layout} "
            f"page_size {page_size} : {cache}, {ids} -> {value}",
            f"nsa.copy %kv{i} to %out{i} : {value} to {out}",
        ]
    if not body:
        raise ValueError("parts: expected at least one")
    head = ",\n    ".join(ports)
    return f"nsa.step @{name}(\n    {head}) {{\n  " + "\n  ".join(body) + "\n}\n"
