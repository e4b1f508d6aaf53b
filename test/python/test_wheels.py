# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The wheels: built for every Python that there is, and tried where there is nothing else, in
bare environments of each and on a Debian without a compiler and LLVM.

What takes time waits for the network or for compilers: scripts/test.sh runs this file beside
all others.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import nsa

ROOT = Path(__file__).resolve().parents[2]
# The package is not resolved: its files are links to the sources.
BUILD = Path(nsa.__file__).parents[2]
PYTHONS = ("3.10", "3.11", "3.12", "3.13")
OWN = f"{sys.version_info.major}.{sys.version_info.minor}"
MIRROR = os.environ.get("DEBIAN_MIRROR", "http://deb.debian.org/debian")

pytestmark = pytest.mark.skipif(
    not (BUILD / "python/nsa/bundles/compiler.json").exists() or not nsa.has_compiler(),
    reason="no bundles that this build has made",
)


def find_python(version: str) -> str | None:
    """As scripts/wheels.sh does; a name may be there without its Python."""
    installed = sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin/python"))
    for name in (f"python{version}", *map(str, installed)):
        if (
            shutil.which(name)
            and subprocess.run([name, "-c", "import venv"], capture_output=True).returncode == 0
        ):
            return name
    return None


def has_index(folder: Path) -> bool:
    """Whether pip finds what a build for another Python than ours needs."""
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--retries", "1"]
    command = [*pip, "download", "--quiet", "--no-deps", "--dest", folder, "nanobind==2.12.0"]
    return subprocess.run(command, capture_output=True).returncode == 0


def why_no_debian(folder: Path) -> str | None:
    if os.geteuid() != 0:
        return "mmdebstrap, mounts and chroot need root"
    if not shutil.which("mmdebstrap"):
        return "no mmdebstrap"
    if subprocess.run(["unshare", "--mount", "true"], capture_output=True).returncode != 0:
        return "no right to mount"
    # By apt's own client, which knows of proxies.
    release = f"{MIRROR}/dists/bookworm/InRelease"
    command = ["/usr/lib/apt/apt-helper", "-oAcquire::Retries=0", "-oAcquire::http::Timeout=10"]
    command += ["download-file", release, str(folder / "InRelease")]
    if subprocess.run(command, capture_output=True).returncode != 0:
        return f"no network: {MIRROR} does not answer"
    return None


class Debian:
    """A root that is made while wheels are built."""

    def __init__(self, folder: Path) -> None:
        self.root, self.log = folder / "debian", folder / "log"
        self.missing = why_no_debian(folder)
        self.making: subprocess.Popen[bytes] | None = None
        if self.missing is None:
            with self.log.open("wb") as log:
                self.making = subprocess.Popen(
                    [*self.command(), "--only-root"], stdout=log, stderr=subprocess.STDOUT
                )

    def command(self) -> list[str]:
        return [str(ROOT / "scripts/try_on_debian.sh"), "--root", str(self.root)]

    def wait(self) -> None:
        if self.missing is not None:
            pytest.skip(self.missing)
        assert self.making is not None
        assert self.making.wait(900) == 0, self.log.read_text()


@pytest.fixture(scope="module")
def debian(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Debian]:
    made = Debian(tmp_path_factory.mktemp("debian"))
    yield made
    if made.making is not None:
        made.making.terminate()
        made.making.wait()
        # pytest keeps folders of three runs.
        shutil.rmtree(made.root, ignore_errors=True)


class Wheels:
    def __init__(self, folder: Path) -> None:
        self.folder = folder / "wheels"
        self.pythons = {version: find_python(version) for version in PYTHONS}
        self.missing = "no such Python"
        if not has_index(folder):
            own = self.pythons.get(OWN)
            self.pythons = {OWN: own}
            self.missing = "no network: pip finds no nanobind"
        names = [name for name in self.pythons.values() if name]
        run = subprocess.run(
            [ROOT / "scripts/wheels.sh", "--build", BUILD, "--out", self.folder, *names],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=1500,
        )
        self.status, self.output = run.returncode, run.stdout


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory, debian: Debian) -> Wheels:
    built = Wheels(tmp_path_factory.mktemp("wheels"))
    assert built.status == 0, built.output
    return built


def check_tried(output: str, version: str, tools: str) -> None:
    """What scripts/try_wheel.py says, and this only after all of its checks."""
    said = (
        f"cpython-{version.replace('.', '')}, without the compiler: replays on the host and "
        f"python -m nsa ({tools}) are right; argument 'out_total': expected shape[0] to be at "
        "least 1 but got 0"
    )
    assert said in output.splitlines(), output


@pytest.mark.parametrize("version", PYTHONS)
def test_bare_environment(wheels: Wheels, version: str) -> None:
    if not wheels.pythons.get(version):
        pytest.skip(f"Python {version}: {wheels.missing}")
    minor = int(version[2:])
    tag = f"cp3{minor}-cp3{minor}" if minor < 12 else "cp312-abi3"
    (wheel,) = wheels.folder.glob(f"nsa-*-{tag}-*.whl")
    # Ubuntu 22.04 has glibc 2.35.
    glibc = re.search(r"-manylinux_2_(\d+)_x86_64\.whl$", wheel.name)
    assert glibc and int(glibc[1]) <= 35, wheel.name
    # An environment that nothing was installed into has no NumPy to run steps with.
    check_tried(wheels.output, version, "info, list, inspect")


def test_debian(wheels: Wheels, debian: Debian) -> None:
    debian.wait()
    names = list(wheels.folder.glob("nsa-*-cp311-*.whl"))
    if not names:
        pytest.skip("no wheel for the Python of Debian 12, 3.11")
    run = subprocess.run(
        [*debian.command(), *names],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=600,
    )
    assert run.returncode == 0, run.stdout
    assert run.stdout.startswith("Debian GNU/Linux 12 (bookworm), ldd (Debian GLIBC 2.36"), (
        run.stdout
    )
    check_tried(run.stdout, "3.11", "info, list, inspect")
    check_tried(run.stdout, "3.11", "info, list, inspect, run")
    assert f"tried: {names[0].name}" in run.stdout
