#!/usr/bin/env bash
# plant.sh [NAME...] - proves the tests of reading ahead: each planted bug must be found by the tests that are named with it.
#
# The bugs are those that hand out a page that is not what the file holds (stale, or another one), and those that ask for
# pages which nobody wants. BUILD must hold the library and the programs of tests/readahead with their object files. A
# bug that only shows on rings, or only where pages can be dropped from the kernel's cache, is missed without these.
set -eu
. "$(dirname "$0")/../plant.sh"

# plant NAME PROGRAM TESTS FILE SEDSCRIPT [FILE SEDSCRIPT]: TESTS as cmocka's filter takes them.
plant() {
  local name=$1 program=$2 tests=$3 code=0 more=()
  chosen "$name" && edited "$name" "$4" "$5" || return 0
  if [ $# -gt 5 ]; then
    edited "$name" "$6" "$7" || return 0
    # shellcheck disable=SC2086
    ${CC:-gcc} -std=gnu11 -D_GNU_SOURCE= -pthread ${cflags:--O1 -g} -Ivfs -Ivfs/readahead -Iruntime -c -o "$scratch/$name/more.o" "$scratch/$name/$6"
    more=("$scratch/$name/more.o")
  fi
  # shellcheck disable=SC2046
  linked "$name" "$4" "$build/tests/readahead/$program.o" "${more[@]}" $(pkg-config --libs cmocka libseccomp)
  timeout "${PLANT_SECONDS:-300}" "$scratch/$name/program" "$tests" >"$scratch/$name/out" 2>&1 || code=$?
  if [ "$code" != 0 ] && [ "$code" != 124 ] && [ "$code" != 77 ]; then
    printf 'found   %-24s %-28s %s\n' "$name" "$tests" "$(grep -m 1 -E '^ERROR: |is stale' "$scratch/$name/out" | cut -c 1-110)"
  else
    was_missed "$scratch/$name/out" "$name: exit code $code"
  fi
}

# The invariant that aborts by itself is taken out where a bug would run into it: that comparing finds it has to be shown.
unchecked='s/^  check\(f\);$//'

# Stale pages: what was true in one tenure is taken for true in the next, or a write goes unnoticed.
plant decided-once test_readahead test_every_shape readahead/readahead.c '/^void uringvfs__readahead_reconsider/,/^}/s/^  database->reading = .*$//'
plant kept-over-tenure test_readahead test_lock_dropped_and_retaken readahead/readahead.c \
  '/^void uringvfs__readahead_tenure_changes/,/^}/s/^  uringvfs__readahead_drop\(database\);//' tenure.c "$unchecked"
plant kept-beside-writer test_readahead test_snapshot_beside_writer readahead/readahead.c \
  '/^void uringvfs__readahead_tenure_changes/,/^}/s/^  uringvfs__readahead_drop\(database\);//' tenure.c "$unchecked"
plant written-ignored test_readahead test_own_writes readahead/readahead.c '/^void uringvfs__readahead_written/,/^}/s/if \(ra == NULL \|\|/if (true || ra == NULL ||/'
plant database-written-ignored test_readahead test_own_writes readahead/readahead.c '/^void uringvfs__readahead_written/,/^}/s/if \(ra == NULL \|\|/if (!wal || ra == NULL ||/'
plant pending-not-read test_unwanted test_own_writes_in_memory wal_writer.c \
  '/^int uringvfs__wal_read/,/^}/s/if \(overlaps_pending\(w, at, bytes\)\)/if (overlaps_pending(w, at, bytes) \&\& !(wal->database != NULL \&\& wal->database->hot))/'

# Foreign pages: of another place, or of the other file.
plant slot-beside test_readahead test_every_shape readahead/read_page.c '/^static bool hand_out/,/^}/s/uringvfs__buffer_page\(buffer, slot\)/uringvfs__buffer_page(buffer, (slot + 1) % buffer->capacity)/'
plant page-beside test_readahead test_every_shape readahead/fetch.c '/^static unsigned prepare/,/^}/s/source->offset\);/source->offset + page_size);/'
plant file-not-compared test_readahead test_pages_in_the_wal readahead/page_buffer.c 's/ && b->slots\[i\]\.source\.wal == wal\)/)/; s/offset \/ 512 \* 2 \+ wal/offset \/ 512 * 2 + (0 \& wal)/'
plant frame-from-database test_readahead test_pages_in_the_wal readahead/fetch.c '/^static unsigned prepare/,/^}/s/source->wal \? ra->database->wal : ra->database/ra->database/'
plant snapshot-kept test_readahead test_next_snapshot readahead/readahead.c 's/^  uringvfs__wal_index_snapshot\(/  if (ra->wal_frames.last == 0) uringvfs__wal_index_snapshot(/'

# Unwanted pages.
plant reach-never-down test_unwanted test_early_stops readahead/distance.c 's/known - \(known - s->run \+ 1\) \/ 2/known/'
plant reach-never-up test_unwanted test_later_ones_go_on readahead/distance.c 's/known \+ \(s->run - known\) \/ 4/known/'
plant reach-ignored test_unwanted test_early_stops readahead/distance.c 's/^  const unsigned at_most = expected\(ra, s\);/  const unsigned at_most = s->run > 0 ? UINT32_MAX : expected(ra, s);/'
plant distance-without-limit test_unwanted test_distance_has_a_limit readahead/distance.c 's/return room < asked \? room : asked;/return room > asked ? room : asked;/'
plant memory-not-asked test_unwanted test_in_memory_but_for_some readahead/fetch.c '/^static bool are_in_memory/,/^}/s/if \(!uringvfs__cache_matters\(.*\) return false;/if (b->count > 0) return false;/'
plant attention-for-ever test_unwanted test_attention_ends readahead/read_page.c 's/--ra->attention == 0/ra->attention == 0/'
plant never-hot test_unwanted test_attention_ends readahead/read_page.c 's/database->hot = database->reading/database->hot = database->lone.reads > UINT32_MAX \&\& database->reading/'
plant neighbours-of-long-ago test_readahead test_scattered_chains readahead/scan.c 's/ && n->asked_in == tenure; i\+\+/; i++/'
plant rows-passed-over test_readahead test_scattered_chains readahead/overflow.c 's/^  if \(chain != expected && direction .*$//'
plant chains-without-evidence test_readahead test_scattered_chains readahead/overflow.c 's/^static bool wants_leaves.*$/static bool wants_leaves(const uringvfs__self *self) { return self->streams->run > 0; }/'

verdict
