# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""SGLang's own attention backend of DeepSeek's sparse attention, as an engine drives it: metadata
made when a graph is captured, refreshed before every replay. Prints, as JSON, what the captured
graph saw and what a refresh took; see test_sglang_backend.py.

    sglang_backend.py PEERS DEVICE [theirs|ours|torch]

Real are the backend's class, its metadata, the kernels that compute and copy it. The packages
around them are stubs, as are the binaries that the metadata is not made by: DeepGEMM's schedule
and FlashMLA's splits are a few operations of torch. "torch" has the backend compute its metadata
with operations of torch, as it does where there is no CUDA.
"""

from __future__ import annotations

import ctypes
import dataclasses
import importlib.abc
import importlib.machinery
import importlib.util
import json
import statistics
import sys
import time
import types
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import Any

import torch

from sglang_cases import PAGE

PEERS, DEVICE, VARIANT = sys.argv[1:4]
REQUESTS, SLOTS, CONTEXT, NEXT_N, STEPS = 6, 24, 512, 3, 5
ATTENTION = "sglang.srt.layers.attention"
#: The modules of SGLang that are not stubs.
REAL = (
    f"{ATTENTION}.base_attn_backend",
    f"{ATTENTION}.dsa_backend",
    f"{ATTENTION}.dsa.dsa_backend_kpool",
    f"{ATTENTION}.dsa.dsa_backend_mtp_precompute",
    f"{ATTENTION}.dsa.dsa_indexer_metadata",
    f"{ATTENTION}.dsa.dsa_metadata_manager",
    f"{ATTENTION}.dsa.dsa_topk_backend",
    f"{ATTENTION}.dsa.utils",
    "sglang.kernels.ops.attention.dsa.dequant_k_cache",
    "sglang.kernels.ops.attention.dsa.fused_metadata_copy",
    "sglang.kernels.ops.attention.dsa.metadata",
    "sglang.kernels.ops.attention.dsv4.dequant_k_cache",
    "sglang.kernels.ops.attention.dsv4.kv_layout",
    "sglang.kernels.ops.attention.dsv4.sparse_prefill_kernels",
    "sglang.kernels.ops.attention.pad",
    "sglang.srt.environ",
    "sglang.srt.model_executor.forward_batch_info",
)
#: Stubs where they are not installed.
OTHERS = ("deep_gemm", "triton")
#: SGLang's own compilation of its copies needs these; without them it copies tensor by tensor.
JIT = ("msgspec", "tvm_ffi")

# ----------------------------------------------------------------------------
# What stands around the backend
# ----------------------------------------------------------------------------


class Anything:
    """Has every attribute, is its own result and a decorator that changes nothing."""

    def __init__(self, **known: Any) -> None:
        self.__dict__.update(known)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return Anything()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if len(args) == 1 and not kwargs and callable(args[0]):
            return args[0]
        return self

    def __getitem__(self, item: Any) -> Any:
        return self

    def __bool__(self) -> bool:
        return False

    def __iter__(self) -> Iterator[Any]:
        return iter(())


def no(*args: Any, **kwargs: Any) -> bool:
    return False


def schedule(context_lens: Any, block: int, num_sms: int) -> Any:
    """In the place of DeepGEMM's: as many numbers, of all lengths."""
    numbers = torch.arange(2 * (num_sms + 1), device=context_lens.device, dtype=torch.int32)
    return (numbers * context_lens.sum().to(torch.int32)).view(num_sms + 1, 2)


