#!/usr/bin/env bash
# SQLITE_FCNTL_NULL_IO in a newer SQLite: what comes of a commit, and of a file that gets the descriptor's number, is what comes of it on the
# default VFS, whether rings are used or not (null_io.c).
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/source.sh"

# Without SQLite's assertions: one of them is that a descriptor is above 2, and this one is closed.
compile null_io -O0 "$build/liburingvfs.a" -luring
work=$(mktemp -d "${TMPDIR:-/tmp}/uringvfs-null-io.XXXXXX")
trap 'rm -rf "$work"' EXIT

run() { # VFS, and what null_io.c wants
  rm -f "$work"/n.db* "$work"/victim
  (cd "$work" && "$cache/null_io-$version" "$@")
}

failed=0 compared=0 failing_commits=0
for mode in WAL DELETE PERSIST; do
  for file in db journal; do
    for moment in before within; do
      # Between two transactions in rollback mode no journal is open.
      [[ $mode = WAL || $file = db || $moment = within ]] || continue
      expected=$(run unix "$mode" "$file" "$moment" 2>&1) || true
      grep -q '^commit 0$' <<<"$expected" || failing_commits=$((failing_commits + 1))
      grep -q untouched <<<"$expected" || { echo "the default VFS: $expected"; exit 1; }
      for vfs in 'uring&uring_backend=sync' uring 'uring&uring_backend=uring'; do
        got=$(run "$vfs" "$mode" "$file" "$moment" 2>&1) && code=0 || code=$?
        if [[ $code = 77 ]]; then echo "no rings here: $got"; continue; fi
        compared=$((compared + 1))
        [[ $got = "$expected" ]] && continue
        failed=$((failed + 1))
        echo "$mode, NULL_IO of the $file, $moment a transaction: different with $vfs"
        diff <(echo "$expected") <(echo "$got") || true
      done
    done
  done
done
echo "SQLite $version: $compared compared, $failed different"
[[ $failed = 0 && $compared -ge 18 && $failing_commits -ge 5 ]]
