#!/usr/bin/env bash
# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# Makes DIR, which nsa-fuzz begins with: a text for each part of each example and
# test.
#
#   fuzz_seeds.sh DIR

set -euo pipefail
mkdir -p "$1"
seeds=$(realpath "$1")
cd "$(dirname "${BASH_SOURCE[0]}")/.."
find examples test -name '*.mlir' | while read -r file; do
  csplit --quiet --elide-empty-files --prefix "$seeds/$(tr / - <<<"$file")-" \
    "$file" '/^\/\/ -----/' '{*}'
done
