"""A Debian arm64 root in a folder: made, entered, and removed without a trace."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import signal
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tools.arm64.commands import Fault, ignore_signals, run, say
from tools.arm64.plan import (
    CORES,
    FREE_BYTES,
    LIMIT_DOWNLOAD_S,
    LIMIT_UNPACK_S,
    PACKAGES,
    PI_4,
    Board,
)

LOCK = Path("/run/lock/smartbin-arm64")
SUITE = "bookworm"  # Raspberry Pi OS follows it
CPUINFO = "etc/smartbin-cpuinfo"  # in the root; bound over its /proc/cpuinfo
STAMP = "smartbin-arm64"  # lies in a root that is complete, and says of what


@dataclass(frozen=True, slots=True)
class Root:
    """A complete root; programs in it run where `emulation` is entered."""

    path: Path
    env: Mapping[str, str]

    def run(self, argv: Sequence[str], *, what: str, limit_s: float, board: Board = PI_4) -> str:
        """Run a command inside, on the processor of a board; returns its standard output."""
        (self.path / CPUINFO).write_text(board.cpuinfo())
        env = {**self.env, "QEMU_CPU": board.cpu}
        return run(["chroot", self.path, *argv], what=what, limit_s=limit_s, env=env)


@contextlib.contextmanager
def only_run() -> Iterator[None]:
    """One run at a time on a machine: the registration of the emulator is the machine's."""
    with LOCK.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Fault("another test-arm64 is at work on this machine; wait for it") from error
        yield


@contextlib.contextmanager
def workplace(folder: Path, *, keep: bool) -> Iterator[Path]:
    """The folder of a run, where devices and programs are allowed; removed unless kept.

    Everything mounted beneath it is unmounted first, also after a fault.
    """
    _claim(folder)
    try:
        _end_processes_in(folder)  # of a run that was killed
        _allow_devices(folder)
        if not keep:
            _remove(folder / "root")
        yield folder
    finally:
        ignore_signals()
        _end_processes_in(folder)
        _unmount_below(folder)
        if not keep:
            say(f"removing {folder}")
            _remove(folder)


def _claim(folder: Path) -> None:
    """Make the folder, or refuse one that is not of a former run: it will be deleted."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700)
        (folder / STAMP).touch()
    status = folder.lstat()
    ours = folder.is_dir() and not folder.is_symlink() and status.st_uid == 0
    if not ours or status.st_mode & 0o077 or not (folder / STAMP).exists():
        raise Fault(f"{folder} is no folder of test-arm64; name another: --work", code=2)
    if shutil.disk_usage(folder).free < FREE_BYTES:
        raise Fault(
            f"{folder}: under {FREE_BYTES / 1e9:.0f} GB are free; name another: --work", code=2
        )


def _allow_devices(folder: Path) -> None:
    """A /tmp often forbids device files and programs; here, and for us alone, it does not."""
    run(["mount", "--bind", folder, folder], what="mounting the folder", limit_s=30)
    argv = ["mount", "-o", "remount,bind,dev,exec,suid", str(folder)]
    run(argv, what="allowing devices in the folder", limit_s=30)


def make_root(path: Path, mirror: str, env: Mapping[str, str]) -> None:
    """First half: download and unpack; needs no emulation."""
    _remove(path)
    say(f"debootstrap {SUITE} arm64, from apt's mirror")
    include = f"--include={','.join(PACKAGES)}"
    argv = ["debootstrap", "--arch=arm64", "--foreign", "--variant=minbase", include, SUITE]
    run([*argv, path, mirror], what="debootstrap", limit_s=LIMIT_DOWNLOAD_S, env=env)


def finish_root(root: Root, ca_bundle: Path | None) -> None:
    """Second half, inside and emulated: configure the packages."""
    say("debootstrap's second stage, under emulation")
    argv = ["/debootstrap/debootstrap", "--second-stage"]
    root.run(argv, what="second stage", limit_s=LIMIT_UNPACK_S)
    (root.path / "etc/hosts").write_text("127.0.0.1 localhost\n::1 localhost\n")
    shutil.copy("/etc/resolv.conf", root.path / "etc/resolv.conf")
    if ca_bundle:
        shutil.copy(ca_bundle, root.path / "etc/ssl/certs/ca-certificates.crt")
    (root.path / STAMP).write_text(_contents())


def is_complete(path: Path) -> bool:
    """Whether a former run left a root of the same contents."""
    with contextlib.suppress(FileNotFoundError):
        return (path / STAMP).read_text() == _contents()
    return False


def _contents() -> str:
    return " ".join((SUITE, *PACKAGES))


def mount_inside(path: Path) -> None:
    """What programs inside expect; unmounted with the workplace."""
    for kind, where in (("proc", "proc"), ("tmpfs", "dev/shm")):
        target = path / where
        target.mkdir(parents=True, exist_ok=True)
        run(["mount", "-t", kind, kind, target], what=f"mounting /{where}", limit_s=30)
    # qemu 7 shows the host's own processor there, over which onnxruntime's cpuinfo stumbles.
    (path / CPUINFO).write_text(PI_4.cpuinfo())
    argv = ["mount", "--bind", str(path / CPUINFO), str(path / "proc/cpuinfo")]
    run(argv, what="mounting /proc/cpuinfo", limit_s=30)
    cores = path / "sys/devices/system/cpu"
    cores.mkdir(parents=True, exist_ok=True)
    for name in ("possible", "present"):
        (cores / name).write_text(f"0-{CORES - 1}\n")


def _end_processes_in(folder: Path) -> None:
    """Nothing that was started inside outlives the run."""
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if (entry / "root").readlink().is_relative_to(folder):
                os.kill(int(entry.name), signal.SIGKILL)


def _unmount_below(folder: Path) -> None:
    for place in reversed(mounts_below(folder)):
        run(["umount", "--lazy", place], what=f"unmounting {place}", limit_s=30)


def mounts_below(folder: Path) -> list[Path]:
    """Mount points at and below a folder, in the order they were made."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    places = [Path(line.split()[4].encode().decode("unicode_escape")) for line in lines]
    return [place for place in places if place.is_relative_to(folder)]


def _remove(folder: Path) -> None:
    """Delete a folder, never through a mount."""
    still = mounts_below(folder)
    if still:
        raise Fault(f"{still[0]} is still mounted, so {folder} is not deleted; unmount it first")
    if folder.exists():
        shutil.rmtree(folder)
