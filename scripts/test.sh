#!/usr/bin/env bash
# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# Runs every test of a build directory (lit, GoogleTest, pytest) and closes
# with their sum: test.sh [BUILD_DIR]. Logs and JUnit files: BUILD_DIR/results.

set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit

build=$PWD/${1:-build}
results=$build/results
python=build/venv/bin/python
lit=/usr/lib/llvm-22/bin/lit
[[ -x $lit ]] || lit=lit

rm -rf "$results"
mkdir -p "$results"

# run NAME COMMAND...: shows and keeps the output, remembers the exit status.
declare -A status
run() {
  local name=$1
  shift
  echo "== $name"
  "$@" 2>&1 | tee "$results/$name.log"
  status[$name]=${PIPESTATUS[0]}
}

# has OPTION: whether the build directory was configured with it.
has() {
  grep -q "^$1:[A-Z]*=ON$" "$build/CMakeCache.txt"
}

# What the interpreter, which is not instrumented, needs where extensions are: the
# library of the sanitizers before everything, and no report of what it keeps to its
# end. MLIR's pools poison memory of their own, and a test has NumPy ask for terabytes.
instrumented=()
sanitizers=$(sed -n 's/^NSA_SANITIZE:[A-Z]*=//p' "$build/CMakeCache.txt")
if [[ $sanitizers == *address* ]] && has NSA_BUILD_PYTHON; then
  compiler=$(sed -n 's/^CMAKE_CXX_COMPILER:[A-Z]*=//p' "$build/CMakeCache.txt")
  instrumented=(LD_PRELOAD="$("$compiler" -print-file-name=libclang_rt.asan-x86_64.so)"
    ASAN_OPTIONS=detect_leaks=0:allow_user_poisoning=0:allocator_may_return_null=1
    UBSAN_OPTIONS=print_stacktrace=1)
  # The shipped steps take minutes to make, and are the same.
  if [[ ! -e build/python/nsa/bundles ]]; then
    echo "test: the steps of build/ are used: make build first" >&2
    exit 1
  fi
  rm -rf "$build/python/nsa/bundles"
  cp -r build/python/nsa/bundles "$build/python/nsa/bundles"
  # Made by this compiler, as far as anybody asks.
  env PYTHONPATH="$build/python" "${instrumented[@]}" "$python" - <<'END'
import json
from nsa import _cache
with open(f"{_cache.SHIPPED}/{_cache.STAMP}", "w") as stream:
    json.dump(_cache.compiler_fingerprint(), stream)
END
fi

# pytest_of NAME ARGUMENT...: its arguments, with the built package and a JUnit file.
pytest_of() {
  local name=$1
  shift
  env PYTHONPATH="$build/python" "${instrumented[@]}" "$python" -m pytest -q \
    -p no:cacheprovider --junitxml="$results/$name.xml" "$@"
}

reports=()
# Wheels wait for the network, and one compiler for the next: beside all others. They
# are of no preset.
wheels=
if has NSA_BUILD_PYTHON && ((${#instrumented[@]} == 0)); then
  pytest_of wheels test/python/test_wheels.py >"$results/wheels.log" 2>&1 &
  wheels=$!
fi
if has NSA_BUILD_COMPILER; then
  run lit "$lit" -sv --xunit-xml-output "$results/lit.xml" "$build/test"
  reports+=("lit=$results/lit.xml:${status[lit]}")
fi
run ctest ctest --test-dir "$build" --output-on-failure --parallel "$(nproc)" \
  --no-tests=error --output-junit "$results/ctest.xml"
reports+=("ctest=$results/ctest.xml:${status[ctest]}")
if has NSA_BUILD_PYTHON; then
  # The tests of a file stay together: they share what its fixtures make. Long ones go
  # first (test/python/conftest.py).
  workers=$(nproc)
  run pytest pytest_of pytest test/python --ignore=test/python/test_wheels.py \
    --numprocesses $((workers < 8 ? workers : 8)) --dist loadfile --no-loadscope-reorder
  reports+=("pytest=$results/pytest.xml:${status[pytest]}")
fi
if [[ -n $wheels ]]; then
  echo "== wheels"
  wait "$wheels"
  status[wheels]=$?
  cat "$results/wheels.log"
  reports+=("wheels=$results/wheels.xml:${status[wheels]}")
fi

exec "$python" scripts/summarize_tests.py "${reports[@]}"
