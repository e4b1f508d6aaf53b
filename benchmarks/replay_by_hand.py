# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The decode replay of three backends as somebody would write it for nothing else.

A mark to measure nsa's kernel by: the same work in one launch, in CUDA C, for contiguous fields
and an aligned table, with the page size and top-k as constants and no index checked. Compiled
by nvrtc.
"""

from __future__ import annotations

import functools
import sys

import torch
from dependent_chain import Kernels
from replay_modes import BACKENDS, PAGE_SIZE, TOPK
from replay_workload import Buffers

THREADS, COLUMNS = 128, 512
#: In the order of the parameters, of each backend.
FIELDS = (
    "cache_seqlens",
    "cu_seqlens_k",
    "nsa_cache_seqlens",
    "nsa_cu_seqlens_k",
    "page_table_1",
    "real_page_table",
)


def source() -> str:
    """The kernel, with a parameter for each field of each backend."""
    names = [[f"b{backend}_{field}" for field in FIELDS] for backend in range(BACKENDS)]
    parameters = ", ".join(f"int *{name}" for backend in names for name in backend)

    def each(field: int, place: str, value: str) -> str:
        return " ".join(f"{backend[field]}[{place}] = {value};" for backend in names)

    tables = " ".join(f"*(int4 *)({backend[4]} + at) = value;" for backend in names)
    return f"""
extern "C" __global__ void __launch_bounds__({THREADS})
decode_by_hand(const long long *__restrict__ seq_lens, const long long *__restrict__ pool,
               const int *__restrict__ tokens, long long token_stride, long long bs_,
               long long max_len_, {parameters}) {{
  int bs = bs_, max_len = max_len_, thread = threadIdx.x;
  if (blockIdx.x == 0) {{
    // Lengths and their sums: a scan of a warp, then of the four warps.
    __shared__ int warps[2][2][4];
    int sum = 0, clipped_sum = 0, half = 0;
    for (int first = 0; first < bs; first += {THREADS}, half ^= 1) {{
      int row = first + thread, lane = thread % 32, warp = thread / 32;
      int length = row < bs ? (int)seq_lens[row] : 0;
      int clipped = min(length, {TOPK});
      int a = length, b = clipped;
      for (int step = 1; step < 32; step *= 2) {{
        int c = __shfl_up_sync(~0u, a, step), d = __shfl_up_sync(~0u, b, step);
        if (lane >= step)
          a += c, b += d;
      }}
      if (lane == 31)
        warps[half][0][warp] = a, warps[half][1][warp] = b;
      __syncthreads();
      int before = sum + a - length, clipped_before = clipped_sum + b - clipped;
      for (int other = 0; other < 4; ++other) {{
        int c = warps[half][0][other], d = warps[half][1][other];
        if (other < warp)
          before += c, clipped_before += d;
        sum += c, clipped_sum += d;
      }}
      if (row < bs) {{
        {each(0, "row", "length")}
        {each(1, "row", "before")}
        {each(2, "row", "clipped")}
        {each(3, "row", "clipped_before")}
      }}
    }}
    if (thread == 0) {{
      {each(1, "bs", "sum")}
      {each(3, "bs", "clipped_sum")}
    }}
    return;
  }}
  unsigned tiles = (max_len + {COLUMNS - 1}) / {COLUMNS}, block = blockIdx.x - 1;
  int row = block / tiles, column = (block % tiles) * {COLUMNS} + 4 * thread;
  if (column >= max_len)
    return;
  int4 value = *(const int4 *)(tokens + pool[row] * token_stride + column);
  long long at = (long long)row * max_len + column;
  {tables}
  if (column % {PAGE_SIZE} == 0) {{
    long long page = (long long)row * ((max_len + {PAGE_SIZE - 1}) / {PAGE_SIZE}) + column / {PAGE_SIZE};
    {each(5, "page", f"value.x / {PAGE_SIZE}")}
  }}
}}
"""


@functools.cache
def kernels() -> Kernels:
    chip = "{}{}".format(*torch.cuda.get_device_capability())
    return Kernels(source(), ["decode_by_hand"], chip)


def is_available() -> bool:
    """Whether nvrtc is here; says so if it is not."""
    try:
        kernels()
    except OSError as error:
        print(f"no kernel by hand: {error}", file=sys.stderr)
        return False
    return True


def launch(buffers: Buffers) -> None:
    bs, max_len = buffers.shape.bs, buffers.shape.max_len
    arguments = [
        buffers.seq_lens.data_ptr(),
        buffers.pool.data_ptr(),
        buffers.table.data_ptr(),
        buffers.table.stride(0),
        bs,
        max_len,
    ]
    for fields in buffers.backends:
        arguments += [fields[name].data_ptr() for name in FIELDS]
    blocks = 1 + bs * -(-max_len // COLUMNS)
    stream = torch.cuda.current_stream().cuda_stream
    kernels().launch("decode_by_hand", blocks, THREADS, arguments, stream, False)
