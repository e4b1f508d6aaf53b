# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Saves the steps that the GPU tests and the benchmarks ask nsa.ops for, and those that
SGLang's and vLLM's own tests ask nsa.compat for; of vLLM's and torch's, host kernels, too.

    make_test_bundles.py DIR

Makes DIR/<hash of the text>/ for each; with DIR in NSA_BUNDLE_PATH, an
installation without the compiler finds them.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "test/python"), str(ROOT / "benchmarks")]

from build_steps import texts as build_texts  # noqa: E402
from composed_cases import texts as composed_texts  # noqa: E402
from copy_cases import copy_texts, gpu_copy_cases  # noqa: E402
from decode_cases import gpu_variants  # noqa: E402
from dequant_cases import gpu_texts  # noqa: E402
from dsa_prefill_cases import texts as dsa_prefill_texts  # noqa: E402
from dsa_prefill_steps import texts as dsa_prefill_benchmark_texts  # noqa: E402
from dsa_rank_cases import text as dsa_rank_text  # noqa: E402
from engine_histories import texts as history_texts  # noqa: E402
from expand_cases import EXPANSIONS  # noqa: E402
from flashmla_cases import texts as flashmla_texts  # noqa: E402
from formula_cases import texts as formula_texts  # noqa: E402
from inout_cases import texts as inout_texts  # noqa: E402
from guards_cases import TEXT as GUARDS_TEXT  # noqa: E402
from incremental_cases import graph_texts  # noqa: E402
from incremental_cases import variants as incremental_variants  # noqa: E402
from kpool_cases import texts as kpool_texts  # noqa: E402
from kpool_steps import texts as kpool_benchmark_texts  # noqa: E402
from line_info_cases import compile_all as compile_with_lines  # noqa: E402
from places_cases import ONE_TEXT as ONE_PLACE_TEXT  # noqa: E402
from places_cases import TEXT as PLACES_TEXT  # noqa: E402
from prefill_cases import gpu_texts as prefill_texts  # noqa: E402
from prefill_chunks import texts as prefill_benchmark_texts  # noqa: E402
from prefill_end_to_end import gpu_texts as prefill_step_texts  # noqa: E402
from prefill_v4_cases import texts as prefill_v4_texts  # noqa: E402
from ragged_prefill_cases import texts as ragged_prefill_texts  # noqa: E402
from replay_cases import variants as replay_variants  # noqa: E402
from replay_modes import BACKENDS, MODES  # noqa: E402
from replay_modes import texts as benchmark_texts  # noqa: E402
from request_window_cases import texts as request_window_texts  # noqa: E402
from schedule_cases import texts as schedule_texts  # noqa: E402
from schedule_mix import texts as schedule_mix_texts  # noqa: E402
from schedule_steps import texts as schedule_benchmark_texts  # noqa: E402
from sglang_peer_check import asked_texts  # noqa: E402
from sglang_peer_check import texts as sglang_peer_texts  # noqa: E402
from stored_sums_cases import texts as stored_sums_texts  # noqa: E402
from stores_cases import build as build_stores  # noqa: E402
from test_gpu_pdl import LENGTHS  # noqa: E402
from test_gpu_pdl import TEXT as PDL_TEXT  # noqa: E402
from topk_plan_cases import texts as topk_plan_texts  # noqa: E402
from torch_cases import texts as torch_texts  # noqa: E402
from transform_cases import texts as transform_texts  # noqa: E402
from v4_cases import texts as v4_texts  # noqa: E402
from v4_graph_cases import texts as v4_graph_texts  # noqa: E402
from v4_plan_cases import texts as v4_plan_texts  # noqa: E402
from v4_rank_cases import texts as v4_rank_texts  # noqa: E402
from v4_steps import texts as v4_benchmark_texts  # noqa: E402
from v4_trtllm_cases import texts as v4_trtllm_texts  # noqa: E402
from v4_window_cases import texts as v4_window_texts  # noqa: E402
from vllm_cases import texts as vllm_texts  # noqa: E402
from vllm_chains import texts_of_chains  # noqa: E402
from vllm_layer_cases import texts as vllm_layer_texts  # noqa: E402
from vllm_peer_cases import texts as vllm_peer_texts  # noqa: E402
from vllm_public_steps import texts as vllm_public_texts  # noqa: E402
from vllm_workload import texts as vllm_benchmark_texts  # noqa: E402

