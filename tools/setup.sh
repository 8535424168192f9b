#!/usr/bin/env bash
# Installs what mostream needs on Debian 12 to be built, tested and run, and only what is missing: system packages, and the
# ONNX Runtime library (from its Python wheel) into .venv, and where it is faster the one with OpenVINO. Where all is there it says nothing and takes a moment.
set -euo pipefail
cd "$(dirname "$0")/.."

onnxruntime=1.32.0
openvino=1.24.1
# Readers of data sets, measures and other systems' records, for the tests; the rest is what they import, without what they could import too.
readers=(
  supervision==0.31.2 pycocotools==2.0.11 trackeval==1.3.0 numpy==2.4.6 scipy==1.17.1 pillow==13.0.0 pyyaml==6.0.4 defusedxml==0.7.1
  savant-rs==0.3.0 lxml==6.1.3 onvif-zeep-async==4.3.0 msgpack==1.2.4 cloudevents==2.2.0 python-dateutil==4.0.0
  tqdm==4.70.1 pydeprecate==0.14.0 requests==2.34.2 urllib3==2.8.0 idna==3.20 certifi==2026.10.19.post1
)
packages=(
  libgstreamer1.0-dev libgstreamer-plugins-base1.0-dev libgstrtspserver-1.0-dev # build: GStreamer
  libopencv-imgproc-dev clang libclang-dev pkg-config  # build: OpenCV's drawing functions and their bindings
  libssl-dev                                           # build: Kafka's client, which is C
  gstreamer1.0-plugins-base gstreamer1.0-plugins-good gstreamer1.0-plugins-bad gstreamer1.0-plugins-ugly # run: formats
  gstreamer1.0-libav gstreamer1.0-x gstreamer1.0-tools # run: more decoders, a window, gst-inspect
  libgstrtspserver-1.0-dev openssl                     # test: a camera, and its certificate
  ffmpeg                                               # test: makes odd clips and judges the output
  prometheus                                           # test: promtool, which reads metrics and alerts
  xvfb                                                 # test: a screen for the window
  chromium chromium-driver                             # test: looks at the page of `mostream inspect`
  mosquitto nats-server redis-server                   # test: brokers
  mosquitto-clients redis-tools kcat python3-zmq       # test: read what brokers have
)

say() { echo "setup: $*" >&2; }
fail() { say "$@"; exit 1; }

command -v cargo >/dev/null || fail "cargo is missing: install Rust from rust-lang.org/tools/install, then run this again"
command -v python3 >/dev/null || packages+=(python3)
# Debian's own python3 cannot make a virtual environment without python3-venv; others can.
python3 -c 'import ensurepip, venv' 2>/dev/null || packages+=(python3-venv)

if command -v dpkg-query >/dev/null; then
  installed=$(dpkg-query -W -f='${db:Status-Status} ${Package}\n' "${packages[@]}" 2>/dev/null | sed -n 's/^installed //p' || true)
  mapfile -t missing < <(printf '%s\n' "${packages[@]}" | grep -vxF -f <(echo "$installed") || true)
else
  say "no dpkg here: make sure that what these Debian packages hold is installed: ${packages[*]}"
  missing=()
fi

if ((${#missing[@]})); then
  say "installing ${#missing[@]} system packages to build, run and test: ${missing[*]}"
  root=()
  if ((EUID != 0)); then
    root=(sudo)
    [[ -t 0 ]] || root=(sudo -n) # nobody is there to type a password
    "${root[@]}" true 2>/dev/null || fail "this needs root; run: apt-get update && apt-get install -y --no-install-recommends ${missing[*]}"
  fi
  log=$(mktemp)
  trap 'rm -f "$log"' EXIT
  # Tests start brokers of their own, and want promtool alone: the system is to start none of these.
  units=/etc/systemd/system
  for service in mosquitto nats-server redis-server prometheus; do
    if [[ " ${missing[*]} " == *" $service "* && ! -e $units/$service.service && ! -L $units/$service.service ]]; then
      "${root[@]}" mkdir -p "$units"
      "${root[@]}" ln -s /dev/null "$units/$service.service"
    fi
  done
  apt() { "${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q -y "$@" >>"$log" 2>&1; }
  if ! { apt update && apt install --no-install-recommends "${missing[@]}"; }; then
    tail -n 15 "$log" >&2
    fail "apt-get failed (its last lines are above): is the network up? Missing are: ${missing[*]}"
  fi
fi

if [[ -z ${ORT_DYLIB_PATH:-} ]] && ! compgen -G ".venv/lib/python3*/site-packages/onnxruntime/capi/libonnxruntime.so.$onnxruntime" >/dev/null; then
  say "installing the ONNX Runtime $onnxruntime library into .venv (20 MB): it runs the backbone"
  python3 -m venv .venv || fail "python3 -m venv .venv failed (see above)"
  # The wheel brings the library; its Python dependencies are not used.
  .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps "onnxruntime==$onnxruntime" ||
    fail "pip could not install onnxruntime==$onnxruntime (see above): is the network up? Or set ORT_DYLIB_PATH to a libonnxruntime.so"
fi

# OpenVINO's kernels are the faster ones on Intel's processors, and on others that multiply in bf16. It is tried, and used, only where it is.
if [[ -z ${ORT_DYLIB_PATH:-} ]] && grep -qE '^vendor_id.*GenuineIntel|^flags.* (avx512_bf16|amx_bf16)' /proc/cpuinfo 2>/dev/null &&
  ! compgen -G ".venv-openvino/lib/python3*/site-packages/onnxruntime/capi/libonnxruntime.so.*" >/dev/null; then
  say "installing ONNX Runtime $openvino with OpenVINO into .venv-openvino (84 MB): this processor is faster with it"
  if ! { python3 -m venv .venv-openvino &&
    .venv-openvino/bin/python -m pip install --quiet --disable-pip-version-check --no-deps "onnxruntime-openvino==$openvino"; }; then
    say "pip could not install onnxruntime-openvino==$openvino (see above): all works without it, only slower"
  fi
fi

if ! .venv/bin/python -W ignore -c 'from importlib.metadata import version as v; import sys
sys.exit(any(v(name) != wanted for name, wanted in (reader.split("==") for reader in sys.argv[1:])))' "${readers[@]}" 2>/dev/null; then
  say "installing supervision, pycocotools, trackeval and readers of other systems' records into .venv (120 MB): the tests read and measure with them"
  [[ -x .venv/bin/python ]] || python3 -m venv .venv || fail "python3 -m venv .venv failed (see above)"
  .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps "${readers[@]}" ||
    fail "pip could not install ${readers[*]} (see above): is the network up?"
fi
