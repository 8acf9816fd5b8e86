#!/usr/bin/env bash
# run.sh - the main job: text files into SQLite through vfs=uring and through the default VFS, compared.
#
# The work is done by the stock sqlite3 shell, one process per step; this script times the steps, counts their system
# calls and shows the result. SQL that is the same for every run is in demo/sql/. Everything happens in one temporary
# directory, which is removed at the end.
set -euo pipefail
export LC_ALL=C

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
build=${BUILD:-$here/../build}
so=${URINGVFS_SO:-$build/uringvfs.so}
vfs=uring
max_mb=64
runs=5
batch=100
parent=
keep=no
count_calls=yes
dirs=()

usage() {
  cat <<EOF
Usage: demo/run.sh [OPTION]... [DIRECTORY]...

Stores the text files below the directories (default: /usr/include /usr/share/doc) in an
SQLite database, indexes them (full text too) and queries them: through the VFS "uring"
and through the default VFS, in turn. Compares times, system calls and batch sizes, and
proves that both databases are equal. Compressed files (.gz, .xz, .bz2), files with NUL
bytes and empty files are left out.

  --max-mb N     store at most about N MB, an even share of every directory (default $max_mb)
  --runs N       timed runs of each VFS (default $runs)
  --batch N      files per transaction (default $batch)
  --dir DIR      where to put the databases (default: the build directory); their
                 file system is what is measured
  --vfs NAME     compare the default VFS with NAME, URI parameters allowed, such as
                 'uring&uring_backend=sync'; 'unix' compares the default VFS with
                 itself and so shows the noise (default $vfs)
  --no-count     do not count system calls (that part needs strace and is slow)
  --keep         keep the databases
  --help         this text

Exit status: 0 when the databases are equal, 1 when anything differs or fails.
EOF
}

die() {
  printf 'demo: %s\n' "$*" >&2
  exit 1
}

number() { # option value
  [[ $2 =~ ^[1-9][0-9]{0,6}$ ]] || die "$1 takes a positive number, not \"$2\""
}

while (($#)); do
  case $1 in
    --max-mb | --runs | --batch | --dir | --vfs)
      (($# > 1)) || die "$1 needs a value; see --help"
      case $1 in
        --max-mb) number "$1" "$2" && max_mb=$2 ;;
        --runs) number "$1" "$2" && runs=$2 ;;
        --batch) number "$1" "$2" && batch=$2 ;;
        --dir) parent=$2 ;;
        --vfs) vfs=$2 ;;
      esac
      shift 2
      ;;
    --no-count) count_calls=no && shift ;;
    --keep) keep=yes && shift ;;
    --help | -h) usage && exit 0 ;;
    -*) die "unknown option $1; see --help" ;;
    *) dirs+=("$1") && shift ;;
  esac
