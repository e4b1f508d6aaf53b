# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""SGLang's dequantisations of a paged cache.

Up to some release both were called ``dequantize_k_cache_paged``, in modules of their
own; later ones are told apart by a suffix. All three names are here.
"""

from __future__ import annotations

from functools import cache

from .. import layouts, ops
from .._errors import constant, wrong

__all__ = [
    "dequantize_k_cache_paged",
    "dequantize_k_cache_paged_dsa",
    "dequantize_k_cache_paged_dsv4",
]

# SGLang's names of layouts that have none here.
_V4_LAYOUTS = {
    "v41_new": "data_bytes = 528, fields = [e4m3[512] at 0], "
    "scales = ue8m0[16] at 512 per 32 inline, page_multiple = 528",
}


@cache
def _inline_layout(row_bytes: int, group: int) -> layouts.KVLayout:
    """n e4m3, n / group float32 scales, then 64 or no bf16: what row has that size."""
    for rope in (64, 0):
        nope, rest = divmod((row_bytes - 2 * rope) * group, group + 4)
        if rest == 0 and nope > 0 and nope % group == 0:
            fields = [layouts.Run("e4m3", nope, 0)]
            if rope:
                fields.append(layouts.Run("bf16", rope, row_bytes - 2 * rope))
            scales = layouts.Run("f32", nope // group, nope)
            return layouts.KVLayout(row_bytes, tuple(fields), scales, group)
    raise ValueError(f"Unsupported packed DSA KV row width: {row_bytes}")


def dequantize_k_cache_paged_dsa(
    quant_k_cache, page_table_1_flattened, group_size: int = 128
):
    """Rows of a cache with inline scales (DeepSeek V3.2), as [tokens, 1, row] bfloat16.

    `quant_k_cache`: [tokens, 1, bytes] or [pages, page size, 1, bytes], contiguous,
    float8_e4m3fn or uint8. `page_table_1_flattened`: [tokens], int32 or int64 token ids.
    """
    import torch

    row_bytes = quant_k_cache.shape[-1]
    layout = _inline_layout(row_bytes, constant("group_size", group_size, 1))
    rows = quant_k_cache.view(-1, row_bytes).view(torch.uint8)
    ids = page_table_1_flattened
    out = torch.empty(
        (ids.shape[0], 1, layout.row), dtype=torch.bfloat16, device=rows.device
    )
    # Tokens follow each other without gaps, so each is a page.
    ops.dequantize_k_cache_paged(rows, ids, out[:, 0], layout, page_size=1)
    return out


def dequantize_k_cache_paged_dsv4(
    quant_k_cache, page_table_1_flattened, page_size: int, out=None, layout="v4"
):
    """Rows of a DeepSeek V4 cache, as [tokens, 1, 512] bfloat16.

    `quant_k_cache`: [pages, ...], the bytes of a page in any dtype, each page
    contiguous. `page_table_1_flattened`: [tokens], int32 or int64 token ids. `out`: where
    to write, possibly rows of a workspace; a new tensor by default. `layout`: SGLang's
    ``KVLayout`` or its name, v4, v41 or v41_new.
    """
    import torch

    name = str(getattr(layout, "value", layout)).lower()
    if name not in ("v4", "v41") and name not in _V4_LAYOUTS:
        raise wrong(ValueError, "layout", f"{name!r} is not supported")
    pages = quant_k_cache.view(torch.uint8)
    if pages.dim() != 2:
        pages = pages.flatten(1)
    ids = page_table_1_flattened
    if ids.dtype not in (torch.int32, torch.int64):
        raise RuntimeError(
            "argument 'page_table_1_flattened': must have dtype int32 or int64 but has "
            f"{ids.dtype}"
        )
    shape = (ids.shape[0], 1, layouts.parse(_V4_LAYOUTS.get(name, name)).row)
    if out is None:
        out = torch.empty(shape, dtype=torch.bfloat16, device=pages.device)
    elif tuple(out.shape) != shape or out.dtype != torch.bfloat16:
        raise RuntimeError(
            f"argument 'out': must have shape {shape} and dtype bfloat16 but has "
            f"{tuple(out.shape)} and {out.dtype}"
        )
    text = _V4_LAYOUTS.get(name, name)
    ops.dequantize_k_cache_paged(pages, ids, out[:, 0], text, page_size=page_size)
    return out


def dequantize_k_cache_paged(
    quant_k_cache, page_table_1_flattened, *arguments, **options
):
    """Either of the two, as SGLang's modules once shared the name: the one for V4 if a
    page size is given by name, or as third argument with a cache that is not float8."""
    import torch

    is_v4 = "page_size" in options or (
        bool(arguments) and quant_k_cache.dtype != torch.float8_e4m3fn
    )
    function = dequantize_k_cache_paged_dsv4 if is_v4 else dequantize_k_cache_paged_dsa
    return function(quant_k_cache, page_table_1_flattened, *arguments, **options)
