#!/usr/bin/env bash
# run.sh - SQLite's own test suite and test programs on uring, compared with the default VFS.
#
#   run.sh              the veryquick suite, the other programs (see below), and what veryquick leaves out of crashes and I/O errors
#   run.sh --ci         a part of it, in a few minutes
#   run.sh SCRIPT...    these scripts only, e.g. 'wal*.test' '!walslow.test'
#   --debug             with SQLite's assertions (SQLITE_DEBUG), and a VFS that compares every page read ahead with the file;
#                       --no-debug without. Default: --ci with, otherwise without
#   --modes LIST        uring,ring,sync: see init.c. Default: uring,ring
#   --replace FILE      FILE in the place of the file of that name in vfs/ (plant.sh)
#   --build-only
#
# Gets the source with `apt-get source sqlite3` into $BUILD/check-sqlite, without touching the system's sources of packages
# (SQLITE_SOURCE=DIR: it is there already), and builds there: testfixture, the shell, fuzzcheck, kvtest and mptester, each
# with liburingvfs.a and uringvfs_register() as SQLITE_EXTRA_INIT. Objects are kept: a changed VFS costs only links.
# Exit code 77: something that it needs is missing.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
build=$(cd "$root" && mkdir -p "${BUILD:-build}" && cd "${BUILD:-build}" && pwd)
work=$build/check-sqlite
jobs=${JOBS:-2}
ci='' debug='' modes=uring,ring replace='' build_only=''
scripts=()
while [ $# -gt 0 ]; do
  case $1 in
    --ci) ci=1 debug=${debug:-yes} ;;
    --debug) debug=yes ;;
    --no-debug) debug=no ;;
    --modes) modes=$2; shift ;;
    --replace) replace=$2; shift ;;
    --build-only) build_only=1 ;;
    -*) sed -n '2,/^set /s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
    *) scripts+=("$1") ;;
  esac
  shift
done
[ "$debug" = yes ] && variant=debug || variant=release

skip() { echo "check-sqlite: $*"; exit 77; }
say() { echo "check-sqlite: $*"; }
words() { grep -v '^#' "$1" | xargs -n 1; }

# ---- what must be there ----
missing=
for need in gcc:gcc make:make dpkg-source:dpkg-dev tclsh:tcl pkg-config:pkg-config python3:python3; do
  command -v "${need%%:*}" >/dev/null || missing="$missing ${need##*:}"
done
[ -e /usr/include/zlib.h ] || missing="$missing zlib1g-dev"
compgen -G '/usr/include/tcl*/tcl.h' >/dev/null || missing="$missing tcl-dev"
[ -z "$missing" ] || skip "needs these packages: apt-get install -y --no-install-recommends$missing"
[ -e "$build/liburingvfs.a" ] || skip "$build/liburingvfs.a is not built: run make first"

# ---- the source: apt's own configuration, with lists and cache of our own ----
get_source() {
  command -v apt-get >/dev/null || skip "no apt-get here to get SQLite's source with"
  local apt=$work/apt
  mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial" "$work/source"
  # The machine's own mirrors, as sources of source packages.
  apt-get indextargets --format 'deb-src $(REPO_URI) $(RELEASE) $(COMPONENT)|$(ORIGIN)|$(CREATED_BY)' |
    sed -n 's/|Debian|Packages$//p' | sort -u >"$apt/sources.list"
  [ -s "$apt/sources.list" ] || skip "apt-get knows no Debian mirror"
  local options=(-q -o "Dir::Etc::sourcelist=$apt/sources.list" -o Dir::Etc::sourceparts=/dev/null
    -o "Dir::State::lists=$apt/lists" -o "Dir::Cache=$apt/cache" -o APT::Get::List-Cleanup=0)
  [ "$(id -u)" != 0 ] || options+=(-o APT::Sandbox::User=root) # _apt may not be able to reach build/
  say "getting SQLite's source"
  apt-get "${options[@]}" update >"$work/apt.log" 2>&1 &&
    (cd "$work/source" && apt-get "${options[@]}" source sqlite3 >>"$work/apt.log" 2>&1) ||
    { tail -n 20 "$work/apt.log"; skip "apt-get source sqlite3 failed"; }
}
find_source() { compgen -G "$work/source/sqlite3-*/" | sort -V | tail -n 1; }
mkdir -p "$work"
source=${SQLITE_SOURCE:-$(find_source || :)}
if [ -z "$source" ]; then
  get_source
  source=$(find_source) || skip "apt-get source left no directory sqlite3-*"
fi
[ -x "$source/configure" ] && [ -d "$source/test" ] || { say "$source is not SQLite's source with its tests"; exit 2; }
source=$(cd "$source" && pwd)

# ---- building ----
make_dir=$work/$variant
more_flags=
# Debug code at -O0 would take four times as long to run.
[ "$variant" = debug ] && more_flags=-O1
key=$( (grep -v '^#' "$here/fixture.mk"; echo "$source $more_flags"; gcc --version) | sha256sum)
if [ ! -e "$make_dir/key" ] || [ "$key" != "$(cat "$make_dir/key")" ]; then
  rm -rf "$make_dir" && mkdir -p "$make_dir"
  say "configuring $(basename "$source") ($variant)"
  (cd "$make_dir" && "$source/configure" --enable-all --enable-update-limit \
    $([ "$variant" = debug ] && echo --enable-debug) CFLAGS='-O2 -g1 -fno-strict-aliasing' >configure.log 2>&1) ||
    { tail -n 20 "$make_dir/configure.log"; exit 1; }
  echo "$key" >"$make_dir/key"
