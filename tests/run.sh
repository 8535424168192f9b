#!/usr/bin/env bash
# Runs every check and every test, and ends with the totals. Whatever fails, the rest is done too.
set -uo pipefail
cd "$(dirname "$0")/.."
log=$(mktemp); trap 'rm -rf "$log" "$MOSTREAM_MODELS"' EXIT
# Which models this user has installed, and which is the default, changes nothing.
export MOSTREAM_MODELS; MOSTREAM_MODELS=$(mktemp -d)
failed=()
check() {
  local name=$1; shift
  echo "check: $name"
  "$@" || failed+=("$name")
}

check "cargo fmt" cargo fmt --check
check "lints" cargo clippy --release --quiet --all-targets -- -D warnings
# One folder serves them all, so that what two features have in common is checked once.
features=$(cargo metadata --no-deps --format-version 1 | python3 -c 'import json, sys; print(*json.load(sys.stdin)["packages"][0]["features"])')
for feature in "" $features; do
  check "${feature:-no feature} alone" cargo clippy --release --quiet --no-default-features --features "$feature" --lib -- -D warnings
done
RUSTDOCFLAGS="-D warnings" check "documentation" cargo doc --release --quiet --no-deps --document-private-items

check "the soak's figures" python3 tests/soak --check

tests() { cargo test --release --no-fail-fast 2>&1 | tee "$log"; }
check "tests" tests
awk '/^test result:/ { passed += $4; failed += $6 } END { printf "%d passed, %d failed\n", passed, failed }' "$log"
((${#failed[@]} == 0)) || { printf 'failed: %s\n' "${failed[@]}"; exit 1; }
