#!/usr/bin/env bash
# The extension, built against the installed headers, in a program with a newer SQLite: the amalgamation inside npm's
# better-sqlite3 package, compiled with SQLite's own assertions (SQLITE_DEBUG), runs the conformance scripts that need no
# more than SQL, the kill tests and the crash points. (Node itself with better-sqlite3: tests/demo/test_example_node.sh.)
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/source.sh"

shell=$cache/shell-$version
# -O1 and not more: it takes a while as it is.
if [[ ! -x $shell || $here/shell.c -nt $shell ]]; then
  compile shell -O1 -DSQLITE_DEBUG -DSQLITE_ENABLE_API_ARMOR -DSQLITE_ENABLE_FTS5 -DSQLITE_ENABLE_RTREE -DSQLITE_ENABLE_DBSTAT_VTAB \
    -DSQLITE_SECURE_DELETE
fi

export SQLITE3=$shell STRIDE=${STRIDE:-9} ROUNDS=${ROUNDS:-3} POINTS=${POINTS:-3}
said=$(echo "SELECT sqlite_version();" | "$shell")
[[ $said = "$version" ]] || { echo "the shell says it is $said, not $version"; exit 1; }
echo "SQLite $version:"
python3 "$here/../conformance/test_matrix.py"
python3 "$here/../conformance/test_scripts.py" attach.sql busy.sql errors.sql mixed.sql overflow.sql savepoints.sql \
  temp.sql wal.sql
python3 "$here/../crossread/test_killed.py"
python3 "$here/../crossread/test_crash_points.py"
