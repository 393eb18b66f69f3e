"""What the host must have, and what it knows: Debian's mirror, pip's index, proxies, CAs."""

from __future__ import annotations

import ast
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from tools.arm64.commands import Fault, run, say
from tools.arm64.plan import LIMIT_DOWNLOAD_S

QEMU_NAMES = ("qemu-aarch64-static", "qemu-aarch64")
CA_BUNDLE = Path("/etc/ssl/certs/ca-certificates.crt")
PROXIES = ("http_proxy", "https_proxy", "no_proxy", "all_proxy")
# Where pip looks, whom it trusts and how patient it is. Not find-links and the like: folders of
# the host do not exist inside.
PIP_KEYS = ("index-url", "extra-index-url", "trusted-host", "proxy", "default-timeout", "timeout")
TARGETS = "$(REPO_URI) $(ORIGIN) $(LABEL)"


def check_host() -> None:
    """Refuse in a sentence where this cannot work."""
    if os.geteuid() != 0:
        raise Fault("test-arm64 mounts and changes root, so it needs root: run it by sudo", code=2)
    if platform.machine() != "x86_64":
        raise Fault(
            f"test-arm64 compares arm64 with x86_64 and this is {platform.machine()}; "
            "on an ARM machine run: make test",
            code=2,
        )


def find_qemu() -> Path:
    """The static emulator; with debootstrap it is installed from Debian where it is missing."""
    if not (_qemu() and shutil.which("debootstrap")):
        say("installing debootstrap and qemu-user-static on this machine (they stay)")
        _apt_get("update", "-qq")
        _apt_get("install", "-y", "-qq", "debootstrap", "qemu-user-static")
    found = _qemu()
    if found is None:
        raise Fault("qemu-aarch64 is missing; run: apt-get install qemu-user-static", code=2)
    return found


def _qemu() -> Path | None:
    found = next(filter(None, map(shutil.which, QEMU_NAMES)), None)
    return Path(found) if found else None


def _apt_get(*words: str) -> None:
    if not shutil.which("apt-get"):
        raise Fault("debootstrap and qemu-user-static are missing; install them first", code=2)
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    run(["apt-get", *words], what=f"apt-get {words[0]}", limit_s=LIMIT_DOWNLOAD_S, env=env)


def debian_mirror() -> str:
    """The mirror that apt on this machine is configured for; raises Fault where there is none."""
    argv = ["apt-get", "indextargets", "--format", TARGETS, "Created-By: Packages"]
    listed = run(argv, what="apt-get indextargets", limit_s=60)
    mirror = mirror_of(listed)
    if mirror is None:
        raise Fault(
            "apt here knows no Debian mirror (apt-get update fills its lists); name one: --mirror",
            code=2,
        )
    return mirror


def mirror_of(indextargets: str) -> str | None:
    """The first archive that calls itself Debian; others, and its security archive, are not it."""
    for line in indextargets.splitlines():
        uri, _, origin = line.partition(" ")
        if origin == "Debian Debian":
            return uri
    return None


def inner_environment() -> dict[str, str]:
    """Variables for a command inside: a clean start, and the ways to the network of the host."""
    env = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
    env |= {"HOME": "/root", "LANG": "C.UTF-8", "PYTHONDONTWRITEBYTECODE": "1"}
    return env | network_environment() | pip_environment(pip_settings())


def network_environment() -> dict[str, str]:
    """Proxies, from the environment or else from apt's configuration."""
    names = [name for low in PROXIES for name in (low, low.upper())]
    env = {name: os.environ[name] for name in names if os.environ.get(name)}
    for low in PROXIES[:2]:
        proxy = _apt_setting(f"Acquire::{low.split('_')[0]}::Proxy")
        if proxy and low not in env and low.upper() not in env and proxy != "DIRECT":
            env[low] = proxy
    return env


def _apt_setting(key: str) -> str:
    argv = ["apt-config", "dump", "--format", "%v", key]
    return subprocess.run(argv, capture_output=True, text=True, check=False).stdout.strip()


def pip_settings() -> str:
    """`pip config list`: files and variables of the host in one listing."""
    argv = [sys.executable, "-m", "pip", "config", "list"]
    return subprocess.run(argv, capture_output=True, text=True, check=False).stdout


def pip_environment(listing: str) -> dict[str, str]:
    """PIP_* variables for the inside, out of `pip config list`; the CA bundle is copied in."""
    env = {"PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_CERT": str(CA_BUNDLE)}
    env["PIP_ROOT_USER_ACTION"] = "ignore"
    for key, value in _by_precedence(listing):
        kept = [word for word in value.split() if not word.startswith("file:")]
        if key in PIP_KEYS and kept:
            env["PIP_" + key.upper().replace("-", "_")] = " ".join(kept)
    return env


def ca_bundle(listing: str) -> Path | None:
    """The CAs that pip trusts on this machine, else the system's; None where there are none."""
    named = [Path(value) for key, value in _by_precedence(listing) if key == "cert"]
    return next((path for path in [*reversed(named), CA_BUNDLE] if path.is_file()), None)


def _by_precedence(listing: str) -> list[tuple[str, str]]:
    """Pairs of key and value, the ones that win last: files, their [install] section, variables."""
    found: list[tuple[int, str, str]] = []
    for line in listing.splitlines():
        name, _, quoted = line.partition("=")
        section, _, key = name.rpartition(".")
        if section in _SECTIONS:
            found.append((_SECTIONS[section], key, str(ast.literal_eval(quoted))))
    return [(key, value) for _, key, value in sorted(found, key=lambda row: row[0])]


_SECTIONS: Mapping[str, int] = {"global": 0, "install": 1, ":env:": 2}
