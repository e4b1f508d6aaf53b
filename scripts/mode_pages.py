# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""docs/modes: a page for each mode of a forward step, drawn from the steps themselves; see
generate_docs.py. Needs the Python package."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
NOTICE = "<!-- Written by scripts/generate_docs.py from the texts of the steps. -->\n\n"

#: Who reads a field; the first pattern that fits counts.
READERS = {
    # Tails and windows of V4 and V4.1, and what a chunk's layers have in common.
    "tail_swa_out_cache_loc": "store of keys and values",
    "tail_swa_*": "attention, layers of the tail",
    "tail_token_indices": "rows that go on to the tail's layers",
    "tail_floors": "other fields",
    "tail_*_casual": "other fields, RoPE",
    "tail_page_table": "indexer, layers of the tail",
    "window_write_loc": "store of keys and values",
    "window_history_*": "gather of what requests keep",
    "window_commit_mask": "store into requests' rings",
    "window_req": "store into requests' rings",
    "window_pos": "store into requests' rings",
    "window_*": "attention, every layer",
    "swa_ids": "gather into a workspace",
    "swa_first": "combine of each layer",
    "swa_lens": "combine of each layer",
    "swa_offsets": "combine of each layer",
    "c*_ids": "gather into a workspace",
    "c*_base": "combine of each layer",
    "c[124]_lens": "combine of each layer",
    "c0_*": "attention, layers of windows alone",
    # DSA.
    "page_table_1_flattened": "dequantisation of the prefix",
    "page_table_1": "transform of top-k indices",
    "topk_indices_offset": "transform of top-k indices",
    "real_page_table": "indexer",
    "seqlens_expanded": "indexer",
    "ks": "indexer",
    "ke": "indexer",
    "token_to_batch": "indexer",
    "paged_mqa_ctx_lens": "indexer",
    "pooled_*": "indexer",
    "concat_page_table": "indexer",
    "q_k[se]": "indexer",
    "kpool_*": "store of pooled index keys",
    "pool_*": "store of pooled index keys",
    "tail_*": "store of unfinished pools",
    "num_*_rows": "store of pooled index keys",
    "cache_seqlens": "attention",
    "cu_seqlens_*": "attention",
    "nsa_c*": "attention",
    # V4 and V4.1.
    "swa_out_cache_loc": "store of keys and values",
    "swa_*": "attention, every layer",
    "seq_lens_casual": "other fields, RoPE",
    "positions_casual": "other fields, RoPE",
    "page_table": "indexer",
    "c4_topk_lengths_raw": "indexer, ratio 4",
    "c[12]_topk_lengths_clamp1": "indexer, ratios 1 and 2",
    "c[12]_index_*": "indexer, ratios 1 and 2",
    "c[12]_request_starts": "indexer, ratios 1 and 2",
    "c[12]_compress_lens": "indexer, ratios 1 and 2",
    "c[12]_out_loc": "compressors 1 and 2",
    "req_indices": "compressors 1 and 2",
    "pos_i64": "compressors 1 and 2",
    "extend_offsets": "compressors 1 and 2",
    "c*_plan_?": "compressors 4 and 128",
    "c*_out_loc": "compressors 4 and 128",
    "c4_topk_lengths_clamp1": "lengths of chosen rows",
    "c128_*": "attention, ratio 128",
    "c*_sparse_*": "attention, the ratio's layers",
}  # fmt: skip


def reader(name: str) -> str:
    """Raises ``LookupError`` for a field that nobody is known to read."""
    for pattern, who in READERS.items():
        if fnmatch(name, pattern):
            return who
    raise LookupError(f"who reads {name}?")


@dataclass
class Step:
    title: str
    #: Of its picture.
    file: str
    text: str


@dataclass
class Mode:
    file: str
    title: str
    #: What a call is.
    about: str
    steps: list[Step]


