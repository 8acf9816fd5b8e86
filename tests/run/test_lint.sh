#!/usr/bin/env bash
# make lint: a line that is too long, and an internal name without its two underscores, are found in any file.
set -euo pipefail
cd "$(dirname "$0")/../.."
tmp=$(mktemp -d "${TMPDIR:-/tmp}/test-lint.XXXXXX")
trap 'rm -rf "$tmp"' EXIT
fail() { echo "FAILED: $*"; cat "$tmp/log"; exit 1; }

lint() { # target, the variable that names its files, the text of one
  printf '%s\n' "$3" >"$tmp/some.c"
  make --no-print-directory "$1" "$2=$tmp/some.c" >"$tmp/log" 2>&1
}
finds() { # the same, and what it says
  if lint "${@:1:3}"; then fail "$1 did not find: $3"; fi
  grep -q "^lint: .*$4" "$tmp/log" || fail "$1 says something else of: $3"
}

line=$(printf '%120s' '' | tr ' ' x)
lint lint-lines style_files "$line" || fail 'a line of 120 columns'
finds lint-lines style_files "${line}x" 'some.c:1: longer than 120 columns'
finds lint-lines style_files "/* $line */" 'some.c:1: longer than 120 columns'

lint lint-names names_files 'int uringvfs__tree_step(int); /* uringvfs_register, URINGVFS_TREE_MAP_H, uring_vfs */' ||
  fail 'names as they should be'
finds lint-names names_files 'typedef int uringvfs_place;' 'not a public name: .*:1:uringvfs_place'
finds lint-names names_files 'enum { URINGVFS_PLACES = 2 };' 'not a public name: .*:1:URINGVFS_PLACES'
echo 'lint: long lines and internal names are found'
