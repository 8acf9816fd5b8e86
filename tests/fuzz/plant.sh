#!/usr/bin/env bash
# plant.sh [NAME...] - proves the fuzz targets: each planted bug must be found, from the seeds, within PLANT_SECONDS (120). With
# PLANT_SEEDS=no from nothing.
#
# BUILD/fuzz must be there (fuzz.sh).
set -eu
. "$(dirname "$0")/../plant.sh"
library=$build/fuzz/liburingvfs.a
compiler=clang
cflags='-DURINGVFS_VERIFY_READAHEAD -O2 -g -fsanitize=address,undefined -fno-sanitize-recover=all'
compile_only=-fsanitize=fuzzer-no-link
link_only=-fsanitize=fuzzer

# plant TARGET NAME FILE SEDSCRIPT
plant() {
  local target=$1 name=$2 file=$3 dir=$scratch/$2 code=0
  local seeds=("tests/fuzz/seeds/$target")
  [ "${PLANT_SEEDS:-yes}" = yes ] || seeds=()
  chosen "$name" && edited "$name" "$file" "$4" || return 0
  linked "$name" "$file" "$build/fuzz/tests/fuzz/fuzz_$target.o" "$build"/fuzz/tests/fuzz/support_*.o
  mkdir -p "$dir/corpus"
  "$dir/program" -max_total_time="${PLANT_SECONDS:-120}" -max_len=1024 -artifact_prefix="$dir/" "$dir/corpus" "${seeds[@]}" \
    >"$dir/log" 2>&1 || code=$?
  if [ "$code" != 0 ] && ls "$dir"/crash-* >/dev/null 2>&1; then
    printf 'found   %-8s %-24s %s: %s\n' "$target" "$name" "$(sed -nE 's/^#([0-9]+).*/after \1 inputs/p' "$dir/log" | tail -n 1 | grep . || echo 'by a seed')" \
      "$(grep -a -m 1 -oE '^DIFFERENCE.*|AddressSanitizer: [A-Za-z-]+|runtime error.*|uringvfs: .* is stale' "$dir/log" | cut -c 1-110)"
  else
    was_missed "$dir/log" "$target $name: exit code $code"
  fi
}

plant options unknown-ignored options.c 's/message = names_message\(key\);/continue;/'
plant options prefix-is-enough options.c 's/strcasecmp\(o->values\[i\], value\) == 0/strncasecmp(o->values[i], value, strlen(value)) == 0/'
plant options value-behind options.c 's/key \+ strlen\(key\) \+ 1/key + strlen(key) + 2/'
plant options set-before-checked options.c 's/^( *)const int number = find_value\(o, value\);/\1const int number = find_value(o, value);\n  options->backend = RT_BACKEND_AUTO;/'
plant options file-left-behind register.c 's/^( *)if \(rc == SQLITE_OK\) rc = (parent->xOpen\(.*)$/\1if (rc != SQLITE_OK) (void)\2\n&/'

plant wal commit-not-seen wal_writer.c 's/ && memcmp\(\(const uint8_t \*\)data \+ 4, zero, 4\) != 0;/ \&\& memcmp(data, zero, 1) != 0;/'
plant wal pending-not-read wal_writer.c '/^int uringvfs__wal_read/,/^}/s/if \(overlaps_pending\(w, at, bytes\)\)/if (false)/'
plant calls short-read-is-ok page_io.c '/^int uringvfs__read\(/,/^}/s/return SQLITE_IOERR_SHORT_READ;/return SQLITE_OK;/'
plant wal frame-behind wal_writer.c 's/memcpy\(w->buffer \+ \(offset - w->start\), data, amount\);/memcpy(w->buffer + (offset - w->start), data, amount < 1000 ? amount : amount - 1);/'

plant calls size-without-pending file.c 's/if \(\*size < pending_end\) \*size = pending_end;/(void)pending_end;/'
plant calls read-offset wal_writer.c 's/memcpy\(data, w->buffer \+ \(at - w->start\), bytes\);/memcpy(data, w->buffer, bytes);/'
plant calls commit-not-flushed wal_writer.c 's/return flush\(wal, w->expect_sync && wal->first_sync_done\);/return SQLITE_OK;/'
plant calls rewrites-collected wal_writer.c 's/if \(w->state == URINGVFS_WAL_THROUGH \|\| /if (/'
plant calls buffer-overflow wal_writer.c 's/if \(joins && offset \+ amount > w->start \+ URINGVFS_[A-Z_]*BYTES\)/if (false)/'
plant calls not-zero-filled page_io.c 's/^( *)memset\(\(char \*\)data \+ got, 0, .*$//'
plant calls unlock-forgotten file.c '/^static int file_shm_lock/,/^}/s/rc = PARENT\(f, xShmLock\)\(f->parent, offset, n, flags\);/if (n > 1 \&\& (flags \& SQLITE_SHM_UNLOCK)) return SQLITE_OK;\n  &/'
plant calls tenure-outlived file.c '/^static void leave_wal/,/^}/s/if \(f->wal != NULL\) .*$//'

plant calls page-kept-after-unlock readahead.c '/^void uringvfs__readahead_locks_changed/,/^}/s/^( *)uringvfs__readahead_drop\(database\);//'
plant calls page-kept-after-write readahead.c '/^void uringvfs__readahead_written/,/^}/s/if \(slot < 0\) return;/return;/'
plant calls page-kept-after-cut file.c 's/^( *)if \(database != NULL\) uringvfs__readahead_drop\(database\);$//'
plant calls cell-count-unchecked btree_page.c 's/return c->pointers \+ 2 \* c->count <= c->usable;/return true;/'
plant calls cell-offset-unchecked btree_page.c 's/ && offset \+ least <= c->usable//'

verdict
