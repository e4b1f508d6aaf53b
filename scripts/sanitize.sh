#!/usr/bin/env bash
# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# Builds what runs in an engine's process, the runtime and the Python extension,
# with sanitizers, and tests it on the host: sanitize.sh
#
#   build-tsan           threads: the tests of the runtime
#   build-asan-runtime   addresses, leaks, undefined behaviour: the same tests, and
#                        those of Python that hand over arrays, files and bundles,
#                        broken ones among them
#
# The compiler (build, which has to be there) makes the bundles for these, and is
# not instrumented itself: that is PRESET=asan.

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

for preset in tsan asan-runtime; do
  scripts/build.sh "$preset"
  echo "== ctest, $preset"
  # A report ends the program, and so fails the test.
  ctest --test-dir "build-$preset" --output-on-failure --parallel "$(nproc)" --no-tests=error
done

python=build/venv/bin/python
package=$PWD/build-asan-runtime/python
ln -sfn "$PWD/build/python/nsa/bundles" "$package/nsa/bundles"
ln -sf "$PWD"/build/python/nsa/_nsa_compiler*.so "$package/nsa/"
echo "== pytest, asan-runtime"
# The interpreter is not instrumented: the sanitizer has to be there before it, and
# what it keeps to its end are no leaks. MLIR's pools poison memory of their own.
PYTHONPATH=$package \
  LD_PRELOAD="$(gcc -print-file-name=libasan.so) $(gcc -print-file-name=libubsan.so)" \
  ASAN_OPTIONS=detect_leaks=0:allow_user_poisoning=0 UBSAN_OPTIONS=print_stacktrace=1 \
  "$python" -m pytest -q -p no:cacheprovider \
  test/python/test_{arrays,broken_bundles,launch,module,runtime}.py
