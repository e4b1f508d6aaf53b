#!/usr/bin/env bash
# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# Makes a Debian 12 machine ready to build and test: installs the packages that
# are missing, and makes the Python environment build/venv. Does nothing, in a
# moment, when nothing is missing. Some presets (setup.sh [PRESET]) need clang.

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

packages=(
  # The compiler is built against Debian's LLVM and MLIR; lit and FileCheck
  # come with llvm-22-tools, the linker for host kernels is lld.
  libmlir-22-dev mlir-22-tools llvm-22-dev llvm-22-tools lld-22
  g++ cmake ninja-build
  libgtest-dev nlohmann-json3-dev
  python3 python3-dev python3-venv
  # Wheels are tried on a bare Debian.
  mmdebstrap
)
case ${1:-} in
asan | coverage | fuzz) packages+=(clang-22 libclang-rt-22-dev) ;;
esac

missing_packages() {
  local package status
  for package in "${packages[@]}"; do
    status=$(dpkg-query --show --showformat='${db:Status-Status}' "$package" 2>/dev/null || true)
    [[ $status == installed ]] || echo "$package"
  done
}

install_packages() {
  local -a as_root=()
  if [[ $EUID -ne 0 ]]; then
    if ! sudo -n true 2>/dev/null; then
      echo "setup: these packages are missing, and this user has no right to install them:" >&2
      echo "  $*" >&2
      echo "setup: ask for: apt-get install --no-install-recommends $*" >&2
      exit 1
    fi
    as_root=(sudo -n)
  fi
  echo "setup: installing with apt-get: $*"
  local log=build/setup-apt.log
  mkdir -p build
  if ! { "${as_root[@]}" apt-get update &&
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
      apt-get install --yes --no-install-recommends "$@"; } >"$log" 2>&1; then
    tail -n 20 "$log" >&2
    echo "setup: apt-get failed; its whole output is in $log" >&2
    exit 1
  fi
}

if command -v dpkg-query >/dev/null; then
  mapfile -t missing < <(missing_packages)
  ((${#missing[@]} == 0)) || install_packages "${missing[@]}"
else
  echo "setup: not a Debian system; expecting the equivalents of: ${packages[*]}"
fi

# The environment is made anew whenever what it is made from changes.
venv=build/venv
requirements=scripts/requirements.txt
python=/usr/bin/python3
stamp=$venv/nsa-setup.stamp
wanted="$("$python" --version) $PWD $(sha256sum <"$requirements")"
if [[ ! -f $stamp || $(<"$stamp") != "$wanted" ]]; then
  echo "setup: making $venv with pip: $(grep -v '^#' "$requirements" | tr '\n' ' ')"
  "$python" -m venv --clear "$venv"
  "$venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    --requirement "$requirements"
  # `import nsa` finds the built tree, not an installed copy.
  site=$("$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
  echo "$PWD/build/python" >"$site/nsa-build.pth"
  echo "$wanted" >"$stamp"
fi
