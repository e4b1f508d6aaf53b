# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Rows that ranks of context parallelism share: every `ranks`-th one is a rank's."""

from __future__ import annotations

from typing import Any

#: What the names of a rank's fields begin with.
RANK = "rank_"


def owned_before(position: Any, rank: Any, ranks: Any) -> Any:
    """How many of the numbers from 0 to `position`, exclusive, are `rank` modulo `ranks`."""
    return (position + ranks - 1 - rank) // ranks
