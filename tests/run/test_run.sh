#!/usr/bin/env bash
# tests/run.sh: what makes no progress is stopped, with everything it has started; what is only slow is not. Nothing
# here says how long something takes: the settings are small, and the slow ones need many times as long as they may
# sleep.
set -euo pipefail
cd "$(dirname "$0")/../.."
tmp=$(mktemp -d "${TMPDIR:-/tmp}/test-run.XXXXXX")
hog=
trap '[ -z "$hog" ] || kill "$hog"; rm -rf "$tmp"' EXIT
fail() { echo "FAILED: $*"; cat "$tmp/log"; exit 1; }

make_test() { # name.sh or name.py, its text on standard input
  cat >"$tmp/$1"
}
run() { # settings, tests: what run.sh says is in $tmp/log, and its exit code in $code
  code=0
  env BUILD="$tmp" JOBS=1 "${@:1:$#-1}" tests/run.sh "$tmp/${*: -1}" >"$tmp/log" 2>&1 || code=$?
}
is_stopped() { # reason, settings, test
  run "${@:2}"
  [ "$code" = 1 ] || fail "${*:2} was not stopped"
  grep -q "^FAILED  .*: stopped: $1" "$tmp/log" || fail "${*:2}: not the reason \"$1\""
}
passes() { # settings, test
  run "$@"
  [ "$code" = 0 ] || fail "$* did not pass"
}

# ---- what makes no progress ----

# Asleep, after some output that must not get lost, with a process in the background, and one in a session of its own
# whose parent is gone.
make_test asleep.sh <<END
echo a word before
trap 'echo cleaned up; exit 1' TERM
sleep 7777 &
echo \$! >"$tmp/child"
setsid sh -c 'trap "" TERM; sleep 7777 & echo \$! >"$tmp/orphan"'
wait
END
is_stopped 'nothing of it ran for 1 s' TEST_STALL=1 asleep.sh
for said in 'a word before' 'cleaned up' 'process .* sleep: state S'; do
  grep -q "^    | .*$said" "$tmp/log" || fail "not in the output: $said"
done
for left in child orphan; do
  if kill -0 "$(cat "$tmp/$left")" 2>/dev/null; then fail "the $left was left behind"; fi
done

# It looks again and again for what will never come.
make_test polling.py <<'END'
import time
while True: time.sleep(0.02)
END
is_stopped 'nothing of it ran for 2 s' TEST_STALL=2 polling.py

# It runs in circles, and in a child.
make_test circles.sh <<'END'
sh -c 'while :; do :; done'
END
is_stopped '1 s of processor time without a word' TEST_STALL=100 TEST_CPU=1 circles.sh

# It talks, and does not come to an end.
make_test endless.sh <<'END'
while :; do echo still here; sleep 0.1; done
END
is_stopped 'not finished after 2 s' TEST_LIMIT=2 endless.sh

# ---- what is only slow ----

# Output now and then, for several times as long as it may sleep.
make_test talking.sh <<'END'
for ((i = 0; i < 15; i++)); do echo "$i"; sleep 0.4; done
END
passes TEST_STALL=2 talking.sh

# Work of some seconds without a word, in a process that most of the time is stopped from outside.
make_test work.py <<'END'
import time
while time.process_time() < 0.05: pass
END
make_test stopped.sh <<END
python3 -S "$tmp/work.py" &
while kill -STOP \$! && sleep 0.45 && kill -CONT \$! && sleep 0.05; do :; done 2>/dev/null
wait \$!
END
passes TEST_STALL=0.5 stopped.sh

# The same with a low priority, on a processor that another process keeps busy.
cpu=$(taskset -pc $$ | sed 's/.*: *\([0-9]*\).*/\1/')
taskset -c "$cpu" sh -c 'while :; do :; done' &
hog=$!
make_test starved.sh <<END
exec taskset -c $cpu nice -n 15 python3 -S "$tmp/work.py"
END
passes TEST_STALL=0.5 starved.sh

# ---- exit codes ----

make_test good.sh <<'END'
! trap | grep -E 'PIPE|XFSZ' && printf '[  SKIPPED ] one_case\n[       OK ] other\n'
END
passes good.sh
grep -Eq '^ok +good.sh .* s \(skipped: one_case\)$' "$tmp/log" || fail "does not say which case was skipped"
make_test left_out.sh <<'END'
echo "no such thing here"; exit 77
END
passes left_out.sh
grep -Eq '^skipped .*: no such thing here$' "$tmp/log" || fail "does not say why it was skipped"
grep -qx '0 passed, 0 failed, 1 skipped' "$tmp/log" || fail "the last line"
for ending in 'exit 3' 'kill -SEGV $$' 'exec /nowhere/at/all'; do
  make_test bad.sh <<<"$ending"
  run bad.sh
  [ "$code" = 1 ] || fail "$ending: passed"
  grep -q '^FAILED ' "$tmp/log" || fail "$ending: no line"
done
echo "run.sh: four that make no progress were stopped, three slow ones passed, exit codes are told apart"
