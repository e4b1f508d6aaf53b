# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Runs vLLM's public tests with nsa's functions in place of vLLM's.

    python test/python/run_vllm_tests.py CHECKOUT [pytest's options]
    python test/python/run_vllm_tests.py FILE... [pytest's options]

CHECKOUT is one of vLLM's repository, or .peers/vllm-tests, where scripts/fetch_peers.sh puts
its tests; FILEs are test files of it. Nothing of vLLM is installed, and nothing imported but
the class whose methods some of nsa's functions are, from its wheel: modules called vllm, and those of its tests, have nsa's functions under
vLLM's names, and whatever else is asked of them is there to be imported, and skips the test
that uses it, which says what it needed. Most tests need a CUDA device, torch and triton.
"""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from nsa.compat import vllm

#: Of vLLM's repository, as of 0.33.0 and before: those that call what nsa.compat.vllm has.
FILES = (
    "tests/kernels/attention/test_compute_global_topk_bounds.py",
    "tests/v1/attention/sparse_mla/test_deepseek_v4_swa_visible.py",
    "tests/v1/attention/sparse_mla/test_dspark_noncausal_sparse_mla.py",
    "tests/v1/attention/sparse_mla/test_indexer_deepseek_v4_slot_mapping.py",
    "tests/v1/attention/test_deepseek_v4_swa_visible.py",
    "tests/v1/attention/test_dspark_noncausal_sparse_mla.py",
    "tests/v1/attention/test_indexer_dcp_localize.py",
    "tests/v1/attention/test_indexer_deepseek_v4_slot_mapping.py",
    "tests/v1/attention/test_kpool_tail_slot_mapping.py",
    "tests/v1/attention/test_sparse_mla_backends.py",
    "tests/v1/spec_decode/test_eagle_step_kernel.py",
    "tests/v1/worker/test_gpu_block_table.py",
    "tests/v1/worker/test_gpu_input_batch_v2.py",
)
#: vLLM's wheel, of which scripts/fetch_peers.sh keeps a few files.
WHEEL = Path(__file__).resolve().parents[2] / ".peers/vllm"


class Launched:
    """A function as a kernel that is launched with a grid: what only the kernel needs, as
    strides at its end and numbers of warps, is left out."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function

    def __getitem__(self, grid: tuple[int, ...]) -> Callable[..., Any]:
        parameters = inspect.signature(self.function).parameters

        def launch(*arguments: Any, **named: Any) -> Any:
            given = dict(zip(parameters, arguments))
            given |= {name: value for name, value in named.items() if name in parameters}
            if "num_tokens" in parameters:
                given.setdefault("num_tokens", grid[0])
            return self.function(**given)

        return launch


class Missing:
    """What is not nsa's: it may be imported, and skips the test that uses it. What a test file
    does with it where it is imported makes more of it: calls, bases of classes, unions."""

    def __init__(self, name: str) -> None:
        self.name = name
        # As tests make an object without its class's setup.
        self.__new__ = self.use  # type: ignore[method-assign]

    def use(self, *_: Any, **__: Any) -> Missing:
        if "PYTEST_CURRENT_TEST" in os.environ:
            pytest.skip(f"needs vLLM's own {self.name}")
        return self

    __call__ = __getitem__ = __or__ = __ror__ = use

    def __iter__(self) -> Iterator[Any]:
        self.use()
        return iter(())

    def __mro_entries__(self, bases: tuple[Any, ...]) -> tuple[type, ...]:
        return ()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return Missing(f"{self.name}.{name}")


KNOWN: dict[str, Any] = {
    **{name: getattr(vllm, name) for name in vllm.__all__},
    "_indexer_decode_metadata_kernel": Launched(vllm.indexer_decode_metadata),
    "_compute_image_visibility_kernel": Launched(vllm.compute_image_visibility),
    "_COMPUTE_SWA_INDICES_AND_LENS_KERNEL": vllm.compute_swa_indices_and_lens,
    "_COMPUTE_DSPARK_NONCAUSAL_SWA_INDICES_KERNEL": vllm.compute_dspark_noncausal_swa_indices,
    "_COMPUTE_PREFILL_METADATA_KERNEL": vllm.compute_prefill_metadata,
    "_PREPARE_UNIFORM_DECODE_KERNEL": vllm.prepare_uniform_decode,
    "_BUILD_PREFILL_CHUNK_METADATA_KERNEL": vllm.build_prefill_chunk,
    "PADDING_SLOT_ID": -1,
    "PAD_SLOT_ID": -1,
    "current_platform": SimpleNamespace(
        device_type="cuda",
        is_cuda=lambda: True,
        is_cuda_alike=lambda: True,
        is_rocm=lambda: False,
        is_xpu=lambda: False,
    ),
}


def add_block_tables() -> None:
    """vLLM's class, from its wheel, with nsa's methods; none without torch or the wheel."""
    sys.path.append(str(WHEEL.parents[1] / "benchmarks"))
    try:
        from vllm_peer import load_vllm

        base = load_vllm(WHEEL).block_table.BlockTables
    except (FileNotFoundError, ImportError) as error:
        print(f"without BlockTables: {error}")
        return
    methods = {
        "gather_block_tables": vllm.gather_block_tables,
        "compute_slot_mappings": vllm.compute_slot_mappings,
    }
    KNOWN["BlockTables"] = type("BlockTables", (base,), methods)


class Replaced(MetaPathFinder, Loader):
    """Finds the modules of vLLM, of its tests' helpers, and of transformers, whose classes
    of configurations they use."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        if name.partition(".")[0] not in ("vllm", "tests", "transformers"):
            return None
        return ModuleSpec(name, self, is_package=True)

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        module = ModuleType(spec.name)

        def attribute(name: str) -> Any:
            if name.startswith("__"):
                raise AttributeError(name)
            return KNOWN[name] if name in KNOWN else Missing(f"{spec.name}.{name}")

        module.__getattr__ = attribute  # type: ignore[method-assign]
        return module

    def exec_module(self, module: ModuleType) -> None:
        pass


def files_of(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Test files, and what is left for pytest."""
    files, rest = [], []
    for argument in arguments:
        path = Path(argument)
        if path.is_dir():
            files += [str(path / file) for file in FILES if (path / file).exists()]
        else:
            (files if path.suffix == ".py" else rest).append(argument)
    return files, rest


def main(arguments: Sequence[str]) -> int:
    files, rest = files_of(arguments)
    if not files:
        print(__doc__)
        return 2
    add_block_tables()
    sys.meta_path.insert(0, Replaced())
    # The checkout's own configuration, and its conftest.py, are for all of vLLM.
    options = ["-c", "/dev/null", "--noconftest", "--import-mode=importlib", "-rs"]
    return int(pytest.main([*options, "-p", "no:cacheprovider", *rest, *files]))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
