# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Imports nsa from an installed tree and runs a step: installed_package.py PREFIX."""

import sys
from pathlib import Path

prefix = Path(sys.argv[1]).resolve()
(packages,) = prefix.glob("lib/python*/site-packages")
sys.path.insert(0, str(packages))

import numpy  # noqa: E402

import nsa  # noqa: E402

TEXT = """nsa.step @step(in %n : index, in %a[%n] : tensor<?xi32>, out %x : memref<?xi32>) {
  nsa.copy %a to %x : tensor<?xi32> to memref<?xi32>
}"""

package = Path(nsa.__file__).parent
loaded = {line.split()[-1] for line in Path("/proc/self/maps").read_text().splitlines()}
ours = [path for path in loaded if "nsa_runtime" in path or "_nsa_" in path]
if package == packages / "nsa" and all(path.startswith(str(prefix)) for path in ours):
    print("imported from the prefix")
else:
    print("imported:", package, *ours)
print("bundle:", sum(path.is_dir() for path in (package / "bundles").iterdir()), "folders")
x = numpy.zeros(4, numpy.int32)
nsa.compile(TEXT, target="cpu")["step"](n=3, a=numpy.arange(1, 5, dtype=numpy.int32), x=x)
print("step:", x)
