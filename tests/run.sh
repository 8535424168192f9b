#!/usr/bin/env bash
# Checks that each feature builds alone, runs every test and ends with the totals.
set -uo pipefail
cd "$(dirname "$0")/.."
log=$(mktemp); trap 'rm -f "$log"' EXIT
features=$(sed -n '/^\[features\]/,/^\[\[/ s/^\([a-z]*\) = \[.*/\1/p' Cargo.toml)
for feature in "" $features; do
  said=$(cargo check --release --quiet --lib --no-default-features --features "$feature" 2>&1)
  if [ -n "$said" ]; then echo "the feature \"$feature\" does not build alone: $said"; exit 1; fi
done
cargo test --release --no-fail-fast 2>&1 | tee "$log"
status=$?
awk '/^test result:/ { passed += $4; failed += $6 } END { printf "%d passed, %d failed\n", passed, failed }' "$log"
exit "$status"
