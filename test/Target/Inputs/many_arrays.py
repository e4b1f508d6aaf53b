# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Prints a step with more arrays than 4,352 bytes of parameters have room for."""

COUNT = 600
ports = ", ".join(f"out optional %x{i} : memref<?xi32>" for i in range(COUNT))
names = ", ".join(f"%x{i}" for i in range(COUNT))
types = ", ".join(["memref<?xi32>"] * COUNT)
print(f"""nsa.step @many(in %n : index, in %lens[%n] : tensor<?xi32>, {ports}) {{
  nsa.copy %lens to {names} : tensor<?xi32> to {types}
}}""")
