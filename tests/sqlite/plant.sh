#!/usr/bin/env bash
# plant.sh [NAME...] - proves run.sh --ci: each bug planted in a copy of a file of vfs/ must be reported as a difference. To save
# time each is looked for with a few of the scripts that --ci runs only. A known difference that is not there must be reported too.
set -euo pipefail
. "$(dirname "$0")/../plant.sh"

# plant NAME FILE SEDSCRIPT TEST_SCRIPT...
plant() {
  local name=$1 file=$2 script=$3 code=0
  shift 3
  chosen "$name" && edited "$name" "$file" "$script" || return 0
  local dir=$scratch/$name
  tests/sqlite/run.sh --debug --replace "$dir/$file" "$@" >"$dir/out" 2>&1 || code=$?
  if [ "$code" = 1 ] && grep -q ^DIFFERENCE "$dir/out"; then
    printf 'found   %-20s %4d differences, the first: %s\n' "$name" "$(grep -c ^DIFFERENCE "$dir/out")" \
      "$(grep -m 1 ^DIFFERENCE "$dir/out" | cut -d ' ' -f 2-)"
  else
    was_missed "$dir/out" "$name: exit code $code"
  fi
}

plant sync-skipped page_io.c 's/^int uringvfs__sync\(.*\{$/&\n  if (f != NULL) return SQLITE_OK;/' sync.test sync2.test
plant old-sync-counts wal_writer.c '/others may write from here on/d' sync2.test wal2.test
plant truncate-skipped file.c 's/return role_of\(f\) == URINGVFS__WAL \? uringvfs__wal_truncate.*/(void)size; return SQLITE_OK;/' wal.test walpersist.test
plant pending-not-read wal_writer.c 's/if \(overlaps_pending\(w, at, bytes\)\)/if (false)/' savepoint2.test pager1.test
plant commit-not-written wal_writer.c 's/return flush\(wal, w->expect_sync && wal->first_sync_done\);/return SQLITE_OK;/' wal.test wal2.test
plant old-page-handed-out readahead/readahead.c 's/^void uringvfs__readahead_written\(.*\{$/&\n  if (amount > 0) return;/' backup.test

if chosen stale-entry; then
  dir=$scratch/stale-entry code=0
  mkdir "$dir"
  { cat tests/sqlite/known-differences.txt; echo "sync.test sync-1.1 uring any planted"; } >"$dir/known"
  tests/sqlite/run.sh --debug --known "$dir/known" sync.test >"$dir/out" 2>&1 || code=$?
  if [ "$code" = 1 ] && grep -q '^STALE known difference.*sync' "$dir/out" && ! grep -q ^DIFFERENCE "$dir/out"; then
    echo "found   stale-entry"
  else
    was_missed "$dir/out" "stale-entry: exit code $code"
  fi
fi
verdict
