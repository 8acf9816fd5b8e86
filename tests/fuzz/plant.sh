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
  "$dir/program" -max_total_time="${PLANT_SECONDS:-120}" -max_len=1024 -timeout=60 -artifact_prefix="$dir/" "$dir/corpus" "${seeds[@]}" \
    >"$dir/log" 2>&1 || code=$?
  if [ "$code" != 0 ] && ls "$dir" | grep -qE '^(crash|leak|timeout)-'; then
    printf 'found   %-8s %-24s %s: %s\n' "$target" "$name" "$(sed -nE 's/^#([0-9]+).*/after \1 inputs/p' "$dir/log" | tail -n 1 | grep . || echo 'by a seed')" \
      "$(grep -a -m 1 -oE '^DIFFERENCE.*|AddressSanitizer: [A-Za-z-]+|LeakSanitizer: [a-z ]+|libFuzzer: timeout|runtime error.*|uringvfs: .* is stale' "$dir/log" | cut -c 1-110)"
  else
    was_missed "$dir/log" "$target $name: exit code $code"
  fi
}

plant options unknown-ignored options.c 's/message = names_message\(key\);/continue;/'
plant options prefix-is-enough options.c 's/strcasecmp\(o->values\[i\], value\) == 0/strncasecmp(o->values[i], value, strlen(value)) == 0/'
plant options value-behind options.c 's/key \+ strlen\(key\) \+ 1/key + strlen(key) + 2/'
plant options set-before-checked options.c 's/^( *)const int number = find_value\(o, value\);/\1const int number = find_value(o, value);\n  options->backend = RT_BACKEND_AUTO;/'
plant options file-left-behind register.c 's/^( *)if \(rc == SQLITE_OK\) rc = (uringvfs__descriptor_open\(.*)$/\1if (rc != SQLITE_OK) (void)\2\n&/'

plant wal commit-not-seen wal_writer.c 's/return memcmp\(\(const uint8_t \*\)data \+ 4, zero, 4\) != 0 /return memcmp(data, zero, 1) != 0 /'
plant wal pending-not-read wal_writer.c '/^int uringvfs__wal_read/,/^}/s/if \(overlaps_pending\(w, at, bytes\)\)/if (false)/'
plant calls short-read-is-ok page_io.c '/^int uringvfs__read\(/,/^}/s/return SQLITE_IOERR_SHORT_READ;/return SQLITE_OK;/'
plant wal frame-behind wal_writer.c 's/memcpy\(w->buffer \+ \(offset - w->start\), data, amount\);/memcpy(w->buffer + (offset - w->start), data, amount < 1000 ? amount : amount - 1);/'

plant calls size-without-pending file.c 's/if \(\*size < pending_end\) \*size = pending_end;/(void)pending_end;/'
plant calls read-offset wal_writer.c 's/memcpy\(data, w->buffer \+ \(at - w->start\), bytes\);/memcpy(data, w->buffer, bytes);/'
plant calls commit-not-flushed wal_writer.c 's/return flush\(wal, w->expect_sync && wal->first_sync_done\);/return SQLITE_OK;/'
plant calls rewrites-collected wal_writer.c 's/if \(w->state == URINGVFS__WAL_THROUGH \|\| /if (/'
plant calls buffer-overflow wal_writer.c 's/if \(joins && offset \+ amount > w->start \+ URINGVFS_[A-Z_]*BYTES\)/if (false)/'
plant calls not-zero-filled page_io.c 's/^( *)memset\(\(char \*\)data \+ got, 0, .*$//'
plant calls unlock-forgotten locks.c '/^int uringvfs__shm_lock/,/^}/s/rc = PARENT\(f, xShmLock\)\(f->parent, offset, n, flags\);/if (n > 1 \&\& unlock) return SQLITE_OK;\n  &/'
plant calls tenure-outlived tenure.c '/^static void change/,/^}/s/if \(f->wal != NULL && \(held_back .*$//; /^static void change/,/^}/s/^  check\(f\);//'

