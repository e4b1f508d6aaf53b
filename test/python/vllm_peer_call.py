# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""A call with vLLM's own argument list."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
from vllm_draw import FILL

BLOCK = 64


@dataclass
class PeerCase:
    """A call of the function `name`, which writes the arguments `outs`, perhaps attributes of
    arguments, as in ``input_buffers.positions``."""

    name: str
    arguments: dict[str, Any]
    #: Given copies of the arguments, writes them by the reference and returns what the
    #: function returns.
    expect: Callable[[SimpleNamespace], Any]
    outs: tuple[str, ...] = ()


def new(*shape: int, dtype: Any = np.int32) -> np.ndarray:
    return np.full(shape, FILL, dtype)
