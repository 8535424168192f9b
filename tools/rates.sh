#!/usr/bin/env bash
# Frames per second of `run` on several copies of a clip at once, from file to records, once everything is open: a long run less a short
# one. For example: tools/rates.sh out/demo.mp4 16 --device cuda --precision fp16
set -euo pipefail
clip=$(realpath "$1") copies=$2
shift 2
program=${MOSTREAM:-$(dirname "$0")/../target/release/mostream}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
files=()
for number in $(seq "$copies"); do
  ln -s "$clip" "$folder/$number.${clip##*.}"
  files+=("$folder/$number.${clip##*.}")
done
# Seconds of wall time, and frames, of so many seconds of the clips.
measure() {
  local start end
  rm -f "$folder/records.jsonl"
  start=$(date +%s%N)
  "$program" run "${files[@]}" --duration "$1" --records "$folder/records.jsonl" --quiet "${@:2}" 2>"$folder/log" || { cat "$folder/log" >&2; exit 1; }
  end=$(date +%s%N)
  echo "$(((end - start) / 1000)) $(grep -c '"frame"' "$folder/records.jsonl")"
}
read -r short_us short_frames < <(measure 3 "$@")
read -r long_us long_frames < <(measure 12 "$@")
awk -v t="$((long_us - short_us))" -v f="$((long_frames - short_frames))" 'BEGIN { printf "%.1f frames per second (%d frames in %.2f s)\n", 1e6 * f / t, f, t / 1e6 }'
