#!/usr/bin/env bash
# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# Runs nsa-fuzz (test/fuzz) for SECONDS (300) over the steps of the examples and
# tests; with NSA_FUZZ_BYTECODE=1, over their bytecode too, which ends soon, in
# MLIR's reader. Needs clang-22 and libclang-rt-22-dev.
#
#   scripts/fuzz.sh [SECONDS] [options of libFuzzer]
#
# Inputs that crash it are left in build-fuzz/crashes; what was found to be worth
# keeping, in build-fuzz/corpus. LLVM's libraries are not instrumented: leaks are
# not looked for, and poison of LLVM's allocators is not heeded.

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
seconds=${1:-300}
shift || true

[[ -f build-fuzz/build.ninja ]] || cmake --preset fuzz
cmake --build --preset fuzz --target nsa-fuzz nsa-opt

seeds=build-fuzz/seeds
mkdir -p "$seeds" build-fuzz/corpus build-fuzz/crashes
if [[ -z $(ls -A "$seeds") ]]; then
  scripts/fuzz_seeds.sh "$seeds"
  for text in "$seeds"/*; do
    build-fuzz/bin/nsa-opt "$text" --emit-bytecode -o "$text.bc" 2>/dev/null || true
  done
fi

export ASAN_OPTIONS=detect_leaks=0:allow_user_poisoning=0:${ASAN_OPTIONS:-}
exec build-fuzz/bin/nsa-fuzz build-fuzz/corpus "$seeds" -fork=1 -ignore_crashes=1 \
  -ignore_timeouts=1 -ignore_ooms=1 -timeout=30 -rss_limit_mb=4096 -max_len=8192 \
  -max_total_time="$seconds" -artifact_prefix=build-fuzz/crashes/ "$@"
