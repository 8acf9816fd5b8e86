#!/usr/bin/env bash
# plant.sh [NAME...] - proves the model: each planted bug must be found by the cases that `make check` runs.
#
# BUILD must hold the library and tests/model/prog_model with its object files. For each bug that is found it prints in
# which case, and the events that it takes.
set -eu
. "$(dirname "$0")/../plant.sh"

# plant NAME FILE SEDSCRIPT [FILE SEDSCRIPT]: in one or two files of vfs/. In the first one $besides is edited as well.
plant() {
  local name=$1 code=0 more=()
  chosen "$name" && edited "$name" "$2" "$3" || return 0
  sed -E -i "${besides:-}" "$scratch/$name/$2"
  if [ $# -gt 3 ]; then
    edited "$name" "$4" "$5" || return 0
    # shellcheck disable=SC2086
    ${CC:-gcc} -std=gnu11 -D_GNU_SOURCE= -pthread ${cflags:--O1 -g} -Ivfs -Ivfs/readahead -Iruntime -c -o "$scratch/$name/more.o" "$scratch/$name/$4"
    more=("$scratch/$name/more.o")
  fi
  linked "$name" "$2" "$build"/tests/model/prog_model.o "$build"/tests/model/support_*.o "${more[@]}"
  timeout "${MODEL_PLANT_TIMEOUT:-900}" "$scratch/$name/program" --seed "${MODEL_SEED:-1}" --cases "${MODEL_CASES:-1500}" --until-failure \
    >"$scratch/$name/out" 2>&1 || code=$?
  if [ "$code" = 1 ] && grep -q '^FAILED' "$scratch/$name/out"; then
    printf 'found   %-22s case %-5s %s\n' "$name" "$(sed -n 's/^  replay:.*--case //p' "$scratch/$name/out" | head -n 1)" \
      "$(sed -n 's/^  the events that it takes:.*--setup/setup/p' "$scratch/$name/out" | head -n 1)"
  else
    was_missed "$scratch/$name/out" "$name: exit code $code"
  fi
}

# The invariants that abort by themselves are taken out too where a bug would run into them: that comparing finds them
# has to be shown.
unchecked='s/^  check\(f\);$//'
# And the wal-index has the last word on what was committed.
unguarded='s/if \(is_published\(wal\)\) .*//'

# Frames of a transaction that did not commit outlive what SQLite believes.
besides=$unchecked plant exclusive-mode-left tenure.c 's/if \(f->wal != NULL && \(held_back/if (f->wal != NULL \&\& before != URINGVFS__TENURE_ALONE \&\& (held_back/'
besides=$unchecked plant write-lock-released tenure.c 's/if \(f->wal != NULL && \(held_back/if (f->wal != NULL \&\& before != URINGVFS__TENURE_WRITING \&\& (held_back/'
plant abort-on-alone-left tenure.c 's/if \(f->wal != NULL && \(held_back/if (f->wal != NULL \&\& before != URINGVFS__TENURE_ALONE \&\& (held_back/'

# Frames of one that did are held back, or lost.
plant commit-not-flushed wal_writer.c 's/return flush\(wal, w->expect_sync && wal->first_sync_done\);/return SQLITE_OK;/'
besides=$unguarded plant through-not-entered wal_writer.c '/^static int flush_commit/,/^}/s/w->state = URINGVFS__WAL_THROUGH;/w->state = URINGVFS__WAL_BUFFERING;/'
besides=$unguarded plant rewrites-collected wal_writer.c 's/if \(w->state == URINGVFS__WAL_THROUGH \|\| /if (/'
plant sync-forgotten wal_writer.c 's/return w->synced_by_group && normal \? SQLITE_OK/return normal ? SQLITE_OK/'

# The pending bytes and the file together are not what the file would be.
plant pending-not-read wal_writer.c '/^int uringvfs__wal_read/,/^}/s/if \(overlaps_pending\(w, at, bytes\)\)/if (false \&\& bytes == at)/'
plant size-without-pending file.c 's/if \(\*size < pending_end\)/if (pending_end < 0)/'

# What was read ahead outlives its lock, or a write.
plant ahead-after-tenure readahead/readahead.c '/^void uringvfs__readahead_tenure_changes/,/^}/s/^  uringvfs__readahead_drop\(database\);//' tenure.c "$unchecked"
plant ahead-after-own-write readahead/readahead.c '/^void uringvfs__readahead_written/,/^}/s/if \(ra == NULL \|\|/if (true || ra == NULL ||/'
plant ahead-after-unlock locks.c 's/if \(f->tenure.lock_level > level\) tell/if (level == SQLITE_LOCK_EXCLUSIVE) tell/'
plant read-mark-not-told locks.c 's/if \(unlock && read_mark\) tell/if (unlock \&\& read_mark \&\& offset < 0) tell/'

# Forks.
plant regions-in-order shared.c '/^bool uringvfs__shared_note_region/,/^}/s/^( *)pthread_mutex_lock/\1if (region != s->region_end) return true;\n&/'
# (As in a process with threads: with one, closing what was inherited leaves a private copy too.)
plant index-not-private fork.c '/^static void make_wal_index_private/,/^}/s/if \(s->private_index\) return;/return;/; s/if \(one_thread\) close_all_inherited\(\);//'
plant mapped-not-closed fork.c '/^static void close_inherited/,/^}/s/if \(f->mapped\)/if (f->fetched > 0) return;\n&/'
plant inherited-not-closed fork.c 's/if \(one_thread\) close_all_inherited\(\);//; s/if \(done != now\) close_all_inherited\(\);//'

verdict
