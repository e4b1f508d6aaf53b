# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""SGLang's metadata of DeepSeek V4, piece by piece, for torch tensors and for NumPy arrays.

They allocate what they return, and each is a launch. All pieces in one launch, in place:
``nsa.ops.replay_v4``.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from .. import ops
from .._errors import constant, wrong
from ._allocate import as_bytes, empty

__all__ = [
    "CompressorDecodePlan",
    "CompressorPrefillPlan",
    "build_causal_swa_page_indices",
    "build_page_table_positions",
]

_LIST_MULTIPLE = 64
_RATIOS = (4, 128)


class PageTablePositionsResult(NamedTuple):
    """Of ``build_page_table_positions``."""

    seq_lens_casual: Any
    positions_casual: Any
    page_table: Any
    swa_topk_lengths: Any


def build_page_table_positions(
    *,
    req_to_token: Any,
    req_pool_indices_repeated: Any,
    seq_lens_casual: Any,
    max_seq_len: int,
    page_size: int,
    swa_window: int,
) -> PageTablePositionsResult:
    """Lengths, positions, pages and window lengths of rows: SGLang's
    ``build_page_table_positions``.

    Returns int32 arrays; see ``nsa.ops.replay_v4``. Raises ``ValueError`` or ``TypeError``
    with the argument's name.
    """
    rows = len(seq_lens_casual)
    columns = -(-max_seq_len // constant("page_size", page_size, 1))
    vectors = [empty((rows,), seq_lens_casual) for _ in range(3)]
    lens, positions, windows = vectors
    result = PageTablePositionsResult(
        lens, positions, empty((rows, columns), seq_lens_casual), windows
    )
    ops.replay_v4(
        [result._asdict()],
        seq_lens=seq_lens_casual,
        req_pool_indices=req_pool_indices_repeated,
        req_to_token=req_to_token,
        max_len=max_seq_len,
        page_size=page_size,
        window=swa_window,
    )
    return result


def build_causal_swa_page_indices(
    *,
    req_to_token: Any,
    full_to_swa_mapping: Any,
    req_pool_indices_repeated: Any,
    seq_lens_casual: Any,
    swa_window: int,
    page_index_aligned_size: int,
    swa_replay_start: Any = None,
) -> Any:
    """The slots of each row's window, the newest first, -1 where it has none: SGLang's
    ``build_causal_swa_page_indices``.

    `page_index_aligned_size`: 64, to which the window is rounded up, or what rounds it to
    the same. Returns int32 [rows, columns]; see ``nsa.ops.replay_v4``. Raises
    ``ValueError`` or ``TypeError`` with the argument's name.
    """
    swa_window = constant("swa_window", swa_window, 1)
    aligned = constant("page_index_aligned_size", page_index_aligned_size, 1)
    columns = -(-swa_window // _LIST_MULTIPLE) * _LIST_MULTIPLE
    if -(-swa_window // aligned) * aligned != columns:
        text = f"expected {_LIST_MULTIPLE} for a window of {swa_window} but got {aligned}"
        raise wrong(ValueError, "page_index_aligned_size", text)
    indices = empty((len(seq_lens_casual), columns), seq_lens_casual)
    ops.replay_v4(
        [{"swa_page_indices": indices}],
        seq_lens=seq_lens_casual,
        req_pool_indices=req_pool_indices_repeated,
        req_to_token=req_to_token,
        full_to_swa=full_to_swa_mapping,
        window=swa_window,
        floors=swa_replay_start,
    )
    return indices


def _rings(compress_ratio: Any, ring_size: Any) -> tuple[int, int]:
    if compress_ratio not in _RATIOS:
        text = f"expected 4 or 128 but got {compress_ratio!r}"
        raise wrong(ValueError, "compress_ratio", text)
    size = constant("ring_size", ring_size, 1)
    return size, size


class CompressorDecodePlan(NamedTuple):
    """SGLang's plan of a decode: `plan_d`, [bs, 16] bytes."""

    compress_ratio: int
    plan_d: Any

    @staticmethod
    def generate(
        compress_ratio: int,
        req_pool_indices: Any,
        req_to_token: Any,
        full_to_state: Any,
        seq_lens: Any,
        swa_page_size: int,
        ring_size: int,
        use_req_ring: bool = False,
    ) -> CompressorDecodePlan:
        """See ``nsa.ops.replay_v4``. Raises ``ValueError`` or ``TypeError`` with the
        argument's name."""
        rings = _rings(compress_ratio, ring_size)
        plan = empty((len(seq_lens), 4), seq_lens)
        ops.replay_v4(
            [{f"c{compress_ratio}_plan_d": plan}],
            seq_lens=seq_lens,
            req_pool_indices=req_pool_indices,
            req_to_token=req_to_token,
            full_to_swa=full_to_state,
            rings=rings,
            swa_page_size=swa_page_size,
            request_ring=use_req_ring,
        )
        return CompressorDecodePlan(compress_ratio, as_bytes(plan))

    @property
    def is_decode(self) -> bool:
        return True


def _beside(other: Any, array: Any) -> Any:
    """A tensor on the device of another one."""
    if hasattr(array, "to") and array.device != getattr(other, "device", array.device):
        return array.to(other.device, non_blocking=True)
    return array


class CompressorPrefillPlan(NamedTuple):
    """SGLang's plan of an extend or a verification: `plan_c`, [tokens, 16] bytes, and
    `plan_w`, [tokens, 8] bytes."""

    compress_ratio: int
    plan_c: Any
    plan_w: Any
    pin_buffer: Any = None

    @staticmethod
    def generate(
        compress_ratio: int,
        req_pool_indices: Any,
        seq_lens: Any,
        extend_lens: Any,
        req_to_token: Any,
        full_to_state: Any,
        swa_page_size: int,
        ring_size: int,
        num_q_tokens: int,
        use_cuda_graph: bool = False,
        use_req_ring: bool = False,
    ) -> CompressorPrefillPlan:
        """All `num_q_tokens` rows, in the order of tokens, and then unused ones; nothing waits for
        the device, with `use_cuda_graph` or without. Tensors of lengths on the host are copied
        to it. See ``nsa.ops.replay_v4``. Raises ``ValueError`` or ``TypeError`` with the argument's
        name."""
        rings = _rings(compress_ratio, ring_size)
        seq_lens, extend_lens = (_beside(req_pool_indices, x) for x in (seq_lens, extend_lens))
        plan_c, plan_w = (empty((num_q_tokens, words), seq_lens) for words in (4, 2))
        ops.replay_v4(
            [{f"c{compress_ratio}_plan_c": plan_c, f"c{compress_ratio}_plan_w": plan_w}],
            "extend",
            seq_lens=seq_lens,
            extend_seq_lens=extend_lens,
            req_pool_indices=req_pool_indices,
            req_to_token=req_to_token,
            full_to_swa=full_to_state,
            rows=num_q_tokens,
            rings=rings,
            swa_page_size=swa_page_size,
            request_ring=use_req_ring,
        )
        return CompressorPrefillPlan(compress_ratio, as_bytes(plan_c), as_bytes(plan_w))

    @property
    def is_decode(self) -> bool:
        return False
