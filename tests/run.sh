#!/usr/bin/env bash
# run.sh TEST... - runs test programs and scripts, one line for each, and says at the end what came of it.
#
# A test passes with exit code 0, is skipped with 77 (its last line says why), and fails with anything else or after
# TEST_TIMEOUT seconds; the whole output of a failed one is shown. JOBS tests run at once. WRAP is put in front of C programs.
set -u

jobs=${JOBS:-2}
limit=${TEST_TIMEOUT:-300}
export BUILD=${BUILD:-build}
if [ $# -eq 0 ]; then
  echo "run.sh: no test was chosen: this proves nothing" >&2
  exit 1
fi

scratch=$(mktemp -d "${TMPDIR:-/tmp}/uringvfs-check.XXXXXX") || exit 1
trap 'rm -rf "$scratch"' EXIT
# Ctrl-C reaches the tests too, they are in this process group; wait for them, their own clean-up included.
trap 'trap "" INT TERM; wait; rm -rf "$scratch"; exit 130' INT TERM

# ThreadSanitizer of gcc 12 knows only an address space that is not very random.
randomless=()
if [ "${SAN:-}" = thread ] && setarch "$(uname -m)" -R true 2>/dev/null; then randomless=(setarch "$(uname -m)" -R); fi

run_one() { # number, test
  local out=$scratch/$1.out code start=$EPOCHREALTIME
  local command=("$2")
  case $2 in
    *.sh) command=(bash "$2") ;;
    *.py) command=(python3 "$2") ;;
    *) read -ra wrap <<<"${WRAP:-}"
       case $2 in /*) ;; *) command=("./$2") ;; esac
       command=("${randomless[@]}" "${wrap[@]}" "${command[@]}") ;;
  esac
  timeout --foreground --kill-after=10 "$limit" "${command[@]}" </dev/null >"$out" 2>&1
  code=$?
  local name=${2#"$BUILD"/} word=FAILED note=
  case $code in
    0) word=ok ;;
    77) word=skipped note=": $(tail -n 1 "$out")" ;;
    124 | 137) note=": stopped after $limit s" ;;
    *) note=": exit code $code" ;;
  esac
  # bash has no fractions: count in microseconds.
  local us=$((10#${EPOCHREALTIME/[.,]/} - 10#${start/[.,]/}))
  {
    printf '%-8s%-50s %3d.%02d s%s\n' "$word" "$name" $((us / 1000000)) $((us / 10000 % 100)) "$note"
    [ "$word" != FAILED ] || sed 's/^/    | /' "$out"
  } >"$scratch/$1.line"
  cat "$scratch/$1.line"
  echo "$word" >"$scratch/$1.result"
}

number=0 running=0
for test in "$@"; do
  if [ "$running" -ge "$jobs" ]; then
    wait -n
    running=$((running - 1))
  fi
  number=$((number + 1)) running=$((running + 1))
  run_one "$number" "$test" &
done
wait

count() { cat "$scratch"/*.result 2>/dev/null | grep -c "^$1\$"; }
passed=$(count ok) skipped=$(count skipped)
failed=$((number - passed - skipped)) # one that left no result has failed too
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ]
