# shellcheck shell=bash
# fetch.sh - the amalgamation inside npm's better-sqlite3 package, for scripts that need an SQLite newer than the
# system's. Sourced. Ends the script with 77 where it cannot be had. Sets cache (a directory for what is built of it), source (sqlite3.c and .h) and
# version.

skip() {
  echo "$1"
  exit 77
}

build=${BUILD:-$(dirname "${BASH_SOURCE[0]}")/../../build}
mkdir -p "$build/newer"
cache=$(cd "$build/newer" && pwd)
source=$cache/package/deps/sqlite3

if [[ ! -e $source/sqlite3.c ]]; then
  command -v npm >/dev/null || skip "npm is not installed: no newer SQLite to test with"
  work=$(mktemp -d "$cache/fetch.XXXXXX")
  trap 'rm -rf "$work"' EXIT
  (cd "$work" && npm pack --silent better-sqlite3) >"$cache/npm.log" 2>&1 ||
    skip "npm's registry cannot be reached: $(tail -n 1 "$cache/npm.log")"
  tar -xzf "$work"/better-sqlite3-*.tgz -C "$work" package/deps/sqlite3 package/package.json
  # As a whole or not at all: another run may be here at the same time.
  mv -T "$work/package" "$cache/package" 2>/dev/null || [[ -e $source/sqlite3.c ]]
fi
# shellcheck disable=SC2034
version=$(sed -n 's/^#define SQLITE_VERSION  *"\(.*\)"/\1/p' "$source/sqlite3.h")
