# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The nsa texts behind ``nsa.ops``.

Each function here returns the text of one step, made to measure: it has the ports that
the asked fields need and no others. A text depends on its arguments alone, so it serves
as a key.
"""

from . import layouts

__all__ = ["DECODE_FIELDS", "decode_replay", "dequant_paged", "port"]

#: Field of a decode destination -> (value in the text, rank).
DECODE_FIELDS = {
    "cache_seqlens": ("len", 1),
    "cu_seqlens_k": ("cu", 1),
    # Decode has one row per request.
    "seqlens_expanded": ("len", 1),
    "nsa_cache_seqlens": ("clip", 1),
    "nsa_cu_seqlens_k": ("ccu", 1),
    "page_table_1": ("tab", 2),
    "real_page_table": ("real", 2),
}

_VECTOR = "tensor<?xi32>"
_TABLE = "tensor<?x?xi32>"
_DESTINATION = {1: "memref<?xi32, strided<[?]>>", 2: "memref<?x?xi32, strided<[?, 1]>>"}
_VALUE = {1: _VECTOR, 2: _TABLE}
_ELEMENT = {"int32": "i32", "int64": "i64"}
# What each value is computed from.
_NEEDS = {"cu": ["len"], "clip": ["len"], "ccu": ["clip"], "real": ["tab"]}


def port(backend, field):
    """The name of the port that `field` of the destination number `backend` goes to."""
    return f"b{backend}_{field}"


def decode_replay(
    fields,
    seq_lens_dtype="int64",
    req_pool_indices_dtype="int64",
    topk=None,
    page_size=None,
    name="decode_replay",
):
    """The text of a decode step that writes `fields` to each of its destinations.

    `fields`: for each destination, the names of its fields (of ``DECODE_FIELDS``).
    `topk` clips the ``nsa_`` fields; `page_size`, in tokens, divides real_page_table.
    Ports: sizes bs and max_len; in seq_lens [bs], req_pool_indices [bs] and
    req_to_token [any, any] (int32); out ``b<i>_<field>``. A port that no field needs is
    left out. Raises ``ValueError`` for what cannot be written down.
    """
    for destination in fields:
        for field in destination:
            if field not in DECODE_FIELDS:
                known = ", ".join(DECODE_FIELDS)
                raise ValueError(f"field {field!r}: expected one of {known}")
    # In the table's order, so that equal sets give equal texts.
    fields = [[f for f in DECODE_FIELDS if f in destination] for destination in fields]
    values = set()
    todo = [DECODE_FIELDS[field][0] for destination in fields for field in destination]
    while todo:
        value = todo.pop()
        values.add(value)
        todo += _NEEDS.get(value, [])
    if not values:
        raise ValueError("fields: expected at least one field")
    if "clip" in values and topk is None:
        raise ValueError("argument 'topk': expected an integer for the nsa_ fields")
    if "real" in values and page_size is None:
        raise ValueError("argument 'page_size': expected an integer for real_page_table")

    lens = f"tensor<?x{_element('seq_lens', seq_lens_dtype)}>"
    pool = f"tensor<?x{_element('req_pool_indices', req_pool_indices_dtype)}>"
    ports, body = ["in %bs : index"], []
    if "tab" in values:
        ports.append("in %max_len : index")
    if "len" in values:
        ports.append(f"in %seq_lens[%bs] : {lens}")
        body.append(f"%len = nsa.seqlens %seq_lens plus 0 : {lens} -> {_VECTOR}")
    if "cu" in values:
        body.append(f"%cu = nsa.cu_seqlens %len : {_VECTOR} -> {_VECTOR}")
    if "clip" in values:
        body.append(f"%clip = nsa.clip_seqlens %len to {int(topk)} : {_VECTOR}")
    if "ccu" in values:
        body.append(f"%ccu = nsa.cu_seqlens %clip : {_VECTOR} -> {_VECTOR}")
    if "tab" in values:
        ports.append(f"in %req_pool_indices[%bs] : {pool}")
        ports.append(f"in %req_to_token : {_TABLE}")
        body.append(
            "%tab = nsa.page_table %req_to_token[%req_pool_indices] columns %max_len "
            f": {_TABLE}, {pool} -> {_TABLE}"
        )
    if "real" in values:
        body.append(
            f"%real = nsa.real_page_table %tab page_size {int(page_size)}"
            f" : {_TABLE} -> {_TABLE}"
        )
    for backend, destination in enumerate(fields):
        for field in destination:
            value, rank = DECODE_FIELDS[field]
            ports.append(f"out %{port(backend, field)} : {_DESTINATION[rank]}")
            body.append(
                f"nsa.copy %{value} to %{port(backend, field)} "
                f": {_VALUE[rank]} to {_DESTINATION[rank]}"
            )
    head = ",\n    ".join(ports)
    return f"nsa.step @{name}(\n    {head}) {{\n  " + "\n  ".join(body) + "\n}\n"


def dequant_paged(parts, name="dequant_paged"):
    """The text of a step that dequantises each of `parts` in one launch.

    `parts`: for each, (layout, page size, dtype of the ids). Ports of part i: size
    tokens<i>; in cache<i> [pages, bytes] (int8) and ids<i> [tokens<i>]; out out<i>
    [tokens<i> or more, columns of the layout or more] (bfloat16).
    """
    ports, body = [], []
    for i, (layout, page_size, dtype) in enumerate(parts):
        layout = layouts.parse(layout)
        cache, ids = "tensor<?x?xi8>", f"tensor<?x{_element(f'ids{i}', dtype)}>"
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
            f"page_size {int(page_size)} : {cache}, {ids} -> {value}",
            f"nsa.copy %kv{i} to %out{i} : {value} to {out}",
        ]
    if not body:
        raise ValueError("parts: expected at least one")
    head = ",\n    ".join(ports)
    return f"nsa.step @{name}(\n    {head}) {{\n  " + "\n  ".join(body) + "\n}\n"


def _element(argument, dtype):
    try:
        return _ELEMENT[dtype]
    except KeyError:
        raise TypeError(
            f"argument {argument!r}: expected dtype int32 or int64 but got {dtype}"
        ) from None