plant calls page-kept-after-unlock readahead/readahead.c '/^void uringvfs__readahead_tenure_changes/,/^}/s/^( *)uringvfs__readahead_drop\(database\);//'
plant calls page-kept-after-write readahead/readahead.c '/^void uringvfs__readahead_written/,/^}/s/if \(slot < 0\) return;/return;/'
plant calls page-kept-after-cut file.c 's/^( *)if \(database != NULL\) uringvfs__readahead_drop\(database\);$//'
plant calls cell-count-unchecked readahead/btree_page.c 's/return c->pointers \+ 2 \* c->count <= c->usable;/return true;/'
plant calls cell-offset-unchecked readahead/btree_page.c 's/ && offset \+ least <= c->usable//'

plant pages size-unchecked readahead/btree_page.c 's/ \|\| \(page_size & \(page_size - 1\)\) != 0//'
plant pages header-short readahead/btree_page.c 's/amount < HEADER_BYTES \|\| //'
plant pages page-1-like-others readahead/btree_page.c 's/^  const uint32_t start = pgno == 1 \? HEADER_BYTES : 0;/  const uint32_t start = 0;/'
plant pages pointers-unchecked readahead/btree_page.c 's/return c->pointers \+ 2 \* c->count <= c->usable;/return true;/'
plant pages cell-end-unchecked readahead/btree_page.c 's/ && offset \+ least <= c->usable//'
plant pages cell-in-pointers readahead/btree_page.c 's/offset >= c->pointers \+ 2 \* c->count && //'
plant pages varint-unbounded readahead/btree_page.c 's/i < 9 && p \+ i < end/i < 9/'
plant pages ninth-byte readahead/btree_page.c 's/\*value = v << 8 \| p\[8\];/*value = v << 7 | (p[8] \& 0x7f);/'
plant pages rowid-unsigned readahead/btree_page.c 's/\*p & 0x80 \? UINT64_MAX : 0/0/'
plant pages overflow-ignored readahead/btree_page.c 's/payload <= most_local\(c\) \? payload : least_local\(c\);/payload;/'
plant pages payload-unchecked readahead/btree_page.c 's/^  if \(local > \(uint64_t\)\(limit - cell\)\) return;$//'
plant pages record-unchecked readahead/btree_page.c 's/header_bytes > \(uint64_t\)\(end - p\) \|\| //'
plant pages body-unchecked readahead/btree_page.c 's/ \|\| value_bytes\(type\) > \(uint64_t\)\(end - body\)//'

plant pages left-in-chain readahead/tree_map.c 's/^  \*link = n->next;$//'
plant pages chain-cut readahead/tree_map.c 's/^  fresh\.next = \*head;$//'
plant pages total-grows readahead/tree_map.c 's/^  map->total -= n->count;$//'
plant pages budget-ignored readahead/tree_map.c 's/^  while \(map->total > 0 && map->total \+ count > CHILDREN_MOST\).*$//'
plant pages learned-twice readahead/tree_map.c '/^bool uringvfs__tree_learn/,/^}/s/^    forget\(map, n\);$//'
plant pages keys-kept readahead/tree_map.c 's/^  free\(n->keys\);$//'
plant pages change-not-seen readahead/tree_map.c 's/return n->count == cells->count \+ 1 && /return /'
plant pages place-believed readahead/tree_map.c 's/ && n->children\[place->position\] == pgno\) return true;/) return true;/'
plant pages position-believed readahead/tree_map.c 's/if \(place->position < n->count && n->children\[/if (n->children != NULL \&\& n->children[/'
plant pages stale-place readahead/tree_map.c 's/^  if \(place->position >= n->count\) return 0;.*$//'
plant pages climbs-for-ever readahead/tree_map.c 's/depth == DEEPEST \|\| //'
plant pages level-for-ever readahead/tree_map.c 's/level = 1; level < DEEPEST && n != NULL/level = 1; n != NULL/'
plant pages level-guessed readahead/tree_map.c 's/level < DEEPEST && n != NULL; level/level < DEEPEST \&\& n != NULL \&\& n->level != level; level/'
plant pages root-for-ever readahead/tree_map.c 's/depth < DEEPEST && n->parent/n->parent/'
plant pages back-to-the-first readahead/tree_map.c 's/direction > 0 \? 0 : sibling->count - 1/0/'
plant pages key-itself readahead/tree_map.c 's/n->keys\[middle\] < rowid/n->keys[middle] <= rowid/'
plant pages level-not-asked readahead/tree_map.c 's/if \(n->level <= 1\) return n->level == 1 \? child : 0;/if (n->level <= 1) return child;/'
plant pages index-has-rows readahead/tree_map.c 's/return n->keys != NULL \? n->pgno : 0;/return n->pgno;/'
plant pages trim-forgotten readahead/tree_map.c 's/while \(map->total > CHILDREN_IDLE\)/if (map->total > CHILDREN_IDLE)/'

