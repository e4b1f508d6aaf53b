#!/usr/bin/env bash
# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# Configures and builds a preset of CMakePresets.json: build.sh [PRESET].

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

preset=${1:-release}
build=build
[[ $preset == release ]] || build=build-$preset

# Once there is a build directory, Ninja configures again when it has to; it
# does not know of presets.
if [[ ! -f $build/build.ninja || CMakePresets.json -nt $build/build.ninja ]]; then
  cmake --preset "$preset"
fi
cmake --build --preset "$preset"
