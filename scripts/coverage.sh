#!/usr/bin/env bash
# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# Says which share of lib/ the tests run: builds the preset `coverage`, runs lit and
# the unit tests (and pytest, with --python; an hour or two), and prints a line for
# each file, then the sum of each folder. Of pytest, the prover and the mutants are
# left out, which take long and go no other ways through lib/.
#
#   coverage.sh [--python] [--lines]
#
# --lines: every line that did not run, too, in build-coverage/lines.txt. JOBS
# (default 1) is how much is built and run at a time. Needs clang-22, llvm-22 and
# libclang-rt-22-dev.

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
build=$PWD/build-coverage
llvm=/usr/lib/llvm-22/bin
jobs=${JOBS:-1}

[[ -f $build/build.ninja ]] || cmake --preset coverage
cmake --build "$build" -j "$jobs"

profiles=$build/profiles
rm -rf "$profiles"
mkdir -p "$profiles"
# Runs of one program add to one of a few files.
export LLVM_PROFILE_FILE=$profiles/%4m.profraw
status=0
"$llvm/lit" -q -j "$jobs" "$build/test" || status=$?
"$build/bin/NSARuntimeTests" >/dev/null || status=$?
"$build/bin/nsa-runtime-c-test" >/dev/null || status=$?
if [[ " $* " == *" --python "* ]]; then
  # A process for each file: what is counted is written when one ends.
  for file in test/python/test_*.py; do
    case $file in *_prove.py | *_mutants.py) continue ;; esac
    code=0
    PYTHONPATH=$build/python build/venv/bin/python -m pytest "$file" -q \
      -p no:cacheprovider || code=$?
    # 5: all of its tests are for other machines.
    ((code == 0 || code == 5)) || status=$code
  done
fi

"$llvm/llvm-profdata" merge -sparse "$profiles"/*.profraw -o "$build/all.profdata"
objects=()
for object in "$build"/bin/{nsa-compile,NSARuntimeTests} "$build"/lib/libnsa_runtime.so \
  "$build"/python/nsa/_nsa_{compiler,runtime}.*.so; do
  objects+=(--object "$object")
done
"$llvm/llvm-cov" report --instr-profile "$build/all.profdata" \
  --show-region-summary=false --show-branch-summary=false \
  "$build/bin/nsa-opt" "${objects[@]}" "$PWD/lib" | tee "$build/report.txt"
# Of a file: its name, then functions and lines with how many were missed.
awk '$1 ~ /\.(cpp|h)$/ && NF == 7 {
       split($1, parts, "/"); all[parts[1]] += $5; missed[parts[1]] += $6
     }
     END {
       for (folder in all)
         printf "%-12s %6d lines, %5.1f %% run\n", folder, all[folder],
                100 * (1 - missed[folder] / all[folder])
     }' "$build/report.txt" | sort
if [[ " $* " == *" --lines "* ]]; then
  "$llvm/llvm-cov" show --instr-profile "$build/all.profdata" \
    "$build/bin/nsa-opt" "${objects[@]}" "$PWD/lib" |
    awk '/^\/.*:$/ {file = $0} /\|[ ]*0\|/ {if (file) print file; file = ""; print}' \
      >"$build/lines.txt"
fi
exit "$status"
