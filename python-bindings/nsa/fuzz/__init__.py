# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Generated steps, compiled and run beside a reference in NumPy.

    python -m nsa.fuzz [--seed S] [--count N] [--seconds T]

``operations`` is the dialect as data: operand slots, texts and values of each operation.
``programs`` has steps as data, ``generate`` draws them, ``check`` compiles and runs them
in processes of their own, so that a crash has a name, and ``shrink`` makes a failure small.
"""
