#!/usr/bin/env bash
# programs.sh short|long DIR LOGS - fuzzcheck, kvtest and mptest, built with the VFS, as run.sh left them in DIR/bin.
set -euo pipefail
length=$1 dir=$2 logs=$3
bin=$dir/bin source=$dir/source
failed=0

as_nobody=()
if [ "$(id -u)" = 0 ]; then as_nobody=(setpriv --reuid nobody --regid nogroup --clear-groups); fi
mkdir -p "$logs" "$dir/programs"
chmod 777 "$dir/programs"
cd "$dir/programs"

# run NAME MODE COMMAND...: a line for each, and the output of what fails.
run() {
  local name=$1 mode=$2 start=$SECONDS
  shift 2
  if URINGVFS_CHECK=$mode nice "${as_nobody[@]}" "$@" >"$logs/$name.log" 2>&1 </dev/null; then
    echo "  ok      $name ($((SECONDS - start)) s): $(tail -n 1 "$logs/$name.log" | cut -c1-100)"
  else
    echo "  FAILED  $name ($((SECONDS - start)) s)"
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
  run "mptest-$2-$1-$4-and-$5" "$4" bash -c 'exec -a "$0" "$@"' "$bin/mptester-client" "$bin/mptester" mptest.db \
    "$source/mptest/$2.test" --repeat "$3" --journalmode "$1"
  grep -q "Summary: 0 errors" "$logs/mptest-$2-$1-$4-and-$5.log" || { echo "  FAILED  mptest $2 $1: no summary without errors"; failed=1; }
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
  for pair in "uring uring" "uring both" "default both" "ring ring" "ring both"; do
    read -r starter others <<<"$pair"
    for mode in DELETE WAL PERSIST TRUNCATE; do
      mptest "$mode" multiwrite01 5 "$starter" "$others"
      mptest "$mode" crash01 5 "$starter" "$others"
    done
  done
fi

# ---- kvtest: blobs written on one VFS, read and changed on the other ----
[ "$length" = short ] && count=1000 || count=20000
run kvtest-init uring "$bin/kvtest" init kv.db --count "$count" --size 12000 --variance 5000 --pagesize 4096
n=0
for mode in uring default ring sync; do
  for jmode in wal delete; do
    for access in "--asc" "--desc --blob-api" "--random --update" "--random --update --multitrans --fsync" "--random --mmap 10000000"; do
      n=$((n + 1))
      [ "$length" = long ] || [ $((n % 4)) -eq 1 ] || continue
      # shellcheck disable=SC2086
      run "kvtest-$n-$mode-$jmode" "$mode" "$bin/kvtest" run kv.db --count $((count / 4)) --max-id "$count" --jmode "$jmode" \
        $access --integrity-check
    done
  done
done
for mode in uring default; do
  run "kvtest-integrity-$mode" "$mode" "$bin/sqlite3" -bail kv.db \
    "PRAGMA integrity_check; SELECT count(*) || ' rows' FROM kv"
  [ "$(cat "$logs/kvtest-integrity-$mode.log")" = "ok"$'\n'"$count rows" ] ||
    { echo "  FAILED  kvtest-integrity-$mode: not ok, or not $count rows"; failed=1; }
done

# ---- fuzzcheck: SQLite's collected fuzz inputs; files that start empty are made by the VFS ----
if [ "$length" = short ]; then
  run fuzzcheck ring "$bin/fuzzcheck" --quiet --native-vfs "$source/test/fuzzdata4.db"
else
  run fuzzcheck uring "$bin/fuzzcheck" --quiet --native-vfs "$source"/test/fuzzdata[1-8].db
  run fuzzcheck-ring ring "$bin/fuzzcheck" --quiet --native-vfs "$source"/test/fuzzdata[48].db
fi
exit "$failed"
