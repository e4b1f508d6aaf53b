#!/usr/bin/env bash
# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# Fetches what the benchmarks compare with into .peers/ (ignored by git), file by
# file from SGLang's wheels: of the pinned release, what its metadata,
# dequantisation and sparse-prefill kernels are made of, and the attention backend
# that calls them; of an older one that is in use, its sparse prefill; and the tests
# of the metadata copies, from the last release whose wheel has them. From vLLM's
# wheel (340 MB, of which 3 are kept) its metadata kernels.
# SGLang's repository has more tests: those that are put into .peers/tests are run as
# well (scripts/prepare_peer_tests.py CHECKOUT FOLDER says which need nothing but nsa).

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

python=build/venv/bin/python
[[ -x $python ]] || python=python3
wheels=$(mktemp -d)
trap 'rm -rf "$wheels"' EXIT

# fetch PACKAGE FOLDER VERSION PATTERN...: the files of that release whose names match.
fetch() {
  local package=$1 folder=$2 version=$3
  shift 3
  if [[ -f $folder/FILES && $(<"$folder/FILES") == "$version $*" ]]; then
    return 0
  fi
  echo "fetch_peers: fetching $package $version with pip"
  "$python" -m pip download --quiet --disable-pip-version-check --no-deps \
    --only-binary=:all: --implementation cp --python-version 3.11 \
    --platform manylinux_2_34_x86_64 --platform manylinux_2_28_x86_64 \
    --dest "$wheels" "$package==$version"
  rm -rf "$folder"
  mkdir -p "$folder"
  "$python" - "$wheels/$package-$version"-*.whl "$folder" "$@" <<'PYTHON'
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

fetch sglang .peers/sglang 0.5.23 "${about[@]}" "${sparse_prefill[@]}" \
  'sglang/kernels/jit/__init__.py' \
  'sglang/kernels/jit/utils/*' \
  'sglang/kernels/jit/include/*' \
  'sglang/kernels/jit/csrc/elementwise/fused_metadata_copy.cuh' \
  'sglang/kernels/ops/attention/dsa/metadata.py' \
  'sglang/kernels/ops/attention/dsa/fused_metadata_copy.py' \
  'sglang/kernels/ops/attention/dsa/kpool_metadata/*.py' \
  'sglang/kernels/ops/attention/dsa/dequant_k_cache.py' \
  'sglang/kernels/jit/csrc/occupancy/cluster_probe.cuh' \
  'sglang/kernels/jit/csrc/deepseek_v4/paged_mqa_metadata.cuh' \
  'sglang/kernels/jit/csrc/deepseek_v4/topk_v2.cuh' \
  'sglang/kernels/jit/csrc/deepseek_v4/flashmla_sched_meta.cuh' \
  'sglang/kernels/ops/attention/dsv4/attn.py' \
  'sglang/kernels/ops/attention/dsv4/topk.py' \
  'sglang/kernels/ops/attention/dsv4/candidate_table.py' \
  'sglang/kernels/ops/attention/dsv4/flashmla_sched_meta.py' \
  'sglang/kernels/ops/attention/dsv4/utils.py' \
  'sglang/kernels/ops/attention/dsv4/kv_layout.py' \
  'sglang/kernels/jit/csrc/deepseek_v4/c_plan.cuh' \
  'sglang/kernels/jit/csrc/deepseek_v4/c128_online_v2.cuh' \
  'sglang/kernels/ops/attention/dsv4/attn_metadata_kernels.py' \
  'sglang/kernels/ops/attention/dsv4/compress.py' \
  'sglang/kernels/ops/attention/dsv4/metadata_kernel.py' \
  'sglang/srt/layers/attention/deepseek_v4_backend.py' \
  'sglang/srt/layers/attention/dsv4/*.py' \
  'sglang/srt/layers/attention/dsv4/v41_indexer/scoring.py' \
  'sglang/srt/mem_cache/dsv41_request_window.py' \
  'sglang/kernels/ops/kvcache/dsv41_window_layout.py' \
  'sglang/kernels/ops/speculative/dspark/dispatch.py' \
  'sglang/kernels/ops/speculative/dspark/dspark_attn_metadata.py' \
  'sglang/kernels/ops/attention/dsa/transform_index.py' \
  'sglang/kernels/ops/attention/dsa/cp_split.py' \
  'sglang/kernels/ops/attention/dsv4/trtllm_metadata.py' \
  'sglang/srt/layers/cp/base.py' \
  'sglang/srt/layers/cp/interleave*.py' \
  'sglang/test/kernels/*.py' \
  'sglang/srt/speculative/eagle_utils.py' \
  'sglang/kernels/ops/attention/pad.py' \
  'sglang/srt/environ.py' \
  'sglang/srt/layers/attention/base_attn_backend.py' \
  'sglang/srt/layers/attention/dsa_backend.py' \
  'sglang/srt/layers/attention/dsa/*.py' \
  'sglang/srt/model_executor/forward_batch_info.py'

fetch sglang .peers/sglang-0.5.20 0.5.20 "${about[@]}" "${sparse_prefill[@]}"

copies=sglang/jit_kernel/tests/test_fused_metadata_copy.py
fetch sglang .peers/tests/sglang-0.5.9 0.5.9 "$copies"
cp ".peers/tests/sglang-0.5.9/$copies" .peers/tests/

# vLLM's metadata kernels, and what makes kernels of them.
fetch vllm .peers/vllm 0.33.0 \
  'vllm-*.dist-info/METADATA' 'vllm-*.dist-info/licenses/*' \
  'vllm/model_executor/warmup/jit_warmup*.py' \
  'vllm/models/deepseek_v4/common/ops/cache_utils.py' \
  'vllm/models/deepseek_v4/sparse_mla.py' \
  'vllm/models/deepseek_v41/common/ops/cache_utils.py' \
  'vllm/utils/math_utils.py' \
  'vllm/v1/attention/backends/mla/*.py' \
  'vllm/v1/attention/ops/metadata.py' \
  'vllm/v1/spec_decode/utils.py' \
  'vllm/v1/worker/gpu/*.py' \
  'vllm/v1/worker/gpu/spec_decode/target_dependent_ar/speculator.py'

# Its tests, which only the source has. pip unpacks that before it finds that it cannot be
# built here, which is all that is wanted of it.
tests=.peers/vllm-tests
if [[ ! -f $tests/VERSION || $(<"$tests/VERSION") != 0.33.0 ]]; then
  echo "fetch_peers: fetching the source of vllm 0.33.0 with pip"
  TMPDIR=$wheels "$python" -m pip download --quiet --disable-pip-version-check --no-deps \
    --no-binary=:all: --no-build-isolation --no-clean --dest "$wheels" vllm==0.33.0 \
    >/dev/null 2>&1 || true
  source=$(dirname "$(find "$wheels" -maxdepth 3 -type d -path '*/vllm*/tests' -print -quit)")
  rm -rf "$tests"
  mkdir -p "$tests"
  cp "$source/LICENSE" "$tests/"
  # Those that test/python/run_vllm_tests.py names.
  grep -o '"tests/.*\.py"' test/python/run_vllm_tests.py | tr -d '"' | while read -r file; do
    if [[ -f $source/$file ]]; then
      install -D -m 644 "$source/$file" "$tests/$file"
    fi
  done
  echo 0.33.0 >"$tests/VERSION"
fi
