# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Arrays that a step reads and writes, element by element."""

import json

import numpy as np
import pytest
from inout_cases import SIZES, check, updated

import nsa
import nsa.build as nb

pytestmark = pytest.mark.skipif(not nsa.has_compiler(), reason="built without the compiler")


OPTIONS = [{}, {"fuse": False}, {"guards": True}]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("target", ["cpu", "simt"])
def test_updates(target, options):
    step = updated.compile(target, **options)
    for sizes in SIZES:
        check(step, *sizes, launches=2)
    if "guards" in options:
        step.check()


@nb.step
def counted(s):
    n = s.size("n")
    counts, others = s.inout("counts", "int32", (None,)), s.input("others", "int32", (n,))
    s.output(counts, s.map(n, lambda r: counts[r] + others[r]))


def test_said_of_the_argument():
    step = counted.compile("cpu")
    assert "inout int32[?]" in str(step.signature)
    (counts,) = (a for a in json.loads(step.manifest)["arguments"] if a["name"] == "counts")
    assert (counts["kind"], counts["access"]) == ("out", "inout")


def test_arrays_that_do_not_do():
    step = counted.compile("cpu")
    memory = np.zeros(8, np.int32)
    with pytest.raises(ValueError, match="counts.*overlaps 'others'"):
        step(n=4, counts=memory[:4], others=memory[:4])
    with pytest.raises(ValueError, match="counts.*at least 4 .*but got 3"):
        step(n=4, counts=memory[:3], others=memory[4:])
    fixed = np.zeros(4, np.int32)
    fixed.flags.writeable = False
    with pytest.raises((ValueError, BufferError), match="counts"):
        step(n=4, counts=fixed, others=memory[4:])
    assert not memory.any()


@pytest.mark.parametrize("access", ["in", "out", ""])
def test_another_access(tmp_path, access):
    nsa.compile(counted.text, "cpu").save(tmp_path)
    (path,) = tmp_path.glob("**/counted.json")
    text = path.read_text()
    path.write_text(text.replace('"access": "inout"', f'"access": "{access}"'))
    assert path.read_text() != text
    with pytest.raises(ValueError, match='expected "inout"'):
        nsa.load(tmp_path)


MISTAKES = {
    "expected the indices of the 'nsa.map' itself": lambda s, n, a: s.output(
        a, s.map(n, lambda r: a[r + 1].otherwise(0))
    ),
    "used nowhere else": lambda s, n, a: s.output("b", s.map(n, lambda r: a[r])),
    "which nothing writes": lambda s, n, a: s.output("b", s.map(n, lambda r: r.astype("int32"))),
}


@pytest.mark.parametrize("message", MISTAKES)
def test_what_the_compiler_refuses(message):
    s = nb.Builder("mistake")
    n = s.size("n")
    MISTAKES[message](s, n, s.inout("a", "int32", (None,)))
    with pytest.raises(nsa.CompileError, match=message):
        s.compile("cpu")


def test_what_the_builder_refuses():
    s = nb.Builder("mistake")
    n = s.size("n")
    a = s.inout("a", "int32", (None,))
    with pytest.raises(nb.BuildError, match="search"):
        a.search(3)
    with pytest.raises(nb.BuildError, match="which the step writes"):
        s.scan(a)
    with pytest.raises(nb.BuildError, match="at s.inout"):
        s.output(a, s.map(n, lambda r: a[r]), optional=True)
