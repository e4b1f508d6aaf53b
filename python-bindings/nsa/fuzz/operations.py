# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The operations of the dialect as data: slots, texts, types and values.

Values are written from the formulas of docs/Dialect.md alone, element by element where
that is clearer, and share no code with what they check.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from .. import layouts

__all__ = ["FORMS", "KINDS", "SKIPPED", "Array", "Form", "Rows", "Slot", "fits", "tensor"]

#: Elements of an array: known, whatever it is, and not written.
KNOWN, ANY, UNWRITTEN = 0, 1, 2


class Array(NamedTuple):
    """An array, and of each element whether it is known."""

    data: np.ndarray
    state: np.ndarray
    #: Elements less than none that its last computed size is: sums, of which there is
    #: one more, are none then, too.
    less: int = 0

    @classmethod
    def of(cls, data: Any, state: Any = None) -> Array:
        data = np.asarray(data)
        if state is None:
            state = np.zeros(data.shape, np.uint8)
        return cls(data, np.asarray(state, np.uint8))

    def like(self, data: np.ndarray) -> Array:
        """Each element from the one here."""
        return self._replace(data=data)


def wrap(values: Any) -> np.ndarray:
    """The low 32 bits of each, as a signed number."""
    return np.asarray(values, np.int64).astype(np.uint32).view(np.int32)


class Rows(NamedTuple):
    """An expansion: what `nsa.expansion` makes."""

    extend: Any  # an integer, or an array of them
    bound: int | None
    padded: bool

    def rows(self, requests: int) -> tuple[np.ndarray, np.ndarray, int]:
        """(request, index in it) of the rows that there are, and how many exist."""
        lengths = np.broadcast_to(np.asarray(self.extend, np.int64), (requests,))
        limit = 2**62 if self.bound is None else self.bound
        lengths = np.clip(lengths, 0, limit)
        ends = np.cumsum(lengths)
        request, index = [], []
        for b in range(requests):
            first = int(ends[b] - lengths[b])
            count = max(min(int(lengths[b]), limit - first), 0)
            request.append(np.full(count, b, np.int64))
            index.append(np.arange(count, dtype=np.int64))
        empty = [np.zeros(0, np.int64)]
        request_of = np.concatenate(empty + request)
        return (
            request_of,
            np.concatenate(empty + index),
            len(request_of) if self.bound is None else self.bound,
        )

    def fill(self, rows: np.ndarray, state: np.ndarray, total: int) -> Array:
        """`rows` with those that exist past them."""
        missing = total - len(rows)
        shape = (missing, *rows.shape[1:])
        past = np.full(shape, KNOWN if self.padded else UNWRITTEN, np.uint8)
        return Array(
            np.concatenate([rows, np.zeros(shape, rows.dtype)]),
            np.concatenate([state, past]),
        )


# ----------------------------------------------------------------------------
# Types
# ----------------------------------------------------------------------------


def dims(type: str) -> tuple[list[str], str]:
    """(sizes, element) of `tensor<?x4xi32>`."""
    *sizes, element = type[len("tensor<") : -1].split("x")
    return sizes, element


def tensor(sizes: list[Any], element: str = "i32") -> str:
    return f"tensor<{'x'.join(map(str, sizes))}x{element}>"


V, T = tensor("?"), tensor("??")
EXPANSION = "!nsa.expansion"

#: What fits into a slot: the types of a kind by (rank, elements).
KINDS: dict[str, tuple[int, tuple[str, ...]]] = {
    "vector": (1, ("i32",)),
    "indices": (1, ("i32", "i64")),
    "table": (2, ("i32",)),
    "bytes": (2, ("i8",)),
    "value": (0, ("i8", "i16", "i32", "i64", "bf16", "f32")),
    "numbers": (0, ("i32", "i64")),
}


def fits(kind: str, type: str) -> bool:
    if kind == "index" or type == "index":
        return kind == type
    if kind == "expansion" or type == EXPANSION:
        return kind == "expansion" and type == EXPANSION
    rank, elements = KINDS[kind]
    sizes, element = dims(type)
    return element in elements and rank in (0, len(sizes))


