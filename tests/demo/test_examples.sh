#!/usr/bin/env bash
# The example programs in C and Python run, and the default VFS reads what they wrote.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$here/../..
build=${BUILD:-build}
[[ $build == /* ]] || build=$PWD/$build
so=${URINGVFS_SO:-$build/uringvfs.so}
tmp=$(mktemp -d "${TMPDIR:-/tmp}/test-examples.XXXXXX")
trap 'rm -rf "$tmp"' EXIT
fail() { echo "FAILED: $*"; exit 1; }

expect() { # language database log
  [[ $(grep -Fxc -e "1  written from $1" -e "2  through vfs=uring" "$3") == 2 ]] || { cat "$3"; fail "$1: rows"; }
  grep -q '"wal_batches":[1-9]' <(tr -d ' ' <"$3") || { cat "$3"; fail "$1: it did not write through uring"; }
  [[ $(sqlite3 "$2" "SELECT count(*) FROM note; PRAGMA integrity_check;" | tr '\n' ' ') == "2 ok " ]] || fail "$1: the database"
  [[ ! -e $2-wal ]] || fail "$1: the WAL was left behind"
}

# shellcheck disable=SC2046
${CC:-cc} -std=gnu11 -Wall -Wextra -Werror -I"$root/vfs" "$root/demo/examples/notes.c" -o "$tmp/notes" "$build/liburingvfs.a" \
  $(pkg-config --cflags --libs sqlite3 liburing) -pthread
"$tmp/notes" "$tmp/c.db" >"$tmp/c.log"
expect C "$tmp/c.db" "$tmp/c.log"
if "$tmp/notes" "$tmp/no/such/directory/c.db" 2>"$tmp/c.err"; then fail "C: a missing directory went unnoticed"; fi
grep -q "unable to open" "$tmp/c.err" || fail "C: no reason was given"

python=
for candidate in python3 /usr/bin/python3; do
  if $candidate -c 'import sqlite3; sqlite3.Connection.enable_load_extension' 2>/dev/null; then python=$candidate && break; fi
done
if [[ -n $python ]]; then
  $python "$root/demo/examples/notes.py" "$so" "$tmp/it's #1 50%.db" >"$tmp/py.log"
  expect Python "$tmp/it's #1 50%.db" "$tmp/py.log"
  echo "notes.c and notes.py wrote through uring, the default VFS read it"
else
  echo "notes.c wrote through uring, the default VFS read it; no Python here has enable_load_extension"
fi
