#!/usr/bin/env bash
# run.sh TEST... - runs test programs and scripts, one line for each, and says at the end what came of it.
#
# A test passes with exit code 0, is skipped with 77 (its last line says why), and fails with anything else or if it makes no
# progress (watch.py, TEST_STALL); the whole output of a failed one is shown. Of one that passes it is said which of its cases
# cmocka skipped. JOBS tests run at once. WRAP is put in front of C programs.
set -u

jobs=${JOBS:-2}
watch=$(dirname "${BASH_SOURCE[0]}")/watch.py
# The interpreter itself: what is found first may be a script that looks for it, each time anew.
python=$(python3 -c 'import sys; print(sys.executable)') || exit 1
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

skipped_cases() { # output of a cmocka program
  local names
  names=$(sed -n 's/^\[  SKIPPED \] \([A-Za-z_][A-Za-z0-9_]*\)$/\1/p' "$1" | sort -u | paste -s -d ' ')
  [ -z "$names" ] || echo " (skipped: ${names// /, })"
}

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
  "$python" -S "$watch" "${command[@]}" </dev/null >"$out" 2>&1
  code=$?
  local name=${2#"$BUILD"/} word=FAILED note=
  case $code in
    0) word=ok note=$(skipped_cases "$out") ;;
    77) word=skipped note=": $(tail -n 1 "$out")" ;;
    124) note=": $(tail -n 1 "$out")" ;;
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
