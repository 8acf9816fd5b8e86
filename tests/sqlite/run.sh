#!/usr/bin/env bash
# run.sh - SQLite's own test suite and test programs on uring, compared with the default VFS.
#
#   run.sh              the campaign: each line of campaign.txt is a run, and they take hours
#   run.sh OPTION...    the veryquick suite, the other programs (see below), and what veryquick leaves out of crashes
#                       and I/O errors; with --permutation what that names, and no more
#   run.sh --ci         a part of it, in a few minutes
#   run.sh SCRIPT...    these scripts only, e.g. 'wal*.test' '!walslow.test'
#   --sqlite WHICH      own: the source package of this machine's own suite (Debian 12: 3.40.1), newest: that of
#                       Debian's unstable suite. Default: own
#   --permutation NAME  in the way of this permutation of SQLite's permutations.test (wal, mmap, journaltest, exclusive,
#                       persistent_journal, ...), with the scripts that it names unless others are given. Default: veryquick
#   --build LIST        with what SQLite leaves out unless it is asked for: setlk,batch,snapshot (see flags_of below)
#   --debug             with SQLite's assertions (SQLITE_DEBUG), and a VFS that compares every page read ahead with the file;
#                       --no-debug without. Default: --ci with, otherwise without
#   --modes LIST        uring,ring,sync: see init.c. Default: uring,ring
#   --replace FILE      FILE in the place of the file of that name in vfs/ (plant.sh)
#   --known FILE        in the place of known-differences.txt (plant.sh)
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
ci='' debug='' modes=uring,ring replace='' known='' build_only='' sqlite=own permutation=veryquick options=''
scripts=()
campaign=yes
[ $# -eq 0 ] || campaign=
while [ $# -gt 0 ]; do
  case $1 in
    --ci) ci=1 debug=${debug:-yes} ;;
    --sqlite) sqlite=$2; shift ;;
    --permutation) permutation=$2; shift ;;
    --build) options=$(tr , '\n' <<<"$2" | sort -u | paste -sd-); shift ;;
    --debug) debug=yes ;;
    --no-debug) debug=no ;;
    --modes) modes=$2; shift ;;
    --replace) replace=$2; shift ;;
    --known) known=$2; shift ;;
    --build-only) build_only=1 ;;
    -*) sed -n '2,/^set /s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
    *) scripts+=("$1") ;;
  esac
  shift
done
[ "$debug" = yes ] && variant=debug || variant=release
case $sqlite in own) ;; newest) variant=newest-$variant ;; *) echo "run.sh: --sqlite own or newest" >&2; exit 2 ;; esac
variant=$variant${options:+-$options}

# What the options of --build put before the compiler. 1 for SETLK_TIMEOUT: with SQLITE_TEST os_unix.c then waits as a
# system with blocking locks would.
flags_of() {
  case $1 in
    setlk) echo -DSQLITE_ENABLE_SETLK_TIMEOUT=1 ;;
    batch) echo -DSQLITE_ENABLE_BATCH_ATOMIC_WRITE ;;
    snapshot) echo -DSQLITE_ENABLE_SNAPSHOT ;;
    *) echo "run.sh: there is no build $1; there are setlk, batch, snapshot" >&2; return 2 ;;
  esac
}

skip() { echo "check-sqlite: $*"; exit 77; }
say() { echo "check-sqlite: $*"; }

# ---- the campaign ----
if [ -n "$campaign" ]; then
  verdict=0
  while read -ra line; do
    start=$SECONDS code=0
    say "==== run.sh ${line[*]}"
    "$0" "${line[@]}" </dev/null || code=$?
    say "==== exit code $code after $((SECONDS - start)) s: run.sh ${line[*]}"
    [ "$code" -eq 0 ] || verdict=1 # what could not run in a campaign is missing from it
  done < <(grep -v '^#' "$here/campaign.txt")
  exit $verdict
fi
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
[ "$sqlite" = own ] && source_dir=$work/source || source_dir=$work/source-newest
# The machine's own mirrors, as sources of source packages; for the newest SQLite, their unstable suite.
mirrors() {
  if [ "$sqlite" = own ]; then
    apt-get indextargets --format 'deb-src $(REPO_URI) $(RELEASE) $(COMPONENT)|$(ORIGIN)|$(CREATED_BY)' |
      sed -n 's/|Debian|Packages$//p'
  else
    apt-get indextargets --format 'deb-src $(REPO_URI) sid main|$(ORIGIN)|$(LABEL)|$(CREATED_BY)' |
      sed -n 's/|Debian|Debian|Packages$//p'
  fi | sort -u
}
get_source() {
  command -v apt-get >/dev/null || skip "no apt-get here to get SQLite's source with"
  local apt=$source_dir/apt
  mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial"
  mirrors >"$apt/sources.list"
  [ -s "$apt/sources.list" ] || skip "apt-get knows no Debian mirror"
  local apt_options=(-q -o "Dir::Etc::sourcelist=$apt/sources.list" -o Dir::Etc::sourceparts=/dev/null
    -o "Dir::State::lists=$apt/lists" -o "Dir::Cache=$apt/cache" -o APT::Get::List-Cleanup=0)
  [ "$(id -u)" != 0 ] || apt_options+=(-o APT::Sandbox::User=root) # _apt may not be able to reach build/
  say "getting SQLite's source ($sqlite)"
  apt-get "${apt_options[@]}" update >"$work/apt.log" 2>&1 &&
    (cd "$source_dir" && apt-get "${apt_options[@]}" source sqlite3 >>"$work/apt.log" 2>&1) ||
    { tail -n 20 "$work/apt.log"; skip "apt-get source sqlite3 failed"; }
}
find_source() { compgen -G "$source_dir/sqlite3-*/" | sort -V | tail -n 1; }
mkdir -p "$source_dir"
source=${SQLITE_SOURCE:-$(find_source || :)}
if [ -z "$source" ]; then
  get_source
  source=$(find_source) || skip "apt-get source left no directory sqlite3-*"
