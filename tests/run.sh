#!/usr/bin/env bash
# Runs every test and ends with the totals.
set -uo pipefail
cd "$(dirname "$0")/.."
log=$(mktemp); trap 'rm -f "$log"' EXIT
cargo test --release --no-fail-fast 2>&1 | tee "$log"
status=$?
awk '/^test result:/ { passed += $4; failed += $6 } END { printf "%d passed, %d failed\n", passed, failed }' "$log"
exit "$status"