def splits(cache_seqlens: Any, **_: Any) -> Any:
    """In the place of FlashMLA's."""
    counts = torch.nn.functional.pad(torch.cumsum((cache_seqlens + 63) // 64, 0), (1, 0))
    metadata = torch.arange(16 * 8, device=cache_seqlens.device, dtype=torch.int32).view(16, 8)
    return metadata * cache_seqlens.sum().to(torch.int32), counts.to(torch.int32)


def expand(extends: Any, lens: Any, rows: int, most: int) -> Any:
    """In the place of a kernel in Triton, where everything is torch: the length of each row."""
    all_rows = lens[:, None] - extends[:, None] + 1 + torch.arange(most, device=lens.device)
    return all_rows.reshape(-1)[:rows].clamp(min=0).to(torch.int32)


def no_jit(*args: Any, **kwargs: Any) -> Any:
    raise ImportError(f"stubbed: {' and '.join(JIT)} are not both installed")


def is_cuda() -> bool:
    return VARIANT != "torch"


PLAIN = Anything(enable_deterministic_inference=False)
EXEC = Anything(
    deterministic=PLAIN,
    kernel=Anything(
        dsa_prefill_backend="flashmla_sparse", dsa_decode_backend="flashmla_kv",
        dsa_triton_union=0, dsa_topk_backend="torch",
    ),
    overlap=Anything(enable_two_batch_overlap=False),
    features=Anything(enable_memory_saver=False),
)  # fmt: skip
SPEC = Anything(
    speculative_eagle_topk=1, speculative_num_draft_tokens=NEXT_N,
    speculative_dsa_topk_backend="torch",
)  # fmt: skip
#: module -> what it has beside Anything.
KNOWN: dict[str, dict[str, Any]] = {
    "deep_gemm": {"get_num_sms": lambda: 132, "get_paged_mqa_logits_metadata": schedule},
    "sglang.kernels.jit.utils": {"load_jit": no_jit, "cache_once": lambda function: function},
    "sglang.kernels.ops.attention.flash_mla_interface": {"get_mla_metadata": splits},
    "sglang.kernels.ops.attention.flash_mla_sm120": {
        "_validate_flashinfer_sparse_mla_backend": no
    },
    "sglang.srt.configs.model_config": {
        "get_dsa_index_topk": lambda config: 2048,
        "get_dsa_index_kpool": lambda config: 1,
        "is_deepseek_dsa": lambda config: True,
    },
    "sglang.srt.layers.attention.kv_shard_hooks": {"get_kv_shard_pool": lambda pool: None},
    "sglang.srt.layers.attention.trtllm_mla_backend": {
        "grow_multi_ctas_kv_counter_buffer_if_needed": lambda buffer, **_: buffer
    },
    "sglang.srt.runtime_context": {
        "get_exec": lambda: EXEC,
        "get_spec": lambda: SPEC,
        "get_parallel": lambda: Anything(attn_tp_size=1, attn_dcp_size=1, attn_dcp_rank=0),
        "get_platform": lambda: Anything(is_sm100=False),
        "get_schedule": lambda: Anything(enable_mixed_chunk=False),
        "get_disagg": lambda: Anything(disaggregation_mode="null"),
    },
    "sglang.srt.utils": {
        "is_cuda": is_cuda,
        **dict.fromkeys(
            ("is_hip", "is_xpu", "is_musa", "is_npu", "is_cpu", "is_gfx95_supported",
             "is_blackwell", "get_bool_env_var", "support_triton"),
            no,
        ),
        "get_device_sm": lambda: 90,
        "print_warning_once": print,
    },
    "sglang.srt.utils.common": {
        "is_cuda": is_cuda,
        "is_npu": no,
        "ceil_div": lambda a, b: -(-a // b),
        "get_cuda_version": lambda: tuple(map(int, (torch.version.cuda or "0.0").split("."))),
    },
    "sglang.srt.utils.torch_memory_saver_adapter": {
        "TorchMemorySaverAdapter": types.SimpleNamespace(
            create=lambda enable: types.SimpleNamespace(region=lambda tag: nullcontext())
        )
    },
}  # fmt: skip
for context in ("breakable_cuda_graph", "breakable_cuda_graph.context", "tc_piecewise_cuda_graph"):
    KNOWN[f"sglang.srt.model_executor.runner_backend_utils.{context}"] = {
        "is_in_breakable_cuda_graph": no,
        "is_in_tc_piecewise_cuda_graph": no,
    }
#: What was stubbed.
stubs: list[str] = []


class Stub(types.ModuleType):
    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        # Names of classes are types, to be a base or an annotation.
        made: Any = type(name, (), {}) if name[:1].isupper() else Anything()
        setattr(self, name, made)
        return made


class Stubs(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Modules of SGLang that are not REAL, before they are looked for."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        holds = (*REAL, "sglang.kernels.jit.utils")
        is_package = any(real.startswith(f"{name}.") for real in holds)
        if name in REAL or (name.startswith("sglang.kernels.jit.utils") and has_jit()):
            return None
        if not name.startswith("sglang"):
            if name.partition(".")[0] not in OTHERS or is_installed(name):
                return None
        spec = importlib.machinery.ModuleSpec(name, self, is_package=True)
        if is_package:
            folder = f"{PEERS}/{name.replace('.', '/')}"
            spec.submodule_search_locations = [folder]
            # The JIT looks for its sources beside this.
            spec.origin = f"{folder}/__init__.py"
        return spec

    def create_module(self, spec: Any) -> Any:
        stubs.append(spec.name)
        module = Stub(spec.name)
        module.__dict__.update(KNOWN.get(spec.name, {}))
        return module

    def exec_module(self, module: Any) -> None:
        pass


def has_jit() -> bool:
    return all(map(is_installed, JIT))


def is_installed(name: str) -> bool:
    top = name.partition(".")[0]
    return importlib.machinery.PathFinder.find_spec(top) is not None


def runner() -> Any:
    """What the backend takes of a model runner."""
    generator = torch.Generator().manual_seed(11)
    table = torch.randint(0, 1 << 20, (SLOTS, CONTEXT), generator=generator, dtype=torch.int32)
    # Tokens of a page are beside each other.
    table = table // PAGE * PAGE
    return Anything(
        device=DEVICE, page_size=PAGE, is_draft_worker=False, hisparse_coordinator=None,
        kv_cache_dtype=torch.float8_e4m3fn, max_running_requests=REQUESTS,
        model_config=Anything(
            context_len=CONTEXT, num_attention_heads=64, qk_nope_head_dim=128, kv_lora_rank=512,
            qk_rope_head_dim=64, hf_config=Anything(architectures=["DeepseekV32ForCausalLM"]),
        ),
        req_to_token_pool=Anything(size=SLOTS, req_to_token=table.to(DEVICE)),
        token_to_kv_pool=Anything(
            dsa_kv_cache_store_fp8=True, kv_cache_dim=656, dtype=torch.float8_e4m3fn
        ),
    )  # fmt: skip


# ----------------------------------------------------------------------------
# An engine's steps
# ----------------------------------------------------------------------------


def tensors(metadata: Any) -> dict[str, Any]:
    """Every tensor of a backend's metadata, by name."""
    found = {}
    for field in dataclasses.fields(metadata):
        value = getattr(metadata, field.name)
        if dataclasses.is_dataclass(value):
            found |= {f"{field.name}.{k}": v for k, v in tensors(value).items()}
        elif torch.is_tensor(value):
            found[field.name] = value
    return found


def batch(mode: Any) -> Any:
    return types.SimpleNamespace(
        batch_size=REQUESTS, forward_mode=mode, spec_info=None, out_cache_loc=None,
        actual_forward_mode=None, seq_lens_sum=None, seq_lens_cpu=None,
        seq_lens=torch.full((REQUESTS,), NEXT_N, dtype=torch.int64, device=DEVICE),
        req_pool_indices=torch.zeros(REQUESTS, dtype=torch.int64, device=DEVICE),
    )  # fmt: skip


def graph_of(reads: Callable[[], list[Any]]) -> Any:
    """A captured graph that reads, and its results; on the CPU the reads themselves."""
    if DEVICE == "cpu":
        return None, None
    reads()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        results = reads()
    return graph, results


def count_nodes(work: Callable[[], Any]) -> int:
    """How many kernels, copies and fills `work` launches: the nodes of its graph."""
    graph = torch.cuda.CUDAGraph(keep_graph=True)
    with torch.cuda.graph(graph):
        work()
    count = ctypes.c_size_t()
    get = ctypes.CDLL("libcuda.so.1").cuGraphGetNodes
    error = get(ctypes.c_void_p(graph.raw_cuda_graph()), None, ctypes.byref(count))
    assert error == 0, f"cuGraphGetNodes failed with {error}"
    return count.value


def host_time(work: Callable[[], Any]) -> float:
    """Microseconds of the calling thread, the median of many rounds."""
    times = []
    for _ in range(31):
        torch.cuda.synchronize()
        begin = time.perf_counter()
        for _ in range(20):
            work()
        times.append(1e6 * (time.perf_counter() - begin) / 20)
    return statistics.median(times)


def drive(backend: Any, inner: list[Any], mode: Any) -> dict[str, Any]:
    """Captures, and replays some steps in which requests come, go and grow."""
    forward = batch(mode)
    backend.init_cuda_graph_state(REQUESTS, REQUESTS * NEXT_N)
    backend.init_forward_metadata_out_graph(forward, in_capture=True)

    def current() -> dict[str, Any]:
        return {
            f"{number}.{name}": tensor
            for number, each in enumerate(inner)
            for name, tensor in tensors(each.decode_cuda_graph_metadata[REQUESTS]).items()
        }

    names = list(current())
    graph, results = graph_of(lambda: [tensor.clone() for tensor in current().values()])
    random = torch.Generator().manual_seed(5)
    steps = []
    for _ in range(STEPS):
        lens = torch.randint(NEXT_N, CONTEXT - NEXT_N, (REQUESTS,), generator=random)
        pools = torch.randperm(SLOTS, generator=random)[:REQUESTS]
        forward.seq_lens.copy_(lens)
        forward.req_pool_indices.copy_(pools)
        backend.init_forward_metadata_out_graph(forward)
        if graph is not None:
            graph.replay()
            seen = dict(zip(names, results))
        else:
            seen = current()
        assert list(current()) == names, "a replay has other tensors than its capture"
        steps.append({name: tensor.tolist() for name, tensor in seen.items()})
    report: dict[str, Any] = {"steps": steps}
    if DEVICE != "cpu":
        def refresh() -> None:
            backend.init_forward_metadata_out_graph(forward)

        report["nodes"], report["host"] = count_nodes(refresh), host_time(refresh)
    return report


def main() -> None:
    sys.path.insert(0, PEERS)
    sys.meta_path.insert(0, Stubs())
    if DEVICE == "cpu":
        torch.cuda.get_device_capability = lambda *_: (9, 0)
    backends = importlib.import_module(f"{ATTENTION}.dsa_backend")
    modes = importlib.import_module("sglang.srt.model_executor.forward_batch_info").ForwardMode
    if VARIANT == "torch":
        backends.seqlens_expand_triton = expand
    places = []
    if VARIANT == "ours":
        from nsa.integrations import sglang

        places = sglang.install()

    def one(mode: Any) -> dict[str, Any]:
        backend = backends.DeepseekSparseAttnBackend(runner(), speculative_num_steps=4)
        return drive(backend, [backend], mode)

    def several() -> dict[str, Any]:
        backend = backends.DeepseekSparseAttnMultiStepBackend(runner(), 1, 5)
        return drive(backend, backend.attn_backends, modes.DECODE)

    report = {
        "decode": one(modes.DECODE),
        "target_verify": one(modes.TARGET_VERIFY),
        "draft_extend": one(modes.DRAFT_EXTEND_V2),
        "decode_of_four": several(),
        "places": places,
        "jit": has_jit(),
        "stubs": stubs,
    }
    print(f"\n{json.dumps(report)}")


if __name__ == "__main__":
    main()
