#!/usr/bin/env bash
# The fuzz targets (tests/fuzz/README.md) for some seconds each: they build, the seeds and what is near them find nothing.
set -euo pipefail
cd "$(dirname "$0")/../.."
mkdir -p "$BUILD"
nothing='int LLVMFuzzerTestOneInput(const char *d, unsigned long n) { return !d && n; }'
if ! echo "$nothing" | clang -fsanitize=fuzzer,address,undefined -x c -o /dev/null - 2>/dev/null; then
  echo "no clang with libFuzzer here (Debian: clang and libclang-rt-dev)"
  exit 77
fi
FUZZ_SECONDS=${FUZZ_SECONDS:-45} JOBS=1 tests/fuzz/fuzz.sh
