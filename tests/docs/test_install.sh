#!/usr/bin/env bash
# `make install` puts every file where it belongs, a program builds against what was installed and opens a database through
# vfs=uring, and `make uninstall` leaves nothing behind.
set -euo pipefail
cd "$(dirname "$0")/../.."
unset MAKEFLAGS MAKELEVEL MFLAGS

fail() {
  echo "FAILED: $*"
  exit 1
}

scratch=$(mktemp -d "${TMPDIR:-/tmp}/uringvfs-install.XXXXXX")
trap 'rm -rf "$scratch"' EXIT
build=${BUILD:-build}
cc=${CC:-cc}
version=$(sed -n 's/^VERSION := //p' Makefile)

# ---- a staged installation, as packages do it
stage=$scratch/stage
prefix=/opt/some-prefix
make -s BUILD="$build" CC="$cc" PREFIX=$prefix DESTDIR="$stage" install >/dev/null
expected="include/uringrt/rt.h
include/uringvfs.h
include/uringvfs_ext.h
lib/liburingrt.a
lib/liburingvfs.a
lib/liburingvfs.so
lib/liburingvfs.so.0
lib/liburingvfs.so.$version
lib/pkgconfig/uringrt.pc
lib/pkgconfig/uringvfs.pc
lib/sqlite3/uringvfs.so
share/man/man7/uringvfs.7"
found=$(cd "$stage$prefix" && find . ! -type d | sed 's|^\./||' | LC_ALL=C sort)
[ "$found" = "$expected" ] || fail "installed files: $(diff <(echo "$expected") <(echo "$found"))"
[ -x "$stage$prefix/lib/sqlite3/uringvfs.so" ] || fail "the extension is not executable"
grep -rIq "$stage" "$stage" && fail "a file names the staging directory"
make -s BUILD="$build" PREFIX=$prefix DESTDIR="$stage" uninstall >/dev/null
left=$(find "$stage" ! -type d)
[ -z "$left" ] || fail "uninstall left $left"
[ ! -d "$stage$prefix/lib/sqlite3" ] || fail "uninstall left its own directory lib/sqlite3"

# ---- a real one: what users do with it
prefix=$scratch/prefix
make -s BUILD="$build" CC="$cc" PREFIX="$prefix" DESTDIR=/ install >/dev/null
export PKG_CONFIG_PATH=$prefix/lib/pkgconfig
[ "$(pkg-config --modversion uringvfs)" = "$version" ] || fail "pkg-config: version"
cat >"$scratch/app.c" <<'END'
#include <stdio.h>
#include <sqlite3.h>
#include <uringvfs.h>
#include <uringvfs_ext.h>
static int show(void *arg, int n, char **values, char **names) {
  (void)arg, (void)n, (void)names;
  puts(values[0]);
  return 0;
}
int main(int argc, char **argv) {
  sqlite3 *db;
  if (argc != 2 || uringvfs_register(0) != SQLITE_OK || sqlite3_vfs_find("uring") == NULL) return 1;
  if (sqlite3_open_v2(argv[1], &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, "uring") != SQLITE_OK) return 2;
  if (sqlite3_exec(db, "PRAGMA journal_mode=WAL; CREATE TABLE t(x); INSERT INTO t VALUES(42); SELECT x FROM t;"
                       "SELECT name FROM pragma_database_list; PRAGMA uring_backend;", show, NULL, NULL) != SQLITE_OK) return 3;
  return sqlite3_close(db) == SQLITE_OK ? 0 : 4;
}
END
wanted=$'wal\n42\nmain\nauto'
# shellcheck disable=SC2046 # flags are words
{
  "$cc" "$scratch/app.c" $(pkg-config --cflags --libs uringvfs) -Wl,-rpath,"$prefix/lib" -o "$scratch/app"
  ldd "$scratch/app" | grep "$prefix/lib/liburingvfs.so.0" >/dev/null || fail "the program does not use the installed library"
  [ "$("$scratch/app" "$scratch/shared.db")" = "$wanted" ] || fail "the program linked with the shared library"
  "$cc" "$scratch/app.c" -I"$prefix/include" "$prefix/lib/liburingvfs.a" $(pkg-config --libs sqlite3 liburing) -pthread \
    -o "$scratch/app-static"
  [ "$("$scratch/app-static" "$scratch/static.db")" = "$wanted" ] || fail "the program linked with the static library"
  cat >"$scratch/rt.c" <<'END'
#include <rt.h>
int main(void) {
  rt_op op = {0};
  rt_loop *loop = rt_sync_loop();
  rt_prep_nop(&op);
  rt_submit(loop, &op);
  return rt_wait(loop, &op.c);
}
END
  "$cc" "$scratch/rt.c" $(pkg-config --cflags --libs uringrt) -o "$scratch/rt"
}
ldd "$scratch/rt" | grep sqlite >/dev/null && fail "the runtime needs SQLite"
"$scratch/rt" || fail "the program linked with the runtime"

extension=$(pkg-config --variable=extension uringvfs)
got=$(cd "$scratch" && sqlite3 -batch <<END
.bail on
.load $extension
.open file:shared.db?vfs=uring
SELECT x FROM t;
.vfsname
END
)
[ "$got" = $'42\nuring/unix' ] || fail "the installed extension in the shell: $got"
if command -v man >/dev/null; then
  man -M "$prefix/share/man" -P cat 7 uringvfs >"$scratch/man" 2>&1 || fail "man 7 uringvfs: $(cat "$scratch/man")"
fi

make -s BUILD="$build" PREFIX="$prefix" DESTDIR=/ uninstall >/dev/null
left=$(find "$prefix" ! -type d)
[ -z "$left" ] || fail "uninstall left $left"
echo "installed twice (staged, and for use by pkg-config, the shell and man), built 3 programs, uninstalled"
