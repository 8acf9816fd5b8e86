#!/usr/bin/env bash
# programs.sh short|long DIR LOGS RING AS_NOBODY - fuzzcheck, kvtest and mptest, built with the VFS, as run.sh left them in
# DIR/bin. RING is "ring", or "uring" where rings cannot be had; AS_NOBODY the command that they are run by, or empty.
set -euo pipefail
length=$1 dir=$2 logs=$3 ring=$4 as_nobody=$5
bin=$dir/bin source=$dir/source
failed=0

cd "$dir/programs"

# run NAME MODE VERDICT COMMAND...: one line for each, with the line of its output that matches VERDICT; without such a
# line it has failed, whatever its exit code says (VERDICT "": it says nothing). The end of the output of what fails.
run() {
  local name=$1 mode=$2 verdict=$3 start=$SECONDS code=0
  shift 3
  # shellcheck disable=SC2086
  URINGVFS_CHECK=$mode nice $as_nobody "$@" >"$logs/$name.log" 2>&1 </dev/null || code=$?
  if [ "$code" -eq 0 ] && verdict=$([ -z "$verdict" ] || grep -aE "$verdict" "$logs/$name.log"); then
    echo "  ok      $name ($((SECONDS - start)) s): $(tail -n 1 <<<"$verdict")"
  else
    echo "  FAILED  $name ($((SECONDS - start)) s, exit code $code)"
    tail -n 20 "$logs/$name.log" | cut -c1-300 | sed 's/^/    | /'
    failed=1
  fi
}

# ---- mptest: many processes on one database ----
# Its Makefile target's order of journal modes. The processes that mptester starts are given the VFS by mptester-client:
# the same for all, or odd ones on uring and even ones on the default VFS.
cat >"$bin/mptester-client" <<END
#!/bin/sh
# \$MPTEST_VFS: a mode of init.c, or "both".
mode=\$MPTEST_VFS
if [ "\$mode" = both ]; then
  mode=default
  client=0
  for word in "\$@"; do [ "\$previous" != --client ] || client=\$word; previous=\$word; done
  [ \$((client % 2)) -eq 0 ] || mode=uring
fi
URINGVFS_CHECK=\$mode
export URINGVFS_CHECK
echo "\$mode \$*" >>"\$MPTEST_LOG"
exec "$bin/mptester" "\$@"
END
chmod 755 "$bin/mptester-client"
mptest() { # journal mode, script, repeats, who starts, who takes part
  export MPTEST_VFS=$5 MPTEST_LOG=$dir/programs/clients
  rm -f mptest.db* clients
  # mptester starts its clients by its own argv[0].
  run "mptest-$2-$1-$4-and-$5" "$4" '^Summary: 0 errors out of [1-9]' bash -c 'exec -a "$0" "$@"' \
    "$bin/mptester-client" "$bin/mptester" mptest.db "$source/mptest/$2.test" --repeat "$3" --journalmode "$1"
  if [ "$5" = both ] && ! { grep -q ^default clients && grep -q ^uring clients; }; then
    echo "  FAILED  mptest $2 $1: the clients were not on both VFSs"
    failed=1
  fi
}
if [ "$length" = short ]; then
  mptest WAL multiwrite01 2 uring both
  mptest DELETE multiwrite01 1 default both
  mptest WAL crash01 1 uring both
else
  for pair in "uring uring" "uring both" "default both" "$ring $ring" "$ring both"; do
    read -r starter others <<<"$pair"
    for mode in DELETE WAL PERSIST TRUNCATE; do
      mptest "$mode" multiwrite01 5 "$starter" "$others"
      mptest "$mode" crash01 5 "$starter" "$others"
    done
    mptest DELETE config02 1 "$starter" "$others" # it changes the page size, which WAL mode does not allow
  done
fi

# ---- kvtest: blobs written on one VFS, read and changed on the other ----
[ "$length" = short ] && count=400 || count=5000
run kvtest-init uring "" "$bin/kvtest" init kv.db --count "$count" --size 12000 --variance 5000 --pagesize 4096
run kvtest-stat default "^Number of entries: +$count\$" "$bin/kvtest" stat kv.db
n=0
for mode in uring default "$ring" sync; do
  for jmode in wal delete; do
    for access in "--asc" "--desc --blob-api" "--random --update" "--random --update --multitrans --fsync" "--random --mmap 10000000"; do
      n=$((n + 1))
      [ "$length" = long ] || [ $((n % 4)) -eq 1 ] || continue
      # shellcheck disable=SC2086
      run "kvtest-$n-$mode-$jmode" "$mode" '^integrity-check: ok' "$bin/kvtest" run kv.db --count $((count / 4)) \
        --max-id "$count" --jmode "$jmode" $access --integrity-check
    done
  done
done
for mode in uring default; do
  run "kvtest-integrity-$mode" "$mode" "^ok, $count rows\$" "$bin/sqlite3" -bail kv.db \
    "SELECT group_concat(integrity_check) || ', ' || (SELECT count(*) FROM kv) || ' rows' FROM pragma_integrity_check"
done

# ---- fuzzcheck: SQLite's collected fuzz inputs, read through the VFS ----
fuzzcheck() { # mode, collections
  run "fuzzcheck-$1" "$1" '^fuzzcheck: 0 errors out of [1-9]' "$bin/fuzzcheck" --native-vfs "${@:2}"
}
if [ "$length" = short ]; then
  fuzzcheck "$ring" "$source/test/fuzzdata4.db"
else
  fuzzcheck uring "$source"/test/fuzzdata[1-8].db
  fuzzcheck "$ring" "$source"/test/fuzzdata[48].db
fi
exit "$failed"
