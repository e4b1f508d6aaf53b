# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Says whether there is a CUDA device to use; exits with 1 and why if not."""

from __future__ import annotations

import ctypes
import sys


def find() -> tuple[bool, str]:
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError as error:
        return False, f"no CUDA driver: {error}"
    if status := driver.cuInit(0):
        return False, f"the CUDA driver does not start: cuInit says {status}"
    count = ctypes.c_int()
    if driver.cuDeviceGetCount(ctypes.byref(count)) or count.value == 0:
        return False, "the CUDA driver finds no device"
    return True, f"{count.value} CUDA device(s)"


if __name__ == "__main__":
    found, message = find()
    print(message)
    sys.exit(0 if found else 1)
