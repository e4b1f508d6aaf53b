#!/usr/bin/env bash
# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# Tries wheels on a Debian that has nothing but Python and venv: neither a compiler
# nor LLVM.
#
#   try_on_debian.sh [--suite NAME] [--root DIR] [--only-root] [WHEEL...]
#
# WHEEL: by default all in build/wheels; those for another Python than the suite's
# are left out. NAME (bookworm, which is Debian 12) is installed by mmdebstrap, from
# $DEBIAN_MIRROR (http://deb.debian.org/debian), into a folder that is removed again.
# DIR: a folder to keep it in for the next time; --only-root: makes it, and tries
# nothing. It has to be run by root.

set -euo pipefail
tree=$(realpath "$(dirname "${BASH_SOURCE[0]}")/..")
mirror=${DEBIAN_MIRROR:-http://deb.debian.org/debian}

command -v mmdebstrap >/dev/null || { echo "try_on_debian: no mmdebstrap" >&2 && exit 2; }
((EUID == 0)) || { echo "try_on_debian: mounts and chroot need root" >&2 && exit 2; }
# What is mounted here goes with this process, however it ends.
if [[ -z ${NSA_OWN_MOUNTS:-} ]]; then
  NSA_OWN_MOUNTS=1 exec unshare --mount "$0" "$@"
fi

suite=bookworm
root=
only_root=
while [[ ${1:-} == --* ]]; do
  case $1 in
  --suite)
    suite=$2
    shift
    ;;
  --root)
    root=$2
    shift
    ;;
  --only-root) only_root=1 ;;
  *)
    echo "try_on_debian: unknown option $1" >&2
    exit 2
    ;;
  esac
  shift
done
wheels=("$@")
((${#wheels[@]})) || wheels=("$tree"/build/wheels/nsa-*.whl)

scratch=$(mktemp -d)
root=$(realpath -m "${root:-$scratch/debian}")
finish() {
  ! mountpoint --quiet "$root/proc" || umount "$root/proc"
  rm -rf "$root/wheels" "$root/a path with spaces"
  # Where proc is still mounted, this stops before it.
  rm -rf --one-file-system "$scratch"
}
trap finish EXIT

if [[ ! -x $root/usr/bin/python3 ]]; then
  # What Debian calls essential, and apt. Whoever loses power makes it again: no fsync.
  if ! mmdebstrap --mode=root --variant=apt --include=python3-venv \
    --dpkgopt=force-unsafe-io --dpkgopt='path-exclude=/usr/share/doc/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' --dpkgopt='path-exclude=/usr/share/man/*' \
    "$suite" "$root" "$mirror" >"$scratch/log" 2>&1; then
    tail -20 "$scratch/log" >&2
    exit 1
  fi
fi
[[ -z $only_root ]] || exit 0

for each in "${wheels[@]}"; do
  [[ -f $each ]] || { echo "try_on_debian: no wheel $each; make wheels" >&2 && exit 2; }
done
mount -t proc proc "$root/proc"
mkdir -p "$root/wheels"
inside() {
  env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 chroot "$root" "$@"
}

echo "$(inside sed -n 's/^PRETTY_NAME="\(.*\)"/\1/p' /etc/os-release)," \
  "$(inside ldd --version | head -1), $(inside python3 --version)"
for program in cc gcc clang ld ld.lld ptxas; do
  ! inside which "$program" || { echo "try_on_debian: it has $program" >&2 && exit 1; }
done
if inside find / -xdev '(' -name 'libLLVM*' -o -name 'libMLIR*' ')' | grep .; then
  echo "try_on_debian: it has LLVM" >&2
  exit 1
fi

# The command line takes arrays from NumPy's files.
version=$(inside python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])')
python=$tree/build/venv/bin/python
[[ -x $python ]] || python=python3
"$python" -m pip --disable-pip-version-check download --quiet --no-deps --only-binary :all: \
  --python-version "$version" --platform manylinux_2_28_x86_64 --platform manylinux_2_27_x86_64 \
  --platform manylinux2014_x86_64 --dest "$root/wheels" numpy
cp "$tree/scripts/try_wheel.py" "$root/wheels/"

tried=0
for wheel in "${wheels[@]}"; do
  name=$(basename "$wheel")
  # cp311-cp311 is for that Python, cp312-abi3 for that and later ones.
  [[ $name =~ -cp3([0-9]+)-(abi3)? ]] || continue
  since=${BASH_REMATCH[1]} minor=${version#*.}
  ((since == minor || (since < minor && ${#BASH_REMATCH[2]} > 0))) || continue
  cp "$wheel" "$root/wheels/"
  venv="/a path with spaces/$name"
  inside python3 -m venv "$venv"
  inside "$venv/bin/python" -m pip --disable-pip-version-check install --quiet --no-index \
    "/wheels/$name"
  inside "$venv/bin/python" -I /wheels/try_wheel.py
  inside "$venv/bin/python" -m pip --disable-pip-version-check install --quiet --no-index \
    --find-links /wheels numpy
  inside "$venv/bin/python" -I /wheels/try_wheel.py
  echo "tried: $name"
  tried=$((tried + 1))
done
((tried)) || { echo "try_on_debian: none of the wheels is for Python $version" >&2 && exit 1; }
