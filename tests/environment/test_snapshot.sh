#!/usr/bin/env bash
# The snapshot API, in a program with a newer SQLite (tests/newer): the same calls through the default VFS and through
# uring, with each backend, give the same codes, rows and files.
set -euo pipefail
own=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$own/../newer/source.sh"
[[ -n ${URINGVFS_SO:-} ]] || { echo "URINGVFS_SO is not set"; exit 1; }

# -O1 and not more: it takes a while as it is.
program=$cache/snapshot-$version
if [[ ! -x $program || $own/snapshot.c -nt $program ]]; then
  "${CC:-cc}" -std=gnu11 -w -O1 -DSQLITE_ENABLE_SNAPSHOT -DSQLITE_THREADSAFE=1 -D_GNU_SOURCE -I"$source" \
    -o "$program.$$" "$own/snapshot.c" "$source/sqlite3.c" -ldl -lpthread -lm
  mv "$program.$$" "$program"
fi

directory=$(mktemp -d "${TMPDIR:-/tmp}/uringvfs-snapshot.XXXXXX")
trap 'rm -rf "$directory" ${work:+"$work"}' EXIT

# run NAME PARAMETERS [EXTENSION]: what it prints, what the ring did, and the database.
run() {
  mkdir "$directory/$1"
  (cd "$directory/$1" && "$program" "${@:2}" >said 2>rings) || { cat "$directory/$1"/{said,rings}; exit 1; }
}

run default 'vfs=unix'
grep -q 'snapshot_open -> 0$' "$directory/default/said" || { echo "no snapshot could be opened"; exit 1; }
grep -q 'snapshot_open -> 769$' "$directory/default/said" || { echo "no snapshot was too old"; exit 1; }
for backend in auto uring sync; do
  # uring is refused where no ring can be had.
  if [[ $backend = uring && $(tail -n 1 "$directory/auto/rings") = 0 ]]; then
    echo "no rings here: auto and sync are tested"
    continue
  fi
  run $backend "vfs=uring&uring_backend=$backend" "$URINGVFS_SO"
  diff "$directory/default/said" "$directory/$backend/said" || { echo "uring_backend=$backend: other results"; exit 1; }
  cmp "$directory/default/a.db" "$directory/$backend/a.db" || { echo "uring_backend=$backend: another file"; exit 1; }
  [[ $backend != uring || $(tail -n 1 "$directory/uring/rings") -gt 0 ]] || { echo "no ring was used"; exit 1; }
done
echo "SQLite $version: $(wc -l <"$directory/default/said") results, the same for each backend"
