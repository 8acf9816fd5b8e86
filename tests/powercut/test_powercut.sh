#!/usr/bin/env bash
# The short form of the power cuts (make check-powercut is the long one): each mode on ext4, some on xfs and btrfs, and a disk that lies,
# which must be noticed.
set -euo pipefail
powercut=$BUILD/tests/powercut/prog_powercut
seed=${POWERCUT_SEED:-0}
"$powercut" --fs ext4 --vfs auto,uring --seed "$seed" --seeds 8 --per-run 20
"$powercut" --fs xfs,btrfs --vfs auto,uring --seed "$seed" --seeds 1 --per-run 20
code=0
"$powercut" --fs ext4 --vfs unix --seed "$seed" --seeds 1 --per-run 20 --lie 1 --until-failure --save "$BUILD/powercut-lie" || code=$?
rm -rf "$BUILD/powercut-lie"
[ "$code" = 1 ] || { echo "a disk that lies about every flush was not noticed: exit code $code"; exit 1; }
