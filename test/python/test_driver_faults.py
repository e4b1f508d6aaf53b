# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What is said of a CUDA driver that is old, has no device, or whose calls fail. No device is
needed, nor a driver: driver_stub.c is in its place."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import stub_driver

#: What a driver is that does not start, and what is said. It is said once for a process.
ABSENT = {
    "stub": ("devices:cuInit=34", [], "no CUDA driver: libcuda.so.1 is a stub library"),
    "no device": ("devices:cuInit=100", [], "the CUDA driver is there but it sees no device"),
    "none counted": ("devices", ["DEVICES=0"], "the CUDA driver is there but it sees no device"),
    "broken": (
        "devices:cuInit=999", [],
        "the CUDA driver does not start: cuInit returns CUDA_ERROR",
    ),
    "unknown version": (
        "launch:cuDriverGetVersion=3", [], "cuDriverGetVersion failed with CUDA_ERROR",
    ),
    "old": (
        "launch", ["cuFuncGetAttribute=gone"],
        "the CUDA driver is too old: it has no cuFuncGetAttribute",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ABSENT)
def test_absent(name: str, tmp_path: Path) -> None:
    tried, defines, message = ABSENT[name]
    printed = stub_driver.run(tmp_path, "driver_faults.py", tried, tried, defines=defines)
    first, second = printed.splitlines()
    assert re.fullmatch(rf"DriverError: {re.escape(message)}", first), first
    assert second == first


#: What fails, and what is said.
FAULTS = {
    "launch": "no error",
    "launch:cuDeviceGetAttribute=1": "DriverError: cuDeviceGetAttribute failed with CUDA_ERROR",
    "newer": (
        "DriverError: step 'prefix': its PTX is for sm_90a but device 0 is sm_80"
    ),
    "launch:cuModuleLoadDataEx=222": (
        "DriverError: step 'prefix': its PTX version 8.5 is newer than the driver (CUDA 13.0)"
        " supports; update the driver: CUDA_ERROR: line 1: no good"
    ),
    "launch:cuModuleLoadDataEx=218": (
        "DriverError: step 'prefix': the driver (CUDA 13.0) refuses its PTX on device 0 (sm_80):"
        " CUDA_ERROR: line 1: no good"
    ),
    "binary:cuModuleLoadDataEx=209": (
        "DriverError: step 'prefix': the driver (CUDA 13.0) refuses its binary on device 0"
        " (sm_80): CUDA_ERROR: line 1: no good"
    ),
    "launch:cuModuleLoadDataEx=2": (
        "DriverError: step 'prefix': cuModuleLoadDataEx failed with CUDA_ERROR: line 1: no good"
    ),
    "launch:cuModuleGetFunction=500": (
        "DriverError: step 'prefix': no kernel 'prefix' in its image: CUDA_ERROR"
    ),
    "launch:cuFuncGetAttribute=1": "DriverError: cuFuncGetAttribute failed with CUDA_ERROR",
    "launch:cuLaunchKernel=719": "DriverError: cuLaunchKernel failed with CUDA_ERROR",
    "guards": (
        "DriverError: step 'prefix': the CUDA driver cannot read what its guards record"
    ),
    "capture:cuStreamGetCaptureInfo_v3=1": (
        "DriverError: cuStreamGetCaptureInfo failed with CUDA_ERROR"
    ),
}  # fmt: skip


def test_faults(tmp_path: Path) -> None:
    """In one process: what fails once may be tried again."""
    printed = stub_driver.run(tmp_path, "driver_faults.py", *FAULTS).splitlines()
    assert dict(zip(FAULTS, printed, strict=True)) == FAULTS


def test_without_graphs(tmp_path: Path) -> None:
    """Only what is captured needs a newer driver."""
    defines = ["cuGraphExecKernelNodeSetParams=gone"]
    printed = stub_driver.run(
        tmp_path, "driver_faults.py", "launch", "capture", defines=defines
    ).splitlines()
    assert printed == [
        "no error",
        "DriverError: step 'prefix': the CUDA driver is too old to update the nodes of a graph",
    ]
