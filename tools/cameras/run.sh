#!/bin/sh
# Tests the camera back-ends on what they will meet: picamera2 on libcamera's virtual camera, an
# RTSP server that stalls and dies, GStreamer pipelines in Debian's OpenCV. In a Debian sid root:
#
#   tools/cameras/run.sh [--keep] [--work FOLDER] [--mirror URL]
#
# --keep    leaves the root for the next run, which then starts with the tests
# --work    folder to work in, 4 GB; SMARTBIN_WORK or /tmp/smartbin-cameras
# --mirror  Debian mirror; else the one that apt here is set to
#
# Everything is mounted and started in namespaces of its own, which end with this program, even by
# SIGKILL. Exit code 0: all passed; 1: something failed; 2: it could not be tried.
set -eu

suite=sid # the first whose libcamera has the virtual camera
packages='python3-libcamera libcamera-tools libcamera-ipa
    gcc libc6-dev python3-dev libcap-dev
    python3-opencv python3-numpy python3-pytest python3-pytest-timeout iproute2
    python3-gi gir1.2-gst-rtsp-server-1.0 gstreamer1.0-plugins-base gstreamer1.0-plugins-good
    gstreamer1.0-plugins-ugly gstreamer1.0-libav gstreamer1.0-tools' # compilers: two of picamera2's parts have no wheel
wheels='picamera2 opencv-python-headless'
contents="$suite $packages $wheels 1" # of a root; another one is made anew

repository=$(cd "$(dirname "$0")/../.." && pwd)
work=${SMARTBIN_WORK:-${TMPDIR:-/tmp}/smartbin-cameras}
keep=no
mirror=

say() { printf '%5d s  %s\n' "$(($(date +%s) - started))" "$*"; }
refuse() { echo "test-cameras: $*" >&2; exit 2; }
inside() { # COMMAND...: in the root, with the network settings of the host and little else
    # shellcheck disable=SC2016 # for the inner shell
    env -i HOME=/root LANG=C.UTF-8 PATH=/usr/sbin:/usr/bin:/sbin:/bin DEBIAN_FRONTEND=noninteractive \
        PYTHONDONTWRITEBYTECODE=1 LIBCAMERA_LOG_LEVELS='*:FATAL' nice -n 10 chroot "$root" sh -c '. /etc/network-settings; exec "$@"' sh "$@"
}

# --- the first half: on the host ---------------------------------------------------------------

check_host() {
    [ "$(id -u)" = 0 ] || refuse 'mounts and changes root, so it needs root: run it by sudo'
    for tool in debootstrap unshare setpriv flock; do
        command -v $tool >/dev/null || install_tools
    done
    # shellcheck disable=SC2016 # apt's own words
    [ -n "$mirror" ] || mirror=$(apt-get indextargets --format '$(REPO_URI) $(ORIGIN) $(LABEL)' \
        'Created-By: Packages' | sed -n 's/ Debian Debian$//p' | head -n 1)
    [ -n "$mirror" ] || refuse 'apt here knows no Debian mirror; name one: --mirror URL'
}

install_tools() {
    echo 'installing debootstrap and util-linux on this machine (they stay)'
    { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq debootstrap \
        util-linux >/dev/null; } || refuse 'debootstrap is missing; install it first'
}

claim_work() { # a folder of ours: it is deleted at the end
    if [ ! -e "$work" ]; then mkdir -p "$work" && : >"$work/smartbin-cameras"; fi
    if [ ! -f "$work/smartbin-cameras" ] || [ -L "$work" ] || [ ! -O "$work" ]; then
        refuse "$work is no folder of test-cameras; name another: --work"
    fi
    exec 9>"$work/lock"
    flock -n 9 || refuse 'another test-cameras is at work in this folder; wait for it'
    [ "$(df --output=avail -B 1000000 "$work" | tail -n 1)" -gt 4000 ] ||
        refuse "$work: under 4 GB are free; name another: --work"
    if [ $keep = no ]; then rm -rf --one-file-system "$work/root"; fi
}

# shellcheck disable=SC2317 # called by the trap
clean_up() {
    status=$?
    trap '' INT TERM HUP
    if [ -n "$job" ]; then
        kill -KILL "$job" 2>/dev/null || :
        wait "$job" 2>/dev/null || : # with it went its processes and its mounts
    fi
    if [ "$keep" = no ]; then
        rm -rf --one-file-system "$work"
    elif [ ! -f "$work/root/smartbin-cameras" ]; then # not complete: of no use
        rm -rf --one-file-system "$work/root"
    fi
    exit "$status"
}

first_half() {
    check_host
    work=$(realpath -m "$work")
    claim_work
    job=
    trap clean_up EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
    trap 'exit 129' HUP
    # setpriv: the kernel ends unshare when this shell is gone, and all that is in it with it.
    setpriv --pdeathsig KILL unshare --mount --propagation private --pid --fork --kill-child=KILL \
        sh "$0" --second-half "$work" "$mirror" "$started" 9>&- &
    job=$!
    status=0
    wait $job || status=$?
    job=
    [ $status -le 2 ] || status=2
    exit $status
}

# --- the second half: in namespaces of its own --------------------------------------------------

