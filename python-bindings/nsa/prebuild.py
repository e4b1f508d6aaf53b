# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Compiles the usual steps ahead, for installations without the compiler.

    python -m nsa.prebuild DIR [--topk N ...] [--page-size N ...] [--next-n N ...]
                           [--vllm-block-sizes N N N N]

Each step serves every batch size and every length, so the list is short: it grows with
constants, dtypes and optional arrays alone. Bundles hold PTX, and kernels for this
machine's processor. What the package ships, in its folder
``bundles``, is what this makes with no options; with other constants, put DIR into
``NSA_BUNDLE_PATH``.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import product

from . import (
    _cache,
    _dsa_prefill,
    _flashmla,
    _kpool_replay,
    _paged_mqa,
    _prefill_v4,
    _topk_plan,
    _v4,
    _v4_shared,
    steps,
)
from ._metadata import FIELDS
from .vllm import _usual

__all__ = [
    "CACHES",
    "ID_DTYPES",
    "LENGTH_DTYPES",
    "NEXT_NS",
    "PAGE_SIZES",
    "TOPKS",
    "WINDOWS",
    "build",
    "texts",
]

# ----------------------------------------------------------------------------
# What is usual
# ----------------------------------------------------------------------------

#: Tokens that the indexer of DeepSeek V3.2 selects.
TOPKS = (2048,)
#: Tokens in a page of real_page_table; 1: there is none.
PAGE_SIZES = (64, 1)
#: Rows of a request in target_verify, and in draft_extend where all have as many.
NEXT_NS = (1, 2, 3, 4)
#: Dtypes of seq_lens. req_pool_indices is int64 and extend_seq_lens int32.
LENGTH_DTYPES = ("int64", "int32")
#: Layouts of quantised caches with the tokens in a page: a V3.2 cache is read row by row;
#: the pages of a V4 cache have 256 tokens, or 64 and 2 compressed ones, its windows' 128.
CACHES = (
    ("v32", 1),
    *product(("v4", "v41"), (2, 64, 128, 256)),
)
ID_DTYPES = ("int32", "int64")
#: Tokens in a window of DeepSeek V4. extend_seq_lens is int32 and full_to_swa int64.
WINDOWS = (128,)
#: Tokens in a page of real_page_table, and of how many there is a key of the indexer, in steps
#: of any fields; and rows of a request.
DSA_PAGES = ((64, 1), (256, 1), (64, 4))
DSA_NEXT_NS = (1, 2, 3, 4, 5, 6, 7, 8)
#: Tokens in a page of DeepSeek V4 and V4.1, in the step of a chunk's layers; rows of a request,
#: and how many draft steps a launch is for.
V4_PAGE_SIZES = (64, 256)
V4_NEXT_NS = (1, 2, 3, 4, 5, 6, 7, 8)
V4_STEPS = (1, 2, 3, 4)
#: Compressed tokens in a page of V4's ratio 4.
COMPRESSED_PAGE_SIZE = 64

_VECTORS = {"cache_seqlens", "cu_seqlens_k", "nsa_cache_seqlens", "nsa_cu_seqlens_k"}
_FLASHMLA = {"flashmla_num_splits", "flashmla_metadata"}


def _tables(page_size):
    """The page tables that a backend may have; that of single tokens is its only one, or it
    may do without."""
    if page_size == 1:
        return [{"page_table_1"}]
    return [{"real_page_table"}, {"real_page_table", "page_table_1"}]


def replays(
    topks: Sequence[int], page_sizes: Sequence[int], next_ns: Sequence[int]
) -> Iterator[str]:
    """A metadata set computed for one backend, as ``nsa.compat.sglang`` does."""

    def replay(mode, fields, next_n=1, extend=None):
        return steps.replay(
            mode, [fields], lens, "int64", topk, page_size, next_n, extend, live_only=True
        )

    for topk, page_size, lens in product(topks, page_sizes, LENGTH_DTYPES):
        for tables in _tables(page_size):
            yield replay("decode", _VECTORS | tables)
            rows = _VECTORS | tables | {"seqlens_expanded"}
            for next_n in next_ns:
                yield replay("target_verify", rows, next_n)
                yield replay("target_verify", rows | {"paged_mqa_ctx_lens"}, next_n)
            for extend in ("int32", *next_ns):
                yield replay("draft_extend", rows, extend=extend)