fi
vfs=$make_dir/vfs
mkdir -p "$vfs"
vfs_flags=(-std=gnu11 -D_GNU_SOURCE= -O2 -g -pthread -Wall -Wextra -Werror -I"$build/include/runtime" -I"$root/vfs" -I"$here"
  $(pkg-config --cflags sqlite3))
# In front of the library: what is compiled in another way than the product, or another file.
sources=("$here/init.c" "$root/vfs/register.c")
if [ "$variant" = debug ]; then
  vfs_flags+=(-DURINGVFS_VERIFY_READAHEAD)
  verified=$(grep -l URINGVFS_VERIFY_READAHEAD "$root"/vfs/*.c)
  mapfile -t -O "${#sources[@]}" sources <<<"$verified"
fi
[ -z "$replace" ] || sources+=("$replace")
new=$vfs/new
rm -rf "$new" && mkdir "$new"
for f in "$here/sync_count.c" "${sources[@]}"; do # the last of a name counts
  gcc "${vfs_flags[@]}" -include "$here/backend.h" -c "$f" -o "$new/$(basename "$f" .c).o"
done
cp "$build/liburingvfs.a" "$new"
for f in "$new"/*; do cmp -s "$f" "$vfs/$(basename "$f")" || mv "$f" "$vfs"; done
objects=$(printf '%s\n' "${sources[@]}" | sed 's,.*/\(.*\)\.c$,vfs/\1.o,' | sort -u | xargs)
say "building its test programs ($variant)"
(cd "$make_dir" && nice make -j"$jobs" -f "$here/fixture.mk" MORE_FLAGS="$more_flags" \
  SYNC_COUNT=vfs/sync_count.o URINGVFS_OBJS="$objects vfs/liburingvfs.a" URINGVFS_LIBS="$(pkg-config --libs liburing)" \
  >build.log 2>&1) || { tail -n 20 "$make_dir/build.log"; exit 1; }
[ -z "$build_only" ] || exit 0

# ---- running: in a directory that an unprivileged user can reach ----
scratch=$(mktemp -d "${TMPDIR:-/tmp}/uringvfs-sqlite.XXXXXX")
trap 'rm -rf "$scratch"' EXIT
chmod 755 "$scratch"
mkdir "$scratch/source" "$scratch/bin"
cp -r "$source/test" "$source/ext" "$source/mptest" "$source/src" "$source/tool" "$source/VERSION" "$source/manifest"* \
  "$scratch/source"
for p in testfixture sqlite3 fuzzcheck kvtest mptester; do cp "$make_dir/$p-uring" "$scratch/bin/$p"; done
# Two scripts run only where the default VFS is called unix.
sed -i 's/\[test_syscall defaultvfs\] *!= *"unix"/[lsearch {unix uring} [test_syscall defaultvfs]]<0/' \
  "$scratch/source/test/syscall.test" "$scratch/source/test/mmap2.test"
chmod -R a+rX "$scratch"

# Programs run as nobody where this one runs as root: SQLite's scripts make files unreadable and expect that to be felt.
as_nobody=
[ "$(id -u)" != 0 ] || as_nobody="setpriv --reuid nobody --regid nogroup --clear-groups"
mkdir "$scratch/programs"
chmod 777 "$scratch/programs"
ring=ring
# shellcheck disable=SC2086
stats=$(URINGVFS_CHECK=uring $as_nobody "$scratch/bin/sqlite3" "$scratch/programs/probe.db" "PRAGMA uring_backend=uring; PRAGMA uring_stats" 2>&1)
case $stats in
  *'"ring":"available"'*) ;;
  *) ring=uring modes=$(tr , '\n' <<<"$modes" | grep -vx ring | paste -sd,)
     say "NO RUN ON RINGS, they cannot be had here: $stats" ;;
esac

if [ ${#scripts[@]} -eq 0 ] && [ -n "$ci" ]; then
  mapfile -t scripts < <(words "$here/ci-scripts.txt")
  programs=short
elif [ ${#scripts[@]} -eq 0 ]; then
  programs=long
else
  programs=
fi

logs=$work/logs-$variant
run_scripts() {
  nice python3 "$here/suite.py" --source "$scratch/source" --fixture "$scratch/bin/testfixture" \
    --known "$here/known-differences.txt" --out "$scratch/$1" --jobs "$jobs" --modes "$modes" \
    "${@:2}"
}
failed=0
rm -rf "$logs"
mkdir -p "$logs"
# shellcheck disable=SC2317
keep_logs() {
  for d in veryquick more chosen; do
    if [ -d "$scratch/$d" ]; then rm -rf "$scratch/$d/run" && mv "$scratch/$d" "$logs/"; fi
  done
}
trap 'keep_logs; rm -rf "$scratch"' EXIT
if [ ${#scripts[@]} -eq 0 ]; then run_scripts veryquick || failed=1; else run_scripts chosen "${scripts[@]}" || failed=1; fi
[ -z "$programs" ] || "$here/programs.sh" "$programs" "$scratch" "$logs" "$ring" "$as_nobody" || failed=1
if [ ${#scripts[@]} -eq 0 ]; then
  mapfile -t more < <(words "$here/more-scripts.txt")
  run_scripts more "${more[@]}" || failed=1
fi
[ "$failed" -eq 0 ] && say "nothing that the default VFS does not do too ($variant); logs in $logs" ||
  say "FAILED ($variant); logs in $logs"
exit "$failed"
