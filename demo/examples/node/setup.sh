#!/usr/bin/env bash
# setup.sh [DIRECTORY] - builds better-sqlite3 from source, for notes.js (about a minute; nothing is done when it is there).
#
# Node's headers are taken from beside the node binary, where its packages put them, so that nothing but npm's registry
# has to be reached.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
target=${1:-${BUILD:-$here/../../../build}/node}

for tool in node npm make cc c++; do
  command -v $tool >/dev/null || { echo "setup.sh: $tool is missing" >&2; exit 1; }
done
mkdir -p "$target"
cd "$target"
# Built for another version of Node, or not there at all: build it.
works() { node -e "new (require('better-sqlite3'))(':memory:')" 2>/dev/null; }
if works; then
  exit 0
fi
prefix=$(dirname "$(dirname "$(readlink -f "$(command -v node)")")")
[[ ! -e $prefix/include/node/node.h ]] || export npm_config_nodedir=$prefix
cp "$here/package.json" .
MAKEFLAGS=-j2 npm_config_build_from_source=true npm install --no-audit --no-fund --loglevel=error
works || { echo "setup.sh: better-sqlite3 was installed but does not run" >&2; exit 1; }
