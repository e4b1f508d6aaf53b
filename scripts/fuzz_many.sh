#!/usr/bin/env bash
# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# Fuzzes for SECONDS on CORES cores, from what scripts/pack_for_fuzz.sh packed:
#
#   fuzz_many.sh SECONDS [CORES]
#
# Beside each other run
#   - python -m nsa.fuzz over generated steps on the host: fused and unfused, with
#     guards and without (half of the cores);
#   - the same with the simulator (an eighth), and on the GPUs where there are any
#     and CuPy (an eighth);
#   - libFuzzer over texts (a quarter), where nsa-fuzz was packed.
# Prints what each counted and every seed or input that failed; exit status 1 if
# one did. SEED (default 10,000,000) is that of the first step. Logs and inputs
# are in OUT (default: fuzz-results beside this script).

set -uo pipefail
here=$(realpath "$(dirname "${BASH_SOURCE[0]}")")
seconds=$1
cores=${2:-$(nproc)}
seed=${SEED:-10000000}
python=${PYTHON:-python3}
out=${OUT:-$here/fuzz-results}
mkdir -p "$out/crashes" "$out/corpus"
[[ -d $here/tree ]] || tar -C "$here" -xJf "$here/fuzz.tar.xz" || exit
tree=$here/tree
# A process a core: NumPy's own threads would only be in the way.
export PYTHONPATH=$tree OPENBLAS_NUM_THREADS=1 OMP_NUM_THREADS=1 NSA_CACHE_DIR=

share() { echo $((cores / $1 > 0 ? cores / $1 : 1)); }
host=$(share 2)
fuzzer=$(share 4)
simulator=$(share 8)
device=$(share 8)

has_gpu() {
  "$python" -c 'import sys, cupy; sys.exit(not cupy.cuda.runtime.getDeviceCount())' 2>/dev/null
}

declare -A jobs
begin() { # NAME COMMAND...
  local name=$1
  shift
  "$@" >"$out/$name.log" 2>"$out/$name.err" &
  jobs[$name]=$!
}

generated() { # NAME FIRST-SEED options...
  local name=$1 first=$2
  shift 2
  begin "$name" "$python" -m nsa.fuzz --seed "$first" --count 1000000 \
    --seconds "$seconds" --quick "$@"
}

if has_gpu; then
  generated gpu $((seed + 2000000)) --builds 2 --cuda --jobs "$device"
else
  host=$((host + device))
fi
if [[ -x $tree/bin/nsa-fuzz ]]; then
  ASAN_OPTIONS=detect_leaks=0:allow_user_poisoning=0 begin libfuzzer \
    "$tree/bin/nsa-fuzz" "$out/corpus" "$tree/seeds" -fork="$fuzzer" -ignore_crashes=1 \
    -ignore_timeouts=1 -ignore_ooms=1 -timeout=30 -rss_limit_mb=4096 -max_len=8192 \
    -max_total_time="$seconds" -artifact_prefix="$out/crashes/"
else
  host=$((host + fuzzer))
fi
generated simulator $((seed + 1000000)) --builds 2 --simt --jobs "$simulator"
generated host "$seed" --jobs "$host"

failed=0
for name in host simulator gpu libfuzzer; do
  [[ -n ${jobs[$name]:-} ]] || continue
  wait "${jobs[$name]}"
  status=$?
  echo "== $name (exit status $status)"
  if [[ $name == libfuzzer ]]; then
    # The last line of its own count.
    grep -E '^#[0-9]+: cov:' "$out/libfuzzer.err" | tail -n 1
    continue
  fi
  ((status == 0)) || failed=1
  tail -c 20000 "$out/$name.log"
  # A run that ended by itself says why.
  ((status < 2)) || tail -n 20 "$out/$name.err"
done
for input in "$out"/crashes/*; do
  [[ -e $input ]] || continue
  [[ $(basename "$input") == crash-* ]] && failed=1
  echo "== $input, in base64:"
  base64 -w 0 "$input" | head -c 12000
  echo
done
exit "$failed"
