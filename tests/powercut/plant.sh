#!/usr/bin/env bash
# plant.sh [NAME...] - proves that power cuts on real file systems find something: each planted bug must be found.
#
# Beside bugs of the VFS there are disks that lie. BUILD must hold the library and the programs of tests/powercut with their object
# files. Root only, as all of this.
set -euo pipefail
. "$(dirname "$0")/../plant.sh"
export POWERCUT_DISK=$build/tests/powercut/prog_disk_fuse

# judge NAME PROGRAM ARGUMENTS...
judge() {
  local name=$1 code=0
  shift
  timeout --foreground 3600 "$@" --until-failure --save "$scratch/saved" >"$scratch/out" 2>&1 || code=$?
  if [ "$code" = 1 ] && grep -q '^  again:' "$scratch/out"; then
    printf 'found   %-20s %s\n' "$name" "$(grep -A 1 '^FAILED' "$scratch/out" | sed -n '2s/^  //p')"
  else
    was_missed "$scratch/out" "$name: exit code $code"
  fi
}

# plant NAME FILE SEDSCRIPT ARGUMENTS...
plant() {
  local name=$1 file=$2 script=$3
  shift 3
  chosen "$name" && edited "$name" "$file" "$script" || return 0
  linked "$name" "$file" "$build"/tests/powercut/prog_powercut.o "$build"/tests/powercut/support_*.o
  judge "$name" "$scratch/$name/program" --fs ext4 "$@"
}

# A seed's remainder by 8 is its mode.
wal_full=(--seed 0 --stride 8 --seeds 8)
wal_normal=(--seed 1 --stride 8 --seeds 12)
truncate_full=(--seed 3 --stride 8 --seeds 8)

# An fsync is skipped: at a commit, at a checkpoint, in a group on a ring, before pages of the database are overwritten.
plant wal-sync-skipped wal_writer.c 's/return w->synced_by_group && normal \? SQLITE_OK : uringvfs__sync\(wal, flags\);/(void)flags; return SQLITE_OK;/' "${wal_full[@]}" --vfs auto
plant wal-sync-at-normal wal_writer.c 's/return w->synced_by_group && normal \? SQLITE_OK : uringvfs__sync\(wal, flags\);/(void)flags; return SQLITE_OK;/' "${wal_normal[@]}" --vfs auto
plant db-sync-skipped file.c 's/case URINGVFS__DATABASE: return uringvfs__sync\(f, flags\);/case URINGVFS__DATABASE: return SQLITE_OK;/' "${wal_full[@]}" --vfs auto
plant group-sync-skipped wal_writer.c 's/w->start, &sync, &sync_rc\)/w->start, \&(bool){false}, \&sync_rc)/' "${wal_full[@]}" --vfs uring
plant journal-not-synced file.c 's/default: return PARENT\(f, xSync\)\(f->parent, flags\);/default: return SQLITE_OK;/' "${truncate_full[@]}" --vfs auto

# The journal comes after the pages it protects.
plant journal-after-pages file.c \
  's/^static int file_sync/static uringvfs__file *late;\n&/; s/default: return PARENT\(f, xSync\)\(f->parent, flags\);/default: late = f; return SQLITE_OK;/; s/case URINGVFS__DATABASE: return uringvfs__sync\(f, flags\);/case URINGVFS__DATABASE: { int r = uringvfs__sync(f, flags); if (late != NULL \&\& late->base.pMethods != NULL) (void)PARENT(late, xSync)(late->parent, flags); late = NULL; return r; }/' "${truncate_full[@]}" --vfs auto

# A flush is answered, and nothing done. The control: it is the default VFS that loses here.
if chosen lying-disk; then judge lying-disk "$build/tests/powercut/prog_powercut" --fs ext4 --vfs unix --lie 1 "${wal_full[@]}"; fi
if chosen lying-at-times; then judge lying-at-times "$build/tests/powercut/prog_powercut" --fs xfs --vfs unix --lie 5 "${wal_full[@]}"; fi

verdict
