# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Prints steps whose kernels have shared memory and COUNT arguments in all.

kernel_arguments.py COUNT...
"""

import sys

VECTOR, DESTINATION = "tensor<?xi32>", "memref<?xi32, strided<[?]>>"


def step(count: int) -> str:
    # Two sizes and two inputs come before the destinations.
    names = [f"%o{number}" for number in range(count - 4)]
    ports = "".join(f",\n    out {name} : {DESTINATION}" for name in names)
    types = ", ".join([DESTINATION] * len(names))
    return f"""
nsa.step @arguments_{count}(in %bs : index, in %bound : index,
    in %extend[%bs] : {VECTOR}, in %lens[%bs] : {VECTOR}{ports}) {{
  %rows = nsa.expansion by %extend within %bound : {VECTOR}
  %expanded = nsa.expand_seqlens causal %lens over %rows : {VECTOR} -> {VECTOR}
  %cu = nsa.cu_seqlens %expanded : {VECTOR} -> {VECTOR}
  nsa.copy %cu to {", ".join(names)} : {VECTOR} to {types}
}}"""


for argument in sys.argv[1:]:
    print(step(int(argument)))
