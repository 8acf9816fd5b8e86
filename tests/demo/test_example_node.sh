#!/usr/bin/env bash
# The example in Node (better-sqlite3, which brings a newer SQLite of its own) runs, and Debian's SQLite reads what it wrote.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
example=$here/../../demo/examples/node
build=${BUILD:-build}
[[ $build == /* ]] || build=$PWD/$build
so=${URINGVFS_SO:-$build/uringvfs.so}
skip() { echo "$*"; exit 77; }
fail() { echo "FAILED: $*"; exit 1; }

for tool in node npm; do command -v $tool >/dev/null || skip "$tool is not installed"; done
tmp=$(mktemp -d "${TMPDIR:-/tmp}/test-node.XXXXXX")
trap 'rm -rf "$tmp"' EXIT
# Half a minute, once for a build directory. Without optimization, for that is all the test needs.
CFLAGS=-O0 CXXFLAGS=-O0 "$example/setup.sh" "$build/tests/node" >"$tmp/setup.log" 2>&1 || {
  unreachable='ENOTFOUND|EAI_AGAIN|ECONN(REFUSED|RESET|ABORTED)|ETIMEDOUT|ERR_SOCKET_TIMEOUT|ENETUNREACH|EHOSTUNREACH|E50[234]'
  if why=$(grep -Ewm 1 "$unreachable" "$tmp/setup.log"); then skip "npm's registry cannot be reached: $why"; fi
  cat "$tmp/setup.log"
  fail "better-sqlite3 cannot be built here"
}

NOTES_MODULES=$build/tests/node node "$example/notes.js" "$so" "$tmp/node.db" >"$tmp/log" || { cat "$tmp/log"; fail "notes.js"; }
[[ $(grep -Fxc -e "1  written from Node" -e "2  through vfs=uring" "$tmp/log") == 2 ]] || { cat "$tmp/log"; fail "rows"; }
grep -q '"wal_batches":[1-9]' <(tr -d ' ' <"$tmp/log") || { cat "$tmp/log"; fail "it did not write through uring"; }
[[ $(sqlite3 "$tmp/node.db" "SELECT count(*) FROM note; PRAGMA integrity_check;" | tr '\n' ' ') == "2 ok " ]] || fail "the database"
[[ ! -e $tmp/node.db-wal ]] || fail "the WAL was left behind"
version=$(NODE_PATH=$build/tests/node/node_modules node -p "new (require('better-sqlite3'))(':memory:').prepare('SELECT sqlite_version()').pluck().get()")
echo "notes.js wrote through uring with SQLite $version inside better-sqlite3, the default VFS read it"
