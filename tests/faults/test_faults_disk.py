"""A disk that is full or turns read-only: real file systems, mounted here."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.bin import Bin
from tests.faults.conftest import MakeBin
from tests.faults.ledger import enter, line_of
from tests.faults.proxy import Proxy
from tests.harness import Mosquitto

pytestmark = pytest.mark.mosquitto
FAULTY_BLOCK = "trigger_fs_error"  # of ext4 in sysfs: acts as a card that fails to write does


def mount(folder: Path, *arguments: str) -> None:
    command = ["mount", *arguments, str(folder)]
    if os.geteuid():
        pytest.skip("a small file system can be mounted by root alone")
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode:
        pytest.skip(f"no file system can be mounted here: {result.stderr.strip()}")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """An empty folder to mount on; unmounted at the end."""
    folder = tmp_path / "disk"
    folder.mkdir()
    yield folder
    while os.path.ismount(folder):
        subprocess.run(["umount", "-l", str(folder)], check=True)


def put_outbox_on(disk: Path, bin_: Bin) -> None:
    bin_.outbox = disk / "outbox.db"
    bin_.configure("outbox", path=str(bin_.outbox))


def test_full_disk_is_said_and_what_waited_moves_there_when_it_is_freed(
    broker: Mosquitto, proxy: Proxy, make_bin: MakeBin, disk: Path
) -> None:
    """With the broker away all the while: decisions go on, and all of them arrive in the end."""
    mount(disk, "-t", "tmpfs", "-o", "size=200k", "tmpfs")
    proxy.refuse()
    bin_ = make_bin(proxy.port, monitor_port=broker.start().port)
    put_outbox_on(disk, bin_)
    bin_.start(faults={"constants": {"edge.outbox.RETRY_DISK_S": 1.0}})
    bin_.wait_items(3)
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file, pytest.raises(OSError, match="No space"):
        while True:
            file.write(b"x" * 512)
    bin_.wait_log("events wait in memory")
    bin_.wait_items(10)
    filler.unlink()
    bin_.wait_log("the disk takes events again")
    proxy.admit()
    sees = line_of(bin_.log, "events wait in memory")
    bin_.wait_log("mqtt: connected")
    enter("disk full, then freed", sees, bin_.close_books())
    assert bin_.was_degraded("cannot write")


def test_read_only_disk_is_said_and_events_go_through_memory(
    broker: Mosquitto, make_bin: MakeBin, disk: Path
) -> None:
    """A card that dies; what lies on it is still sent by the daemon that starts after it."""
    image = disk.with_name("card.img")
    with image.open("wb") as file:
        file.truncate(16 << 20)
    subprocess.run(["mkfs.ext4", "-q", str(image)], check=True)
    mount(disk, "-o", "loop,errors=remount-ro", str(image))
    bin_ = make_bin(broker.start().port, monitor_port=broker.port)
    put_outbox_on(disk, bin_)
    bin_.start(faults={"constants": {"edge.outbox.RETRY_DISK_S": 0.1}})
    bin_.wait_items(5)
    turn_read_only(disk)
    bin_.wait_log("events wait in memory")
    bin_.wait_items(20)
    assert "takes events again" not in bin_.log
    sees = line_of(bin_.log, "events wait in memory")
    assert bin_.stop() == 0
    bin_.start()
    bin_.wait_items(5)
    enter("disk turns read-only", sees, bin_.close_books())
    assert bin_.was_degraded("cannot write")


def test_read_only_disk_at_start_still_gives_what_a_killed_daemon_left_on_it(
    broker: Mosquitto, proxy: Proxy, make_bin: MakeBin, disk: Path
) -> None:
    """The events are still in the write-ahead log, which no one may fold in before it is mended."""
    mount(disk, "-t", "tmpfs", "-o", "size=4m", "tmpfs")
    proxy.refuse()
    bin_ = make_bin(proxy.port, monitor_port=broker.start().port)
    put_outbox_on(disk, bin_)
    bin_.start()
    bin_.wait_items(10)
    bin_.kill()
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    proxy.admit()
    bin_.start(faults={"constants": {"edge.outbox.RETRY_DISK_S": 0.1}})
    bin_.wait_items(10)
    assert "takes events again" not in bin_.log
    subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True)
    bin_.wait_log("takes events again")
    sees = line_of(bin_.log, "events wait in memory")
    enter("disk read-only at start", sees, bin_.close_books())
    assert bin_.was_degraded("outbox.db: the outbox cannot")


def turn_read_only(disk: Path) -> None:
    """Let ext4 meet an error: it then refuses every write, whoever has files open."""
    mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    device = next(Path(fields[0]).name for fields in mounts if fields[1] == str(disk))
    Path(f"/sys/fs/ext4/{device}/{FAULTY_BLOCK}").write_text("the card of the test fails")
