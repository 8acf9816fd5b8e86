#!/usr/bin/env bash
# fuzz.sh [-h] [TARGET...] - builds the fuzz targets (fuzz_TARGET.c; all of them by default), replays the seeds and fuzzes.
#
# FUZZ_SECONDS (3600) of fuzzing in all are split over the targets, JOBS (2) of which run at once. What is learnt on the way is kept in
# BUILD/fuzz/corpus for the next time. A finding is saved in BUILD/fuzz/findings, with the command that replays it.
set -euo pipefail
cd "$(dirname "$0")/../.."
if [ "${1:-}" = -h ]; then
  sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0"
  exit 0
fi
build=${BUILD:-build}/fuzz
targets=("$@")
if [ $# -eq 0 ]; then
  for source in tests/fuzz/fuzz_*.c; do
    name=${source##*/fuzz_} && targets+=("${name%.c}")
  done
fi
jobs=${JOBS:-2}
[ "$jobs" -le 2 ] || jobs=2
seconds=$((${FUZZ_SECONDS:-3600} / ${#targets[@]}))

# MAKEFLAGS: what the outer make was told is not meant for this build. A stale page that was read ahead aborts.
env -u MAKEFLAGS -u MAKELEVEL make -s -j"$jobs" CC=clang CPPFLAGS=-DURINGVFS_VERIFY_READAHEAD SAN=fuzzer-no-link,address,undefined BUILD="$build" fuzzers >"$build.log" 2>&1 || {
  cat "$build.log"
  exit 1
}

fuzz_one() { # target
  local program=$build/tests/fuzz/fuzz_$1 corpus=$build/corpus/$1 findings=$build/findings seeds=tests/fuzz/seeds/$1 log=$build/$1.log
  mkdir -p "$corpus" "$findings"
  local code=0 known
  known=$(find "$findings" -name "$1-*" | sort)
  "$program" -max_total_time="$seconds" -max_len=1024 -timeout=600 -rss_limit_mb=4096 -artifact_prefix="$findings/$1-" \
    -print_final_stats=1 "$corpus" "$seeds" >"$log" 2>&1 || code=$?
  if [ "$code" = 0 ]; then
    printf 'fuzz %-10s %s inputs in %s s from %s seeds, %s kept\n' "$1" \
      "$(sed -n 's/^stat::number_of_executed_units: //p' "$log")" "$seconds" "$(find "$seeds" -type f | wc -l)" "$(find "$corpus" -type f | wc -l)"
    return 0
  fi
  echo "FAILED fuzz $1 (exit code $code), the whole of it is in $log:"
  { grep -a -m 5 -A 12 -E '^DIFFERENCE|ERROR: |runtime error' "$log" || tail -n 5 "$log"; } | head -n 40 | sed 's/^/    | /'
  for finding in $(find "$findings" -name "$1-*" | sort); do
    case $known in *"$finding"*) ;; *) echo "replay: FUZZ_TRACE=1 $program $finding" ;; esac
  done
  return 1
}

failed=0 running=0
for target in "${targets[@]}"; do
  if [ "$running" -ge "$jobs" ]; then
    wait -n || failed=1
    running=$((running - 1))
  fi
  running=$((running + 1))
  fuzz_one "$target" &
done
while [ "$running" -gt 0 ]; do
  wait -n || failed=1
  running=$((running - 1))
done
exit "$failed"
