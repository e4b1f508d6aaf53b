# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Guards: wrong accesses are skipped, and `Step.check` tells of them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from guards_cases import LOAD, RECORDS, STORE, STORE_ROW, TEXT, Lengths, unchecked

import nsa
import nsa.build as nb
from nsa import simt

pytestmark = pytest.mark.skipif(not nsa.has_compiler(), reason="built without the compiler")


def make(target: str, folder: Path, text: str = TEXT, **options: bool) -> nsa.Step:
    """A step with guards whose launcher checks no sizes."""
    module = nsa.compile(text, target=target, guards=True, **options)
    (step,) = module.values()
    if target == "simt":
        return simt.simulate(nsa.Step(unchecked(step.manifest), step.ptx))
    module.save(folder)
    file = folder / f"{step.name}.json"
    file.write_text(unchecked(file.read_text()))
    return nsa.load(folder)[step.name]


@pytest.fixture(scope="module", params=["cpu", "simt"])
def step(request, tmp_path_factory):
    return make(request.param, tmp_path_factory.mktemp("bundle"))


def run(step: nsa.Step, case: Lengths) -> nsa.AccessError | None:
    step(**case.arguments())
    case.check_outputs()
    try:
        step.check()
    except nsa.AccessError as error:
        return error
    return None


@pytest.mark.parametrize("n", [0, 1, 3, 4, 5, 127, 128, 129, 1000])
def test_right_accesses(step, n):
    assert run(step, Lengths(n, rows=n % 7)) is None


@pytest.mark.parametrize(
    ("n", "given", "room", "rows", "row_room"),
    [
        (5, 4, 5, 0, 0),
        (5, 5, 4, 0, 0),
        (1, 1, 0, 0, 0),
        (1, 0, 1, 0, 0),
        (9, 5, 7, 3, 2),
        (130, 129, 127, 2, 0),
        (300, 299, 300, 5, 4),
    ],
)
def test_wrong_accesses(step, n, given, room, rows, row_room):
    case = Lengths(n, given, room, rows, row_room)
    error = run(step, case)
    assert error is not None
    case.check_report(error)
    # Told of once.
    step.check()


def test_the_first_is_the_message(step):
    error = run(step, Lengths(9, room=8))
    assert error is not None and error.count == 1
    where = "on the host" if not step.simulates else ", block 0, thread 2"
    assert str(error).replace(" on the host", "on the host") == (
        "step 'lengths': nsa.copy at <string>:6:3 stores to argument 'lens' at index 8 of "
        f"dimension 0, whose size is 8, in kernel 'lengths'{where}; the store was skipped"
    )
    assert (error.argument, error.kind, error.index, error.bound) == ("lens", "store", 8, 8)
    assert (error.block is None) == (not step.simulates)


def test_blocks_and_threads(step):
    """Of each access those that would have done it."""
    error = run(step, Lengths(1000, given=960))
    assert error is not None and error.count == 40
    threads = {(access.block, access.thread) for access in error.accesses}
    if not step.simulates:
        assert threads == {(None, None)}
    else:
        # Four elements a thread.
        assert len(threads) == 10
        width = json.loads(step.manifest)["kernels"][0]["threads"]
        places = {block * width + thread for block, thread in threads}
        assert max(places) - min(places) == 9


def test_more_than_there_are_records(step):
    case = Lengths(1000, given=10)
    error = run(step, case)
    assert error is not None
    assert error.count == 990 and len(error.accesses) == RECORDS
    assert str(error).endswith("; 989 more were wrong")
    case.check_report(error)
    step.check()


def test_two_launches(step):
    """Both are in one report, and what came before a check is in no later one."""
    case = Lengths(10, given=8)
    bound = step.bind(**case.arguments())
    bound.launch()
    bound.launch()
    with pytest.raises(nsa.AccessError) as caught:
        step.check()
    assert caught.value.count == 4
    case.check_report(caught.value, launches=2)
    assert run(step, Lengths(10, room=4)).accesses[0][:4] == STORE
    assert run(step, Lengths(1, rows=3, row_room=2)).accesses[0][:4] == STORE_ROW
    assert run(step, Lengths(2, given=1)).accesses[0][:4] == LOAD


