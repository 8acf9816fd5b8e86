#!/usr/bin/env bash
# compare.sh [OPTION]... - single operations on the default VFS and on uring, in turn; --help lists the options.
#
# Only finds (or builds) the program: demo/compare.c does the work. The databases go into the build directory unless
# --dir says otherwise; its file system is what is measured.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
build=${BUILD:-$here/../build}
[[ $build == /* ]] || build=$PWD/$build
[[ -x $build/demo/compare && ! $here/compare.c -nt $build/demo/compare ]] ||
  make -C "$here/.." --no-print-directory BUILD="$build" "$build/demo/compare" >&2
exec "$build/demo/compare" --dir "$build" "$@"
