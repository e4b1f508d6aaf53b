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

# pytest_of NAME ARGUMENT...: its arguments, with the built package and a JUnit file.
pytest_of() {
  local name=$1
  shift
  env PYTHONPATH="$build/python" "$python" -m pytest -q -p no:cacheprovider \
    --junitxml="$results/$name.xml" "$@"
}

reports=()
# Wheels wait for the network, and one compiler for the next: beside all others.
if has NSA_BUILD_PYTHON; then
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
  # The tests of a file stay together: they share what its fixtures make.
  workers=$(nproc)
  run pytest pytest_of pytest test/python --ignore=test/python/test_wheels.py \
    --numprocesses $((workers < 8 ? workers : 8)) --dist loadfile
  reports+=("pytest=$results/pytest.xml:${status[pytest]}")

  echo "== wheels"
  wait "$wheels"
  status[wheels]=$?
  cat "$results/wheels.log"
  reports+=("wheels=$results/wheels.xml:${status[wheels]}")
fi

exec "$python" scripts/summarize_tests.py "${reports[@]}"
