#!/usr/bin/env bash
# demo/bench: every workload runs and is in the JSON; a wrong answer and a file that stays cached fail it; it cleans up.
# Times are not looked at.
set -euo pipefail
build=${BUILD:-build}
tmp=$(mktemp -d "$build/test-bench.XXXXXX") # not in /tmp: what is in a tmpfs cannot be measured cold
trap 'rm -rf "$tmp"' EXIT
fail() { echo "FAILED: $*"; [[ ! -f $tmp/log ]] || cat "$tmp/log"; exit 1; }
mkdir "$tmp/dir"
short=(--dir "$tmp/dir" --rows 4000 --runs 1 --seconds 0.01)
bench() { demo/bench.sh "${short[@]}" "$@" >"$tmp/log" 2>&1; }
clean() { [[ -z $(ls -A "$tmp/dir") ]] || fail "left behind: $(ls -AR "$tmp/dir")"; }

# ---- Every workload, and what the JSON says of it
bench --vfs 'unix,uring,uring&uring_backend=sync,unix+mmap' --json "$tmp/json" --runs 2 || fail "bench"
clean
names=$(demo/bench.sh --help | sed -n '/^Workloads/,$p' | awk 'NR > 1 { print $1 }')
# shellcheck disable=SC2086
python3 - "$tmp/json" $names <<'PYTHON' || fail "the JSON is not as it should be"
import json, sys
report = json.load(open(sys.argv[1]))
assert [r["workload"] for r in report["results"]] == sys.argv[2:], report["results"]
assert report["machine"]["sqlite"] and report["machine"]["kernel"] and "--json" in report["command"]
by_layout = {d["layout"]: d for d in report["databases"]}
assert set(by_layout) == {"fragmented", "contiguous", "related", "related-64k"}
assert by_layout["fragmented"]["adjacent_leaves"] < 0.05 < 0.9 < by_layout["contiguous"]["adjacent_leaves"]
for result in report["results"]:
    assert [s["vfs"] for s in result["sides"]] == ["unix", "uring", "uring&uring_backend=sync", "unix+mmap"]
    for side in result["sides"]:
        assert len(side["runs"]) == len(side["ratios"]) == 2
        assert ("uring" in side["vfs"]) == (side["runs"][0]["uring_stats"] is not None), side
        for run in side["runs"]:
            assert run["ops"] > 0 and run["wall_ns"] > 0 and run["op_worst_ns"] >= run["op_median_ns"] > 0
    if result["cold"]:
        # All that was listed for the limit came from the device; the kernel may have read more.
        pages = result["limit"]["pages"]
        assert pages > 10 and result["sides"][0]["runs"][0]["device_bytes"] >= 4096 * pages, result
    elif result["limit"]:
        assert result["sides"][0]["runs"][0]["device_bytes"] == 0, result
PYTHON

# ---- Wrong answers
lie() { # which workload message
  # Long enough to meet one of the rows that lie on a busy machine too.
  if LD_PRELOAD=$build/tests/demo/preload_lie.so LIE=$1 bench --workload "$2" --vfs unix,unix --no-limit --seconds 0.05; then
    fail "$2 does not notice: $1"
  fi
  grep -q "$3" "$tmp/log" || fail "$2 fails without saying \"$3\""
  clean
}
for name in $names; do
  case $name in
    integrity) lie index "$name" 'integrity_check: ' ;;
    join-warm/key*) lie index "$name" 'wrong answer' ;; # leaves of a WITHOUT ROWID table are those of an index
    *) lie row "$name" 'wrong answer' ;;
  esac
done
lie fewer scan-warm 'wrong answer'
lie fewer point-cold '0 rows of 1'
lie fewer stop-cold/20 'wrong answer'
lie again scan-warm/contiguous 'is not the next one'
lie index range-cold 'wrong answer'
lie cached scan-cold 'stay in memory'

# ---- Arguments
for arguments in '--workload scan-cold,nonsense' '--runs 0' '--vfs unix,' '--vfs no-such-vfs' 'nonsense'; do
  # shellcheck disable=SC2086
  if bench $arguments; then fail "accepted: $arguments"; fi
done
if command -v gnuplot >/dev/null; then
  bench --workload open --svg "$tmp/svg" || fail "--svg"
  grep -q '</svg>' "$tmp/svg" || fail "no plot"
fi

# ---- Interrupted
demo/bench.sh "${short[@]}" --workload scan-warm --runs 100 --rows 50000 >"$tmp/log" 2>&1 &
pid=$!
until [[ -s $tmp/log ]]; do kill -0 $pid || fail "it ended by itself"; sleep 0.05; done
sleep 0.2
kill -TERM $pid
if wait $pid; then fail "SIGTERM did not end it"; fi
grep -q '^bench: interrupted' "$tmp/log" || fail "does not say that it was interrupted"
clean

# ---- A loop device of its own
loop="no loop device here"
if ((EUID == 0)) && unshare --mount true 2>/dev/null && losetup --find >/dev/null 2>&1; then
  bench --workload scan-cold,scan-warm --read-ahead-kb 64,256 --json "$tmp/json" || fail "--read-ahead-kb"
  [[ $(grep -o '"read_ahead_kb":[0-9]*,"cold":true' "$tmp/json" | sort -u | wc -l) == 2 ]] || fail "not at 64 and 256"
  clean
  loop="read-ahead set on a loop device"
fi
echo "bench: $(wc -w <<<"$names") workloads; wrong answers found; clean after SIGTERM; $loop"
