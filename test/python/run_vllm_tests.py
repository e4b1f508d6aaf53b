# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Runs vLLM's public tests with nsa's functions in place of vLLM's.

    python test/python/run_vllm_tests.py CHECKOUT [pytest's options]
    python test/python/run_vllm_tests.py FILE... [pytest's options]

CHECKOUT is one of vLLM's repository, or .peers/vllm-tests, where scripts/fetch_peers.sh puts
its tests; FILEs are test files of it. Nothing of vLLM is installed, and nothing imported from
its wheel but what tests call nsa's functions through (``add_own``). Modules called vllm, and
those of its tests, have nsa's functions under vLLM's names, and whatever else is asked of them
is there to be imported, and skips the test that uses it, which says what it needed. Most tests
need a CUDA device, torch and triton.
"""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

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


def needs(name: str) -> None:
    """Skips the test that is running."""
    if "PYTEST_CURRENT_TEST" in os.environ:
        pytest.skip(f"needs vLLM's own {name}")


class Missing(type):
    """What is not nsa's: classes that may be imported, be bases, and have attributes and
    objects that were made without their setup. What a test does with one beyond that skips
    the test, which says what it needed; where a test file is imported, it makes more of
    them."""

    whole: str

    def __new__(mcs, name: str, *_: Any) -> Missing:
        made = super().__new__(mcs, name.rpartition(".")[2], (), {"whole": name})
        # Of objects: nothing but what a test gives them.
        made.__getattr__ = Missing.ask  # type: ignore[attr-defined]
        return made

    def __init__(cls, *_: Any) -> None:
        pass

    def use(cls, *_: Any, **__: Any) -> Missing:
        needs(cls.whole)
        return cls

    __call__ = __getitem__ = __or__ = __ror__ = __lt__ = __gt__ = __le__ = __ge__ = use
    __contains__ = __enter__ = __exit__ = __subclasscheck__ = __instancecheck__ = use
    __add__ = __sub__ = __mul__ = __floordiv__ = __truediv__ = use
    __radd__ = __rsub__ = __rmul__ = __rfloordiv__ = __rtruediv__ = use

    def __iter__(cls) -> Iterator[Any]:
        needs(cls.whole)
        return iter(())

    def __len__(cls) -> int:
        needs(cls.whole)
        return 0

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return known(f"{cls.whole}.{name}")

    @staticmethod
    def ask(made: Any, name: str) -> Any:
        whole = f"{type(made).whole}.{name}"
        if name.startswith("__"):
            raise AttributeError(name)
        needs(whole)
        return Missing(whole)


class Capability(NamedTuple):
    """vLLM's DeviceCapability."""

    major: int
    minor: int

    def to_int(self) -> int:
        return 10 * self.major + self.minor

    def as_version_str(self) -> str:
        return f"{self.major}.{self.minor}"


class Platform:
    """vLLM's platform of this machine's GPU; without one, of no certain one. What is asked
    beyond that is answered with no."""

    device_type = "cuda"
    device_name = "cuda"
    dispatch_key = "CUDA"

    def is_cuda(self) -> bool:
        return True

    is_cuda_alike = is_cuda

    def get_device_capability(self, device_id: int = 0) -> Capability | None:
        try:
            import torch
        except ImportError:
            return None
        if not torch.cuda.is_available():
            return None
        return Capability(*torch.cuda.get_device_capability(device_id))

    def _compare(self, asked: Any, compare: Callable[[int, int], bool]) -> bool:
        own = self.get_device_capability()
        if own is None:
            return False
        number = asked if isinstance(asked, int) else Capability(*asked).to_int()
        return compare(own.to_int(), number)

    def has_device_capability(self, asked: Any, device_id: int = 0) -> bool:
        return self._compare(asked, lambda own, least: own >= least)

    def is_device_capability(self, asked: Any, device_id: int = 0) -> bool:
        return self._compare(asked, lambda own, same: own == same)

    def is_device_capability_family(self, asked: int, device_id: int = 0) -> bool:
        return self._compare(asked, lambda own, of: own // 10 == of // 10)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if name.startswith(("is_", "has_", "support", "use_", "can_")):
            return lambda *_, **__: False
        return Missing(f"vllm.platforms.current_platform.{name}")


def compute_swa_of_kernel(
    swa_indices: Any,
    swa_indices_stride: int,
    swa_lens: Any,
    window_size: int,
    index_width: int,
    left_visible: Any,
    right_visible: Any,
    query_start_loc: Any,
    seq_lens: Any,
    token_to_req_indices: Any,
    is_valid_token: Any,
    block_table: Any,
    block_table_stride: int,
    block_size: int,
    replay_start: Any,
    token_offset: int,
    HAS_IMAGE: bool,
    num_tokens: int,
) -> None:
    """``compute_swa_indices_and_lens`` with the arguments of the kernel inside of vLLM's."""
    vllm.compute_swa_indices_and_lens(
        swa_indices, swa_lens, window_size, index_width, left_visible, right_visible,
        query_start_loc, seq_lens, token_to_req_indices, is_valid_token, block_table, block_size,
        replay_start, num_tokens=num_tokens, token_offset=token_offset, has_image=HAS_IMAGE,
    )  # fmt: skip


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
    "_compute_swa_indices_and_lens_kernel": Launched(compute_swa_of_kernel),
    "current_platform": Platform(),
    "DeviceCapability": Capability,
    "cdiv": lambda a, b: -(-a // b),
}

#: Of what the tests are about without asking nsa for anything, or of how vLLM's kernel is
#: launched, which nsa's is not.
NOT_APPLICABLE = {
    "test_prepare_dcp_local_seq_lens_uses_shared_buffer": "replaces vLLM's kernel by a mock",
    "test_triton_convert_rejects_req_id_longer_than_token_indices": (
        "asks for an assertion; requests of more tokens than there are rows are not read here"
    ),
    **dict.fromkeys(
        (
            "test_combine_topk_swa_with_image_spans[cfg1]",
            "test_combine_topk_swa_without_image_unchanged[cfg1]",
        ),
        "chooses tokens past the workspace's rows, which are -1 here as in V4.1's function",
    ),
}


def known(name: str) -> Any:
    """What stands for ``vllm.NAME``."""
    last = name.rpartition(".")[2]
    return KNOWN[last] if last in KNOWN else Missing(name)


def add_own() -> None:
    """vLLM's own, from its wheel, of what tests call nsa's functions through: the class whose
    methods some of them are, with these, batches, and what builds a prefill chunk, around
    nsa's. None without torch or the wheel."""
    sys.path.append(str(WHEEL.parents[1] / "benchmarks"))
    try:
        from vllm_peer import load_vllm

        peer = load_vllm(WHEEL)
    except (FileNotFoundError, ImportError) as error:
        print(f"without what is vLLM's own: {error}")
        return
    # Tests are to find the modules of this file.
    for name in [name for name in sys.modules if name.partition(".")[0] == "vllm"]:
        del sys.modules[name]
    methods = {
        "gather_block_tables": vllm.gather_block_tables,
        "compute_slot_mappings": vllm.compute_slot_mappings,
    }
    KNOWN["BlockTables"] = type("BlockTables", (peer.block_table.BlockTables,), methods)
    KNOWN["InputBatch"] = peer.input_batch.InputBatch
    KNOWN["InputBuffers"] = peer.input_batch.InputBuffers


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
            return known(f"{spec.name}.{name}")

        module.__getattr__ = attribute  # type: ignore[method-assign]
        return module

    def exec_module(self, module: ModuleType) -> None:
        pass


class Plugin:
    """What vLLM's conftest.py would give, without doing anything, and reasons to skip."""

    @pytest.fixture
    def default_vllm_config(self) -> None:
        pass

    dist_init = workspace_init = default_vllm_config

    @pytest.fixture
    def vllm_runner(self) -> None:
        needs("vllm_runner")

    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        for item in items:
            if reason := NOT_APPLICABLE.get(item.name):
                item.add_marker(pytest.mark.skip(reason))

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item: Any) -> Any:
        try:
            return (yield)
        except (AttributeError, ModuleNotFoundError) as error:
            # Operators that vLLM registers with torch, and packages that it depends on.
            missing = getattr(error, "name", None)
            if "_OpNamespace" in str(error) or missing in ("flashinfer", "flashinfer.decode"):
                pytest.skip(f"needs what vLLM installs: {error}")
            raise


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
    add_own()
    sys.meta_path.insert(0, Replaced())
    # The checkout's own configuration, and its conftest.py, are for all of vLLM.
    options = ["-c", "/dev/null", "--noconftest", "--import-mode=importlib", "-rs"]
    return int(
        pytest.main([*options, "-p", "no:cacheprovider", *rest, *files], plugins=[Plugin()])
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