def modes() -> Iterator[Mode]:
    sys.path[:0] = [str(ROOT / "benchmarks")]
    import dsa_prefill_steps
    import replay_modes
    import v4_steps

    from nsa import _dsa_prefill, _kpool_replay, _prefill_v4, _v4

    def replay(mode: str) -> str:
        return replay_modes.MODES[mode].text(1, False)

    def pooled(mode: str, n: int, fields: tuple[str, ...]) -> str:
        options = _kpool_replay.Options(mode, n, False, False, 2048, 64, 4)
        return _kpool_replay.write((fields,), options, {}).s.text

    def extend(model: str) -> str:
        fields = ["swa_out_cache_loc", *v4_steps.extend_fields(model)]
        if model == "v41":
            names = ("index_k_slots", "request_starts", "compress_lens")
            fields += [f"c{q}_{name}" for q in (1, 2) for name in names]
        return v4_steps.extend_text(tuple(fields))

    def v4(mode: str, n: int, fields: tuple[str, ...], **options: Any) -> str:
        of_mode = replace(v4_steps.OPTIONS, mode=mode, next_n=n, **options)
        dtypes = v4_steps.INPUT_DTYPES | {"extend_seq_lens": "int64", "valid_from": "int64"}
        return _v4.write(of_mode, (fields,), dtypes)[0]

    def chunk(model: int) -> str:
        fields = _prefill_v4.all_fields(_prefill_v4.MODELS[model], False)
        options = _prefill_v4.Options(v4_steps.PAGE, v4_steps.WINDOW, True, False)
        return _prefill_v4.Chunk(options, {}).write(fields).s.text

    tail = ("token_indices", "floors", *v4_steps.CORE)
    history = ("req", "pos", "loc", "valid", "src")
    windows = ("write_loc", "indices", "lengths", "req", "pos", "commit_mask",
               *(f"history_{name}" for name in history))  # fmt: skip
    of = {(case.mode, case.model, case.steps): case.text() for case in v4_steps.cases()}
    replays = "`nsa.ops.replay_metadata` (DSA) and `nsa.ops.replay_v4` (V4, V4.1)"
    yield Mode(
        "Decode", "Decode", f"A row for each request. {replays}.",
        [Step("DSA (DeepSeek V3.2)", "decode_dsa", replay("decode")),
         Step("DeepSeek V4", "decode_v4", of["decode", "v4", 1]),
         Step("DeepSeek V4.1", "decode_v41", of["decode", "v41", 1]),
         Step("Four draft steps of V4 or V4.1, which differ in their locations alone",
              "draft_steps", of["decode", "mtp", v4_steps.STEPS])],
    )  # fmt: skip
    yield Mode(
        "Verify", "Target verify",
        f"As many rows for each request as tokens were drafted. {replays}.",
        [Step("DSA (DeepSeek V3.2)", "verify_dsa", replay("target_verify")),
         Step("DeepSeek V4", "verify_v4", of["target_verify", "v4", 1]),
         Step("DeepSeek V4.1", "verify_v41", of["target_verify", "v41", 1]),
         Step("DeepSeek V4, as many rows of each request as the device says", "verify_ragged",
              v4("target_verify", 1, v4_steps.extend_fields("v4"), ragged=True))],
    )  # fmt: skip
    yield Mode(
        "DraftExtend", "Draft extend",
        f"The draft model runs over the tokens that were accepted. {replays}.",
        [Step("DSA (DeepSeek V3.2)", "draft_extend_dsa", replay("draft_extend")),
         Step("The draft model of V4 and V4.1", "draft_extend_v4", of["draft_extend", "mtp", 1])],
    )  # fmt: skip
    yield Mode(
        "DraftBlock", "Draft block",
        "All rows of a request see its window before the block and the whole block. "
        "`nsa.ops.replay_v4`.",
        [Step("The draft model of V4 and V4.1", "draft_block",
              v4("draft_block", 5, v4_steps.CORE, valid_from=True))],
    )  # fmt: skip
    yield Mode(
        "Extend", "Extend",
        "A chunk of each request's tokens, as many as the device says. `nsa.ops.replay_v4`.",
        [Step("DeepSeek V4", "extend_v4", extend("v4")),
         Step("DeepSeek V4.1", "extend_v41", extend("v41")),
         Step("The tail, for layers that need the last rows of each request", "extend_tail",
              v4("extend", 1, tuple(f"tail_{name}" for name in tail), ragged=True)),
         Step("Windows that requests keep", "extend_windows",
              v4("extend", 1, tuple(f"window_{name}" for name in windows), ragged=True,
                 request_window=256))],
    )  # fmt: skip
    yield Mode(
        "Chunk", "Layers of a chunk",
        "What all layers of a chunk of sparse prefill have in common. `nsa.ops.prefill_v4`; "
        "each layer then combines its own rows.",
        [Step("DeepSeek V4", "chunk_v4", chunk(0)), Step("DeepSeek V4.1", "chunk_v41", chunk(1))],
    )  # fmt: skip
    common = ("cache_seqlens", "cu_seqlens_k", "nsa_cache_seqlens", "nsa_cu_seqlens_k",
              "page_table_1", "real_page_table", "pooled_cache_seqlens",
              "pooled_real_page_table", "kpool_req", "kpool_write_start",
              "kpool_tail_logical_start", "kpool_write_loc")  # fmt: skip
    verify = (*common, "seqlens_expanded", "kpool_seqlens_per_q", "kpool_pool_seqlens_per_q")
    plan = ("num_pool_rows", "num_tail_rows", *dsa_prefill_steps.POOL_FIELDS)
    yield Mode(
        "PooledKeys", "Pooled index keys",
        "The indexer has a key for each four tokens. `nsa.ops.replay_metadata(index_kpool=4)`, "
        "and in an extend `nsa.ops.dsa_prefill(index_kpool=4)`.",
        [Step("Decode", "kpool_decode", pooled("decode", 1, common)),
         Step("Target verify", "kpool_verify", pooled("target_verify", 4, verify)),
         Step("The plan of an extend", "kpool_extend",
              _dsa_prefill.write(plan, 2048, 64, 4, dsa_prefill_steps.INPUT_DTYPES).s.text)],
    )  # fmt: skip
    yield Mode(
        "DsaPrefill", "Eager extend of DSA",
        "A chunk of each request's tokens, outside of a graph. `nsa.ops.dsa_prefill`.",
        [Step("DSA (DeepSeek V3.2)", "dsa_prefill", next(dsa_prefill_steps.cases()).text())],
    )  # fmt: skip