class Slot(NamedTuple):
    """An operand: what fits, and what is there when nothing else is said."""

    kind: str
    default: str


@dataclass(frozen=True)
class Form:
    """A way to write an operation."""

    name: str
    text: str
    slots: dict[str, Slot]
    type: Callable[..., str]
    value: Callable[..., Any]
    parameters: dict[str, tuple[Any, ...]] = field(default_factory=dict)

    @property
    def operation(self) -> str:
        return self.text.split()[0].removeprefix("nsa.")

    def write(self, words: dict[str, Any], parameters: dict[str, Any], result: str) -> str:
        return self.text.format(**words, **parameters, result=result)

    def infer(self, types: dict[str, str], parameters: dict[str, Any]) -> str:
        return self.type(**types, **parameters)

    def evaluate(self, operands: dict[str, Any], parameters: dict[str, Any]) -> Any:
        return self.value(**operands, **parameters)


#: Operations that are no value, and why they are no producer.
SKIPPED = {
    "iterate": "formulas.py draws it",
    "map": "formulas.py draws it",
    "read": "in formulas",
    "search": "in formulas",
    "yield": "in formulas",
    "copy": "every value is copied",
    "copy_metadata": "its operands are ports of set types, which no value has",
    "launch": "made by a pass",
    "segment": "made by a pass",
    "tile_sums": "made by a pass",
    "step": "around everything",
}


def same(name: str) -> Callable[..., str]:
    return lambda **types: tensor(dims(types[name])[0])


def less_one(name: str) -> Callable[..., str]:
    def infer(**types: Any) -> str:
        size = dims(types[name])[0][0]
        return tensor([size if size == "?" else int(size) - 1])

    return infer


# ----------------------------------------------------------------------------
# Values
# ----------------------------------------------------------------------------


def gather(table: Array, row: int, column: int) -> tuple[int, int]:
    rows, columns = table.data.shape
    if 0 <= row < rows and 0 <= column < columns:
        return int(table.data[row, column]), int(table.state[row, column])
    return 0, KNOWN


def count(size: int) -> int:
    return max(size, 0)


def seqlens(source: Array, plus: int) -> Array:
    return source.like(wrap(wrap(source.data).astype(np.int64) + plus))


def scan(source: Array, inclusive: bool) -> Array:
    """Sums along the last dimension."""
    if source.less and not inclusive:
        return Array.of(source.data)._replace(less=source.less - 1)
    with np.errstate(over="ignore"):
        sums = np.cumsum(source.data, -1, source.data.dtype)
    state = np.maximum.accumulate(source.state != KNOWN, -1)
    if inclusive:
        return Array.of(sums, state)._replace(less=source.less)
    first = (*source.data.shape[:-1], 1)
    return Array(
        np.concatenate([np.zeros(first, sums.dtype), sums], -1),
        np.concatenate([np.zeros(first, np.uint8), state], -1),
    )


def scan_type(source: str, inclusive: bool) -> str:
    sizes, element = dims(source)
    if not inclusive and sizes[-1] != "?":
        sizes[-1] = str(int(sizes[-1]) + 1)
    return tensor(sizes, element)


def reduce(source: Array, kind: str) -> Array:
    data, state = source.data, source.state
    if data.ndim == 1:
        data, state = data[None], state[None]
    info = np.iinfo(data.dtype)
    if kind == "add":
        result = np.sum(data, -1, data.dtype)
    elif kind == "max":
        result = np.max(data, -1, initial=info.min)
    else:
        result = np.min(data, -1, initial=info.max)
    return Array.of(result, (state != KNOWN).any(-1))


def reduce_type(source: str, **_: Any) -> str:
    sizes, element = dims(source)
    return tensor(sizes[:-1] or [1], element)


def clip_seqlens(source: Array, limit: int) -> Array:
    return source.like(np.minimum(source.data, np.int32(limit)))


def cu_seqlens(source: Array) -> Array:
    if source.less:
        return Array.of(np.zeros(0, np.int32))._replace(less=source.less - 1)
    sums = np.concatenate([[0], np.cumsum(source.data.astype(np.int64))])
    state = np.maximum.accumulate(np.concatenate([[KNOWN], source.state]))
    return Array.of(wrap(sums), state)


