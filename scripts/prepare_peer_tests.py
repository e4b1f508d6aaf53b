# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Makes SGLang's tests run on nsa, without SGLang.

    prepare_peer_tests.py SOURCE DESTINATION
    python -m pytest DESTINATION

SOURCE: a folder of tests, or a checkout of SGLang, of which those below test/registered are
taken that need nothing but functions of nsa.compat.sglang. They are copied as they are; a
conftest.py beside them decides what their imports of `sglang` find (scripts/peer_imports.py),
files of .peers/sglang among it. Says of each test of such functions what else it needs of
SGLang; one of a plain folder is copied all the same, and fails then.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "scripts"))
import peer_imports  # noqa: E402

WHEEL = ROOT / ".peers/sglang"
REGISTERED = "test/registered"

_CONFTEST = """\
import sys

sys.path.insert(0, {scripts!r})
import peer_imports

peer_imports.install({wheel!r})
"""


def imports(path: Path) -> Iterator[tuple[str, str]]:
    """(module, name) of what a file imports of SGLang; no name for a module as a whole."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found = [(node.module, alias.name) for alias in node.names]
        elif isinstance(node, ast.Import):
            found = [(alias.name, "") for alias in node.names]
        else:
            continue
        yield from ((m, n) for m, n in found if m.partition(".")[0] == peer_imports.PACKAGE)


def needs(path: Path, wheel: Path) -> tuple[set[str], set[str]]:
    """The functions of nsa.compat.sglang that a test imports, also by helpers, and what else
    it imports of SGLang."""
    ours: set[str] = set()
    others: set[str] = set()
    for module, name in imports(path):
        file = peer_imports.helper(module, wheel)
        if file:
            more = needs(file, wheel)
            ours, others = ours | more[0], others | more[1]
        elif name in peer_imports.given(module) and (
            name not in peer_imports.UNUSED or path.is_relative_to(wheel)
        ):
            if name in peer_imports.mirrored():
                ours.add(name)
        elif name:
            others.add(f"{module}.{name}")
    return ours, others


def main(source: str, destination: str, wheel: Path = WHEEL) -> None:
    checkout = Path(source) / REGISTERED
    tests = checkout.rglob("test_*.py") if checkout.is_dir() else Path(source).glob("test_*.py")
    to = Path(destination)
    to.mkdir(parents=True, exist_ok=True)
    conftest = _CONFTEST.format(scripts=str(ROOT / "scripts"), wheel=str(wheel))
    (to / "conftest.py").write_text(conftest)
    for test in sorted(tests):
        ours, others = needs(test, wheel)
        if not ours:
            continue
        if others:
            print(f"{test.name}: needs {', '.join(sorted(others))}")
        if not others or not checkout.is_dir():
            (to / test.name).write_text(test.read_text())
            print(f"{test.name}: {', '.join(sorted(ours))}")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
