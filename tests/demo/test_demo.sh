#!/usr/bin/env bash
# demo/run.sh on a small input: it ends well, counts, cleans up, and says so when the databases are not equal.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
demo=$here/../../demo/run.sh
vfs=${DEMO_TEST_VFS:-uring}
command -v sqldiff >/dev/null || { echo "sqldiff is not installed"; exit 77; }
tmp=$(mktemp -d "${TMPDIR:-/tmp}/test-demo.XXXXXX")
trap 'rm -rf "$tmp"' EXIT
fail() { echo "FAILED: $*"; exit 1; }

# An input with the awkward cases: a quote in names, no text, not UTF-8, compressed, empty.
in="$tmp/it's in/here"
mkdir -p "$in" "$tmp/out"
for i in $(seq 90); do printf 'file %d: mutex and deadlock, permission is hereby granted %s\n' "$i" "$(seq "$i" $((i * 20)) | tr '\n' ' ')" >"$in/text$i.h"; done
printf 'caf\351 latin-1\n' >"$in/latin1.txt"
printf 'a\0b' >"$in/binary"
printf 'text\n' | gzip >"$in/packed.gz"
: >"$in/empty"
run() { "$demo" --dir "$tmp/out" --vfs "$vfs" --runs 1 --batch 30 "$@" >"$tmp/log" 2>&1; }

run "$tmp/it's in" || { cat "$tmp/log"; fail "the demo failed"; }
grep -q '^  91 files, .* 4 transactions' "$tmp/log" || { cat "$tmp/log"; fail "not the 91 text files in 4 transactions"; }
[[ $(grep -c '^  ok ' "$tmp/log") == 8 ]] || { cat "$tmp/log"; fail "not 8 checks"; }
grep -q '^  equal:  91 files' "$tmp/log" || fail "does not say that the databases are equal"
if [[ $vfs == uring* ]]; then
  grep -q 'WAL batches' "$tmp/log" || { cat "$tmp/log"; fail "no batch sizes"; }
fi
if strace -f -c -o /dev/null true 2>/dev/null; then
  grep -Eq 'store: pwrite64 +[0-9]' "$tmp/log" || { cat "$tmp/log"; fail "no system calls"; }
fi
[[ -z $(ls -A "$tmp/out") ]] || fail "left behind: $(ls -A "$tmp/out")"

# A limit is kept.
run --no-count --max-mb 1 "$in" || { cat "$tmp/log"; fail "the demo failed with --max-mb"; }

# A shell that spoils one row of the second database: the demo must see it and exit with 1.
mkdir "$tmp/bin"
real=$(command -v sqlite3)
cat >"$tmp/bin/sqlite3" <<EOF
#!/bin/sh
"$real" "\$@"; code=\$?
test ! -e "${vfs%%&*}.db" || "$real" "${vfs%%&*}.db" "UPDATE file SET mtime = 0 WHERE id = 7" 2>/dev/null
exit \$code
EOF
chmod +x "$tmp/bin/sqlite3"
code=0
PATH=$tmp/bin:$PATH run --no-count "$in" || code=$?
[[ $code == 1 ]] || { cat "$tmp/log"; fail "a spoiled row: exit code $code, expected 1"; }
[[ $(grep -Ec '^  WRONG   (sqldiff|checksum)' "$tmp/log") == 3 ]] || { cat "$tmp/log"; fail "a spoiled row was not found"; }
[[ -z $(ls -A "$tmp/out") ]] || fail "left behind after a failure: $(ls -A "$tmp/out")"

# A step that fails is a failure of the demo.
printf '#!/bin/sh\n"%s" "$@" || exit\ntest ! -e %s.db || exit 3\n' "$real" "${vfs%%&*}" >"$tmp/bin/sqlite3"
if PATH=$tmp/bin:$PATH run --no-count "$in"; then cat "$tmp/log"; fail "a failing shell went unnoticed"; fi
[[ -z $(ls -A "$tmp/out") ]] || fail "left behind after a failing step"

# Wrong use.
"$demo" --help | grep -- --max-mb >/dev/null || fail "no --help"
for wrong in "--runs 0" "--max-mb x" "--nonsense" "/nowhere/at/all" "--vfs"; do
  # shellcheck disable=SC2086
  if run $wrong; then fail "accepted: $wrong"; fi
done
if run --vfs nosuchvfs "$in"; then fail "accepted a VFS that does not exist"; fi

echo "demo/run.sh: 91 files through both VFSs, equal; a spoiled row, a failing step and wrong options noticed"
