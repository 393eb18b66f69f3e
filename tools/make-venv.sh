#!/bin/sh
# Makes a virtual environment; a fresh Debian needs python3-venv for it, which is fetched where we may.
set -eu
python=$1
venv=$2
command -v "$python" >/dev/null 2>&1 || python=
if [ -z "$python" ] || ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    if [ "$(id -u)" = 0 ]; then as_root=; else as_root=sudo; fi
    if ! command -v apt-get >/dev/null 2>&1 || { [ -n "$as_root" ] && ! sudo -n true 2>/dev/null; }; then
        echo "python3 with venv is missing; run: sudo apt-get install python3-venv" >&2
        exit 1
    fi
    $as_root apt-get update -qq
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq python3-venv >/dev/null
    python=python3
fi
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
    echo "$("$python" --version) is too old, 3.11 or later is needed; set PYTHON=python3.11" >&2
    exit 1
}
# On a Pi, picamera2 comes from apt and must be seen from inside.
if "$python" -c 'import picamera2' 2>/dev/null; then site=--system-site-packages; else site=; fi
"$python" -m venv $site "$venv"