def page_table(
    req_to_token: Array, rows: Array, columns: int, live: Array | None = None
) -> Array:
    shape = (len(rows.data), count(columns))
    data, state = np.zeros(shape, np.int32), np.zeros(shape, np.uint8)
    for b, row in enumerate(rows.data.tolist()):
        if 0 <= row < req_to_token.data.shape[0]:
            width = min(shape[1], req_to_token.data.shape[1])
            data[b, :width] = req_to_token.data[row, :width]
            state[b, :width] = req_to_token.state[row, :width]
        state[b] = np.maximum(state[b], rows.state[b])
        if live is not None:
            state[b, count(int(live.data[b])) :] = ANY
            if live.state[b]:
                state[b] = ANY
    return Array(data, state, count(-columns))


def real_page_table(source: Array, page_size: int) -> Array:
    taken = source.data[:, ::page_size]
    return Array(
        np.floor_divide(taken, np.int32(page_size)),
        source.state[:, ::page_size],
        source.less // page_size,
    )


def context_lens(source: Array, columns: int) -> Array:
    return Array(
        np.repeat(source.data[:, None], columns, 1), np.repeat(source.state[:, None], columns, 1)
    )


def expansion(extend: Any = None, rows: int = 0, bound: int | None = None, padded=False):
    return Rows(rows if extend is None else extend.data, bound, padded)


def expand_seqlens(source: Array, expansion: Rows, kind: str) -> Array:
    request, index, total = expansion.rows(len(source.data))
    S = source.data[request].astype(np.int64)
    extend = np.broadcast_to(np.asarray(expansion.extend), source.data.shape)
    E = wrap(extend)[request].astype(np.int64)
    if kind == "causal":
        values = np.maximum(wrap(S - E + 1 + index), 0)
    else:
        values = wrap(S + 1 + index) if kind == "following" else S
    return expansion.fill(wrap(values), source.state[request], total)


def expand_rows(source: Array, expansion: Rows) -> Array:
    request, _, total = expansion.rows(len(source.data))
    return expansion.fill(source.data[request], source.state[request], total)


def total_rows(expansion: Rows) -> Array:
    return Array.of(wrap([len(expansion.rows(len(expansion.extend))[0])]))


def token_ranges(req_to_token: Array, rows: Array, starts: Array, expansion: Rows) -> Array:
    request, index, total = expansion.rows(len(rows.data))
    found = [
        gather(req_to_token, int(rows.data[b]), int(starts.data[b]) + i)
        for b, i in zip(request.tolist(), index.tolist())
    ]
    data = np.array([value for value, _ in found], np.int32)
    state = np.array([state for _, state in found], np.uint8)
    return expansion.fill(data, np.maximum(state, starts.state[request]), total)


def lookup(table: Array, indices: Array) -> Array:
    entries = len(table.data)
    data = [int(table.data[i]) if 0 <= i < entries else 0 for i in indices.data.tolist()]
    return Array(wrap(np.array(data, np.int64)), indices.state)


def window_lens(lengths: Array, extends: Array, window: int) -> Array:
    reach = wrap(extends.data.astype(np.int64) + window - 1)
    return Array(np.minimum(lengths.data, reach), np.maximum(lengths.state, extends.state))


def window_starts(lengths: Array, extends: Array, window: int) -> Array:
    spanned = window_lens(lengths, extends, window)
    return Array(wrap(lengths.data.astype(np.int64) - spanned.data), spanned.state)


def window_bases(offsets: Array, first: int) -> Array:
    return Array(wrap(offsets.data[:-1].astype(np.int64) + first), offsets.state[:-1])


def compressed_bases(requests: int, stride: int) -> Array:
    bases = wrap([b * stride % 2**32 for b in range(count(requests))])
    return Array.of(bases)._replace(less=count(-requests))


def local(query_start_loc: Array) -> list[int]:
    q = query_start_loc.data.astype(np.int64)
    return wrap(q - q[0]).tolist()


