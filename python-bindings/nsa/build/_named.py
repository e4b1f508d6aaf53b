# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The dialect's named operations as methods. docs/Dialect.md has their formulas, and what
each requires; the compiler checks that, and names the line."""

from __future__ import annotations

from typing import Any

from ..layouts import KVLayout, parse
from ._arrays import Array, Expansion, tensor
from ._places import BuildError
from ._ports import Ports
from ._sizes import Extent, Size, check_extent
from ._types import BFLOAT16, INT32, Type

__all__ = ["NamedOps"]

#: Rows of indices are padded to a multiple of it.
_ROW_OF_INDICES = 128


class NamedOps(Ports):
    """The named operations; in all of them `name` is that of the value in the text."""

    def _check(self, **operands: Any) -> None:
        for name, operand in operands.items():
            if operand is not None:
                self._check_array(operand, repr(name))

    def _named(
        self,
        kind: str,
        operands: str,
        sources: tuple[Array, ...],
        extents: tuple[Extent, ...],
        name: str | None,
        *,
        type: Type = INT32,
        states_result: bool = True,
    ) -> Array:
        """``nsa.<kind> <operands> : types of sources -> type of the result``."""
        types = ", ".join(source.text for source in sources)
        result = f" -> {tensor(extents, type)}" if states_result else ""
        return self._array(kind, f" {operands} : {types}{result}", type, extents, name)

    # ------------------------------------------------------------------------
    # Lengths
    # ------------------------------------------------------------------------

    def seqlens(self, source: Array, plus: int = 0, *, name: str | None = None) -> Array:
        """``int32(source[b]) + plus`` (``nsa.seqlens``).

        Parameters
        ----------
        source : Array
            [n], int32 or int64.
        plus : int
        """
        self._check(source=source)
        return self._named(
            "seqlens", f"{source.name} plus {_int(plus)}", (source,), source.extents, name
        )

    def clip_seqlens(self, source: Array, limit: int, *, name: str | None = None) -> Array:
        """``min(source[r], limit)`` (``nsa.clip_seqlens``).

        Parameters
        ----------
        source : Array
            [n], int32.
        limit : int
            0 or more.
        """
        self._check(source=source)
        return self._named(
            "clip_seqlens",
            f"{source.name} to {_int(limit)}",
            (source,),
            source.extents,
            name,
            states_result=False,
        )

    def cu_seqlens(self, source: Array, *, name: str | None = None) -> Array:
        """0, then the inclusive sums (``nsa.cu_seqlens``).

        Parameters
        ----------
        source : Array
            [n], int32.
        """
        self._check(source=source)
        extents = tuple(None if x is None else x + 1 for x in source.extents)
        return self._named("cu_seqlens", source.name, (source,), extents, name)

    def context_lens(self, source: Array, columns: int, *, name: str | None = None) -> Array:
        """``source[b]`` in each of a few columns (``nsa.context_lens``).

        Parameters
        ----------
        source : Array
            [n], int32.
        columns : int
            1 or more.
        """
        self._check(source=source)
        return self._named(
            "context_lens",
            f"{source.name} columns {_int(columns)}",
            (source,),
            (*source.extents, _int(columns)),
            name,
        )

    # ------------------------------------------------------------------------
    # Page tables
    # ------------------------------------------------------------------------

    def page_table(
        self,
        table: Array,
        rows: Array,
        columns: int | Size,
        live: Array | None = None,
        *,
        name: str | None = None,
    ) -> Array:
        """``table[rows[b], c]``, 0 outside (``nsa.page_table``).

        Parameters
        ----------
        table : Array
            [any, any], int32, an input.
        rows : Array
            [n], int32 or int64.
        columns : int or Size
        live : Array, optional
            [n], int32: columns from it on may keep what a destination has.
        """
        self._check(table=table, rows=rows, live=live)
        extents = (rows.extents[0], check_extent(columns, "columns"))
        words = f"{table.name}[{rows.name}] columns {self._constant_or_size(columns)}"
        if live is not None:
            words += f" live {live.name} : {live.text}"
        return self._named("page_table", words, (table, rows), extents, name)

    def _constant_or_size(self, size: int | Size) -> str:
        return self.name_size(size) if isinstance(size, Size) else str(_int(size))

    def real_page_table(
        self, source: Array, page_size: int, *, name: str | None = None
    ) -> Array:
        """``source[r, j * page_size] // page_size`` (``nsa.real_page_table``).

        Parameters
        ----------
        source : Array
            [n, columns], int32.
        page_size : int
            In tokens, 1 or more.
        """
        self._check(source=source)
        rows, columns = _table(source)
        if isinstance(columns, int):
            columns = -(-columns // _int(page_size, 1))
        elif isinstance(columns, Size):
            columns = columns._ceildiv(_int(page_size, 1))
        return self._named(
            "real_page_table",
            f"{source.name} page_size {_int(page_size)}",
            (source,),
            (rows, columns),
            name,
        )

    # ------------------------------------------------------------------------
    # Expansion
    # ------------------------------------------------------------------------

    def expansion(
        self,
        by: int | Array,
        bound: Size | None = None,
        *,
        padded: bool = False,
        name: str | None = None,
    ) -> Expansion:
        """How many rows each request takes (``nsa.expansion``).

        Parameters
        ----------
        by : int or Array
            For all, or for each: [n], int32 or int64.
        bound : Size, optional
            A size port: the most rows. An array needs it.
        padded : bool
            Rows up to the bound are defined.
        """
        is_ragged = isinstance(by, Array)
        if is_ragged:
            self._check(by=by)
        words = by.name if isinstance(by, Array) else str(_int(by))
        if bound is not None:
            words += f" {'padded to' if padded else 'within'} {self.name_size(bound)}"
        elif padded or is_ragged:
            raise BuildError("expected a bound of the rows, a size port")
        if isinstance(by, Array):
            words += f" : {by.text}"
        text = f"nsa.expansion by {words}"
        made: Expansion | None = self._values.get(text)
        if made is None:
            ssa = self._define("expansion", text, name)
            made = self._values[text] = Expansion(self, ssa, by, bound)
        return made

    def _check_expansion(self, expansion: Any) -> None:
        if not isinstance(expansion, Expansion) or expansion.step is not self:
            raise BuildError(
                f"expected an expansion, which s.expansion makes, but got {expansion!r}"
            )

    def expand_seqlens(
        self, kind: str, source: Array, expansion: Expansion, *, name: str | None = None
    ) -> Array:
        """A length for each row of each request (``nsa.expand_seqlens``).

        Parameters
        ----------
        kind : str
            causal, broadcast or following.
        source : Array
            [n], int32.
        expansion : Expansion
        """
        self._check(source=source)
        self._check_expansion(expansion)
        if kind not in ("causal", "broadcast", "following"):
            raise BuildError(f"expected causal, broadcast or following but got {kind!r}")
        extents = (expansion.rows(source.extents[0]),)
        words = f"{kind} {source.name} over {expansion.name}"
        return self._named("expand_seqlens", words, (source,), extents, name)

    def expand_rows(
        self, source: Array, expansion: Expansion, *, name: str | None = None
    ) -> Array:
        """A table with the row of each request repeated (``nsa.expand_rows``).

        Parameters
        ----------
        source : Array
            [n, columns], int32.
        expansion : Expansion
        """
        self._check(source=source)
        self._check_expansion(expansion)
        rows, columns = _table(source)
        words = f"{source.name} over {expansion.name}"
        return self._named(
            "expand_rows", words, (source,), (expansion.rows(rows), columns), name
        )

    def total_rows(self, expansion: Expansion, *, name: str | None = None) -> Array:
        """The number of rows, [1] (``nsa.total_rows``).

        Parameters
        ----------
        expansion : Expansion
            By an array.
        """
        self._check_expansion(expansion)
        return self._array(
            "total_rows", f" {expansion.name} : tensor<1xi32>", INT32, (1,), name
        )

    # ------------------------------------------------------------------------
    # Gathers
    # ------------------------------------------------------------------------

    def lookup(self, table: Array, indices: Array, *, name: str | None = None) -> Array:
        """``int32(table[indices[i]])``, 0 outside (``nsa.lookup``).

        Parameters
        ----------
        table : Array
            [any], int32 or int64, an input.
        indices : Array
            [n], int32.
        """
        self._check(table=table, indices=indices)
        words = f"{table.name}[{indices.name}]"
        return self._named(
            "lookup", words, (table, indices), indices.extents, name, states_result=False
        )

    def dequant_paged(
        self,
        cache: Array,
        ids: Array,
        layout: str | KVLayout,
        page_size: int,
        *,
        name: str | None = None,
    ) -> Array:
        """Rows of a paged, quantised cache as bfloat16 (``nsa.dequant_paged``).

        Parameters
        ----------
        cache : Array
            [pages, bytes], int8, an input.
        ids : Array
            [n], int32 or int64: tokens.
        layout : str or KVLayout
            As in ``nsa.layouts``.
        page_size : int
            In tokens.
        """
        self._check(cache=cache, ids=ids)
        parsed = parse(layout)
        return self._named(
            "dequant_paged",
            f"{cache.name}[{ids.name}] layout {parsed} page_size {_int(page_size)}",
            (cache, ids),
            (ids.extents[0], parsed.row),
            name,
            type=BFLOAT16,
        )

    # ------------------------------------------------------------------------
    # Sparse prefill
    # ------------------------------------------------------------------------

    def window_lens(
        self, lengths: Array, extends: Array, window: int, *, name: str | None = None
    ) -> Array:
        """How many tokens the windows of a request's queries span
        (``nsa.window_lens``).

        Parameters
        ----------
        lengths, extends : Array
            [n], int32.
        window : int
            In tokens.
        """
        return self._windows("window_lens", lengths, extends, window, name)

    def window_starts(
        self, lengths: Array, extends: Array, window: int, *, name: str | None = None
    ) -> Array:
        """The first token of those; arguments as in ``window_lens``
        (``nsa.window_starts``)."""
        return self._windows("window_starts", lengths, extends, window, name)

    def _windows(
        self, kind: str, lengths: Array, extends: Array, window: int, name: str | None
    ) -> Array:
        self._check(lengths=lengths, extends=extends)
        words = f"{lengths.name}, {extends.name} window {_int(window)}"
        return self._named(
            kind, words, (lengths, extends), lengths.extents, name, states_result=False
        )

    def token_ranges(
        self,
        table: Array,
        rows: Array,
        starts: Array,
        expansion: Expansion,
        *,
        name: str | None = None,
    ) -> Array:
        """``table[rows[b], starts[b] + i]`` for row ``i`` of each request, 0 outside
        (``nsa.token_ranges``).

        Parameters
        ----------
        table : Array
            [any, any], int32, an input.
        rows : Array
            [n], int32 or int64.
        starts : Array
            [n], int32.
        expansion : Expansion
        """
        self._check(table=table, rows=rows, starts=starts)
        self._check_expansion(expansion)
        words = f"{table.name}[{rows.name}] from {starts.name} over {expansion.name}"
        extents = (expansion.rows(rows.extents[0]),)
        return self._named("token_ranges", words, (table, rows, starts), extents, name)

    def compressed_bases(
        self, requests: Size, stride: int | Size, *, name: str | None = None
    ) -> Array:
        """``b * stride`` (``nsa.compressed_bases``).

        Parameters
        ----------
        requests : Size
        stride : int or Size
        """
        extents = (requests,)
        words = f" {self.name_size(requests)} stride {self.name_size(stride)}"
        text = f"{words} : {tensor(extents, INT32)}"
        return self._array("compressed_bases", text, INT32, extents, name)

    def window_bases(
        self, offsets: Array, first: int | Size, *, name: str | None = None
    ) -> Array:
        """``first + offsets[b]`` (``nsa.window_bases``).

        Parameters
        ----------
        offsets : Array
            [n + 1], what ``cu_seqlens`` made.
        first : int or Size
        """
        self._check(offsets=offsets)
        words = f"{offsets.name} from {self.name_size(first)}"
        return self._named("window_bases", words, (offsets,), _less_one(offsets), name)

    def query_rows(self, end: str, query_start_loc: Array, *, name: str | None = None) -> Array:
        """The row of each request's first or last query, -1 without one
        (``nsa.query_rows``).

        Parameters
        ----------
        end : str
            first or last.
        query_start_loc : Array
            [n + 1], int32, an input.
        """
        self._check(query_start_loc=query_start_loc)
        if end not in ("first", "last"):
            raise BuildError(f"expected first or last but got {end!r}")
        words = f"{end} {query_start_loc.name}"
        return self._named(
            "query_rows", words, (query_start_loc,), _less_one(query_start_loc), name
        )

    def compressed_ids(
        self,
        table: Array,
        rows: Array,
        columns: Size,
        page_size: int,
        *,
        name: str | None = None,
    ) -> Array:
        """The ids of each request's compressed tokens (``nsa.compressed_ids``).

        Parameters
        ----------
        table : Array
            [any, any], int32, an input.
        rows : Array
            [n], int32.
        columns : Size
        page_size : int
            In compressed tokens.
        """
        self._check(table=table, rows=rows)
        words = (
            f"{table.name}[{rows.name}] columns {self.name_size(columns)}"
            f" page_size {_int(page_size)}"
        )
        extents = (rows.extents[0], columns if isinstance(columns, Size) else None)
        return self._named("compressed_ids", words, (table, rows), extents, name)

    def combine_indices(
        self,
        topk: int | Size,
        queries: Size,
        query_start_loc: Array,
        lengths: Array,
        gathers: Array,
        compressed_bases: Array,
        window_bases: Array,
        *,
        ratio: int,
        window: int,
        topk_indices: Array | None = None,
        positions: Array | None = None,
        name: str | None = None,
    ) -> Array:
        """The workspace rows that each query attends to (``nsa.combine_indices``).

        Parameters
        ----------
        topk : int or Size
            The most compressed rows.
        queries : Size
        query_start_loc : Array
            [n + 1], int32, an input.
        lengths, gathers, compressed_bases, window_bases : Array
            [n], int32.
        ratio, window : int
            In tokens.
        topk_indices : Array, optional
            [queries, topk], int32, an input: else the first ones.
        positions : Array, optional
            [queries], int32, an input.
        """
        self._check(
            topk_indices=topk_indices,
            gathers=gathers,
            compressed_bases=compressed_bases,
            window_bases=window_bases,
        )
        of = "" if topk_indices is None else f" of {topk_indices.name} : {topk_indices.text}"
        queried = self._queried(topk, of, queries, query_start_loc, lengths, positions)
        width: Extent = None
        if isinstance(topk, int):
            width = -(-(topk + _int(window)) // _ROW_OF_INDICES) * _ROW_OF_INDICES
        return self._named(
            "combine_indices",
            f"{queried} gathers {gathers.name} bases {compressed_bases.name},"
            f" {window_bases.name} ratio {_int(ratio)} window {_int(window)}",
            (query_start_loc, lengths, gathers, compressed_bases, window_bases),
            (queries, width),
            name,
        )

    def combine_lens(
        self,
        topk: int | Size,
        queries: Size,
        query_start_loc: Array,
        lengths: Array,
        *,
        ratio: int,
        window: int,
        positions: Array | None = None,
        name: str | None = None,
    ) -> Array:
        """How many workspace rows each query attends to; arguments as in
        ``combine_indices`` (``nsa.combine_lens``)."""
        queried = self._queried(topk, "", queries, query_start_loc, lengths, positions)
        words = f"{queried} ratio {_int(ratio)} window {_int(window)}"
        return self._named("combine_lens", words, (query_start_loc, lengths), (queries,), name)

    def _queried(
        self,
        topk: int | Size,
        of: str,
        queries: Size,
        query_start_loc: Array,
        lengths: Array,
        positions: Array | None,
    ) -> str:
        self._check(query_start_loc=query_start_loc, lengths=lengths, positions=positions)
        at = query_start_loc.name
        if positions is not None:
            at += f" positions {positions.name} : {positions.text}"
        return (
            f"topk {self._constant_or_size(topk)}{of} queries {self.name_size(queries)}"
            f" at {at} lengths {lengths.name}"
        )


def _int(value: Any, least: int | None = None) -> int:
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise BuildError(f"expected a Python integer but got {value!r}")
    number = int(value.__index__())
    if least is not None and number < least:
        raise BuildError(f"expected {least} or more but got {number}")
    return number


def _table(source: Array) -> tuple[Extent, Extent]:
    if len(source.extents) != 2:
        raise BuildError(f"expected a table but got {source.text}")
    rows, columns = source.shape
    return rows, columns


def _less_one(source: Array) -> tuple[Extent, ...]:
    """One element less."""
    return tuple(None if extent is None else extent - 1 for extent in source.extents)
