# plant.sh - what the scripts share that plant bugs and look whether a suite finds them (tests/*/plant.sh). Sourced, from any folder.
#
# A bug is an edit of one source file of vfs/, in a copy. Where the suite is a program, the copy is compiled and linked in front of the
# library. The names of the plants that are wanted are the arguments; none: all.

cd "$(dirname "${BASH_SOURCE[0]}")/.."
build=${BUILD:-build}
scratch=$(mktemp -d "${TMPDIR:-/tmp}/uringvfs-plant.XXXXXX")
trap 'rm -rf "$scratch"' EXIT
wanted=" $* "
planted=0 missed=0

# chosen NAME: is this plant wanted? Then it counts.
chosen() { case $wanted in *" $1 "* | "  ") planted=$((planted + 1)) ;; *) return 1 ;; esac; }

# edited NAME FILE SEDSCRIPT: the edited copy, as $scratch/NAME/FILE. An edit that changes nothing counts as missed.
edited() {
  mkdir -p "$(dirname "$scratch/$1/$2")"
  sed -E "$3" "vfs/$2" >"$scratch/$1/$2" || exit 1 # set -e sleeps in a condition
  cmp -s "vfs/$2" "$scratch/$1/$2" || return 0
  echo "plant: $1 changes nothing: the code has moved on, adapt its edit" >&2
  missed=$((missed + 1))
  return 1
}

# linked NAME FILE OBJECT...: compiles the copy and links $scratch/NAME/program of it, the objects and the library in $library.
linked() {
  local dir=$scratch/$1 file=$2
  shift 2
  # shellcheck disable=SC2086
  ${compiler:-${CC:-gcc}} -std=gnu11 -D_GNU_SOURCE= -pthread ${cflags:--O1 -g} ${compile_only:-} -Ivfs -Ivfs/readahead -Iruntime -c -o "$dir/planted.o" "$dir/$file"
  # shellcheck disable=SC2086,SC2046
  ${compiler:-${CC:-gcc}} -pthread ${cflags:-} ${link_only:-} -o "$dir/program" "$@" "$dir/planted.o" "${library:-$build/liburingvfs.a}" \
    $(pkg-config --libs sqlite3 liburing)
}

# was_missed LOG WHAT...: says so, with the end of what the suite said.
was_missed() {
  local log=$1
  shift
  printf 'MISSED  %s\n' "$*"
  tail -n 5 "$log" | sed 's/^/    | /'
  missed=$((missed + 1))
}

# The last command of a script.
verdict() {
  if [ "$planted" = 0 ]; then
    echo "plant: there is no plant of that name" >&2
    exit 1
  fi
  echo "plant: $((planted - missed)) of $planted planted bugs found"
  [ "$missed" = 0 ]
}
