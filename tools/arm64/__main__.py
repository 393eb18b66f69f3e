"""Command line: python -m tools.arm64 [--keep]; exit 0 all equal, 1 a difference, 2 bad usage."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

from tools.arm64 import checks, commands, compare, host, root, sides
from tools.arm64.commands import Fault, Interrupted, say
from tools.arm64.compare import Check
from tools.arm64.emulation import emulation
from tools.arm64.root import Root

REPOSITORY = Path(__file__).resolve().parents[2]
OWN_MOUNTS = "SMARTBIN_ARM64_OWN_MOUNTS"  # set once this runs in a mount namespace of its own
STUDENT = REPOSITORY / "models" / "student.int8.onnx"


def main() -> int:
    options = _parser().parse_args()
    commands.end_on_signals()
    try:
        host.check_host()
        sides.check_bundle(options.model)
        _keep_mounts_private()
        return _test(options)
    except Fault as fault:
        print(f"arm64: FAULT: {fault}", file=sys.stderr)
        return fault.code
    except Interrupted as signal:
        print("arm64: interrupted, everything is cleaned up", file=sys.stderr)
        return 128 + signal.number


def _parser() -> argparse.ArgumentParser:
    about = "Install smartbin from wheels on an emulated Debian arm64 and compare it with x86."
    parser = argparse.ArgumentParser(prog="python -m tools.arm64", description=about)
    place = Path(tempfile.gettempdir()) / "smartbin-arm64"
    parser.add_argument("--keep", action="store_true", help="keep the root for the next run")
    parser.add_argument(
        "--all", action="store_true", help="all edge tests, not only the quick ones"
    )
    parser.add_argument("--work", type=Path, default=place, help="folder to work in (%(default)s)")
    parser.add_argument("--mirror", help="Debian mirror; else the one that apt here is set to")
    parser.add_argument("--model", type=Path, default=STUDENT, help="another bundle's .onnx")
    return parser


def _keep_mounts_private() -> None:
    """Start again where our mounts are ours alone: they end with us, even by SIGKILL."""
    if os.environ.get(OWN_MOUNTS):
        return
    os.environ[OWN_MOUNTS] = "1"
    sys.stdout.flush()
    unshare = ["unshare", "--mount", "--propagation", "private", "--"]
    os.execvp(unshare[0], [*unshare, sys.executable, *sys.orig_argv[1:]])


def _test(options: argparse.Namespace) -> int:
    with root.only_run(), root.workplace(options.work.resolve(), keep=options.keep) as folder:
        results = _checked(folder, options)
    print("\nsmartbin on Debian bookworm arm64 under qemu-user, against x86_64")
    print(compare.table(results))
    print(compare.verdict(results, took_s=commands.elapsed_s()))
    return 0 if all(check.good for check in results) else 1


def _checked(folder: Path, options: argparse.Namespace) -> list[Check]:
    qemu = host.find_qemu()
    source = sides.copy_source(REPOSITORY, folder / "src", options.model)
    x86 = sides.x86_side(folder / "x86", REPOSITORY)
    wheel = sides.build_wheel(x86, source)
    debian = Root(folder / "root", host.inner_environment())
    kept = root.is_complete(debian.path)
    if kept:
        say("using the root of a former run")
    else:
        mirror = options.mirror or host.debian_mirror()
        root.make_root(debian.path, mirror, {**os.environ, **host.network_environment()})
    with emulation(qemu, debian.path):
        if not kept:
            root.finish_root(debian, host.ca_bundle(host.pip_settings()))
        root.mount_inside(debian.path)
        arm = sides.arm_side(debian, source, wheel)
        arm.install(wheel.name, again=kept)
        same = sides.constraints(arm.versions(), folder)
        x86.install(wheel.name, "-c", same, again=kept)
        return checks.all_checks(
            x86, arm, debian.path / sides.INSIDE.strip("/"), everything=options.all
        )


if __name__ == "__main__":
    sys.exit(main())
