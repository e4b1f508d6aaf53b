# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The nsa texts of sparse prefill, behind ``nsa.ops`` as ``nsa.steps`` has them."""

from ._errors import INT32_MAX, constant, wrong
from ._text import TABLE, VECTOR, Text, element

#: The table of ratio 128 has ids: pages of one token.
_NO_PAGES = 1
_RATIO_OF_IDS = 128
_RATIOS = (4, _RATIO_OF_IDS)
#: Rows of indices are windows rounded up to 128.
MOST_WINDOW = INT32_MAX // 128 * 128


def compress_ratio(argument, value):
    """The tokens of a compressed one, of which there are two kinds."""
    ratio = constant(argument, value, 1)
    if ratio not in _RATIOS:
        raise wrong(ValueError, argument, f"expected 4 or 128 but got {ratio}")
    return ratio


def swa_token_ids(
    window,
    seq_lens_dtype="int32",
    extend_dtype="int32",
    req_pool_indices_dtype="int32",
    full_to_swa_dtype="int64",
    outputs=("out_ids", "out_first", "out_lens", "out_offsets"),
):
    """The text of a step that lists the cached tokens that a chunk's windows span.

    `window`: tokens. `outputs`: which of the four are wanted. Ports: sizes bs and
    id_bound; in seq_lens, extend_seq_lens, req_pool_indices [bs], req_to_token [any, any]
    (int32) and full_to_swa [any]; out out_ids [id_bound], out_first and out_lens [bs],
    out_offsets [bs + 1].
    """
    window = constant("window", window, 1)
    text = Text()
    text.size("bs")

    def lengths(name, dtype):
        source, type = text.array(name, dtype)
        return f"nsa.seqlens {source} plus 0 : {type} -> {VECTOR}"

    def windows(op):
        length = text.value("length", lambda: lengths("seq_lens", seq_lens_dtype))
        extend = text.value("extend", lambda: lengths("extend_seq_lens", extend_dtype))
        return f"nsa.{op} {length}, {extend} window {window} : {VECTOR}, {VECTOR}"

    def ids():
        bound = text.size("id_bound")
        pool, pool_type = text.array("req_pool_indices", req_pool_indices_dtype)
        table = text.port("req_to_token", f"in %req_to_token : {TABLE}")
        swa_type = f"tensor<?x{element('full_to_swa', full_to_swa_dtype)}>"
        swa = text.port("full_to_swa", f"in %full_to_swa : {swa_type}")
        gathers, first = get("out_lens"), get("out_first")
        text.body += [
            f"%windows = nsa.expansion by {gathers} within {bound} : {VECTOR}",
            f"%tokens = nsa.token_ranges {table}[{pool}] from {first} over %windows"
            f" : {TABLE}, {pool_type}, {VECTOR} -> {VECTOR}",
        ]
        return f"nsa.lookup {swa}[%tokens] : {swa_type}, {VECTOR}"

    makers = {
        "out_ids": ("ids", ids),
        "out_first": ("first", lambda: windows("window_starts")),
        "out_lens": ("gathers", lambda: windows("window_lens")),
        "out_offsets": (
            "offsets",
            lambda: f"nsa.cu_seqlens {get('out_lens')} : {VECTOR} -> {VECTOR}",
        ),
    }

    def get(output):
        name, make = makers[output]
        return text.value(name, make)

    for output in makers:
        if output in outputs:
            text.copy(get(output), VECTOR, output, 1)
    return text.step("swa_token_ids")


def compressed_token_ids(ratio, page_size=64):
    """The text of a step that lists the compressed tokens of each request.

    `ratio`: 4, whose table has pages of `page_size` compressed tokens and is read in each
    request's first row, or 128, whose table has ids and is read in its last row. Ports:
    sizes bs and columns; in table [any, any] and query_start_loc [bs + 1] (int32); out
    out_ids [bs, columns].
    """
    ratio = compress_ratio("ratio", ratio)
    page_size = constant("page_size", page_size, 1)
    text = Text()
    text.size("bs")
    columns = text.size("columns")
    table = text.port("table", f"in %table : {TABLE}")
    queries = text.port("query_start_loc", f"in %query_start_loc[%bs + 1] : {VECTOR}")
    end = "last" if ratio == _RATIO_OF_IDS else "first"
    page = _NO_PAGES if ratio == _RATIO_OF_IDS else page_size
    text.body += [
        f"%rows = nsa.query_rows {end} {queries} : {VECTOR} -> {VECTOR}",
        f"%ids = nsa.compressed_ids {table}[%rows] columns {columns} page_size {page}"
        f" : {TABLE}, {VECTOR} -> {TABLE}",
    ]
    text.copy("%ids", TABLE, "out_ids", 2)
    return text.step("compressed_token_ids")


def combine_indices(
    window,
    ratio,
    seq_lens_dtype="int32",
    indexed=True,
    windows_only=False,
    positioned=False,
):
    """The text of a step that says which rows of the workspace each query attends to.

    `window`: tokens; `ratio`: tokens in a compressed one. `indexed`: the compressed rows
    are those of topk_indices, else the first ones; `windows_only`: there are none;
    `positioned`: the queries' positions are given. Ports: sizes bs, queries and topk; in
    topk_indices [queries, topk], query_start_loc [bs + 1], query_pos [queries], seq_lens,
    gather_lens, compressed_base and swa_base [bs]; out out_indices [queries, width] and
    out_lens [queries], where width is topk + window rounded up to 128.
    """
    window = constant("window", window, 1, MOST_WINDOW)
    ratio = constant("ratio", ratio, 1)
    text = Text()
    text.size("bs")
    queries = text.size("queries")
    topk = "0" if windows_only else text.size("topk")
    of = ""
    if indexed and not windows_only:
        of = f" of {text.port('topk_indices', f'in %topk_indices : {TABLE}')} : {TABLE}"
    at = text.port("query_start_loc", f"in %query_start_loc[%bs + 1] : {VECTOR}")
    if positioned:
        at += f" positions {text.array('query_pos', 'int32', 'queries')[0]} : {VECTOR}"
    lens, type = text.array("seq_lens", seq_lens_dtype)
    gathers, compressed, swa = (
        text.array(name, "int32")[0]
        for name in ("gather_lens", "compressed_base", "swa_base")
    )
    width = -(-window // 128) * 128 if windows_only else "?"
    result = f"tensor<?x{width}xi32>"
    text.body += [
        f"%length = nsa.seqlens {lens} plus 0 : {type} -> {VECTOR}",
        f"%indices = nsa.combine_indices topk {topk}{of} queries {queries} at {at}"
        f" lengths %length gathers {gathers} bases {compressed}, {swa}"
        f" ratio {ratio} window {window}"
        f" : {VECTOR}, {VECTOR}, {VECTOR}, {VECTOR}, {VECTOR} -> {result}",
        f"%lens = nsa.combine_lens topk {topk} queries {queries} at {at}"
        f" lengths %length ratio {ratio} window {window}"
        f" : {VECTOR}, {VECTOR} -> {VECTOR}",
    ]
    text.copy("%indices", result, "out_indices", 2)
    text.copy("%lens", VECTOR, "out_lens", 1)
    return text.step("combine_indices")
