#!/usr/bin/env bash
# demo/compare: every workload runs on both VFSs and finds its rows; it cleans up, also when it is interrupted.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$here/../..
build=${BUILD:-build}
[[ $build == /* ]] || build=$PWD/$build
vfs=${DEMO_TEST_VFS:-uring}
tmp=$(mktemp -d "${TMPDIR:-/tmp}/test-compare.XXXXXX")
trap 'rm -rf "$tmp"' EXIT
fail() { echo "FAILED: $*"; exit 1; }
mkdir "$tmp/out"

# shellcheck disable=SC2046
${CC:-cc} -std=gnu11 -D_GNU_SOURCE= -O2 -Wall -Wextra -Werror -I"$root/vfs" "$root/demo/compare.c" \
  "$root"/demo/common/*.c -o "$tmp/compare" \
  "$build/liburingvfs.a" $(pkg-config --cflags --libs sqlite3 liburing) -pthread
"$tmp/compare" --dir "$tmp/out" --vfs "unix,$vfs" --pairs 1 --seconds 0.01 >"$tmp/log" 2>"$tmp/err" ||
  { cat "$tmp/log" "$tmp/err"; fail "compare"; }
names=$("$tmp/compare" --help | sed -n '/^Workloads/,$p' | awk 'NR > 1 { print $1 }')
[[ $(wc -w <<<"$names") -ge 11 ]] || fail "--help does not list the workloads"
for name in $names; do
  grep -Eq "^$name +([0-9.]+ +){6}[0-9.]+ \(" "$tmp/log" || { cat "$tmp/log"; fail "no line for $name"; }
done
[[ -z $(ls -A "$tmp/out") ]] || fail "left behind: $(ls -A "$tmp/out")"
if "$tmp/compare" --workload read,nonsense 2>/dev/null; then fail "accepted an unknown workload"; fi
if "$tmp/compare" --pairs 0 2>/dev/null; then fail "accepted --pairs 0"; fi

"$tmp/compare" --dir "$tmp/out" --vfs "unix,$vfs" --workload commit-normal --seconds 30 >/dev/null 2>&1 &
pid=$!
until [[ -n $(ls "$tmp/out"/*/a.db-wal 2>/dev/null) ]]; do kill -0 $pid || fail "it ended by itself"; sleep 0.05; done
kill -TERM $pid
if wait $pid; then fail "SIGTERM did not end it"; fi
[[ -z $(ls -A "$tmp/out") ]] || fail "left behind when interrupted: $(ls -AR "$tmp/out")"

echo "compare: $(wc -w <<<"$names") workloads on unix and $vfs with their rows; clean after SIGTERM"
