# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What vLLM computes in each layer's graph: index lists and the gather of caches, its kernels
beside nsa's.

    python benchmarks/vllm_layers.py [--rounds N] [--out DIR] [--peers DIR]

nsa's kernels are compiled here, or come from NSA_BUNDLE_PATH. Outputs are compared before
anything is measured. See benchmarks/README.md.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "benchmarks")]

import harness  # noqa: E402
import reporting  # noqa: E402
from vllm_layer_cases import CASES, Layer  # noqa: E402
from vllm_peer import load_vllm  # noqa: E402

from nsa.compat import vllm  # noqa: E402


def peer_of(v: SimpleNamespace, name: str) -> Callable[..., Any]:
    modules = {
        "triton_convert_req_index_to_global_index": v.sparse_utils,
        "compute_global_topk_indices_and_lens": v.cache_utils_v41,
        "combine_topk_swa_indices": v.cache_utils_v41,
        "dequantize_and_gather_k_cache": v.cache_utils_v4,
    }
    return getattr(modules[name], name)


def written(layer: Layer, arguments: dict[str, Any], returned: Any) -> list[Any]:
    """What a call wrote or returned."""
    if layer.returns:
        return list(returned) if isinstance(returned, tuple) else [returned]
    return [arguments["out"]]


def bytes_of(arrays: list[Any]) -> int:
    return sum(array.nbytes for array in arrays)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--out", type=Path, default=ROOT / "build/bench")
    parser.add_argument("--peers", type=Path, default=ROOT / ".peers/vllm")
    options = parser.parse_args()
    if not reporting.has_device("vllm_layers"):
        return 1
    v = load_vllm(options.peers)

    def upload(array: np.ndarray) -> Any:
        tensor = torch.from_numpy(array).cuda()
        return tensor.view(torch.bfloat16) if array.dtype == np.uint16 else tensor

    rows, measured = [], []
    for layer in CASES:
        made = layer.arguments()
        arguments = {
            name: upload(value) if isinstance(value, np.ndarray) else value
            for name, value in made.items()
        }
        ours, theirs = getattr(vllm, layer.function), peer_of(v, layer.function)
        results = []
        for function in (ours, theirs):
            returned = function(**arguments)
            results.append([a.clone() for a in written(layer, arguments, returned)])
        for a, b in zip(*results):
            assert torch.equal(a, b), layer.name
        samples = harness.gpu_samples(
            {
                "peer": lambda _, f=theirs, a=arguments: f(**a),
                "nsa": lambda _, f=ours, a=arguments: f(**a),
                "copy": harness.copy_operation(2 * bytes_of(results[0])),
            },
            options.rounds,
        )
        times = {name: harness.Timing.of(values) for name, values in samples.items()}
        interval = harness.ratio_interval(samples["peer"], samples["nsa"])
        measured.append(
            {
                "what": layer.name,
                "gpu_us": reporting.as_json(times),
                "ratio_95": interval,
            }
        )
        medians = [timing.median for timing in times.values()]
        megabytes = bytes_of(results[0]) / 1e6
        rows.append([layer.name, megabytes, *medians, medians[0] / medians[1], *interval])
    report = reporting.markdown(
        f"In each layer's graph, us ({v.name} is the peer)",
        ["what", "MB written", "peer", "nsa", "copy", "ratio", "95 %: from", "to"],
        rows,
    )
    # Not slower: the interval has 1 in it, or lies above.
    least = min(row[-1] for row in rows)
    report += reporting.verdict("least upper end of a ratio's interval", least, 1) + "\n"
    result = {
        "benchmark": "vllm_layers",
        "machine": reporting.machine(None),
        "rows": measured,
    }
    reporting.save(result, report, options.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
