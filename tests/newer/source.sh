# source.sh - to be sourced: a newer SQLite, the amalgamation inside npm's better-sqlite3 package.
# Sets cache (a directory), source (where sqlite3.h is) and version; ends the test with 77 where the registry cannot be reached.
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
build=${BUILD:-$here/../../build}
mkdir -p "$build/newer"
cache=$(cd "$build/newer" && pwd)
source=$cache/package/deps/sqlite3

skip() {
  echo "$1"
  exit 77
}

# One test at a time: they need the same files.
exec 9>"$cache/lock"
flock 9

if [[ ! -e $source/sqlite3.c ]]; then
  command -v npm >/dev/null || skip "npm is not installed: no newer SQLite to test with"
  work=$(mktemp -d "$cache/fetch.XXXXXX")
  trap 'rm -rf "$work"' EXIT
  (cd "$work" && npm pack --silent better-sqlite3) >"$cache/npm.log" 2>&1 ||
    skip "npm's registry cannot be reached: $(tail -n 1 "$cache/npm.log")"
  tar -xzf "$work"/better-sqlite3-*.tgz -C "$work" package/deps/sqlite3 package/package.json
  mv -T "$work/package" "$cache/package"
fi
version=$(sed -n 's/^#define SQLITE_VERSION  *"\(.*\)"/\1/p' "$source/sqlite3.h")

flock -u 9
exec 9>&-

# compile NAME ARGUMENT...: $cache/NAME-VERSION from NAME.c of this folder and the amalgamation.
compile() {
  local name=$1 program=$cache/$1-$version
  shift
  "${CC:-cc}" -std=gnu11 -w -D_GNU_SOURCE -DSQLITE_USE_URI=1 -DSQLITE_THREADSAFE=1 -I"$source" -o "$program.$$" "$here/$name.c" \
    "$source/sqlite3.c" "$@" -ldl -lpthread -lm
  mv "$program.$$" "$program"
}
