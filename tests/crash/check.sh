#!/usr/bin/env bash
# check.sh - the long form of the crash simulation (make check-crash).
#
# First the same workloads on the default VFS, as far as `make check` goes: what fails there is the checker's error. Then CRASH_IMAGES
# images (100,000) through uring, cut at every recorded point, from seed CRASH_SEED (0). Then the planted bugs, each of
# which must be found. Failing images are saved in BUILD/crash with the command that replays them.
set -eu
cd "$(dirname "$0")/../.."
export BUILD=${BUILD:-build}
crash=$BUILD/tests/crash/prog_crash
echo "check-crash: the default VFS"
"$crash" --vfs unix-recorder --seed "${CRASH_SEED:-0}" --seeds 96 --steps 7 --every 3 --jobs "${JOBS:-2}"
echo "check-crash: the same files as the default VFS"
"$crash" --compare --seed "${CRASH_SEED:-0}" --seeds 192 --jobs "${JOBS:-2}"
echo "check-crash: ${CRASH_IMAGES:-100000} images through uring"
"$crash" --vfs uring --seed "${CRASH_SEED:-0}" --seeds 96 --images "${CRASH_IMAGES:-100000}" --random 1 --single 1 --jobs "${JOBS:-2}"
echo "check-crash: planted bugs"
tests/crash/plant.sh
