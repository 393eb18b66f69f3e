#!/bin/sh
# Installs Debian's Mosquitto for the broker tests where we may; else the tests say what they leave out.
set -u
PATH=$PATH:/usr/sbin
command -v mosquitto >/dev/null 2>&1 && command -v mosquitto_sub >/dev/null 2>&1 && exit 0
if ! command -v apt-get >/dev/null 2>&1; then
    echo "mosquitto is missing: the broker tests are left out" >&2
    exit 0
fi
if [ "$(id -u)" = 0 ]; then as_root=; else as_root="sudo -n"; fi
# The package starts a broker of its own; the tests start theirs and need none.
if ! { $as_root apt-get update -qq && $as_root env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -qq mosquitto mosquitto-clients >/dev/null; }; then
    echo "mosquitto could not be installed: the broker tests are left out" >&2
    echo "to run them: sudo apt-get install mosquitto mosquitto-clients" >&2
fi
exit 0
