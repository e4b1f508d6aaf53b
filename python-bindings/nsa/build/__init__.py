# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Steps written as Python expressions.

    import nsa.build as nb

    @nb.step
    def window(s):
        n = s.size("n")
        lens = s.input("lens", "int32", (n,))
        pool = s.input("pool", "int64", (n,))
        r2t = s.input("req_to_token", "int32", (None, None))
        ids = s.map((n, 128), lambda r, c: r2t[pool[r], lens[r] - 1 - c].otherwise(-1))
        s.output("ids", ids)

    print(window.text)                        # what is compiled: the nsa dialect
    window.compile("cpu")(lens=..., pool=..., req_to_token=..., ids=...)

The function is called once, with a ``Builder``; what it writes is an ``nsa.step``. A
formula, such as the lambda, is called once, too, with an index for each size of its map,
and the operators on it and on elements that it reads become the body of ``nsa.map``. So
there is no Python ``if`` on an element (``nb.where`` is for that), and a Python loop is
written out.

**Types.** ``bool``, ``int8``, ``int16``, ``int32``, ``int64``, ``float32``, ``bfloat16``
(moved and converted only), and ``index``, that of indices and sizes, which has 64 bits.

- A Python number takes the type of the other operand, and has to fit it; where there is
  none, an integer is int32, a float float32. ``nb.constant(1, "int64")`` states a type, and
  so does a NumPy scalar.
- Two integers meet in the wider one; an index with any integer in an index; a bool with an
  integer in that one, as 1 or 0; bfloat16 with float32 in float32. Integers and floats do
  not meet: ``.astype`` says how.
- An element of a map is kept in its own type, an index as int64.

**Values.** Every operation has one, whatever arrays hold. Sums and products wrap. ``//``
and ``%`` round down, as in Python, and by 0 give 0, as in NumPy; the smallest number ``//
-1`` is itself. Shifts by the width or more give 0, or the sign for ``>>``. ``/`` is for
float32, in IEEE arithmetic; from float to integer saturates, NaN gives 0.

**Errors.** ``BuildError``, a ``CompileError``, says what is wrong at which line of Python,
and what to write instead; what the compiler finds names the line as well.
"""

from ._arrays import Array, Expansion
from ._builder import Builder, step
from ._elements import Element, ceildiv, constant, maximum, minimum, where
from ._places import BuildError
from ._sizes import Size

__all__ = [
    "Array",
    "BuildError",
    "Builder",
    "Element",
    "Expansion",
    "Size",
    "ceildiv",
    "constant",
    "maximum",
    "minimum",
    "step",
    "where",
]