fi
[ -x "$source/configure" ] && [ -d "$source/test" ] || { say "$source is not SQLite's source with its tests"; exit 2; }
source=$(cd "$source" && pwd)
version=$(cat "$source/VERSION")

# ---- building ----
make_dir=$work/$variant
more_flags=
for option in ${options//-/ }; do more_flags+="$(flags_of "$option") "; done
# Debug code at -O0 would take four times as long to run.
[ "$debug" = yes ] && more_flags+=-O1
key=$( (grep -v '^#' "$here/fixture.mk"; echo "$source $more_flags"; gcc --version) | sha256sum)
if [ ! -e "$make_dir/key" ] || [ "$key" != "$(cat "$make_dir/key")" ]; then
  rm -rf "$make_dir" && mkdir -p "$make_dir"
  say "configuring $(basename "$source") ($variant)"
  (cd "$make_dir" && "$source/configure" --enable-all --enable-update-limit --disable-readline \
    $([ "$debug" = yes ] && echo --enable-debug) CFLAGS='-O2 -g1 -fno-strict-aliasing' >configure.log 2>&1) ||
    { tail -n 20 "$make_dir/configure.log"; exit 1; }
  echo "$key" >"$make_dir/key"
fi
vfs=$make_dir/vfs
mkdir -p "$vfs"
vfs_flags=(-std=gnu11 -D_GNU_SOURCE= -O2 -g -pthread -Wall -Wextra -Werror -I"$build/include/runtime" -I"$root/vfs" -I"$root/vfs/readahead" -I"$here"
  $(pkg-config --cflags sqlite3))
# In front of the library: what is compiled in another way than the product, or another file.
sources=("$here/init.c" "$root/vfs/register.c")
if [ "$debug" = yes ]; then
  vfs_flags+=(-DURINGVFS_VERIFY_READAHEAD)
  verified=$(grep -l URINGVFS__VERIFY "$root"/vfs/*.c "$root"/vfs/*/*.c)
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
[ "$debug" != yes ] || grep -q 'the page read ahead at .* is stale' "$vfs/read_page.o" ||
  { say "read_page.o compares nothing with the file"; exit 1; }
objects=$(printf '%s\n' "${sources[@]}" | sed 's,.*/\(.*\)\.c$,vfs/\1.o,' | sort -u | xargs)
# A file that was replaced the last time and is not now: its object is no longer in front of the library.
[ "$objects" = "$(cat "$vfs/objects" 2>/dev/null)" ] || touch "$vfs/liburingvfs.a"
echo "$objects" >"$vfs/objects"
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
answer=$(URINGVFS_CHECK=uring $as_nobody "$scratch/bin/sqlite3" "$scratch/programs/probe.db" \
  "PRAGMA uring_backend=uring" 2>&1 || :)
if [ "$answer" != uring ]; then
  ring=uring modes=$(tr , '\n' <<<"$modes" | grep -vx ring | paste -sd,)
  say "NO RUN ON RINGS, they cannot be had here: $answer"
fi

programs='' more=()
if [ ${#scripts[@]} -eq 0 ] && [ -n "$ci" ]; then
  mapfile -t scripts < <(words "$here/ci-scripts.txt")
  programs=short
elif [ ${#scripts[@]} -eq 0 ] && [ "$permutation" = veryquick ]; then
  mapfile -t more < <(words "$here/more-scripts.txt")
  programs=long
fi

logs=$work/logs-$variant
[ "$permutation" = veryquick ] || logs+=-$permutation
run_scripts() {
  nice python3 "$here/suite.py" --source "$scratch/source" --fixture "$scratch/bin/testfixture" \
    --known "${known:-$here/known-differences.txt}" --out "$scratch/$1" --jobs "$jobs" --modes "$modes" \
    --permutation "$permutation" --run "$sqlite,$version${options:+,${options//-/,}}" "${@:2}"
}
failed=0
rm -rf "$logs"
mkdir -p "$logs"
# shellcheck disable=SC2317
keep_logs() {
  for d in suite more chosen; do
    if [ -d "$scratch/$d" ]; then rm -rf "$scratch/$d/run" && mv "$scratch/$d" "$logs/"; fi
  done
}
trap 'keep_logs; rm -rf "$scratch"' EXIT
if [ ${#scripts[@]} -eq 0 ]; then run_scripts suite || failed=1; else run_scripts chosen "${scripts[@]}" || failed=1; fi
[ -z "$programs" ] || "$here/programs.sh" "$programs" "$scratch" "$logs" "$ring" "$as_nobody" || failed=1
[ ${#more[@]} -eq 0 ] || run_scripts more "${more[@]}" || failed=1
[ "$failed" -eq 0 ] && say "nothing that the default VFS does not do too (SQLite $version, $variant); logs in $logs" ||
  say "FAILED (SQLite $version, $variant); logs in $logs"
exit "$failed"
