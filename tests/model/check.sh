#!/usr/bin/env bash
# check.sh - the long form of the model (make check-model).
#
# Cases from seed MODEL_SEED (1) for MODEL_SECONDS (3600): some minutes cover every triple of kinds of events, then it
# begins anew with other choices. Then the planted bugs, each of which must be found by the cases of `make check`.
set -eu
cd "$(dirname "$0")/../.."
export BUILD=${BUILD:-build}
echo "check-model: ${MODEL_SECONDS:-3600} seconds"
"$BUILD/tests/model/prog_model" --seed "${MODEL_SEED:-1}" --seconds "${MODEL_SECONDS:-3600}"
echo "check-model: planted bugs"
tests/model/plant.sh
