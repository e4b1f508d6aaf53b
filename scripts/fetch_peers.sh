#!/usr/bin/env bash
# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# Fetches what the benchmarks compare with into .peers/ (ignored by git), file by
# file from SGLang's wheels: of the pinned release, what its metadata,
# dequantisation and sparse-prefill kernels are made of, and the attention backend
# that calls them; of an older one that is in use, its sparse prefill; and the tests
# of the metadata copies, from the last release whose wheel has them.
# SGLang's repository has more tests (test/registered/kernels): those that are put
# into .peers/tests are run as well.

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

python=build/venv/bin/python
[[ -x $python ]] || python=python3
wheels=$(mktemp -d)
trap 'rm -rf "$wheels"' EXIT

# fetch FOLDER VERSION PATTERN...: the files of that release whose names match.
fetch() {
  local folder=$1 version=$2
  shift 2
  if [[ -f $folder/FILES && $(<"$folder/FILES") == "$version $*" ]]; then
    return 0
  fi
  echo "fetch_peers: fetching sglang $version with pip"
  "$python" -m pip download --quiet --disable-pip-version-check --no-deps \
    --only-binary=:all: --implementation cp --python-version 3.11 \
    --platform manylinux_2_34_x86_64 --dest "$wheels" "sglang==$version"
  rm -rf "$folder"
  mkdir -p "$folder"
  "$python" - "$wheels/sglang-$version"-*.whl "$folder" "$@" <<'PYTHON'
import sys
import zipfile
from fnmatch import fnmatch

wheel, folder, *patterns = sys.argv[1:]
with zipfile.ZipFile(wheel) as files:
    for name in files.namelist():
        if any(fnmatch(name, pattern) for pattern in patterns):
            files.extract(name, folder)
PYTHON
  echo "$version" >"$folder/VERSION"
  echo "$version $*" >"$folder/FILES"
}

about=('sglang-*.dist-info/METADATA' 'sglang-*.dist-info/licenses/*')
sparse_prefill=(
  sglang/kernels/ops/attention/dsv4/dequant_k_cache.py
  sglang/kernels/ops/attention/dsv4/sparse_prefill_kernels.py
  sglang/srt/layers/attention/dsv4/sparse_prefill_utils.py
)

fetch .peers/sglang 0.5.23 "${about[@]}" "${sparse_prefill[@]}" \
  'sglang/kernels/jit/__init__.py' \
  'sglang/kernels/jit/utils/*' \
  'sglang/kernels/jit/include/*' \
  'sglang/kernels/jit/csrc/elementwise/fused_metadata_copy.cuh' \
  'sglang/kernels/ops/attention/dsa/metadata.py' \
  'sglang/kernels/ops/attention/dsa/fused_metadata_copy.py' \
  'sglang/kernels/ops/attention/dsa/dequant_k_cache.py' \
  'sglang/kernels/ops/attention/dsv4/kv_layout.py' \
  'sglang/kernels/ops/attention/pad.py' \
  'sglang/srt/environ.py' \
  'sglang/srt/layers/attention/base_attn_backend.py' \
  'sglang/srt/layers/attention/dsa_backend.py' \
  'sglang/srt/layers/attention/dsa/*.py' \
  'sglang/srt/model_executor/forward_batch_info.py'

fetch .peers/sglang-0.5.20 0.5.20 "${about[@]}" "${sparse_prefill[@]}"

copies=sglang/jit_kernel/tests/test_fused_metadata_copy.py
fetch .peers/tests/sglang-0.5.9 0.5.9 "$copies"
cp ".peers/tests/sglang-0.5.9/$copies" .peers/tests/
