# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Prints the constraints of operations that no negative test names.

untested_constraints.py SOURCE_DIR
"""

import re
import sys
from pathlib import Path

source = Path(sys.argv[1])
tests = "".join(
    path.read_text() for path in (source / "test/IR").glob("invalid-*.mlir")
)
operations = "".join(
    path.read_text() for path in sorted((source / "include/nsa/IR").glob("*Ops.td"))
)
for name, text in re.findall(
    r"^def NSA_(\w+Op) (.*?)^}", operations, re.MULTILINE | re.DOTALL
):
    for constraint in re.findall(r"^ *- \((C\d+)\)", text, re.MULTILINE):
        if not re.search(rf"// {name} {constraint}\b", tests):
            print(f"{name} {constraint}")
    print(f"{name} done")