def copies() -> Iterator[str]:
    """Precomputed metadata to one backend, and of decode to three."""
    optional = (set(), {"real_page_table"}, _FLASHMLA, {"real_page_table"} | _FLASHMLA)
    for mode, more in product(steps.MODES, optional):
        fields = _VECTORS | {"page_table_1"} | more
        if mode != "decode":
            fields |= {"seqlens_expanded"}
        # SGLang's order of arguments is the order of the fields.
        ordered = [field for field in FIELDS if field in fields]
        yield steps.copy_metadata(mode, ordered, [ordered])
        if mode == "decode":
            yield steps.copy_metadata(mode, ordered, [ordered] * 3)


def expansions(topks: Sequence[int]) -> Iterator[str]:
    """Lengths of rows alone, with their number."""
    for topk, lens in product(topks, LENGTH_DTYPES):
        yield steps.expand_seqlens("int32", lens, topk, total=True)


def dequantisations() -> Iterator[str]:
    """Rows of a cache."""
    for (layout, page_size), dtype in product(CACHES, ID_DTYPES):
        yield steps.dequant_paged([(layout, page_size, dtype)])


def prefills() -> Iterator[str]:
    """The helpers of sparse prefill: ids, and indices of queries that attend to selected
    rows, to the first ones or to windows alone."""
    yield steps.compressed_token_ids(4, COMPRESSED_PAGE_SIZE)
    yield steps.compressed_token_ids(128)
    for window, lens in product(WINDOWS, LENGTH_DTYPES):
        for pool in ID_DTYPES:
            yield steps.swa_token_ids(window, lens, "int32", pool, "int64")
        for positioned in (False, True):
            for ratio, indexed in ((4, True), (128, True), (128, False)):
                yield steps.combine_indices(
                    window, ratio, lens, indexed, positioned=positioned
                )
            yield steps.combine_indices(
                window, 1, lens, windows_only=True, positioned=positioned
            )


def schedules(topks: Sequence[int], next_ns: Sequence[int]) -> Iterator[str]:
    """Schedules of attention kernels, for any number of multiprocessors; lengths are int32,
    as consumers read them."""
    for convention, how in _paged_mqa.CONVENTIONS.items():
        # Of the others nobody has more.
        for next_n in next_ns if how.items == "runs" or how.halves else (1,):
            yield _paged_mqa.text(_paged_mqa.options_of(convention, next_n=next_n), "int32")
        single = _paged_mqa.options_of(convention)
        yield _paged_mqa.text(single, "int32", many=True)
    jit = _paged_mqa.options_of("jit")
    for many in (False, True):
        yield _paged_mqa.text(jit, "int32", rank=1, many=many)
    for arch in _topk_plan.CANDIDATES:
        yield _topk_plan.text(_topk_plan.options_of(arch))
    for layout in ("new", "fp8"):
        yield _flashmla.text(_flashmla.options_of(layout=layout))
    for topk in topks:
        yield _flashmla.text(_flashmla.options_of(topk))
    for extra in (None, "lengths"):
        yield _flashmla.text(_flashmla.options_of(sparse=True, extra=extra))


def dsa_steps() -> Iterator[str]:
    """Steps of DSA for any fields of one destination and any top-k, with a key of the indexer
    for each token or for a pool of them. Lengths and pool indices are int64, extend_seq_lens
    int32."""
    lengths = {"seq_lens": "int64", "req_pool_indices": "int64", "extend_seq_lens": "int32"}

    def replay(mode, rows=1, ragged=False):
        options = _kpool_replay.Options(mode, rows, ragged, True, None, page_size, pool)
        return _kpool_replay.write_shared(options, lengths).s.text

    for page_size, pool in DSA_PAGES:
        yield _dsa_prefill.write_shared(page_size, pool, lengths).s.text
        yield replay("decode")
        for rows in DSA_NEXT_NS:
            yield replay("target_verify", rows)
            yield replay("draft_extend", rows)
        yield replay("draft_extend", ragged=True)


def v4_steps(next_ns: Sequence[int] = V4_NEXT_NS) -> Iterator[str]:
    """Steps of V4, V4.1 and their draft models for any of their fields, any top-k and pages of
    any power of two. Lengths, pool indices, locations and full_to_swa are int64."""
    lengths = {
        name: "int64"
        for name in ("seq_lens", "req_pool_indices", "full_to_swa", "out_cache_loc")
    } | {"req_to_token": "int32", "extend_seq_lens": "int32"}

    def step(mode, wanted, next_n=1, ragged=False, count=1):
        options = _v4_shared.of_any_constants(
            _v4.Options(mode, next_n, ragged, False, None, None, WINDOWS[0], 64, steps=count)
        )
        fields = _v4_shared.all_fields(options, [[wanted]] * count)
        return _v4.write(options, (fields,) * count, lengths, optional=True)[0]

    for wanted in ("c4_out_loc", "c1_out_loc"):
        yield step("decode", wanted)
        yield step("extend", wanted, ragged=True)
        yield step("target_verify", wanted, ragged=True)
        for next_n in next_ns:
            yield step("target_verify", wanted, next_n)
    core = "page_table"
    for next_n in next_ns:
        yield step("draft_extend", core, next_n)
    for count in V4_STEPS:
        yield step("decode", core, count=count)


