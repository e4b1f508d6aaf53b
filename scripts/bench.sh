#!/usr/bin/env bash
# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# Builds, compiles the kernels and runs the benchmarks beside the peers, on a
# machine with a CUDA device. PYTHON (default python3) has to have what
# benchmarks/requirements.txt lists.

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

python=${PYTHON:-python3}

if ! reason=$(python3 scripts/find_cuda_device.py); then
  echo "bench: $reason" >&2
  echo "bench: the benchmarks need a CUDA device; 'make demo' and 'make test' do not" >&2
  exit 1
fi
if ! missing=$("$python" -c 'import numpy, torch, triton' 2>&1); then
  echo "bench: $(command -v "$python" || echo "$python") cannot run the benchmarks:" >&2
  echo "  ${missing##*$'\n'}" >&2
  echo "bench: install benchmarks/requirements.txt, or name another one: make bench PYTHON=..." >&2
  exit 1
fi

scripts/setup.sh
scripts/build.sh
GPU_PYTHON=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])') \
  scripts/pack_for_gpu.sh
PYTHON=$python exec scripts/gpu_check.sh build bench
