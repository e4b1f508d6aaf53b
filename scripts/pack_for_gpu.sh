#!/usr/bin/env bash
# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# Prepares what scripts/gpu_check.sh needs on a GPU machine without LLVM and
# without a network, beside the sources and ignored by git:
#
#   .bundles/   each of examples/*.mlir compiled by build/bin/nsa-compile, for
#               CHIP if that is set; unfused/, the decode replay without fusion;
#               tvm_ffi/, the same as a module of tvm-ffi, and tvm_ffi_pdl/;
#               ops/, the steps that tests and benchmarks ask nsa.ops for;
#               shipped/, those that the Python package ships
#   .carry/     the JSON header that the runtime is built with
#   .peers/     the peers' kernels (scripts/fetch_peers.sh)
#   .whl/       wheels, for Python GPU_PYTHON (default 3.12), of what the peers'
#               JIT and our extension need and a CUDA machine rarely has

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

gpu_python=${GPU_PYTHON:-3.12}
wheels=(apache-tvm-ffi==0.1.11 msgspec==0.21.1 "$(grep ^nanobind== scripts/requirements.txt)")

rm -rf .bundles
for source in examples/*.mlir; do
  build/bin/nsa-compile "$source" -o ".bundles/$(basename "$source" .mlir)" \
    ${CHIP:+--chip="$CHIP"}
done
build/bin/nsa-compile examples/decode_replay.mlir -o .bundles/unfused --no-fuse \
  ${CHIP:+--chip="$CHIP"}
build/bin/nsa-compile examples/decode_replay.mlir -o .bundles/tvm_ffi --emit=tvm-ffi \
  ${CHIP:+--chip="$CHIP"}
build/bin/nsa-compile examples/decode_replay.mlir -o .bundles/tvm_ffi_pdl --emit=tvm-ffi --pdl
build/venv/bin/python scripts/make_test_bundles.py .bundles/ops
cp -r build/python/nsa/bundles .bundles/shipped

json=/usr/include/nlohmann
if [[ ! -f $json/json.hpp ]]; then
  echo "pack_for_gpu: $json/json.hpp is missing; scripts/setup.sh installs it" >&2
  exit 1
fi
rm -rf .carry
mkdir -p .carry/include
cp -r "$json" .carry/include/

scripts/fetch_peers.sh

stamp=.whl/wheels.txt
wanted="$gpu_python ${wheels[*]}"
if [[ ! -f $stamp || $(<"$stamp") != "$wanted" ]]; then
  rm -rf .whl
  echo "pack_for_gpu: fetching wheels with pip: ${wheels[*]}"
  build/venv/bin/python -m pip download --quiet --disable-pip-version-check \
    --no-deps --only-binary=:all: --implementation cp --python-version "$gpu_python" \
    --platform manylinux_2_28_x86_64 --platform manylinux_2_17_x86_64 \
    --platform manylinux2014_x86_64 --dest .whl "${wheels[@]}"
  echo "$wanted" >"$stamp"
fi

echo "pack_for_gpu: take these along with the sources:"
du -sh .bundles .carry .peers .whl
