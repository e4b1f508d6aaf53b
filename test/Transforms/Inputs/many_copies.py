# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Prints a step that copies one array to as many destinations as asked for."""

import sys

VECTOR, DESTINATION = "tensor<?xi32>", "memref<?xi32, strided<[?]>>"
names = [f"%x{number}" for number in range(int(sys.argv[1]))]
ports = "".join(f",\n    out {name} : {DESTINATION}" for name in names)
print(f"nsa.step @many(in %n : index, in %a[%n] : {VECTOR}{ports}) {{")
for name in names:
    print(f"  nsa.copy %a to {name} : {VECTOR} to {DESTINATION}")
print("}")
