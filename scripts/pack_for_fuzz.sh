#!/usr/bin/env bash
# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# Packs what scripts/fuzz_many.sh runs on a larger machine that has neither LLVM
# nor a compiler nor a network, only Python with NumPy:
#
#   .fuzz/fuzz.tar.xz   the Python package with the runtime and the compiler, which
#                       has LLVM and MLIR inside; if there is build-fuzz/bin/nsa-fuzz,
#                       that and its seeds
#   .fuzz/fuzz_many.sh  the script
#
# It takes the libraries in build/lib (make build), LLVM's archives and lld, and the
# headers of the Python that is there, which PACK_PYTHON names (default: python3.12).
# So that nsa-fuzz needs no LLVM there, build it by
#
#   cmake --preset fuzz -DNSA_STATIC_LLVM=ON \
#     -DCMAKE_CXX_STANDARD_LIBRARIES="-lz -l:libzstd.so.1"
#   cmake --build --preset fuzz --target nsa-fuzz

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

venv=build/venv/bin/python
llvm=$(sed -n 's/^LLVM_DIR:PATH=//p' build/CMakeCache.txt)/../../..
python=
for each in ${PACK_PYTHON:-python3.12 "$HOME"/.pyenv/versions/3.12.*/bin/python}; do
  if "$each" -c 'import sys; sys.exit(sys.version_info < (3, 12))' 2>/dev/null; then
    python=$("$each" -c 'import sys; print(sys.executable)')
    break
  fi
done
if [[ -z $python ]]; then
  echo "pack_for_fuzz: no Python 3.12 or later with headers; PACK_PYTHON names one" >&2
  exit 1
fi

# The runtime and the package, as for a machine without LLVM.
cmake -S . -B build-fuzz-python -G Ninja -DCMAKE_BUILD_TYPE=Release \
  -DNSA_BUILD_COMPILER=OFF -DNSA_BUILD_TESTS=OFF -DPython_EXECUTABLE="$python" \
  -DCMAKE_PREFIX_PATH="$("$venv" -m nanobind --cmake_dir)" >/dev/null
cmake --build build-fuzz-python --target _nsa_runtime -j "${JOBS:-1}"

# What LLVM's archives take from the system.
system=(-lz -l:libzstd.so.1 -lpthread -ldl)

# The compiler of build/, linked with LLVM's archives instead of its libraries.
nanobind=$(dirname "$("$venv" -m nanobind --include_dir)")
objects=build-fuzz-python/compiler
mkdir -p "$objects"
flags=(-Os -fPIC -std=c++17 -DNDEBUG -fvisibility=hidden -fno-strict-aliasing
  -ffunction-sections -fdata-sections -DNB_DOMAIN=nsa -DPy_LIMITED_API=0x030C0000
  -I"$("$python" -c 'import sysconfig; print(sysconfig.get_path("include"))')"
  -I"$nanobind/include" -I"$nanobind/ext/robin_map/include")
version=$(sed -n 's/^CMAKE_PROJECT_VERSION:STATIC=//p' build/CMakeCache.txt)
[[ -f $objects/nanobind.o ]] ||
  c++ "${flags[@]}" -c "$nanobind/src/nb_combined.cpp" -o "$objects/nanobind.o"
c++ "${flags[@]}" -DNSA_VERSION="\"$version\"" -Iinclude -isystem "$llvm/include" \
  -c python-bindings/CompilerModule.cpp -o "$objects/module.o"
c++ -shared -fuse-ld=lld -B"$llvm/bin" -o "$objects/_nsa_compiler.abi3.so" \
  "$objects/module.o" "$objects/nanobind.o" \
  -Wl,--start-group build/lib/libNSA*.a "$llvm"/lib/libMLIR*.a "$llvm"/lib/libLLVM*.a \
  -Wl,--end-group -Wl,--gc-sections -Wl,--icf=all -Wl,--exclude-libs,ALL -Wl,-s "${system[@]}"

tree=.fuzz/tree
rm -rf .fuzz
mkdir -p "$tree/bin" "$tree/lib"
cp -L build-fuzz-python/lib/libnsa_runtime.so.0 "$tree/lib/"
for each in libz.so.1 libzstd.so.1; do
  cp -L "$(ldd "$objects/_nsa_compiler.abi3.so" | awk -v name="$each" '$1 == name {print $3}')" "$tree/lib/"
done
cp -rL build-fuzz-python/python/nsa "$tree/"
find "$tree/nsa" -name __pycache__ -prune -exec rm -r {} +
cp "$objects/_nsa_compiler.abi3.so" "$tree/nsa/"
if [[ -x build-fuzz/bin/nsa-fuzz ]]; then
  "$llvm/bin/llvm-strip" --strip-debug build-fuzz/bin/nsa-fuzz -o "$tree/bin/nsa-fuzz"
  scripts/fuzz_seeds.sh "$tree/seeds"
else
  echo "pack_for_fuzz: no build-fuzz/bin/nsa-fuzz: packed without it" >&2
fi
cp scripts/fuzz_many.sh .fuzz/
tar -C .fuzz -cf - tree | xz -T0 -2 >.fuzz/fuzz.tar.xz
rm -rf "$tree"
du -h .fuzz/fuzz.tar.xz
