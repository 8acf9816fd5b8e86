#!/usr/bin/env bash
# check.sh [ARGUMENTS OF prog_powercut] - the long form of the power cuts (make check-powercut POWERCUT_ARGS="--seed N --images N --fs ext4,xfs").
#
# The default VFS is the control: what fails there too is the checker's error, the file system's, or SQLite's. Then the planted
# bugs, each of which must be found. Failing runs are saved in BUILD/powercut, with the command that makes the image again.
# Exit code 77: something is missing on this machine; the last line says what.
set -euo pipefail
cd "$(dirname "$0")/../.."
export BUILD=${BUILD:-build}
"$BUILD"/tests/powercut/prog_powercut --seeds 16 --per-run 60 "$@"
echo "check-powercut: planted bugs"
tests/powercut/plant.sh