@pytest.mark.parametrize("fuse", [False, True])
def test_kernels(tmp_path, fuse):
    """Of several launches the one that it was."""
    step = make("cpu", tmp_path, fuse=fuse)
    assert len(step.kernels) == (1 if fuse else 2)
    error = run(step, Lengths(4, rows=2, row_room=1))
    assert error is not None and error.kernel == step.kernels[-1]


@nb.step
def added(s):
    n = s.size("n")
    a, b = s.input("a", "int32", (n,)), s.input("b", "int32", (n,))
    s.output("x", s.map(n, lambda r: a[r] + b[r]))


@pytest.mark.parametrize("target", ["cpu", "simt"])
def test_reads_of_formulas(tmp_path, target):
    """The read that it was, in the Python file that wrote it."""
    module = nsa.compile(added.print(locations=True), target=target, guards=True)
    step = module["added"]
    if target == "simt":
        step = simt.simulate(nsa.Step(unchecked(step.manifest), step.ptx))
    else:
        module.save(tmp_path)
        file = tmp_path / "added.json"
        file.write_text(unchecked(file.read_text()))
        step = nsa.load(tmp_path)["added"]
    a, b, x = np.arange(8, dtype=np.int32), np.full(5, 100, np.int32), np.zeros(8, np.int32)
    step(n=8, a=a, b=b, x=x)
    # What is not there is 0.
    assert x.tolist() == [100, 101, 102, 103, 104, 5, 6, 7]
    with pytest.raises(nsa.AccessError) as caught:
        step.check()
    error = caught.value
    lines = Path(__file__).read_text().splitlines()
    number = next(i for i, line in enumerate(lines, 1) if "a[r] + b[r]" in line)
    assert error.count == 3
    assert {access.index for access in error.accesses} == {5, 6, 7}
    assert (error.op, error.argument, error.bound) == ("nsa.read", "b", 5)
    file, line, _ = error.location.rsplit(":", 2)
    assert file.endswith("test_guards.py") and int(line) == number


CACHED = """
nsa.step @cached(in %n : index, in %ids[%n] : tensor<?xi32>, in %cache : tensor<?x?xi8>,
                 out %rows : memref<?x128xbf16>) {
  %row = nsa.dequant_paged %cache[%ids] layout #nsa.kv_layout<indexer> page_size 4
       : tensor<?x?xi8>, tensor<?xi32> -> tensor<?x128xbf16>
  nsa.copy %row to %rows : tensor<?x128xbf16> to memref<?x128xbf16>
}
"""


@pytest.mark.parametrize("target", ["cpu", "simt"])
def test_loads_of_a_cache(tmp_path, target):
    """Of pages that are too short, the operation that reads them."""
    step = make(target, tmp_path, CACHED)
    ids, rows = np.array([5], np.int32), np.zeros((1, 128), np.uint16)
    cache = np.full((2, 4 * (128 + 4)), 0x38, np.uint8)
    step(n=1, ids=ids, cache=cache, rows=rows)
    step.check()
    # The first half of the row, and no scale.
    step(n=1, ids=ids, cache=np.ascontiguousarray(cache[:, : 128 + 64]), rows=rows)
    with pytest.raises(nsa.AccessError) as caught:
        step.check()
    places = {access[:4] for access in caught.value.accesses}
    assert places == {("load", "nsa.dequant_paged", "<string>:4:10", "cache")}
    assert min(access.index for access in caught.value.accesses) >= 128 + 64


