#!/usr/bin/env bash
# Installs what reads training sets into a folder of its own (several gigabytes, most of them PyTorch's), and Home Assistant into another, and has
# them read some.
set -euo pipefail
cd "$(dirname "$0")/../.."
packages=tests/consumers/requirements.txt
home=.venv-home-assistant
[ -x "$home/bin/python" ] || python3 -m venv "$home"
"$home/bin/python" -m pip install --quiet --disable-pip-version-check homeassistant==2024.3.3 paho-mqtt==1.6.1
"$home/bin/python" tests/consumers/home_assistant.py
venv=.venv-consumers
[ -x "$venv/bin/python" ] || python3 -m venv "$venv"
install() { "$venv/bin/python" -m pip install --quiet --disable-pip-version-check "$@"; }
# What cannot be installed costs only itself: its lines say so.
install -r "$packages" || grep -v '^#' "$packages" | while read -r package; do install "$package" || true; done
exec "$venv/bin/python" tests/consumers/check.py target/release/mostream
