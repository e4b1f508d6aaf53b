#!/usr/bin/env bash
# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# Fetches what the benchmarks compare with into .peers/ (ignored by git): of
# SGLang's wheel, the few files that its metadata and dequantisation kernels are
# made of; and its tests of the metadata copies, from the last release whose wheel
# has them. Its repository has more tests (test/registered/kernels): those that are
# put into .peers/tests are run as well.

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

version=0.5.23
tests_version=0.5.9
tests=.peers/tests
destination=.peers/sglang
python=build/venv/bin/python
[[ -x $python ]] || python=python3

if [[ ! -f $tests/VERSION || $(<"$tests/VERSION") != "$tests_version" ]]; then
  echo "fetch_peers: fetching the tests of sglang $tests_version with pip"
  download=$(mktemp -d)
  "$python" -m pip download --quiet --disable-pip-version-check --no-deps \
    --only-binary=:all: --dest "$download" "sglang==$tests_version"
  mkdir -p "$tests"
  "$python" - "$download"/sglang-*.whl "$tests" <<'PYTHON'
import sys
import zipfile
from pathlib import Path

name = "sglang/jit_kernel/tests/test_fused_metadata_copy.py"
with zipfile.ZipFile(sys.argv[1]) as wheel:
    Path(sys.argv[2], Path(name).name).write_bytes(wheel.read(name))
PYTHON
  rm -rf "$download"
  echo "$tests_version" >"$tests/VERSION"
fi

newest=$destination/sglang/kernels/ops/attention/pad.py
if [[ -f $newest && -f $destination/VERSION && $(<"$destination/VERSION") == "$version" ]]; then
  exit 0
fi

echo "fetch_peers: fetching sglang $version with pip"
download=$(mktemp -d)
trap 'rm -rf "$download"' EXIT
"$python" -m pip download --quiet --disable-pip-version-check --no-deps \
  --only-binary=:all: --implementation cp --python-version 3.11 \
  --platform manylinux_2_34_x86_64 --dest "$download" "sglang==$version"

rm -rf "$destination"
mkdir -p "$destination"
"$python" - "$download"/sglang-*.whl "$destination" <<'PYTHON'
import sys
import zipfile
from fnmatch import fnmatch

wanted = (
    "sglang-*.dist-info/METADATA",
    "sglang-*.dist-info/licenses/*",
    "sglang/kernels/jit/__init__.py",
    "sglang/kernels/jit/utils/*",
    "sglang/kernels/jit/include/*",
    "sglang/kernels/jit/csrc/elementwise/fused_metadata_copy.cuh",
    "sglang/kernels/ops/attention/dsa/metadata.py",
    "sglang/kernels/ops/attention/dsa/fused_metadata_copy.py",
    "sglang/kernels/ops/attention/dsa/dequant_k_cache.py",
    "sglang/kernels/ops/attention/dsv4/dequant_k_cache.py",
    "sglang/kernels/ops/attention/dsv4/kv_layout.py",
    "sglang/kernels/ops/attention/pad.py",
    "sglang/srt/environ.py",
)
with zipfile.ZipFile(sys.argv[1]) as wheel:
    for name in wheel.namelist():
        if any(fnmatch(name, pattern) for pattern in wanted):
            wheel.extract(name, sys.argv[2])
PYTHON
echo "$version" >"$destination/VERSION"