def query_rows(query_start_loc: Array, end: str) -> Array:
    q = local(query_start_loc)
    rows = [
        (q[b] if end == "first" else q[b + 1] - 1) if q[b] < q[b + 1] else -1
        for b in range(len(q) - 1)
    ]
    return Array.of(wrap(rows))


def compressed_ids(table: Array, rows: Array, columns: int, page_size: int) -> Array:
    shape = (len(rows.data), count(columns))
    data, state = np.zeros(shape, np.int32), np.zeros(shape, np.uint8)
    for b, row in enumerate(rows.data.tolist()):
        state[b] = rows.state[b]
        for j in range(shape[1]):
            column = j // page_size
            if 0 <= row < table.data.shape[0] and column < table.data.shape[1]:
                page = max(0, int(table.data[row, column]))
                data[b, j] = wrap(page * page_size + j % page_size)
    return Array(data, state, count(-columns))


def queries_of(query_start_loc, queries, query_pos, lengths, ratio, window, topk):
    """(t, request, pos + 1, k, w, state) of each query that has a request."""
    q = local(query_start_loc)
    for b in range(len(q) - 1):
        for t in range(max(q[b], 0), min(q[b + 1], queries)):
            pos = int(lengths.data[b]) - (q[b + 1] - q[b]) + (t - q[b])
            if query_pos is not None:
                pos = int(query_pos.data[t])
            end = int(wrap(pos + 1))
            k = min(max(end // ratio, 0), max(topk, 0))
            yield t, b, end, k, min(max(end, 0), window), int(lengths.state[b])


def combine_lens(
    queries, query_start_loc, lengths, ratio, window, topk, query_pos=None
) -> Array:
    result = Array.of(np.zeros(count(queries), np.int32))
    for t, _, _, k, w, state in queries_of(
        query_start_loc, queries, query_pos, lengths, ratio, window, topk
    ):
        result.data[t], result.state[t] = k + w, state
    return result._replace(less=count(-queries))


def combine_indices(
    queries, query_start_loc, lengths, gathers, compressed_bases, window_bases,
    ratio, window, topk, topk_indices=None, query_pos=None,
) -> Array:  # fmt: skip
    # Of a negative top-k as of any: there may be no columns at all.
    width = max(-(-(topk + window) // 128) * 128, 0)
    result = Array.of(np.full((count(queries), width), -1, np.int32))
    for t, b, end, k, w, state in queries_of(
        query_start_loc, queries, query_pos, lengths, ratio, window, topk
    ):
        chosen = np.arange(k, dtype=np.int64)
        if topk_indices is not None:
            # A port with extents of its own may end before the rows that are asked for.
            if t >= topk_indices.data.shape[0] or k > topk_indices.data.shape[1]:
                result.state[t] = ANY
                continue
            chosen = topk_indices.data[t, :k].astype(np.int64)
        rebased = wrap(chosen + int(compressed_bases.data[b]))
        result.data[t, :k] = np.where(chosen < 0, -1, rebased)
        first = int(window_bases.data[b]) + end - w
        first -= int(lengths.data[b]) - int(gathers.data[b])
        # With a negative top-k there may be fewer columns than a window has.
        here = max(min(w, width - k), 0)
        result.data[t, k : k + here] = wrap(first + np.arange(here, dtype=np.int64))
        others = (gathers.state[b], compressed_bases.state[b], window_bases.state[b])
        result.state[t] = max(state, *map(int, others))
    return result


def e4m3(byte: int) -> float:
    exponent, fraction, sign = (byte >> 3) & 15, byte & 7, -1.0 if byte & 128 else 1.0
    if byte & 127 == 127:
        return float("nan")
    if exponent == 0:
        return sign * fraction * 2.0**-9
    return sign * (8 + fraction) * 2.0 ** (exponent - 10)


E4M3 = np.array([e4m3(byte) for byte in range(256)], np.float32)
UE8M0 = np.array([2.0 ** (byte - 127) for byte in range(255)] + [np.nan], np.float32)
NAN = 0x7FC0


def bf16(values: np.ndarray) -> np.ndarray:
    """The bits, rounded to nearest even, with one payload for all NaN."""
    bits = values.astype(np.float32).view(np.uint32).astype(np.uint64)
    words = ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)
    return np.where(np.isnan(values), np.uint16(NAN), words)


def dequant_paged(cache: Array, ids: Array, layout: str, page_size: int) -> Array:
    layout_ = layouts.parse(layout)
    data = np.zeros((len(ids.data), layout_.row), np.uint16)
    raw = cache.data.view(np.uint8)
    if raw.shape[1] < page_size * (layout_.data_bytes + layout_.footer_bytes):
        # No kernel reads it: launchers would ask for more.
        return Array(data, np.full(data.shape, ANY, np.uint8))
    for t, token in enumerate(ids.data.tolist()):
        page, slot = divmod(token, page_size)
        if not 0 <= page < raw.shape[0]:
            continue
        at = slot * layout_.data_bytes
        row = raw[page, at : at + layout_.data_bytes]
        entry = row
        if layout_.footer_bytes:
            at = page_size * layout_.data_bytes + slot * layout_.footer_bytes
            entry = raw[page, at : at + layout_.footer_bytes]
        run = layout_.scales
        scales = entry[run.offset : run.offset + run.nbytes].copy()
        scale = scales.view(np.float32) if run.type == "f32" else UE8M0[scales]
        column = element = 0
        for part in layout_.fields:
            source = row[part.offset : part.offset + part.nbytes].copy()
            if part.type == "bf16":
                words = source.view(np.uint16)
            else:
                group = (element + np.arange(part.count)) // layout_.group
                with np.errstate(all="ignore"):
                    words = bf16(E4M3[source] * scale[group])
                element += part.count
            data[t, column : column + part.count] = words
            column += part.count
    return Array(data, np.repeat(ids.state[:, None], layout_.row, 1))


# ----------------------------------------------------------------------------
# Forms
# ----------------------------------------------------------------------------

VECTOR, INDICES = Slot("vector", "lens"), Slot("indices", "wide")
TABLE, INDEX = Slot("table", "tokens"), Slot("index", "columns")
EXPAND = Slot("expansion", "ragged")
STARTS, QUERIES = Slot("vector", "starts"), Slot("index", "queries")
LIMIT = Slot("index", "limit")
WINDOWS = {"ratio": (1, 4, 128), "window": (1, 7, 128)}
PAGE_SIZES = (1, 3, 64)
#: Elements of a row of the named layouts.
ROWS = {name: layouts.parse(name).row for name in ("v32", "v4", "v41", "indexer")}


def expanded(name: str, **_: Any) -> Callable[..., str]:
    """Rows of an expansion; of a static number, only where that follows."""

    def infer(**types: Any) -> str:
        return tensor(["?", *dims(types[name])[0][1:]])

    return infer


def _combine(name, positions, indices, topk):
    slots = {}
    if topk:
        slots["topk"] = LIMIT
    head = "{topk}"
    if indices:
        slots["topk_indices"] = Slot("table", "topk_indices")
        head += " of {topk_indices} : {topk_indices.type}"
    slots |= {"queries": QUERIES, "query_start_loc": STARTS}
    middle = " queries {queries} at {query_start_loc}"
    if positions:
        slots["query_pos"] = Slot("vector", "positions")
        middle += " positions {query_pos} : {query_pos.type}"
    slots["lengths"] = VECTOR
    middle += " lengths {lengths}"
    tail = ", {lengths.type}"
    if name == "combine_indices":
        slots |= {"gathers": Slot("vector", "more"), "compressed_bases": VECTOR}
        slots["window_bases"] = Slot("vector", "more")
        middle += " gathers {gathers} bases {compressed_bases}, {window_bases}"
        tail += ", {gathers.type}, {compressed_bases.type}, {window_bases.type}"
    text = (
        f"nsa.{name} topk {head}{middle} ratio {{ratio}} window {{window}}"
        f" : {{query_start_loc.type}}{tail} -> {{result}}"
    )
    parameters = dict(WINDOWS)
    if not topk:
        parameters["topk"] = (0, 9)

    def infer(*, window, topk, **types):
        if name == "combine_lens":
            return V
        # A size that is no constant is the name of its type here.
        return tensor(["?", "?" if topk == "index" else -(-(topk + window) // 128) * 128])

    label = f"{name}{'' if topk else '_constant'}{'_of' if indices else ''}"
    return Form(
        label + ("_positions" if positions else ""), text, slots, infer,
        combine_indices if name == "combine_indices" else combine_lens, parameters,
    )  # fmt: skip


def _page_table(constant, live):
    slots = {"req_to_token": TABLE, "rows": INDICES}
    slots |= {} if constant else {"columns": INDEX}
    slots |= {"live": VECTOR} if live else {}
    return Form(
        f"page_table{'_constant' if constant else ''}{'_live' if live else ''}",
        "nsa.page_table {req_to_token}[{rows}] columns {columns}"
        + (" live {live} : {live.type}" if live else "")
        + " : {req_to_token.type}, {rows.type} -> {result}",
        slots,
        lambda rows, columns, **_: tensor(
            [dims(rows)[0][0], "?" if columns == "index" else columns]
        ),
        page_table,
        {"columns": (0, 5, 64)} if constant else {},
    )


def _expansion(array, how):
    slots = {"extend": Slot("indices", "extend")} if array else {}
    slots |= {"bound": Slot("index", "bound")} if how else {}
    by = "{extend}" if array else "{rows}"
    bound = {"": "", "within": " within {bound}", "padded": " padded to {bound}"}[how]
    padded = how == "padded"

    def make(**operands):
        return expansion(**operands, padded=padded)

    return Form(
        f"expansion_{'array' if array else 'constant'}{'_' if how else ''}{how}",
        f"nsa.expansion by {by}{bound}" + (" : {extend.type}" if array else ""),
        slots,
        lambda **_: EXPANSION,
        make,
        {} if array else {"rows": (0, 1, 3)},
    )


FORMS: dict[str, Form] = {
    form.name: form
    for form in (
        Form(
            "seqlens", "nsa.seqlens {source} plus {plus} : {source.type} -> {result}",
            {"source": INDICES}, same("source"), seqlens,
            {"plus": (0, 4, -1, 2**31 - 1, -(2**31))},
        ),
        *(
            Form(
                f"scan{'_inclusive' * inclusive}",
                f"nsa.scan {'inclusive ' * inclusive}{{source}} : {{source.type}} -> {{result}}",
                {"source": Slot("numbers", "more")},
                lambda source, inclusive=inclusive: scan_type(source, inclusive),
                lambda source, inclusive=inclusive: scan(source, inclusive),
            )
            for inclusive in (False, True)
        ),
        *(
            Form(
                f"reduce_{kind}", f"nsa.reduce {kind} {{source}} : {{source.type}} -> {{result}}",
                {"source": Slot("numbers", "more")}, reduce_type,
                lambda source, kind=kind: reduce(source, kind),
            )
            for kind in ("add", "max", "min")
        ),
        Form(
            "clip_seqlens", "nsa.clip_seqlens {source} to {limit} : {source.type}",
            {"source": VECTOR}, same("source"), clip_seqlens,
            {"limit": (0, 5, 2048, 2**31 - 1)},
        ),
        Form(
            "cu_seqlens", "nsa.cu_seqlens {source} : {source.type} -> {result}",
            {"source": VECTOR},
            lambda source: tensor([n if n == "?" else int(n) + 1 for n in dims(source)[0]]),
            cu_seqlens,
        ),
        *(_page_table(constant, live) for constant in (False, True) for live in (False, True)),
        Form(
            "real_page_table",
            "nsa.real_page_table {source} page_size {page_size} : {source.type} -> {result}",
            {"source": TABLE},
            lambda source, page_size: tensor(
                [dims(source)[0][0],
                 *(n if n == "?" else -(-int(n) // page_size) for n in dims(source)[0][1:])]
            ),
            real_page_table, {"page_size": PAGE_SIZES},
        ),
        Form(
            "context_lens", "nsa.context_lens {source} columns {columns} : {source.type} -> {result}",
            {"source": VECTOR}, lambda source, columns: tensor([dims(source)[0][0], columns]),
            context_lens, {"columns": (1, 4)},
        ),
        *(_expansion(*of) for of in (
            (False, ""), (False, "padded"), (True, "within"), (True, "padded"))),
        *(
            Form(
                f"expand_seqlens_{kind}",
                f"nsa.expand_seqlens {kind} {{source}} over {{expansion}}"
                " : {source.type} -> {result}",
                {"source": VECTOR, "expansion": EXPAND}, expanded("source"),
                lambda kind=kind, **operands: expand_seqlens(**operands, kind=kind),
            )
            for kind in ("causal", "broadcast", "following")
        ),
        Form(
            "expand_rows", "nsa.expand_rows {source} over {expansion} : {source.type} -> {result}",
            {"source": TABLE, "expansion": EXPAND}, expanded("source"), expand_rows,
        ),
        Form(
            "total_rows", "nsa.total_rows {expansion} : {result}", {"expansion": EXPAND},
            lambda **_: "tensor<1xi32>", total_rows,
        ),
        Form(
            "token_ranges",
            "nsa.token_ranges {req_to_token}[{rows}] from {starts} over {expansion}"
            " : {req_to_token.type}, {rows.type}, {starts.type} -> {result}",
            {"req_to_token": TABLE, "rows": INDICES, "starts": VECTOR, "expansion": EXPAND},
            expanded("rows"), token_ranges,
        ),
        Form(
            "lookup", "nsa.lookup {table}[{indices}] : {table.type}, {indices.type}",
            {"table": Slot("indices", "map"), "indices": VECTOR}, same("indices"), lookup,
        ),
        *(
            Form(
                name, f"nsa.{name} {{lengths}}, {{extends}} window {{window}}"
                " : {lengths.type}, {extends.type}",
                {"lengths": VECTOR, "extends": Slot("vector", "more")}, same("lengths"), value,
                {"window": (1, 128, 2**31 - 1)},
            )
            for name, value in (("window_lens", window_lens), ("window_starts", window_starts))
        ),
        Form(
            "window_bases", "nsa.window_bases {offsets} from {first} : {offsets.type} -> {result}",
            {"offsets": Slot("vector", "sums"), "first": INDEX}, less_one("offsets"), window_bases,
        ),
        Form(
            "compressed_bases", "nsa.compressed_bases {requests} stride {stride} : {result}",
            {"requests": Slot("index", "bs"), "stride": INDEX}, lambda **_: V, compressed_bases,
        ),
        *(
            Form(
                f"query_rows_{end}",
                f"nsa.query_rows {end} {{query_start_loc}} : {{query_start_loc.type}} -> {{result}}",
                {"query_start_loc": STARTS}, less_one("query_start_loc"),
                lambda query_start_loc, end=end: query_rows(query_start_loc, end),
            )
            for end in ("first", "last")
        ),
        Form(
            "compressed_ids",
            "nsa.compressed_ids {table}[{rows}] columns {columns} page_size {page_size}"
            " : {table.type}, {rows.type} -> {result}",
            {"table": TABLE, "rows": VECTOR, "columns": INDEX},
            lambda rows, **_: tensor([dims(rows)[0][0], "?"]),
            compressed_ids, {"page_size": PAGE_SIZES},
        ),
        *(
            _combine("combine_indices", positions, indices, topk)
            for positions in (False, True) for indices in (False, True) for topk in (True, False)
        ),
        *(
            _combine("combine_lens", positions, False, topk)
            for positions in (False, True) for topk in (True, False)
        ),
        Form(
            "dequant_paged",
            "nsa.dequant_paged {cache}[{ids}] layout #nsa.kv_layout<{layout}> page_size {page_size}"
            " : {cache.type}, {ids.type} -> {result}",
            {"cache": Slot("bytes", "cache"), "ids": INDICES},
            lambda ids, layout, **_: tensor([dims(ids)[0][0], ROWS[layout]], "bf16"),
            dequant_paged, {"layout": tuple(ROWS), "page_size": (1, 4, 64)},
        ),
    )
}  # fmt: skip
