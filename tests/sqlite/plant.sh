#!/usr/bin/env bash
# plant.sh - proves run.sh --ci: each bug planted in a copy of a file of vfs/ must be reported as a difference. To save
# time each is looked for with a few of the scripts that --ci runs only.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
scratch=$(mktemp -d "${TMPDIR:-/tmp}/uringvfs-plant.XXXXXX")
trap 'rm -rf "$scratch"' EXIT
missed=0

# plant NAME FILE SEDSCRIPT TEST_SCRIPT...
plant() {
  local name=$1 file=$2 edit=$3 code=0
  shift 3
  sed -E "$edit" "$here/../../vfs/$file" >"$scratch/$file"
  if ! cmp -s "$here/../../vfs/$file" "$scratch/$file"; then
    "$here/run.sh" --debug --replace "$scratch/$file" "$@" >"$scratch/out" 2>&1 || code=$?
  fi
  if [ "$code" = 1 ] && grep -q ^DIFFERENCE "$scratch/out"; then
    printf 'found   %-20s %4d differences, the first: %s\n' "$name" "$(grep -c ^DIFFERENCE "$scratch/out")" \
      "$(grep -m 1 ^DIFFERENCE "$scratch/out" | cut -d ' ' -f 2-)"
  else
    printf 'MISSED  %-20s exit code %s (0: perhaps the edit changes nothing any more)\n' "$name" "$code"
    tail -n 5 "$scratch/out" | sed 's/^/    | /'
    missed=1
  fi
}

plant sync-skipped page_io.c 's/^int uringvfs__sync\(.*\{$/&\n  if (f != NULL) return SQLITE_OK;/' sync.test sync2.test
plant old-sync-counts wal_writer.c '/others may write from here on/d' sync2.test wal2.test
plant truncate-skipped file.c 's/return f->role == URINGVFS_WAL \? uringvfs__wal_truncate.*/(void)size; return SQLITE_OK;/' wal.test walpersist.test
plant pending-not-read wal_writer.c 's/if \(overlaps_pending\(w, at, bytes\)\)/if (false)/' savepoint2.test pager1.test
plant commit-not-written wal_writer.c 's/return flush\(wal, w->expect_sync && wal->first_sync_done\);/return SQLITE_OK;/' wal.test wal2.test
plant old-page-handed-out readahead.c 's/^void uringvfs__readahead_written\(.*\{$/&\n  if (amount > 0) return;/' incrvacuum2.test pager1.test
exit "$missed"
