#!/usr/bin/env bash
# plant.sh [NAME...] - proves the crash simulation: each planted bug must be found.
#
# BUILD must hold the library and tests/crash/prog_crash with its object files.
set -eu
. "$(dirname "$0")/../plant.sh"

# plant NAME FILE SEDSCRIPT PROG_CRASH_ARGUMENTS...
plant() {
  local name=$1 file=$2 script=$3 code=0
  shift 3
  chosen "$name" && edited "$name" "$file" "$script" || return 0
  local dir=$scratch/$name
  linked "$name" "$file" "$build"/tests/crash/prog_crash.o "$build"/tests/crash/support_*.o
  timeout 3600 "$dir/program" --jobs 1 --until-failure --save "$dir/saved" "$@" >"$dir/out" 2>&1 || code=$?
  if [ "$code" = 1 ] && grep -q '^FAILED' "$dir/out"; then
    printf 'found   %-24s %s\n' "$name" "$(sed -n 's/^  \(cut after entry\|while running\)/\1/p' "$dir/out" | head -n 1 | cut -c 1-150)"
  else
    was_missed "$dir/out" "$name: exit code $code"
  fi
}

wal='--seed 0 --stride 6 --seeds 64'            # WAL, every synchronous setting
wal_full='--seed 12 --stride 24 --seeds 24'     # WAL, FULL
rollback_full='--seed 13 --stride 24 --seeds 8' # DELETE, FULL

# An fsync is skipped.
plant wal-sync-skipped wal_writer.c 's/return w->synced_by_group && normal \? SQLITE_OK : uringvfs__sync\(wal, flags\);/(void)flags; return SQLITE_OK;/' $wal_full
plant db-sync-skipped file.c 's/case URINGVFS__DATABASE: return uringvfs__sync\(f, flags\);/case URINGVFS__DATABASE: return SQLITE_OK;/' $wal
plant group-sync-skipped wal_writer.c 's/w->start, &sync, &sync_rc\)/w->start, \&(bool){false}, \&sync_rc)/' $wal_full --backend uring
plant sync-not-ordered page_io.c 's/^ *rt_order_after\(.*$//' $wal_full --backend uring
plant directory-not-synced page_io.c 's/const bool parents = !f->first_sync_done \|\| /const bool parents = /' $wal_full --backend uring

# A flush point is removed.
plant commit-not-flushed wal_writer.c 's/return flush\(wal, w->expect_sync && wal->first_sync_done\);/return SQLITE_OK;/' $wal
plant flush-at-unlock wal_writer.c \
  's/return flush\(wal, w->expect_sync && wal->first_sync_done\);/return SQLITE_OK;/; s/^( *)w->state = URINGVFS__WAL_BUFFERING;/\1if (w->state == URINGVFS__WAL_THROUGH) (void)flush(wal, false);\n&/' $wal
plant rewrites-collected wal_writer.c 's/if \(w->state == URINGVFS__WAL_THROUGH \|\| /if (/' $wal
plant header-merged wal_writer.c \
  's/^( *)at < URINGVFS__WAL_HEADER_BYTES\)/\1false)/; s/const wal_piece piece = /&at == 0 ? PIECE_PAGE : /; /^int uringvfs__wal_sync/,/^}/s/^( *)int rc = uringvfs__wal_flush\(wal\);/\1if (w->start == 0 \&\& w->length == URINGVFS__WAL_HEADER_BYTES) return SQLITE_OK;\n&/' $wal

# What failed or was rolled back is written all the same.
plant failure-flushed wal_writer.c \
  's/^( *)if \(rc == SQLITE_OK && sync\) \{/\1if (rc != SQLITE_OK) w->length = length;\n&/; s/^( *)w->state = URINGVFS__WAL_BUFFERING;/\1if (w->length > 0) (void)flush(wal, false);\n&/' $wal

# The journal comes after the pages it protects.
plant journal-not-synced file.c 's/default: return PARENT\(f, xSync\)\(f->parent, flags\);/default: return SQLITE_OK;/' $rollback_full
plant journal-after-pages file.c \
  's/^static int file_sync/static uringvfs__file *late;\n&/; s/default: return PARENT\(f, xSync\)\(f->parent, flags\);/default: late = f; return SQLITE_OK;/; s/case URINGVFS__DATABASE: return uringvfs__sync\(f, flags\);/case URINGVFS__DATABASE: { int r = uringvfs__sync(f, flags); if (late != NULL \&\& late->base.pMethods != NULL) (void)PARENT(late, xSync)(late->parent, flags); late = NULL; return r; }/' $rollback_full

# An error is dropped.
plant write-error-dropped wal_writer.c '/^static int flush/,/^}/s/^  return rc;/  return SQLITE_OK;/' $wal
plant group-sync-error-dropped wal_writer.c 's/^( *)w->synced_by_group = sync_rc == SQLITE_OK;/\1w->synced_by_group = true;/; s/^( *)w->sync_rc = sync_rc;//' --seed 12 --stride 24 --seeds 100 --steps 30 --every 3 --backend uring
plant page-write-error-dropped page_io.c '/^int uringvfs__write\(/,/^}/s/return page_op_code(.*);/(void)page_op_code\1; return SQLITE_OK;/' --seed 1 --seeds 400 --steps 20 --every 40

verdict
