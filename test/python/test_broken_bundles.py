# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Bundles that are cut, changed, of something else or of a later version: an error that names the
file, and never more than that."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path

import numpy as np
import pytest

import nsa
from conftest import MANIFEST
from exchange import HERE

TEXT = HERE.parent.parent / "examples/runtime/lengths.mlir"


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not nsa.has_compiler():
        pytest.skip("built without the compiler")
    folder = tmp_path_factory.mktemp("saved")
    nsa.compile(TEXT, "cuda").save(folder)
    nsa.compile(TEXT, "cpu").save(folder)
    return folder


@pytest.fixture
def bundle(saved: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(saved, tmp_path / "bundle"))


def lengths(size: int) -> list[int]:
    return sorted({*range(0, size, max(size // 60, 1)), size - 1})


def test_cut_manifests(bundle: Path) -> None:
    (path,) = bundle.glob("*.json")
    text = path.read_bytes().rstrip()
    for length in lengths(len(text)):
        path.write_bytes(text[:length])
        with pytest.raises(ValueError, match="manifest: malformed JSON") as info:
            nsa.load(bundle)
        assert path.name in str(info.value)


def test_changed_manifests(bundle: Path) -> None:
    """Any byte may be any other: it loads, or a ValueError or OSError says why not."""
    (path,) = bundle.glob("*.json")
    text = path.read_bytes()
    rng = random.Random(7)
    failures = 0
    for _ in range(1500):
        changed = bytearray(text)
        for _ in range(rng.randint(1, 3)):
            changed[rng.randrange(len(text))] = rng.choice(b'\x00\xff"{}[],:0-9ae\\ \n')
        path.write_bytes(changed)
        try:
            nsa.load(bundle)
        except (ValueError, OSError) as error:
            failures += 1
            assert str(bundle) in str(error)
    assert 500 < failures < 1500


def test_later_versions_and_other_files(bundle: Path) -> None:
    (path,) = bundle.glob("*.json")
    later = {**json.loads(path.read_text()), "schema": 2, "arguments": "of another kind"}
    path.write_text(json.dumps(later))
    with pytest.raises(ValueError, match="expected 1 but got 2: this runtime does not know that"):
        nsa.load(bundle)
    for foreign in ("[]", "{}", '{"name": "other"}', "7"):
        path.write_text(foreign)
        with pytest.raises(OSError, match="expected a bundle but it has no NAME.json"):
            nsa.load(bundle)
        (bundle / "other.json").write_text(json.dumps({**MANIFEST, "ptx": None}))
        assert list(nsa.load(bundle)) == [MANIFEST["step"]]
        (bundle / "other.json").unlink()
    path.unlink()
    path.mkdir()
    with pytest.raises(OSError):
        nsa.load(bundle)


def test_missing_and_named_elsewhere(bundle: Path) -> None:
    (path,) = bundle.glob("*.json")
    manifest = json.loads(path.read_text())
    for name in ("missing.ptx", "../x.ptx", "/etc/passwd", ""):
        path.write_text(json.dumps({**manifest, "ptx": name}))
        with pytest.raises((OSError, ValueError), match=str(bundle)):
            nsa.load(bundle)


def test_cut_libraries(bundle: Path) -> None:
    """What is no whole library is none: the step loads for GPUs, and says why it has no host
    kernels where it is called."""
    (path,) = bundle.glob("*.so")
    library = path.read_bytes()
    arrays = {
        "seq_lens": np.array([3, 5], np.int64),
        **{f"b{n}_lens": np.zeros(2, np.int32) for n in range(2)},
        "b0_cu": np.zeros(3, np.int32),
    }
    for length in lengths(len(library))[::4]:
        path.unlink()
        path.write_bytes(library[:length])
        (step,) = nsa.load(bundle).values()
        assert not step.runs_on_host
        with pytest.raises(nsa.DriverError, match="host kernels cannot be loaded"):
            step(**arrays)
    path.unlink()
    path.write_bytes(library)
    (step,) = nsa.load(bundle).values()
    step(**arrays)
    assert arrays["b0_cu"].tolist() == [0, 3, 8]