def _sources(names: list[str]) -> str:
    return ", ".join(f"`{name}`" if " " not in name else name for name in names)


def pages() -> dict[str, str]:
    """Texts by files below docs/: the pages of modes, and their pictures."""
    from nsa._tool.graph import draw_step, parse

    found = {}
    for mode in modes():
        lines = [
            f"# {mode.title}", "", mode.about, "",
            "Blue is what a step reads, green what it computes once and uses again (sums are "
            "exclusive), orange its fields, all written by one launch; on the right is who reads "
            "them in the layers.",
        ]  # fmt: skip
        for step in mode.steps:
            graph = parse(step.text)
            readers = {name: reader(name) for name in graph.fields}
            found[f"images/modes/{step.file}.svg"] = draw_step(step.text, readers)
            lines += ["", f"## {step.title}", ""]
            lines += [f"![The fields of this step](../images/modes/{step.file}.svg)", ""]
            lines += ["| field | computed from | read by |", "|---|---|---|"]
            for name, sources in graph.fields.items():
                behind = graph.shared.get(name, sources)
                lines.append(
                    f"| `{name}` | {_sources(behind) or 'constants'} | {readers[name]} |"
                )
        found[f"modes/{mode.file}.md"] = NOTICE + "\n".join(lines) + "\n"
    return found
