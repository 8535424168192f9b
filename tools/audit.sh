#!/usr/bin/env bash
# Holds every crate of Cargo.lock to deny.toml: licences, bans, sources, advisories.
# Ends with 0 where all of it is in order, 1 where something is not, 2 where the advisories could not be had and the rest is in order,
# and 3 where there is no cargo-deny.
set -uo pipefail
cd "$(dirname "$0")/.."
say() { echo "audit: $*" >&2; }

if ! cargo deny --version >/dev/null 2>&1; then
  say "cargo-deny is missing, so nothing was checked: cargo install --locked cargo-deny, then run this again"
  exit 3
fi
cargo deny check licenses bans sources || exit 1
if ! cargo deny fetch db >/dev/null 2>&1; then
  say "licences, bans and sources are in order; advisories were not checked: github.com/RustSec/advisory-db cannot be had"
  exit 2
fi
cargo deny check advisories || exit 1