done
((${#dirs[@]})) || dirs=(/usr/include /usr/share/doc)

# ---- What is needed -------------------------------------------------------------------------------------------------

for tool in sqlite3 sqldiff sha256sum; do
  command -v $tool >/dev/null || die "$tool is missing: run \"make deps\""
done
[[ $vfs == unix* || -r $so ]] || die "$so is missing: run \"make\" first"
for dir in "${dirs[@]}"; do
  [[ -d $dir ]] || die "$dir is not a directory"
done
# fsdir() gives up at a directory that it may not read, and does not say which.
closed=$(find "${dirs[@]}" -type d ! \( -readable -executable \) -print -quit 2>/dev/null) || true
[[ -z $closed ]] || die "$closed may not be read: name directories that may"
sqlite3 :memory: "CREATE VIRTUAL TABLE t USING fts5(x); SELECT 1 FROM fsdir('/') LIMIT 1; SELECT json_extract('{}', '$.x');" \
  >/dev/null 2>&1 || die "this sqlite3 shell lacks FTS5, fsdir() or JSON"
if [[ $count_calls == yes ]]; then
  why_no_count=
  if ! command -v strace >/dev/null; then
    why_no_count="strace is missing"
  elif ! strace -f -c -o /dev/null true 2>/dev/null; then
    why_no_count="strace may not trace here"
  fi
else
  why_no_count="--no-count"
fi

other=${vfs%%&*}
[[ $other =~ ^[a-z][a-z0-9-]*$ && $other != default ]] || die "--vfs takes the name of a VFS, not \"$other\""

if [[ -z $parent ]]; then
  mkdir -p "$build"
  parent=$build
fi
[[ -d $parent && -w $parent ]] || die "$parent is not a writable directory"
work=$(mktemp -d "$(cd "$parent" && pwd)/demo.XXXXXXXX")
trap '[[ $keep == yes ]] || rm -rf "$work"' EXIT
trap 'printf "\n" >&2; die "interrupted"' INT TERM
# Every path below is relative to the working directory, so none has to be quoted for a URI or a dot command.
dirs_absolute=()
for dir in "${dirs[@]}"; do dirs_absolute+=("$(cd "$dir" && pwd)"); done
[[ $vfs == unix* ]] || ln -s "$(cd "$(dirname "$so")" && pwd)/$(basename "$so")" "$work/uringvfs.so"
cd "$work"
((10#$(df --output=avail -m . | tail -1) >= 5 * max_mb)) || die "$parent needs $((5 * max_mb)) MB of free space"

# ---- Progress -------------------------------------------------------------------------------------------------------

say() { printf '%s\n' "$*"; }

# One line that is overwritten on a terminal; elsewhere only the last state of each line is printed.
if [[ -t 2 ]]; then
  progress() { printf '\r\033[K  %s' "$*" >&2; }
  progress_end() { printf '\r\033[K  %s\n' "$*" >&2; }
  progress_clear() { printf '\r\033[K' >&2; }
else
  progress() { :; }
  progress_end() { printf '  %s\n' "$*" >&2; }
  progress_clear() { :; }
fi

now() { printf '%s' "${EPOCHREALTIME/./}"; } # microseconds

# ---- The input ------------------------------------------------------------------------------------------------------

started=$(now)
say "Text files of ${dirs[*]} into SQLite: the default VFS against vfs=$vfs"
say ""
progress "listing and reading the input once"
{
  say ".bail on"
  say "CREATE TABLE setting(max_bytes INTEGER, batch INTEGER);"
  say "INSERT INTO setting VALUES($max_mb * 1000000, $batch);"
  say "CREATE TABLE root(dir TEXT);"
  for dir in "${dirs_absolute[@]}"; do say "INSERT INTO root VALUES('${dir//\'/\'\'}');"; done
  cat "$here/sql/list.sql"
} | sqlite3 -batch list.db || die "the input could not be listed"

IFS='|' read -r found found_mb files mb transactions < <(sqlite3 -batch list.db "
  SELECT (SELECT count(*) FROM found), (SELECT sum(size) / 1000000 FROM found), count(*),
         round(sum(size) / 1e6, 1), max(batch) + 1 FROM todo")
((files > 0)) || die "no text files below ${dirs[*]}"

# ---- The three steps, as SQL for the shell --------------------------------------------------------------------------

open_sql() { # vfs
  say ".bail on"
  if [[ $1 == default ]]; then
    say ".open default.db"
  else
    [[ $vfs == unix* ]] || say ".load ./uringvfs"
    say ".open file:$other.db?vfs=$vfs"
  fi
}

close_sql() { # vfs step
  say ".output $1.$2.json"
  say "PRAGMA uring_stats;"
  say ".output"
}

step_sql() { # vfs step
  open_sql "$1"
  case $2 in
    store)
      cat "$here/sql/schema.sql"
      say "ATTACH 'file:list.db?vfs=unix&mode=ro' AS list;"
      sqlite3 -batch list.db "
        SELECT printf('BEGIN; INSERT INTO file SELECT id, path, size, mtime, CAST(readfile(path) AS TEXT) '
                   || 'FROM list.todo WHERE id BETWEEN %d AND %d; COMMIT;%s.print %d', min(id), max(id), char(10), max(id))
          FROM todo GROUP BY batch ORDER BY batch"
      ;;
    index)
      cat "$here/sql/index.sql"
      sqlite3 -batch list.db "
        SELECT printf('INSERT INTO text(rowid, content) SELECT id, content FROM file WHERE id BETWEEN %d AND %d;%s.print %d',
                      min(id), max(id), char(10), max(id))
          FROM todo GROUP BY batch ORDER BY batch"
      say "INSERT INTO text(text) VALUES('optimize');"
      ;;
    query)
      say ".output $1.answers"
      cat "$here/sql/query.sql"
      ;;
  esac
  close_sql "$1" "$2"
}

for side in default $other; do
  for step in store index query; do
    step_sql "$side" $step >"$side.$step.sql"
  done
done

# Runs one step; the shell prints how many files are done, one number a line.
run_step() { # vfs step label [command that runs it]...
  local side=$1 step=$2 label=$3 line
  shift 3
  progress "$label  $step"
  "$@" stdbuf -oL sqlite3 -batch :memory: <"$side.$step.sql" | while read -r line; do
    [[ ! $line =~ ^[0-9]+$ ]] || progress "$label  $step $line of $files files"
  done || die "$label: the step \"$step\" failed"
}

# All steps of one run, into a new database. The disk is quiet when it starts: what earlier runs wrote is synced.
run_all() { # vfs label
  local side=$1 label=$2 step begin end all=0 text=
  rm -f "$side".db*
  sync -f .
  for step in store index query; do
    begin=$(now)
    run_step "$side" $step "$label"
    end=$(now)
    say "$run|$side|$step|$((end - begin))" >>times.list
    ((all += end - begin)) || true
    text+="  $step $(seconds $((end - begin))) s"
  done
  say "$run|$side|all|$all" >>times.list
  progress_end "$label$text"
}

seconds() { printf '%d.%02d' $(($1 / 1000000)) $(($1 % 1000000 / 10000)); }

# ---- System calls: a run of each under strace, which slows it, so not one of the timed ones -------------------------

say "  $files files, $mb MB$( ((files == found)) || printf ' (limited by --max-mb %s; there are %s files, %s MB)' "$max_mb" "$found" "$found_mb"), $transactions transactions, WAL, synchronous=FULL, on $(df --output=fstype . | tail -1)"
if [[ -z $why_no_count ]]; then
  for side in default "$other"; do
    label=$(printf 'counting calls  %-8s' "$side")
    rm -f "$side".db*
    for step in store index query; do
      run_step "$side" $step "$label" strace -f -c -o "$side.$step.calls"
      # A line: percent, seconds, microseconds a call, calls, [errors,] name.
      awk -v side="$side" -v step=$step '$1 ~ /^[0-9.]+$/ && $NF != "total" { print side "|" step "|" $NF "|" $4 }' \
        "$side.$step.calls" >>calls.list
    done
    progress_end "$label  done"
  done
else
  say "  system calls are not counted: $why_no_count"
  : >calls.list
fi

# ---- Timed runs, in turn --------------------------------------------------------------------------------------------

for ((run = 1; run <= runs; run++)); do
  for side in default "$other"; do
    run_all "$side" "$(printf 'run %d of %d  %-8s' $run "$runs" "$side")"
  done
done

# ---- Tables ---------------------------------------------------------------------------------------------------------

progress "adding up"
{
  say "CREATE TABLE times(run INTEGER, side TEXT, step TEXT, us INTEGER);"
  say "CREATE TABLE calls(side TEXT, step TEXT, name TEXT, count INTEGER);"
  say "CREATE TABLE stats(side TEXT, step TEXT, json TEXT);"
  say ".import times.list times"
  say ".import calls.list calls"
  for step in store index query; do
    say "INSERT INTO stats SELECT '$other', '$step', data FROM (SELECT CAST(readfile('$other.$step.json') AS TEXT) AS data) WHERE data <> '';"
  done
} | sqlite3 -batch report.db
progress_clear
sqlite3 -batch -cmd ".param init" -cmd ".param set :a 'default'" -cmd ".param set :b \"'$other'\"" report.db <"$here/sql/report.sql"

say ""
say "Some of the answers, from $other.db"
grep -A3 '^Full text: files with' "$other.answers" | tail -n +2
tail -n 1 "$other.answers"

# ---- Proof that both databases are equal ----------------------------------------------------------------------------

say ""
bad=0
check() { # what result-that-is expected
  progress_clear
  if [[ $2 == "$3" ]]; then
    say "  ok      $1"
  else
    say "  WRONG   $1: \"${2:0:200}\""
    bad=1
  fi
}
through() { # vfs sql: runs it on its database
  { open_sql "$1" && say "$2"; } | sqlite3 -batch :memory: 2>&1 || true
}

say "Equal?"
progress "comparing with the files"
for side in default "$other"; do
  check "$side.db holds what the $files files hold now" \
    "$(through "$side" "SELECT count(*) || ' ' || sum(content = CAST(readfile(path) AS TEXT)) FROM file;")" "$files $files"
done
progress "sqldiff"
check "sqldiff finds no difference" "$(sqldiff default.db "$other.db" 2>&1 | head -5)" ""
progress "dumping both"
sum_default=$(through default .dump | sha256sum | cut -c 1-64)
check "checksum of .dump: $other.db through $vfs" "$(through "$other" .dump | sha256sum | cut -c 1-64)" "$sum_default"
check "checksum of .dump: $other.db through the default VFS" "$(sqlite3 -batch "$other.db" .dump | sha256sum | cut -c 1-64)" "$sum_default"
progress "comparing the answers"
check "the queries' answers" "$(cmp default.answers "$other.answers" 2>&1)" ""
progress "integrity_check"
for side in default "$other"; do
  check "integrity_check of $side.db, with its full-text index" \
    "$(through "$side" "PRAGMA integrity_check; INSERT INTO text(text, rank) VALUES('integrity-check', 1);")" "ok"
done

if ((bad)); then
  say "The databases differ. If files below ${dirs[*]} changed meanwhile, run it again."
  exit 1
fi
say "  equal:  $files files, dump ${sum_default:0:16}...; $(seconds $(($(now) - started))) s in all"
[[ $keep == no ]] || say "kept in $work"