def test_steps_apart(tmp_path):
    """Steps of one text record apart."""
    other = TEXT.replace("@lengths", "@others")
    module = nsa.compile(TEXT + other, target="cpu", guards=True)
    module.save(tmp_path)
    for name in ("lengths", "others"):
        file = tmp_path / f"{name}.json"
        file.write_text(unchecked(file.read_text()))
    steps = nsa.load(tmp_path)
    case = Lengths(4, given=3)
    steps["lengths"](**case.arguments())
    steps["others"].check()
    with pytest.raises(nsa.AccessError, match="step 'lengths'"):
        steps["lengths"].check()
    module["lengths"].check()


@pytest.mark.parametrize("target", ["cpu", "simt", "cuda"])
def test_without_guards(target):
    step = nsa.compile(TEXT, target=target)["lengths"]
    with pytest.raises(ValueError, match=r"without guards.*--guards, in Python with guards=True"):
        step.check()
    assert "guards" not in json.loads(step.manifest)


def test_not_run_yet():
    for target in ("cpu", "simt", "cuda"):
        nsa.compile(TEXT, target=target, guards=True)["lengths"].check()


def test_attribute_of_a_step():
    text = TEXT.replace("memref<?x?xi32>) {", "memref<?x?xi32>) attributes {guards} {")
    nsa.compile(text, target="cpu")["lengths"].check()


def test_mixed_bundle(tmp_path):
    """PTX and a manifest of different compilations, where a record shows it."""
    step = nsa.compile(TEXT, target="simt", guards=True)["lengths"]
    manifest = json.loads(unchecked(step.manifest))
    manifest["guards"]["ops"] = manifest["guards"]["ops"][:1]
    mixed = simt.simulate(nsa.Step(json.dumps(manifest), step.ptx))
    mixed(**Lengths(4, given=3).arguments())
    with pytest.raises(ValueError, match="different compilations"):
        mixed.check()


def test_library_without_records(tmp_path):
    """A manifest of kernels with guards, beside kernels without."""
    nsa.compile(TEXT, target="cpu").save(tmp_path)
    file = tmp_path / "lengths.json"
    plain = json.loads(file.read_text())
    guarded = json.loads(nsa.compile(TEXT, target="cpu", guards=True)["lengths"].manifest)
    file.write_text(json.dumps({**plain, "guards": guarded["guards"]}))
    step = nsa.load(tmp_path)["lengths"]
    with pytest.raises(nsa.DriverError, match=r"no symbol 'lengths\.nsa_guards'"):
        step(**Lengths(4).arguments())
    step.check()  # nothing was run


def test_errors_are_plain_exceptions(step):
    import pickle

    error = run(step, Lengths(4, given=2))
    again = pickle.loads(pickle.dumps(error))
    assert str(again) == str(error) and again.accesses == error.accesses
    assert isinstance(error, RuntimeError)


def test_tables_of_operations():
    """Every operation of the dialect, with its place; a file's name may be any."""
    step = nsa.compile(TEXT, target="cuda", guards=True)["lengths"]
    ops = json.loads(step.manifest)["guards"]["ops"]
    places = {(entry["op"], entry["location"]) for entry in ops}
    assert {LOAD[1:3], STORE[1:3], STORE_ROW[1:3]} <= places


def test_the_process_goes_on(tmp_path):
    """A wrong access on the host used to end it."""
    script = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from pathlib import Path\n"
        "from test_guards import Lengths, make, run\n"
        "print(run(make('cpu', Path(sys.argv[2])), Lengths(5, given=1)).count)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(Path(__file__).parent), str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "4"


def test_hostile_sizes(step):
    """Random shortages, everything at once."""
    random = np.random.default_rng(0)
    for _ in range(20):
        n, rows = int(random.integers(1, 200)), int(random.integers(0, 9))
        given, room = random.integers(0, n, 2, endpoint=True)
        case = Lengths(n, int(given), int(room), rows, int(random.integers(0, rows + 1)))
        error = run(step, case)
        if error is None:
            assert case.given == n == case.room and case.row_room == rows
        else:
            case.check_report(error)
