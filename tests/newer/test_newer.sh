#!/usr/bin/env bash
# The extension, built against the installed headers, in a program with a newer SQLite: the amalgamation inside npm's
# better-sqlite3 package, compiled with SQLite's own assertions (SQLITE_DEBUG), runs the conformance scripts that need no
# more than SQL, the kill tests and the crash points. (Node itself with better-sqlite3: tests/demo/test_example_node.sh.)
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
mkdir -p "${BUILD:-$here/../../build}/newer"
cache=$(cd "${BUILD:-$here/../../build}/newer" && pwd)
source=$cache/package/deps/sqlite3

skip() {
  echo "$1"
  exit 77
}

if [[ ! -e $source/sqlite3.c ]]; then
  command -v npm >/dev/null || skip "npm is not installed: no newer SQLite to test with"
  work=$(mktemp -d "$cache/fetch.XXXXXX")
  trap 'rm -rf "$work"' EXIT
  (cd "$work" && timeout 60 npm pack --silent better-sqlite3) >"$cache/npm.log" 2>&1 ||
    skip "npm's registry cannot be reached: $(tail -n 1 "$cache/npm.log")"
  tar -xzf "$work"/better-sqlite3-*.tgz -C "$work" package/deps/sqlite3 package/package.json
  # As a whole or not at all: another run may be here at the same time.
  mv -T "$work/package" "$cache/package" 2>/dev/null || [[ -e $source/sqlite3.c ]]
fi
version=$(sed -n 's/^#define SQLITE_VERSION  *"\(.*\)"/\1/p' "$source/sqlite3.h")

# program NAME, its optimization, options of SQLite: NAME.c with the amalgamation.
# Not more than -O1: it takes a while as it is.
program() {
  local to=$cache/$1-$version
  [[ -x $to && ! $here/$1.c -nt $to ]] && return
  "${CC:-cc}" -std=gnu11 -w "${@:2}" -DSQLITE_THREADSAFE=1 -D_GNU_SOURCE -I"$source" -o "$to.$$" "$here/$1.c" \
    "$source/sqlite3.c" -ldl -lpthread -lm
  mv "$to.$$" "$to"
}

shell=$cache/shell-$version
program shell -O1 -DSQLITE_DEBUG -DSQLITE_ENABLE_API_ARMOR -DSQLITE_USE_URI=1 -DSQLITE_ENABLE_FTS5 \
  -DSQLITE_ENABLE_RTREE -DSQLITE_ENABLE_DBSTAT_VTAB -DSQLITE_SECURE_DELETE
# SQLite's own assertions do not allow for NULL_IO.
program controls -O0 -DSQLITE_ENABLE_FILESTAT

export SQLITE3=$shell STRIDE=${STRIDE:-9} ROUNDS=${ROUNDS:-3} POINTS=${POINTS:-3}
said=$(echo "SELECT sqlite_version();" | "$shell")
[[ $said = "$version" ]] || { echo "the shell says it is $said, not $version"; exit 1; }
echo "SQLite $version:"
python3 "$here/../conformance/test_matrix.py"
python3 "$here/../conformance/test_scripts.py" attach.sql busy.sql errors.sql mixed.sql overflow.sql savepoints.sql \
  temp.sql wal.sql
python3 "$here/../crossread/test_killed.py"
python3 "$here/../crossread/test_crash_points.py"

# NULL_IO and FILESTAT: the same through every VFS.
work=$(mktemp -d "${TMPDIR:-/tmp}/uringvfs-newer.XXXXXX")
trap 'rm -rf "$work"' EXIT
through() { (cd "$work" && "$cache/controls-$version" "$URINGVFS_SO" "$1"); }
expected=$(through vfs=unix)
[[ $expected = *"NULL_IO: 0"*"commit: 10"*"FILESTAT of a.db: 0"* ]] ||
  { echo "$expected"; echo "these controls are not known here"; exit 1; }
backends=(auto sync uring)
[[ $(through "vfs=uring&uring_backend=uring") != *"unable to open"* ]] || backends=(auto sync)
for backend in "${backends[@]}"; do
  found=$(through "vfs=uring&uring_backend=$backend")
  if ! diff <(echo "$expected") <(echo "$found"); then
    echo "file controls: uring_backend=$backend (>) is not as the default VFS (<)"
    exit 1
  fi
done
echo "file controls: NULL_IO and FILESTAT as on the default VFS, with ${backends[*]}"
