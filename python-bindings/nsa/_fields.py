# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Sets of fields as formulas: a step has what the fields that are asked for need."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

from . import _cache
from . import build as nb
from ._arguments import check_rank, dtype_name
from ._cache import get_step
from ._errors import wrong
from ._nsa_runtime import Caller


class Fields:
    """Fields in the making: methods `make_<field>`, called once, when one is asked for.

    Inputs and sizes are declared as they are needed.
    """

    def __init__(self, name: str, dtypes: Mapping[str, str]) -> None:
        self.name, self.dtypes = name, dtypes
        self.s = nb.Builder(name)
        self.known: dict[str, nb.Array] = {}
        self.sizes: dict[str, nb.Size] = {}
        self.inputs: dict[str, nb.Array] = {}

    def size(self, name: str) -> nb.Size:
        if name not in self.sizes:
            self.sizes[name] = self.s.size(name)
        return self.sizes[name]

    def number(self, known: int | None, name: str) -> Any:
        """A constant of the step, or, if it is None, a number that a launch says, int32."""
        return self.size(name).astype("int32") if known is None else known

    def vector(self, name: str, size: str | None, dtype: str = "") -> nb.Array:
        if name not in self.inputs:
            extent = None if size is None else self.size(size)
            self.inputs[name] = self.s.input(
                name, dtype or self.dtypes.get(name, "int64"), (extent,)
            )
        return self.inputs[name]

    def table(self, name: str) -> nb.Array:
        if name not in self.inputs:
            self.inputs[name] = self.s.input(name, "int32", (None, None))
        return self.inputs[name]

    def value(self, name: str, make: Callable[[], nb.Array]) -> nb.Array:
        if name not in self.known:
            self.known[name] = make()
        return self.known[name]

    def field(self, name: str) -> nb.Array:
        """Raises ``ValueError`` for no field."""
        make = getattr(self, f"make_{name}", None)
        if make is None:
            raise wrong(ValueError, "dst", f"{name!r} is no field of {self.name}")
        return self.value(name, make)

    # Requests.

    @property
    def lens(self) -> nb.Array:
        return self.vector("seq_lens", "bs")

    @property
    def pool(self) -> nb.Array:
        return self.vector("req_pool_indices", "bs")

    @property
    def tokens(self) -> nb.Array:
        return self.table("req_to_token")

    # Ragged rows.

    def extends(self) -> nb.Array:
        """The rows of each request, from 0 to all that there is room for."""
        given, rows = self.vector("extend_seq_lens", "bs"), self.size("rows")

        def clamp(b: nb.Element) -> nb.Element:
            return nb.maximum(nb.minimum(given[b], rows), 0)

        return self.value("extends", lambda: self.s.map(self.size("bs"), clamp, dtype="int32"))

    def offsets(self) -> nb.Array:
        extends = self.extends()
        return self.value("offsets", lambda: self.s.scan(extends))

    def is_row(self, r: nb.Element) -> nb.Element:
        """Whether a ragged row is one, and no padding."""
        total = self.offsets()[self.size("bs")]
        return (r < total) & (r < self.size("num_tokens"))


class Runner:
    """A step of some fields and constants: which arrays it takes, and what runs it.

    Parameters
    ----------
    write : callable
        Returns the ``Fields`` of a step, complete, given the dtypes of its inputs.
    outputs : iterable of str
        Ports that are written.
    sizes : tuple of str
        As a call gives them.
    shapes : mapping of str to (sequence of str, int)
        Sizes that calls may leave out: the arrays that say them, and in which dimension; the
        smallest one counts.
    shared : callable, optional
        As `write`, of a step with more ports, all of its outputs optional: what is run where
        the other can be neither found nor compiled.
    needed : collection of str, optional
        Sizes that calls have to say; others are 0 where they do not.
    """

    def __init__(
        self,
        write: Callable[[Mapping[str, str]], Fields],
        outputs: Iterable[str],
        sizes: tuple[str, ...],
        shapes: Mapping[str, tuple[Sequence[str], int]],
        shared: Callable[[Mapping[str, str]], Fields] | None = None,
        needed: Collection[str] | None = None,
    ) -> None:
        self.write, self.shapes, self.needed = write, shapes, needed
        # Which ports there are depends on no dtype.
        fields, outputs = write({}), tuple(outputs)
        self.inputs = tuple(fields.inputs)
        self.arrays = (*self.inputs, *outputs)
        self.caller = Caller(self.prepare, self.arrays, sizes)
        self.shared: Runner | None = None
        if shared is not None:
            self.shared = Runner(shared, outputs, sizes, shapes, needed=tuple(fields.sizes))

    def prepare(self, target: str, described: Any) -> Any:
        """The step for arrays like these, and the sizes that they say."""
        dtypes, extents = {}, {}
        for name, (code, bits, shape) in zip(self.arrays, described):
            dtypes[name] = dtype_name(code, bits)
            extents[name] = shape
        sizes = {}
        for size, (names, dim) in self.shapes.items():
            for name in names:
                if name not in extents:
                    continue
                if dim == 0 and name in self.inputs:
                    check_rank(name, extents[name], 1)
                if dim < len(extents[name]):
                    extent = extents[name][dim]
                    sizes[size] = min(sizes.get(size, extent), extent)
        fields = self.write(dtypes)
        if self.needed is not None:
            for size in fields.sizes:
                if size not in self.needed:
                    sizes.setdefault(size, 0)
        return get_step(fields.name, fields.s.text, target), sizes

    def __call__(
        self,
        given: Mapping[str, Any],
        outputs: Iterable[Any],
        sizes: tuple[int | None, ...],
        stream: Any,
    ) -> None:
        """`given`: arrays by the names of inputs; those that no field needs may be None."""
        shared = self.shared
        if shared is None or any(given[name] is None for name in shared.inputs):
            self.run(given, outputs, sizes, stream)
            return
        _cache.run_or_shared(
            lambda: self,
            lambda: self.run(given, outputs, sizes, stream),
            lambda: shared.run(given, outputs, sizes, stream),
        )

    def run(
        self,
        given: Mapping[str, Any],
        outputs: Iterable[Any],
        sizes: tuple[int | None, ...],
        stream: Any,
    ) -> None:
        """The same, of the step itself."""
        arrays = []
        for name in self.inputs:
            if given[name] is None:
                raise wrong(TypeError, name, "missing, a field needs it")
            arrays.append(given[name])
        self.caller([*arrays, *outputs], sizes, stream)
