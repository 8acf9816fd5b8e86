#!/usr/bin/env bash
# bench.sh [OPTION]... - whole workloads on several VFSs, cold and warm, beside the limit of the device; see --help.
#
# Finds (or builds) the program; demo/bench/ does the work. The databases go into the build directory unless --dir says
# otherwise. With --read-ahead-kb they go to a file system of their own, on a loop device whose queue can be set without
# touching the disk's. Its file has no name, it is mounted in a private namespace, and it is detached with the last
# mount: nothing has to be undone, however the program ends.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
build=${BUILD:-$here/../build}
[[ $build == /* ]] || build=$PWD/$build
bench=$build/demo/bench/bench
[[ -x $bench && -z $(find "$here/bench" "$here/common" -name '*.[ch]' -newer "$bench") ]] ||
  make -C "$here/.." --no-print-directory BUILD="$build" "$bench" >&2

dir=$build
read_ahead=
arguments=()
while (($#)); do
  case $1 in
    --dir | --read-ahead-kb)
      (($# > 1)) || { echo "bench: $1 needs a value; see --help" >&2; exit 2; }
      if [[ $1 == --dir ]]; then dir=$2; else read_ahead=$2; fi
      shift
      ;;
    --dir=*) dir=${1#*=} ;;
    --read-ahead-kb=*) read_ahead=${1#*=} ;;
    *) arguments+=("$1") ;;
  esac
  shift
done
if [[ -n $read_ahead ]] && ((EUID != 0)); then
  echo "bench: --read-ahead-kb needs root, for its loop device; the device of $dir is measured as it is set" >&2
  read_ahead=
fi
[[ -n $read_ahead ]] || exec "$bench" --dir "$dir" "${arguments[@]}"

work=$(mktemp -d "$dir/bench-loop.XXXXXX")
trap 'rm -rf "$work"' EXIT
# shellcheck disable=SC2016
on_loop='
  truncate -s 64G "$0/disk"
  mkfs.ext4 -q -F -N 1024 -J size=64 -E lazy_itable_init=0,nodiscard "$0/disk"
  loop=$(losetup --find --show --direct-io=on "$0/disk")
  rm "$0/disk"
  mount -o noatime "$loop" "$0" || { losetup -d "$loop"; exit 1; }
  losetup -d "$loop" # when it is unmounted
  exec "$@"'
unshare --mount --propagation private bash -euo pipefail -c "$on_loop" "$work" \
  "$bench" --dir "$work" --read-ahead-kb "$read_ahead" "${arguments[@]}" &
pid=$!
trap 'kill "$pid" 2>/dev/null || :' INT TERM
# A trapped signal ends the first wait.
wait "$pid" || { status=$?; wait "$pid" 2>/dev/null || status=$?; exit "$status"; }