network_settings() { # the ways to the network; not find-links: folders of the host are not inside
    for name in http_proxy https_proxy no_proxy HTTP_PROXY HTTPS_PROXY NO_PROXY; do
        if value=$(printenv $name); then export_line $name "$value"; fi
    done
    export_line PIP_CERT "$bundle"
    export_line PIP_ROOT_USER_ACTION ignore
    export_line PIP_DISABLE_PIP_VERSION_CHECK 1
    for key in index-url extra-index-url trusted-host proxy default-timeout timeout; do
        for level in :env: install global; do
            value=$(python3 -m pip config get $level.$key 2>/dev/null) || continue
            case $value in *file:*) continue ;; esac
            export_line "PIP_$(echo $key | tr a-z- A-Z_)" "$value"
            break
        done
    done
}

export_line() { # NAME VALUE: for the inner shell; in a file, because command lines are public
    printf "export %s='%s'\n" "$1" "$(printf %s "$2" | sed "s/'/'\\\\''/g")"
}

make_root() {
    rm -rf --one-file-system "$root"
    say "debootstrap $suite, from apt's mirror"
    nice -n 10 debootstrap --variant=minbase --include=ca-certificates,eatmydata,python3,python3-venv \
        $suite "$root" "$mirror" >"$work/log" 2>&1 || fail debootstrap
    lead_to_network
    mkdir -p "$root/etc/dpkg/dpkg.cfg.d"
    printf 'path-exclude=/usr/share/%s/*\n' doc man locale >"$root/etc/dpkg/dpkg.cfg.d/lean"
    # The mirror may be a snapshot. What it holds is signed all the same.
    echo 'Acquire::Check-Valid-Until "false";' >"$root/etc/apt/apt.conf.d/snapshot"
    say 'packages: libcamera, OpenCV with GStreamer, an RTSP server'
    mount -t proc proc "$root/proc"
    # shellcheck disable=SC2086 # a list
    { inside apt-get update -qq && inside eatmydata apt-get install -y -qq --no-install-recommends \
        $packages && inside apt-get clean; } >"$work/log" 2>&1 || fail apt-get
    say 'from PyPI: picamera2, and the OpenCV of a Pi'
    # shellcheck disable=SC2086 # a list
    { inside python3 -m venv --system-site-packages /venv &&
        inside /venv/bin/pip install -q $wheels; } >"$work/log" 2>&1 || fail pip
    echo "$contents" >"$root/smartbin-cameras"
}

lead_to_network() {
    cp /etc/resolv.conf "$root/etc/resolv.conf"
    trusted=$(python3 -m pip config get :env:.cert 2>/dev/null) || trusted=$bundle
    [ ! -f "$trusted" ] || cp "$trusted" "$root$bundle"
    (umask 077 && network_settings >"$root/etc/network-settings")
}

fail() { # STEP: with the end of what it said
    tail -n 25 "$work/log" >&2
    refuse "$1 failed, see above"
}

copy_source() {
    rm -rf "$root/src" "$root/results"
    mkdir -p "$root/src/tests" "$root/results"
    cp -r "$repository/edge" "$repository/pyproject.toml" "$root/src"
    cp -r "$repository/tests/cameras" "$root/src/tests/cameras"
    cp "$repository/tools/cameras/table.py" "$root/src"
}

lane() { # NAME: PYTHON TESTS... with a loopback of its own, which the tests take down
    name=$1 python=$2
    shift 2
    # shellcheck disable=SC2016 # for the inner shell
    inside unshare --net sh -c 'ip link set lo up && cd /src && exec "$@"' sh \
        env "SMARTBIN_CAMERAS=$name" "$python" -m pytest -p no:cacheprovider -v --tb=short -W ignore::DeprecationWarning \
        --confcutdir=tests/cameras --timeout=300 "$@" >"$root/results/$name.log" 2>&1 && return
    echo "--- $name"
    cat "$root/results/$name.log"
    return 1
}

second_half() {
    root=$work/root bundle=/etc/ssl/certs/ca-certificates.crt
    # shellcheck disable=SC2016 # apt's own words
    proxy=$(apt-config dump --format '%v' Acquire::http::Proxy)
    case $proxy in http*) export http_proxy="${http_proxy:-$proxy}" ;; esac
    # A /tmp often forbids device files and programs; here, and for us alone, it does not.
    mount --bind "$work" "$work"
    mount -o remount,bind,dev,exec,suid "$work"
    if [ "$(cat "$root/smartbin-cameras" 2>/dev/null)" = "$contents" ]; then
        say 'using the root of a former run'
        mount -t proc proc "$root/proc"
    else
        make_root
    fi
    mount -t tmpfs tmpfs "$root/dev/shm"
    copy_source
    say 'tests, on three lanes'
    status=0
    lane restarts /venv/bin/python tests/cameras/test_picam_restarts.py &
    restarts=$!
    lane debian-opencv /usr/bin/python3 tests/cameras/test_opencv.py tests/cameras/test_gstreamer.py &
    debian=$!
    lane picamera2 /venv/bin/python tests/cameras/test_picam.py || status=1
    lane pip-opencv /venv/bin/python tests/cameras/test_opencv.py || status=1
    wait $restarts || status=1
    wait $debian || status=1
    inside /usr/bin/python3 /src/table.py /results || status=1
    say "done"
    exit $status
}

if [ "${1:-}" = --second-half ]; then
    work=$2 mirror=$3 started=$4
    second_half
fi
started=$(date +%s)
while [ $# -gt 0 ]; do
    case $1 in
    --keep) keep=yes ;;
    --work) work=${2:?} && shift ;;
    --mirror) mirror=${2:?} && shift ;;
    *) refuse "$1: known are --keep, --work FOLDER, --mirror URL" ;;
    esac
    shift
done
first_half