plant pages block-beyond readahead/leaf_blocks.c 's/return first \+ b->per_block <= b->pages \? b->per_block : b->pages - first;/return b->per_block;/'
plant pages page-beyond readahead/leaf_blocks.c 's/pgno == 0 \|\| pgno > b->pages/pgno == 0/'
plant pages block-of-another readahead/leaf_blocks.c 's/return block->number == .* \? block : NULL;/return block->number != 0 ? block : NULL;/'
plant pages block-taken-over readahead/leaf_blocks.c 's/^( *)\*block = \(uringvfs__leaf_block\)\{\.number = (.*)\};/\1block->number = \2;/'
plant pages block-due-at-once readahead/leaf_blocks.c 's/ && b->clock - block->stamp > ON_ITS_WAY//'
plant pages block-gone-for-good readahead/leaf_blocks.c 's/^  block->stamp = 0; .*$//'
plant pages never-given-up readahead/leaf_blocks.c 's/if \(\+\+b->gone > .*\) uringvfs__blocks_give_up\(b\);/b->gone++;/'
plant pages wanted-when-useless readahead/leaf_blocks.c 's/if \(b->useless \|\| pages == 0/if (pages == 0/'
plant pages blocks-kept readahead/leaf_blocks.c 's/^  free\(b->table\);$//'
plant pages slots-not-refreshed readahead/tree_map.c '/^bool uringvfs__tree_learn/,/^}/s/^    put_in_slots\(map, n\);.*$//'
plant pages parent-not-found readahead/tree_map.c 's/^  if \(parent != NULL && parent != n\) \{/  if (parent == n) {/'
plant pages top-is-above readahead/tree_map.c '/^uint32_t uringvfs__tree_top/,/^}/s/return top->level > 1 \? .*;/return map->nodes[place.node].pgno;/'
plant pages top-is-any readahead/tree_map.c 's/return top->level > 1 \? top->pgno : 0;/return top->pgno;/'
plant pages reminded-in-vain readahead/tree_map.c 's/^  \*slot_of\(map, pgno\) = place;.*$//'
plant pages siblings-on-and-on readahead/tree_map.c 's/while \(n < most && /while (/'

plant walindex region-kept shared.c 's/^( *)if \(slot != NULL\) atomic_store_explicit\(slot, NULL, memory_order_relaxed\);//'
plant walindex regions-in-order shared.c 's/^  if \(!f->mapped\) s->mapped\+\+;/  if (region != s->region_end) { pthread_mutex_unlock(\&mutex); return true; }\n&/'
plant walindex entry-believed wal_index.c 's/entry <= most && //'
plant walindex probes-for-ever wal_index.c 's/probes < HASH_SLOTS; probes\+\+, /;/'
plant walindex number-not-compared wal_index.c 's/ && word\(region, numbers \+ entry - 1\) == pgno//'
plant walindex first-found wal_index.c 's/entry > found/found == 0/'
plant walindex before-snapshot wal_index.c 's/ \|\| before \+ entry < snapshot->first//'
plant walindex region-off-by-one wal_index.c 's/\(snapshot->last - PAGES_FIRST - 1\) \/ PAGES/(snapshot->last - PAGES_FIRST) \/ PAGES/'
plant walindex any-offset wal_index.c 's/^  if \(behind % frame_bytes != 0\) return 0;$//'
plant walindex mark-0 wal_index.c 's/ \|\| mark <= 0\)/ || mark < 0)/'

verdict
