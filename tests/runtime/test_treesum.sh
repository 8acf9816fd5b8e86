#!/usr/bin/env bash
# demo/treesum: prints what cksum prints, for any number of files at once; Ctrl-C ends it in good order.
set -euo pipefail
build=${BUILD:-build}
dir=$(mktemp -d "${TMPDIR:-/tmp}/rt_treesum.XXXXXX")
trap 'rm -rf "$dir"' EXIT

"${CC:-cc}" -std=gnu11 -O2 -Wall -Wextra -Werror -I"$build/include/runtime" -o "$dir/treesum" demo/treesum/treesum.c \
  "$build/liburingrt.a" -luring -pthread

mkdir -p "$dir/tree/a/b" "$dir/tree/c"
for i in $(seq 1 60); do head -c $((i * i * 97)) /dev/urandom >"$dir/tree/a/file$i"; done
: >"$dir/tree/empty"
head -c 262144 /dev/urandom >"$dir/tree/a/b/one piece"
head -c 1048577 /dev/urandom >"$dir/tree/c/several pieces"
ln -s nowhere "$dir/tree/c/link"
find "$dir/tree" -type f -exec cksum {} + | sort -k3 >"$dir/expected"
for jobs in 1 7 64; do
  "$dir/treesum" -j "$jobs" "$dir/tree" | sort -k3 >"$dir/found"
  cmp "$dir/expected" "$dir/found"
done

# The comparison of both says so, and says so if they differ.
demo/treesum/compare.py --rounds 1 "$dir/tree" >"$dir/table"
[ "$(grep -cE '^(cold|warm)  (cksum|treesum)' "$dir/table")" = 6 ]
printf '#!/bin/sh\n"%s" "$@" | sed "s/1048577/1048578/"\n' "$dir/treesum" >"$dir/wrong"
chmod +x "$dir/wrong"
if demo/treesum/compare.py --rounds 1 --treesum "$dir/wrong" "$dir/tree" >"$dir/table" 2>"$dir/errors"; then exit 1; fi
grep -q '^treesum differs: ' "$dir/errors"

# A file that cannot be read is reported; the others are summed.
if [ "$(id -u)" != 0 ]; then
  chmod 000 "$dir/tree/empty"
  rc=0
  "$dir/treesum" -q "$dir/tree" 2>"$dir/errors" || rc=$?
  [ "$rc" = 1 ]
  grep -q 'empty: Permission denied' "$dir/errors"
fi

# Interrupted in the middle: a sparse file takes long enough.
truncate -s 200G "$dir/tree/sparse"
"$dir/treesum" -q "$dir/tree" 2>"$dir/errors" &
pid=$!
handles_int() { (((0x$(sed -n 's/^SigCgt:[[:space:]]*//p' "/proc/$pid/status") & 2) != 0)); }
until handles_int; do sleep 0.05; done
sleep 0.2
kill -INT "$pid"
rc=0
wait "$pid" || rc=$?
[ "$rc" = 130 ] || { echo "after Ctrl-C: exit code $rc" >&2; exit 1; }
grep -q '^treesum: interrupted after' "$dir/errors"