def chunk_steps() -> Iterator[str]:
    """What the layers of a prefill of V4 and V4.1 have in common, any of it, with positions, and
    for V4.1 with windows that requests keep. Lengths are int32, indices int64."""
    lengths = dict.fromkeys(("seq_lens", "extend_seq_lens"), "int32")
    lengths |= dict.fromkeys(("req_pool_indices", "full_to_swa"), "int64")
    v4, v41 = _prefill_v4.MODELS
    models = ((v4, False), (v41, False), (v41, True))
    for (ratios, has_windows), page_size in product(models, V4_PAGE_SIZES):
        options = _prefill_v4.Options(page_size, WINDOWS[0], True, has_windows)
        fields = _prefill_v4.all_fields(ratios, has_windows)
        yield _prefill_v4.Chunk(options, lengths).write(fields, optional=True).s.text


def texts(
    topks: Sequence[int] = TOPKS,
    page_sizes: Sequence[int] = PAGE_SIZES,
    next_ns: Sequence[int] = NEXT_NS,
    vllm_block_sizes: Sequence[int] = _usual.BLOCK_SIZES,
) -> list[str]:
    """The texts of the usual steps, each once, for these constants."""
    every = [
        *replays(topks, page_sizes, next_ns),
        *copies(),
        *expansions(topks),
        *dequantisations(),
        *prefills(),
        *schedules(topks, next_ns),
        *dsa_steps(),
        *v4_steps(),
        *chunk_steps(),
        *_usual.texts(tuple(vllm_block_sizes)),
    ]
    return list(dict.fromkeys(every))


# ----------------------------------------------------------------------------
# Building
# ----------------------------------------------------------------------------


def build(
    directory: str, wanted: Sequence[str], host: bool = True, *, pdl: bool = False
) -> None:
    """Makes the bundles of the texts `wanted` in `directory`, and notes there which compiler
    it was. `host`: with host kernels. `pdl`: those that ``NSA_PDL=1`` finds, PTX for
    ``sm_90`` alone. Raises ``CompileError`` without a compiler,
    ``RuntimeError`` without a linker where `host` asks for one, ``OSError`` where nothing can
    be written."""
    os.makedirs(directory, exist_ok=True)
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        saved = [
            threads.submit(_cache.save_bundle, text, directory, host=host, pdl=pdl)
            for text in wanted
        ]
        for each in saved:
            each.result()
    with open(os.path.join(directory, _cache.STAMP), "w", encoding="utf-8") as stream:
        json.dump(_cache.compiler_fingerprint(), stream)


def main(
    arguments: Sequence[str] | None = None, program: str = "python -m nsa.prebuild"
) -> None:
    summary, _, rest = (__doc__ or "").partition("\n\n")
    parser = argparse.ArgumentParser(prog=program, description=summary)
    parser.add_argument("directory", metavar="DIR", help="where the bundles go")
    for name, default, what in (
        ("topk", TOPKS, "tokens that the indexer selects"),
        ("page-size", PAGE_SIZES, "tokens in a page"),
        ("next-n", NEXT_NS, "rows of a request"),
    ):
        parser.add_argument(
            f"--{name}", type=int, nargs="+", default=default, metavar="N",
            help=f"{what} (default: {' '.join(map(str, default))})",
        )
    sizes = _usual.BLOCK_SIZES
    parser.add_argument(
        "--vllm-block-sizes", type=int, nargs=len(sizes), default=sizes, metavar="N",
        help="tokens in a page of each KV cache group of DeepSeek V4 under vLLM: windows, ratio"
        f" 4, its indexer, ratio 128 (default: {' '.join(map(str, sizes))})",
    )
    parser.add_argument(
        "--no-host", action="store_true", help="PTX alone, which needs no linker"
    )
    parser.add_argument(
        "--pdl", action="store_true", help="those of NSA_PDL=1: programmatic dependent launch"
    )
    options = parser.parse_args(arguments)
    logging.getLogger("nsa").setLevel(logging.WARNING)
    constants = (options.topk, options.page_size, options.next_n, options.vllm_block_sizes)
    wanted = texts(*constants)
    build(options.directory, wanted, not options.no_host, pdl=options.pdl)
    print(f"{len(wanted)} steps in {options.directory}")


if __name__ == "__main__":
    main()
