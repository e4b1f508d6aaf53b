# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The nsa texts of sparse prefill, behind ``nsa.ops`` as ``nsa.steps`` has them."""

from functools import cached_property

from ._errors import INT32_MAX, constant, index_dtype, wrong
from .build import Builder

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


class _Windows:
    """The values of ``swa_token_ids``; each is written when it is first asked for, after
    what it needs, and so are the ports."""

    def __init__(self, window, dtypes):
        self.step = Builder("swa_token_ids", sort_ports=True)
        self.window, self.dtypes = window, dtypes
        self.bs = self.step.size("bs")

    def array(self, name, shape):
        return self.step.input(name, index_dtype(name, self.dtypes[name]), shape)

    @cached_property
    def length(self):
        return self.step.seqlens(self.array("seq_lens", (self.bs,)), name="length")

    @cached_property
    def extend(self):
        return self.step.seqlens(self.array("extend_seq_lens", (self.bs,)), name="extend")

    @cached_property
    def first(self):
        return self.step.window_starts(self.length, self.extend, self.window, name="first")

    @cached_property
    def gathers(self):
        return self.step.window_lens(self.length, self.extend, self.window, name="gathers")

    @cached_property
    def offsets(self):
        return self.step.cu_seqlens(self.gathers, name="offsets")

    @cached_property
    def ids(self):
        bound = self.step.size("id_bound")
        pool = self.array("req_pool_indices", (self.bs,))
        table = self.step.input("req_to_token", "int32", (None, None))
        full_to_swa = self.array("full_to_swa", (None,))
        gathers, first = self.gathers, self.first
        windows = self.step.expansion(gathers, bound, name="windows")
        tokens = self.step.token_ranges(table, pool, first, windows, name="tokens")
        return self.step.lookup(full_to_swa, tokens, name="ids")


#: Output -> value.
_OUTPUTS = {
    "out_ids": "ids",
    "out_first": "first",
    "out_lens": "gathers",
    "out_offsets": "offsets",
}


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
    dtypes = {
        "seq_lens": seq_lens_dtype,
        "extend_seq_lens": extend_dtype,
        "req_pool_indices": req_pool_indices_dtype,
        "full_to_swa": full_to_swa_dtype,
    }
    values = _Windows(window, dtypes)
    for output, value in _OUTPUTS.items():
        if output in outputs:
            values.step.output(output, getattr(values, value))
    return values.step.text


def compressed_token_ids(ratio, page_size=64):
    """The text of a step that lists the compressed tokens of each request.

    `ratio`: 4, whose table has pages of `page_size` compressed tokens and is read in each
    request's first row, or 128, whose table has ids and is read in its last row. Ports:
    sizes bs and columns; in table [any, any] and query_start_loc [bs + 1] (int32); out
    out_ids [bs, columns].
    """
    ratio = compress_ratio("ratio", ratio)
    page_size = constant("page_size", page_size, 1)
    step = Builder("compressed_token_ids")
    bs, columns = step.size("bs"), step.size("columns")
    table = step.input("table", "int32", (None, None))
    queries = step.input("query_start_loc", "int32", (bs + 1,))
    end = "last" if ratio == _RATIO_OF_IDS else "first"
    page = _NO_PAGES if ratio == _RATIO_OF_IDS else page_size
    rows = step.query_rows(end, queries, name="rows")
    step.output("out_ids", step.compressed_ids(table, rows, columns, page, name="ids"))
    return step.text


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
    step = Builder("combine_indices")
    bs, queries = step.size("bs"), step.size("queries")
    topk = 0 if windows_only else step.size("topk")
    topk_indices = positions = None
    if indexed and not windows_only:
        topk_indices = step.input("topk_indices", "int32", (None, None))
    at = step.input("query_start_loc", "int32", (bs + 1,))
    if positioned:
        positions = step.input("query_pos", "int32", (queries,))
    lens = step.input("seq_lens", index_dtype("seq_lens", seq_lens_dtype), (bs,))
    gathers, compressed, swa = (
        step.input(name, "int32", (bs,))
        for name in ("gather_lens", "compressed_base", "swa_base")
    )
    length = step.seqlens(lens, name="length")
    constants = {"ratio": ratio, "window": window, "positions": positions}
    indices = step.combine_indices(
        topk,
        queries,
        at,
        length,
        gathers,
        compressed,
        swa,
        topk_indices=topk_indices,
        **constants,
        name="indices",
    )
    counts = step.combine_lens(topk, queries, at, length, **constants, name="lens")
    step.output("out_indices", indices)
    step.output("out_lens", counts)
    return step.text
