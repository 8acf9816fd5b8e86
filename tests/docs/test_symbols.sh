#!/usr/bin/env bash
# The symbols of the products are those they are meant to show, the extension calls no function of SQLite by name, and
# each layer includes only what it may. The checks are run on planted violations too.
set -euo pipefail
cd "$(dirname "$0")/../.."
build=${BUILD:-build}

fail() {
  echo "FAILED: $*"
  exit 1
}

scratch=$(mktemp -d "${TMPDIR:-/tmp}/uringvfs-symbols.XXXXXX")
trap 'rm -rf "$scratch"' EXIT

defined() { nm -D --defined-only "$1" | awk '{print $3}' | LC_ALL=C sort | tr '\n' ' '; }
calls_of_sqlite() { nm -D --undefined-only "$1" | grep -o 'sqlite3_.*' || true; }

got=$(defined "$build/uringvfs.so")
[ "$got" = "sqlite3_uringvfs_default_init sqlite3_uringvfs_init " ] || fail "uringvfs.so shows: $got"
got=$(defined "$build/liburingvfs.so")
[ "$got" = "uringvfs_register " ] || fail "liburingvfs.so shows: $got"
got=$(calls_of_sqlite "$build/uringvfs.so")
[ -z "$got" ] || fail "uringvfs.so calls SQLite by name: $got"
[ -n "$(calls_of_sqlite "$build/liburingvfs.so")" ] || fail "this test sees no call of SQLite where there must be some"
nm "$build/liburingrt.a" 2>/dev/null | grep sqlite >/dev/null && fail "the runtime calls SQLite"
got=$(nm -g --defined-only "$build/liburingrt.a" 2>/dev/null | awk 'NF == 3 && $3 !~ /^rt_/ {print $3}')
[ -z "$got" ] || fail "liburingrt.a has names that do not begin with rt_: $got"
got=$(nm -g --defined-only "$build/liburingvfs.a" 2>/dev/null |
  awk 'NF == 3 && $3 !~ /^(rt_|uringvfs_|sqlite3_uringvfs_)/ {print $3}')
[ -z "$got" ] || fail "liburingvfs.a has names without its prefix: $got"

# wrong_includes DIRECTORY: what a layer below it includes but may not.
wrong_includes() {
  (
    cd "$1"
    grep -nE '#[[:space:]]*include.*(sqlite3|uringvfs|vfs/|ext/)' runtime/*.[ch] || true
    grep -nE '#[[:space:]]*include.*(runtime/|ext/|uringvfs_ext|backend)' vfs/*.[ch] || true
    grep -nE '#[[:space:]]*include.*(runtime/|rt\.h|vfs/|internal)' ext/*.[ch] || true
  )
}
got=$(wrong_includes .)
[ -z "$got" ] || fail "a layer includes what it may not: $got"
mkdir "$scratch/runtime" "$scratch/vfs" "$scratch/ext"
echo '#include <sqlite3.h>' >"$scratch/runtime/planted.c"
echo '#include "../runtime/internal.h"' >"$scratch/vfs/planted.c"
echo '#  include "rt.h"' >"$scratch/ext/planted.c"
touch "$scratch"/{runtime,vfs,ext}/planted.h
[ "$(wrong_includes "$scratch" | wc -l)" = 3 ] || fail "the planted violations were not all found"

# The compiler enforces it too: what a layer may not see is not on its include path.
for violation in runtime:sqlite3.h runtime:uringvfs.h vfs:backend.h ext:rt.h; do
  layer=${violation%:*} header=${violation#*:}
  flags=$(make -sn V=1 BUILD="$build" -W "$(find "$layer" -name '*.c' | head -n 1)" all 2>/dev/null |
    grep -oE -- "-I[^ ]+/include/[a-z]+" | sort -u || true)
  [ -n "$flags" ] || fail "no include path in what make would run for $layer/"
  case $layer in
    runtime) path=-I$build/include/poison ;;
    vfs) path=-I$build/include/runtime ;;
    ext) path=-I$build/include/vfs ;;
  esac
  echo "$flags" | grep -xF -- "$path" >/dev/null || fail "$layer/ is not compiled with $path"
  echo "#include <$header>" >"$scratch/planted.c"
  if "${CC:-cc}" "$path" -fsyntax-only "$scratch/planted.c" 2>/dev/null; then fail "$layer/ can include $header"; fi
done
echo "symbols of 4 products, includes of 3 layers and 7 planted violations"
