# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Shows for all sizes and all contents that kernels stay inside of their arrays.

The GPU kernels of a step are taken as ``nsa-opt`` prints them, structured and before arrays
become pointers, and executed symbolically: each load and store is an index and a size, and
whether the one is always below the other is a question for z3. What is assumed is what a
launcher checks (docs/Bundle.md): ``requires``, the range of sizes, the grid. What is not
assumed is anything about contents. `docs/Safety.md` has the results.

For tests: needs the package z3-solver, and ``nsa-opt``.
"""

from ._steps import Result, prove, prove_ir, structured

__all__ = ["Result", "prove", "prove_ir", "structured"]
