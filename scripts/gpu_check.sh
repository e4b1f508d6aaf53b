#!/usr/bin/env bash
# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# Runs everything that needs a GPU, on a machine that has one, but neither LLVM
# nor a network:
#
#   gpu_check.sh [build] [test] [peer_tests] [sanitize] [bench]  (default: all)
#
#   build     the runtime and the Python extension, for PYTHON, into build-gpu/
#   test      pytest test/python, on the kernels in .bundles/
#   peer_tests  SGLang's own tests, those in .peers/tests, whose imports find nsa
#   sanitize  compute-sanitizer's memcheck, racecheck and initcheck
#   bench     the benchmarks, beside the peers in .peers/
#
# scripts/pack_for_gpu.sh prepares .bundles/ and what else has to come along.
# Python needs numpy, pytest and cupy, and torch and triton for `bench`. Logs and
# results go to OUT (default build-gpu/results), a record of the benchmarks to
# HISTORY (build-gpu/history); BENCH_OPTIONS is passed on. A stage that fails
# does not stop the next; it makes the exit status 1.

set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit

python=$("${PYTHON:-python3}" -c 'import sys; print(sys.executable)') || exit
build=$PWD/build-gpu
out=${OUT:-$build/results}
stages=("$@")
((${#stages[@]})) || stages=(build test peer_tests sanitize bench)
for stage in "${stages[@]}"; do
  if [[ ! $stage =~ ^(build|test|peer_tests|sanitize|bench)$ ]]; then
    echo "gpu_check: no stage '$stage'; there are build, test, peer_tests, sanitize, bench" >&2
    exit 2
  fi
done
mkdir -p "$build" "$out"

# What the machine's Python lacks, carried as wheels.
if [[ -f .whl/wheels.txt ]] && ! cmp -s .whl/wheels.txt "$build/site/wheels.txt"; then
  rm -rf "$build/site"
  "$python" -m pip install --quiet --no-index --no-deps --no-compile \
    --disable-pip-version-check --target "$build/site" .whl/*.whl || exit 1
  cp .whl/wheels.txt "$build/site/"
fi
export PYTHONPATH=$build/python:$build/site${PYTHONPATH:+:$PYTHONPATH}
export PYTHONUNBUFFERED=1
export NSA_TEST_BUNDLES=$PWD/.bundles
export NSA_BUNDLE_PATH=$NSA_TEST_BUNDLES/ops

stage_build() {
  cmake -S . -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=Release \
    -DNSA_BUILD_COMPILER=OFF -DNSA_BUILD_TESTS=OFF \
    -DNSA_PREBUILT_BUNDLES="$PWD/.bundles/shipped" \
    -DNLOHMANN_JSON_INCLUDE_DIR="$PWD/.carry/include" \
    -DPython_EXECUTABLE="$python" &&
    cmake --build "$build"
}

stage_test() {
  "$python" -m pytest test/python -q -rs -p no:cacheprovider
}

# Every test that is there, unchanged but for what its imports find.
stage_peer_tests() {
  if ! compgen -G '.peers/tests/test_*.py' >/dev/null; then
    echo "skipped: no tests in .peers/tests; scripts/fetch_peers.sh fetches some"
    return 0
  fi
  rm -rf "$build/peer_tests"
  "$python" scripts/prepare_peer_tests.py .peers/tests "$build/peer_tests" &&
    "$python" -m pytest "$build/peer_tests" -q -rs -p no:cacheprovider
}

stage_sanitize() {
  local tool script failed=0
  local -a bundles options
  bundles=("$(flagship)" .bundles/unfused)
  for tool in memcheck racecheck initcheck; do
    options=()
    [[ $tool != memcheck ]] || options=(--padding 64)
    echo "== $tool"
    for script in "gpu_sanitize.py ${bundles[*]}" gpu_sanitize_replay.py \
      gpu_sanitize_copy.py gpu_sanitize_dequant.py gpu_sanitize_prefill.py \
      gpu_sanitize_composed.py gpu_sanitize_formulas.py gpu_sanitize_schedules.py \
      gpu_sanitize_v4.py gpu_sanitize_vllm.py; do
      # shellcheck disable=SC2086 # a script and its arguments are words
      compute-sanitizer --tool "$tool" "${options[@]}" --error-exitcode 9 \
        "$python" test/python/$script || failed=1
    done
  done
  return "$failed"
}

stage_bench() {
  local -a options=()
  if [[ -d .peers/sglang ]]; then
    find_cudart
    "$python" benchmarks/peers.py .peers/sglang || return
    options=(--sglang .peers/sglang)
  fi
  # shellcheck disable=SC2086 # options are words
  "$python" benchmarks/replay.py "${options[@]}" --out "$out" --cold ${BENCH_OPTIONS:-} &&
    "$python" benchmarks/plot.py "$out/replay.json" &&
    "$python" benchmarks/replay_scaling.py "${options[@]}" --rounds 10 --out "$out" &&
    "$python" benchmarks/plot.py "$out/replay_scaling.json" || return
  "$python" benchmarks/incremental.py --out "$out" || return
  "$python" benchmarks/pdl.py --out "$out" || return
  "$python" benchmarks/guards.py --out "$out" || return
  "$python" benchmarks/v4_bundles.py --out "$out" || return
  if [[ -d .peers/sglang ]]; then
    "$python" benchmarks/v4.py --out "$out" &&
      "$python" benchmarks/kpool.py --out "$out" &&
      "$python" benchmarks/v4_eager.py --out "$out" &&
      "$python" benchmarks/dsa_prefill.py --out "$out" || return
  fi
  "$python" benchmarks/schedules.py "${options[@]}" --out "$out" || return
  if [[ -d .peers/vllm ]]; then
    "$python" benchmarks/vllm_steps.py --out "$out" &&
      "$python" benchmarks/vllm_layers.py --out "$out" || return
  fi
  "$python" benchmarks/launch_cost.py --bundle "$(flagship)" \
    --module .bundles/tvm_ffi/decode_replay.ffi.so "${options[@]}" --out "$out" || return
  if [[ -d .peers/sglang ]]; then
    "$python" benchmarks/expand.py "${options[@]}" --out "$out" &&
      "$python" benchmarks/compilations.py "${options[@]}" --out "$out" || return
  fi
  "$python" benchmarks/copy_metadata.py "${options[@]}" --out "$out" --cold &&
    "$python" benchmarks/dequant.py "${options[@]}" --out "$out" &&
    "$python" benchmarks/plot.py "$out/dequant.json" &&
    "$python" benchmarks/prefill.py "${options[@]}" --out "$out" &&
    "$python" benchmarks/plot.py "$out/prefill.json" || return
  # Beside the last run on such a card, here or in benchmarks/history; what is slower is
  # said, and no failure.
  "$python" benchmarks/history.py keep "$out" --to "${HISTORY:-$build/history}" || true
}

# The folder with the bundle of the decode replay.
flagship() {
  local folder=.bundles/decode_replay
  [[ -f $folder/decode_replay.json ]] ||
    echo "gpu_check: no decode_replay.json in $folder" >&2
  echo "$folder"
}

# The peer's JIT links -lcudart from the toolkit that nvcc belongs to; a CUDA
# that came with Python packages has it under another name.
find_cudart() {
  local home library
  home=${CUDA_HOME:-$(dirname "$(dirname "$(command -v nvcc)")")}
  [[ ! -e $home/lib64/libcudart.so ]] || return 0
  library=$(find "$(dirname "$(readlink -f "$(command -v nvcc)")")/.." \
    "$("$python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/nvidia" \
    -name 'libcudart.so*' 2>/dev/null | head -n 1)
  [[ -n $library ]] || return 0
  mkdir -p "$build/cudart"
  ln -sf "$(readlink -f "$library")" "$build/cudart/libcudart.so"
  LIBRARY_PATH=$build/cudart${LIBRARY_PATH:+:$LIBRARY_PATH}
  LD_LIBRARY_PATH=$(dirname "$library")${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
  export LIBRARY_PATH LD_LIBRARY_PATH
}

declare -A verdict
failed=0
for stage in "${stages[@]}"; do
  begin=$SECONDS
  if "stage_$stage" >"$out/$stage.log" 2>&1; then
    verdict[$stage]="ok"
  else
    verdict[$stage]="FAILED"
    failed=1
    echo "== $stage failed; the end of $stage.log:"
    tail -n 40 "$out/$stage.log"
  fi
  verdict[$stage]+=", $((SECONDS - begin)) s"
done

echo "== summary"
[[ ! -f $out/test.log ]] || tail -n 1 "$out/test.log"
[[ ! -f $out/peer_tests.log ]] || tail -n 1 "$out/peer_tests.log"
[[ ! -f $out/sanitize.log ]] ||
  grep -E '^== |SUMMARY|equal to the reference' "$out/sanitize.log"
for table in replay replay_scaling pdl guards dsa_prefill launch_cost expand compilations copy_metadata dequant prefill; do
  [[ ! -f $out/$table.md ]] || cat "$out/$table.md"
done
for stage in "${stages[@]}"; do
  echo "$stage: ${verdict[$stage]}"
done
exit $failed
