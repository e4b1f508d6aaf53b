# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Makes SGLang's tests run on nsa, without SGLang.

    prepare_peer_tests.py SOURCE DESTINATION

Copies SOURCE/test_*.py, and has them import what they test from nsa.compat.sglang; no
other line changes. Their helpers from sglang.test stand in as modules beside them: what
registers a test with SGLang's CI does nothing, and a CustomTestCase is a TestCase. A test
that imports anything else of SGLang's fails, and says so.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

# An import of anything but a helper.
_IMPORT = re.compile(r"^(\s*)from sglang\.(?!test\.)[\w.]+ import\b", re.MULTILINE)

_HELPERS = {
    "ci/ci_register.py": """\
def register_cuda_ci(*args, **kwargs):
    pass


register_amd_ci = register_cuda_ci
""",
    "test_utils.py": "from unittest import TestCase as CustomTestCase  # noqa: F401\n",
}


def main(source: str, destination: str) -> None:
    to = Path(destination)
    to.mkdir(parents=True, exist_ok=True)
    for name, text in _HELPERS.items():
        path = to / "sglang/test" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    for test in sorted(Path(source).glob("test_*.py")):
        text, count = _IMPORT.subn(r"\1from nsa.compat.sglang import", test.read_text())
        (to / test.name).write_text(text)
        print(f"{test.name}: {count} imports replaced")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