from nsa import _cache, prebuild  # noqa: E402
from nsa.compat import sglang  # noqa: E402


def peer_texts() -> set[str]:
    """The constants of SGLang's tests are not the usual ones."""
    return {
        *prebuild.replays(topks=(64,), page_sizes=(1, 64), next_ns=(1, 4)),
        *prebuild.replays(topks=(4096,), page_sizes=(64,), next_ns=(2, 4)),
    }


def peer_plan_texts() -> set[str]:
    """Of SGLang's test of compressors' plans: rings of both ratios, with speculation and
    without."""
    lens = np.ones(1, np.int64)

    def call() -> None:
        for ratio, ring in ((4, 8), (4, 16), (128, 128), (128, 256)):
            sglang.CompressorPrefillPlan.generate(
                ratio, lens, lens, lens, np.zeros((2, 1), np.int32), lens,
                swa_page_size=256, ring_size=ring, num_q_tokens=1,
            )  # fmt: skip

    return asked_texts(call)


def dependent_launches() -> list[tuple[str, bool, bool]]:
    """(text, fuse, pdl) of what is run with programmatic dependent launch, and beside it."""
    benchmark = MODES["decode"].text(BACKENDS, False)
    chains = [(PDL_TEXT, True), (PDL_TEXT, False), (benchmark, True)]
    return [(LENGTHS, True, True)] + [(*each, pdl) for each in chains for pdl in (False, True)]


def guarded_texts() -> set[str]:
    """Of tests of guards, and of their benchmark."""
    texts = {GUARDS_TEXT, PLACES_TEXT, ONE_PLACE_TEXT}
    return texts | {mode.text(BACKENDS) for mode in MODES.values()}


def main(directory: str) -> None:
    replays = [*gpu_variants(), *replay_variants(36), *incremental_variants(36)]
    texts = {variant.text for variant in replays} | history_texts() | graph_texts()
    texts |= {expansion.text for expansion in EXPANSIONS}
    texts |= gpu_texts() | set(copy_texts(gpu_copy_cases()))
    texts |= v4_benchmark_texts()
    texts |= vllm_texts() | set(texts_of_chains())
    texts |= vllm_peer_texts() | vllm_benchmark_texts() | vllm_layer_texts()
    texts |= schedule_benchmark_texts() | dsa_prefill_benchmark_texts()
    texts |= kpool_benchmark_texts()
    texts |= schedule_texts() | flashmla_texts() | topk_plan_texts()
    texts |= schedule_mix_texts()
    texts |= {dsa_rank_text("int64")}
    texts |= ragged_prefill_texts() | dsa_prefill_texts() | transform_texts() | kpool_texts()
    texts |= sglang_peer_texts() | peer_plan_texts()
    texts |= build_texts() | formula_texts() | inout_texts() | stored_sums_texts()
    texts |= v4_texts() | v4_graph_texts() | v4_plan_texts() | v4_rank_texts() | v4_window_texts()
    texts |= prefill_v4_texts() | v4_trtllm_texts() | request_window_texts()
    texts |= {build_stores().text, GUARDS_TEXT}
    texts |= composed_texts() | prefill_texts() | prefill_step_texts()
    texts |= benchmark_texts() | prefill_benchmark_texts() | peer_texts()
    for text in sorted(texts):
        _cache.save_bundle(text, directory, host=False)
    for text in sorted(vllm_public_texts() | torch_texts()):
        _cache.save_bundle(text, directory)
    for text in sorted(guarded_texts()):
        _cache.save_bundle(text, directory, guards=True, host=False)
    for text, fuse, pdl in dependent_launches():
        _cache.save_bundle(text, directory, "sm_90", fuse, host=False, pdl=pdl)
    _cache.save_bundle(ONE_PLACE_TEXT, directory, "sm_90", guards=True, host=False, pdl=True)
    for number, module in enumerate(compile_with_lines()):
        module.save(Path(directory, "line_info", str(number)))
    print(f"{len(texts)} steps in {directory}")


if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1].startswith("-"):
        sys.exit(__doc__)
    main(sys.argv[1])
