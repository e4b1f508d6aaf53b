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
#   - libFuzzer over texts, where nsa-fuzz was packed (a quarter of the cores);
#   - python -m nsa.fuzz --quick (its help says what that leaves out) over generated
#     steps, fused and unfused: on the GPUs where there are any and CuPy (6 of 32
#     cores), in the simulator (3 of 32), and on the host alone (the rest). Those of
#     the first two run on the host as well. In 550 s on 32 cores without libFuzzer
#     that is meant to be 100,000 steps, 10,000 of them on a GPU, 5,000 simulated.
# LIBFUZZER, DEVICE and SIMULATOR are how many cores these have instead; 0: none.
# FORMULAS (default 0) is how many run 20,000 random formulas, optimised, on the host.
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
mkdir -p "$out/crashes"
[[ -d $here/tree ]] || tar -C "$here" -xJf "$here/fuzz.tar.xz" || exit
tree=$here/tree
# A process a core: NumPy's own threads would only be in the way.
export PYTHONPATH=$tree LD_LIBRARY_PATH=$tree/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
export OPENBLAS_NUM_THREADS=1 OMP_NUM_THREADS=1 NSA_CACHE_DIR=
# What a step's compilers give back, the next one's take: not by way of the kernel.
export MALLOC_TRIM_THRESHOLD_=268435456 MALLOC_MMAP_THRESHOLD_=33554432 MALLOC_TOP_PAD_=16777216

share() { echo $((cores * $1 / 32 > 0 ? cores * $1 / 32 : 1)); }
fuzzer=0 device=0
simulator=${SIMULATOR:-$(share 3)}
formulas=${FORMULAS:-0}

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
    --seconds "$seconds" --builds 2 --quick "$@"
}

if [[ ${DEVICE:-} != 0 ]] && has_gpu; then
  device=${DEVICE:-$(share 6)}
  generated gpu $((seed + 2000000)) --cuda --jobs "$device"
fi
if [[ ${LIBFUZZER:-} != 0 && -x $tree/bin/nsa-fuzz ]]; then
  fuzzer=${LIBFUZZER:-$(share 8)}
  mkdir -p "$tree/corpus"
  ASAN_OPTIONS=detect_leaks=0:allow_user_poisoning=0 begin libfuzzer \
    "$tree/bin/nsa-fuzz" "$tree/corpus" "$tree/seeds" -fork="$fuzzer" -ignore_crashes=1 \
    -ignore_timeouts=1 -ignore_ooms=1 -timeout=30 -rss_limit_mb=4096 -max_len=8192 \
    -max_total_time="$seconds" -artifact_prefix="$out/crashes/"
fi
((simulator == 0)) ||
  generated simulator $((seed + 1000000)) --simt --jobs "$simulator"
((formulas == 0)) ||
  begin formulas "$python" -m nsa.fuzz --formulas --seed $((seed + 3000000)) --count 500 \
    --seconds "$seconds" --builds 1 --jobs "$formulas"
host=$((cores - fuzzer - device - simulator - formulas))
((host > 0)) || host=1
generated host "$seed" --jobs "$host"

failed=0
for name in host simulator gpu formulas libfuzzer; do
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
  tail -c 4000 "$out/$name.log"
  # A run that ended by itself says why.
  ((status < 2)) || tail -n 20 "$out/$name.err"
done
for input in "$out"/crashes/*; do
  [[ -e $input ]] || continue
  [[ $(basename "$input") == crash-* ]] && failed=1
  echo "== $input, in base64:"
  base64 -w 0 "$input" | head -c 3000
  echo
done
exit "$failed"
