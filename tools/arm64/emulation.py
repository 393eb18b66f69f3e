"""Tells the kernel who runs arm64 programs, and takes it back at the end."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tools.arm64.commands import Fault, ignore_signals, run, say

REGISTRY = Path("/proc/sys/fs/binfmt_misc")
NAME = "smartbin-aarch64"  # ours alone, so that what an aborted run left can be told apart
# The head of a 64-bit ELF program for ARM (machine 183); the mask leaves out the ABI and whether
# it is position independent.
MAGIC = r"\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00"
MASK = r"\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff"


@contextlib.contextmanager
def emulation(qemu: Path, root: Path) -> Iterator[None]:
    """Within it, programs of `root` run; registers only what was missing, and only for so long."""
    _open_registry()
    _forget()
    if _runs(root):
        say("arm64 programs already run here: nothing to register")
        yield
        return
    say(f"registering {qemu.name} for arm64 programs (flag F)")
    try:
        _write("register", f":{NAME}:M::{MAGIC}:{MASK}:{qemu}:F")
        if not _runs(root):
            raise Fault(f"{qemu} cannot run programs of the root; is it a static build?")
        yield
    finally:
        ignore_signals()
        if _forget():
            say(f"unregistered {qemu.name}")


def _open_registry() -> None:
    if (REGISTRY / "register").exists():
        return
    if not REGISTRY.exists():
        subprocess.run(["modprobe", "binfmt_misc"], capture_output=True, check=False)
    # Ours alone: the mount is gone with this process's namespace.
    argv = ["mount", "-t", "binfmt_misc", "binfmt_misc", str(REGISTRY)]
    run(argv, what="mounting binfmt_misc (a kernel without it cannot do this)", limit_s=30)


def _forget() -> bool:
    """Take our entry out, this run's or a killed one's; False where there is none."""
    if not (REGISTRY / NAME).exists():
        return False
    _write(NAME, "-1")
    return True


def _write(name: str, line: str) -> None:
    try:
        (REGISTRY / name).write_bytes(line.encode("ascii"))
    except OSError as error:
        raise Fault(f"{REGISTRY / name}: the kernel refuses ({error.strerror})") from error


def _runs(root: Path) -> bool:
    argv = ["chroot", str(root), "/bin/true"]
    return subprocess.run(argv, capture_output=True, check=False).returncode == 0
