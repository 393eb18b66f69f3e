"""Capture in a child process: order, freshness, and every way in which a child can end."""

from __future__ import annotations

import gc
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edge.cameras import Camera, CameraSpec
from edge.cameras.base import BackEnd
from edge.cameras.mailbox import (
    RECORD,
    SLOTS,
    Letter,
    SharedSlots,
    Writer,
    make_memory,
    take_letter,
)
from edge.capture import Capture
from edge.errors import CameraError
from edge.values import Frame

HERE = "tests.test_capture"
WAIT_S = 90.0  # for a child to start, on a busy machine


class PatternCamera(BackEnd):
    """A live camera, at spec.fps or as fast as it can; every byte of a frame is its number."""

    def __init__(self, spec: CameraSpec) -> None:
        self._spec = spec
        self._seq = 0

    def read(self) -> Frame | None:
        self._seq += 1
        if self._spec.fps:
            time.sleep(1 / self._spec.fps)
        shape = (self._spec.height_px, self._spec.width_px, 3)
        return Frame(np.full(shape, self._seq % 251, np.uint8), time.monotonic(), self._seq)

    def close(self) -> None:
        if self._spec.source.startswith("closes:"):
            Path(self._spec.source.partition(":")[2]).write_text("closed")


class BadCamera(BackEnd):
    """A live camera that goes wrong at its third frame, as its source says."""

    def __init__(self, spec: CameraSpec) -> None:
        self._how = spec.source
        self._seq = 0

    def read(self) -> Frame | None:
        self._seq += 1
        if self._seq == 3:
            time.sleep(0.2)  # the second frame can be taken before
            match self._how:
                case "fault":
                    raise CameraError("camera fault: the lens fell off; put it back")
                case "bug":
                    raise KeyError("Exposure")
                case "exit":
                    os._exit(7)
                case "hang":
                    time.sleep(1000)
                case "huge":
                    return Frame(np.zeros((2000, 2000, 3), np.uint8), time.monotonic(), 3)
                case "log":
                    logging.getLogger("camera.driver").warning("warm: %d C", 81)
        return Frame(np.zeros((8, 8, 3), np.uint8), time.monotonic(), self._seq)

    def close(self) -> None:
        pass


def open_pattern(spec: CameraSpec) -> Camera:
    return PatternCamera(spec)


def open_bad(spec: CameraSpec) -> Camera:
    return BadCamera(spec)


def pattern(*, fps: float = 100.0, width_px: int = 32, height_px: int = 24, **more: Any) -> Capture:
    source = more.pop("source", "pattern")
    spec = CameraSpec(source, width_px, height_px, fps)
    return Capture(spec=spec, opener=f"{HERE}:open_pattern", **more)


def bad(how: str) -> Capture:
    return Capture(spec=CameraSpec(how, 8, 8, 0), opener=f"{HERE}:open_bad", max_bytes=1_000_000)


def stills(folder: Path, count: int, *, fps: float = 0.0, repeat: bool = False) -> Capture:
    """A folder whose pictures show their number."""
    folder.mkdir(exist_ok=True)
    for number in range(count):
        cv2.imwrite(str(folder / f"{number:03d}.png"), np.full((24, 32, 3), number, np.uint8))
    return Capture(spec=CameraSpec(f"folder:{folder}", 32, 24, fps, repeat=repeat))


def some(capture: Capture) -> Frame:
    frame = capture.next(WAIT_S)
    assert frame is not None
    return frame


def until_fault(capture: Capture) -> str:
    with pytest.raises(CameraError) as caught:
        for _ in range(1000):
            capture.next(WAIT_S)
    return str(caught.value)


def children(name: str = "smartbin-camera", *, parent: int | None = None) -> set[int]:
    """Capture processes of this process, or of `parent`; zombies are over."""
    found = set()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            stat = (folder / "stat").read_text()
        except OSError:
            continue
        comm, rest = stat[stat.index("(") + 1 :].rsplit(")", 1)
        state, ppid = rest.split()[:2]
        if comm == name and state != "Z" and int(ppid) == (parent or os.getpid()):
            found.add(int(folder.name))
    return found


def only_child() -> int:
    (pid,) = children()
    return pid


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.fixture(autouse=True)
def nothing_left_behind() -> Iterator[None]:
    """After every test: no capture process and no descriptor more; memfds are descriptors."""
    gc.collect()  # what earlier tests dropped is closed now, not in the midst of this one
    fds = open_descriptors()
    yield
    assert children() == set()
    assert open_descriptors() == fds
    # A folder there is of another program, as tools.loop's; shared memory is a file.
    assert not [path for path in Path("/dev/shm").glob("*smartbin*") if path.is_file()]


def test_a_folder_loses_no_picture_however_slow_the_consumer(tmp_path: Path) -> None:
    """In order, each once, with its name and its pixels; then `ended`, and None without a wait."""
    with stills(tmp_path / "p", 30) as capture:
        frames = []
        while not capture.ended:
            if frame := capture.next(WAIT_S):
                frames.append(frame)
                if len(frames) in (2, 11):
                    time.sleep(0.2)
        assert [frame.source for frame in frames] == [f"{n:03d}.png" for n in range(30)]
        assert [int(frame.pixels.max()) for frame in frames] == list(range(30))
        assert [frame.seq for frame in frames] == list(range(1, 31))
        assert (capture.dropped, capture.skipped, capture.live) == (0, 0, False)
        start_s = time.monotonic()
        assert capture.next(60) is None
        assert time.monotonic() - start_s < 30


def test_a_slow_consumer_of_a_live_camera_sees_the_newest_and_a_count() -> None:
    """At 100 frames a second and a pause of 0.3 s, some 30 are dropped; the next one is fresh."""
    with pattern(fps=100) as capture:
        before = some(capture)
        dropped = capture.dropped
        time.sleep(0.3)
        slept_s = time.monotonic()
        after = some(capture)
        assert capture.live
        assert after.captured_s > slept_s - 0.15  # not one of before the pause
        assert capture.dropped - dropped == after.seq - before.seq - 1
        assert capture.dropped - dropped > 5


def test_frames_are_whole_under_a_writer_as_fast_as_it_can() -> None:
    """Every byte of a frame is its own number; a torn one would hold two."""
    with pattern(fps=0, width_px=640, height_px=480) as capture:
        for _ in range(200):
            frame = some(capture)
            assert (frame.pixels == frame.seq % 251).all()
        assert capture.dropped > 0, "the writer was not faster: the test shows nothing"


def test_a_frame_stays_as_it_is_when_others_follow() -> None:
    """It is a copy, not a view of the shared memory; and the consumer may write to it."""
    with pattern(fps=0) as capture:
        first = some(capture)
        value = first.seq % 251
        for _ in range(20):
            some(capture)
        assert (first.pixels == value).all()
        first.pixels[:] = 0


def test_captured_s_is_on_this_process_clock() -> None:
    """Comparable with time.monotonic() here, though it was read in the child."""
    with pattern(fps=50) as capture:
        some(capture)
        before_s = time.monotonic()
        time.sleep(0.1)
        frame = some(capture)
        assert before_s < frame.captured_s < time.monotonic()


def test_no_frame_in_time_is_none() -> None:
    """And not a fault: whether it is one, the consumer decides."""
    with bad("hang") as capture:
        while (frame := capture.next(WAIT_S)) and frame.seq < 2:
            pass
        start_s = time.monotonic()
        assert capture.next(0.3) is None
        assert time.monotonic() - start_s > 0.25


def test_wake_ends_a_wait_from_another_thread() -> None:
    """A stop or a command need not wait for the camera."""
    import threading

    with bad("hang") as capture:
        while (frame := capture.next(WAIT_S)) and frame.seq < 2:
            pass
        threading.Timer(0.1, capture.wake).start()
        start_s = time.monotonic()
        assert capture.next(100) is None
        assert time.monotonic() - start_s < 50


@pytest.mark.parametrize(
    ("how", "sentence"),
    [
        ("fault", "camera fault: the lens fell off; put it back"),
        ("bug", "the camera's code failed: KeyError: 'Exposure'"),
        ("exit", "camera exit: the capture process ended with exit code 7; restart the camera"),
        ("huge", "2000x2000 is more than the capture memory holds; ask the camera for less"),
    ],
)
def test_a_child_that_fails_says_why(how: str, sentence: str) -> None:
    """Its own sentence, or how it ended; again at every call until it is restarted."""
    with bad(how) as capture:
        assert sentence in until_fault(capture)
        assert sentence in until_fault(capture)
        capture.restart()
        assert some(capture).pixels.shape == (8, 8, 3)


def test_a_camera_that_cannot_be_opened_is_the_cameras_own_sentence() -> None:
    """As if it had been opened here."""
    with Capture(spec=CameraSpec("folder:/nowhere", 32, 24, 1)) as capture:
        assert until_fault(capture).startswith("camera folder:/nowhere: the folder cannot be read")


def test_a_killed_child_is_a_fault_and_a_restart_goes_on_counting() -> None:
    """SIGKILL at any moment: the sentence names it, and numbers never go back."""
    with pattern(fps=0, width_px=640, height_px=480) as capture:
        last = 0
        for _ in range(5):
            for _ in range(5):
                frame = some(capture)
                assert frame.seq > last
                last = frame.seq
            os.kill(only_child(), signal.SIGKILL)
            assert "the capture process died of SIGKILL" in until_fault(capture)
            capture.restart()


def test_a_hung_child_is_restarted_within_two_seconds() -> None:
    """It cannot be asked: it is stopped, like a driver that sleeps in the kernel."""
    with pattern() as capture:
        some(capture)
        os.kill(only_child(), signal.SIGSTOP)
        assert capture.next(0.3) is None or capture.next(0.3) is None
        start_s = time.monotonic()
        capture.restart()
        assert time.monotonic() - start_s < 20  # 2 s on a machine with nothing else to do
        some(capture)


@pytest.mark.slow
def test_fifty_restarts_leave_nothing_behind(tmp_path: Path) -> None:
    """The fixture counts processes, descriptors and shared memory."""
    with stills(tmp_path / "p", 3, repeat=True) as capture:
        last = 0
        for _ in range(50):
            frame = some(capture)
            assert frame.seq == last + 1
            last = frame.seq
            capture.restart()


def test_the_camera_is_given_back_when_the_capture_closes(tmp_path: Path) -> None:
    """The child closes it itself; a device left open would be busy at the next start."""
    with pattern(source=f"closes:{tmp_path / 'note'}") as capture:
        some(capture)
    assert (tmp_path / "note").read_text() == "closed"


def test_close_may_be_called_again_and_before_a_start() -> None:
    """And a closed capture says so."""
    capture = pattern()
    capture.close()
    capture.close()
    with pytest.raises(CameraError, match="closed"):
        capture.next(0)
    with pytest.raises(CameraError, match="closed"):
        capture.start()


def test_a_capture_that_was_not_started_says_so() -> None:
    """Rather than waiting for nobody."""
    capture = pattern()
    with pytest.raises(CameraError, match=r"call start\(\) first"):
        capture.next(0)
    capture.close()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_to_the_whole_group_leave_the_child_to_its_parent(number: signal.Signals) -> None:
    """The daemon may want another frame to finish its item after Ctrl-C or systemd's stop."""
    with pattern() as capture:
        some(capture)
        pid = only_child()
        os.kill(pid, number)
        time.sleep(0.1)
        some(capture)
        assert only_child() == pid


PARENT = """
import sys, time
from edge.cameras import CameraSpec
from edge.capture import Capture
capture = Capture(spec=CameraSpec(sys.argv[1], 32, 24, 100), opener=sys.argv[2])
capture.start()
assert capture.next(90) is not None
print("running", flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize(
    ("source", "opener"),
    [("pattern", f"{HERE}:open_pattern"), ("hang", f"{HERE}:open_bad")],
    ids=["running", "hung in a read"],
)
def test_the_child_ends_when_its_parent_is_killed(source: str, opener: str) -> None:
    """Within 3 s, even where a camera call never returns; and its memory with it."""
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, source, opener], stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    with parent:
        assert parent.stdout.readline() == "running\n"
        (pid,) = children(parent=parent.pid)
        parent.kill()
    until_s = time.monotonic() + 3 + 27  # 3 s are promised; the rest is for a busy machine
    while Path(f"/proc/{pid}/cmdline").exists() and Path(f"/proc/{pid}/cmdline").read_bytes():
        assert time.monotonic() < until_s, "the child outlives its parent"
        time.sleep(0.05)


def test_the_source_is_not_in_the_command_line() -> None:
    """It may hold a password, and every user can list processes."""
    with pattern(source="rtsp://bin:secret@host/x") as capture:
        some(capture)
        assert b"secret" not in Path(f"/proc/{only_child()}/cmdline").read_bytes()


def test_what_the_child_logs_is_logged_here(caplog: pytest.LogCaptureFixture) -> None:
    """Under the same name and level: there is one log, that of the daemon."""
    with bad("log") as capture:
        while some(capture).seq < 3:
            pass
        some(capture)  # hears what was said before the frame above
    assert ("camera.driver", logging.WARNING, "warm: 81 C") in caplog.record_tuples


def test_broken_pictures_are_counted_here(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """With the sentence of each in the log."""
    capture = stills(tmp_path / "p", 3)
    (tmp_path / "p" / "001.png").write_bytes(b"\x89PNG broken")
    with capture:
        while not capture.ended:
            capture.next(WAIT_S)
        assert capture.skipped == 1
    assert "001.png: the picture is truncated" in caplog.text


def test_nothing_of_a_child_goes_to_standard_output(tmp_path: Path) -> None:
    """There a command line writes JSON."""
    (tmp_path / "chatty.py").write_text(
        "from tests.test_capture import open_pattern\n"
        "def open_chatty(spec):\n    print('hello from a library', flush=True)\n"
        "    return open_pattern(spec)\n"
    )
    result = subprocess.run(
        [
            sys.executable,
            "-c",
            PARENT.replace("time.sleep(60)", ""),
            "pattern",
            "chatty:open_chatty",
        ],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])},
    )
    assert result.stdout == "running\n"
    assert "hello from a library" in result.stderr


@pytest.fixture
def mailbox() -> Iterator[tuple[Writer, SharedSlots, int, Callable[[int], None]]]:
    """Both ends in one process: writer, slots, where letters are read, how slots go back."""
    memory, slot_bytes = make_memory(64 * 64 * 3)
    slots = SharedSlots(memory, slot_bytes)
    letters_r, letters_w = os.pipe2(os.O_NONBLOCK)
    returns_r, returns_w = os.pipe2(os.O_NONBLOCK)
    writer = Writer(
        slots=slots,
        slot_bytes=slot_bytes,
        letters_r=letters_r,
        letters_w=letters_w,
        returns_r=returns_r,
    )
    yield writer, slots, letters_r, lambda slot: void(os.write(returns_w, bytes([slot])))
    slots.close()
    for fd in (memory, letters_r, letters_w, returns_r, returns_w):
        os.close(fd)


def void(_: object) -> None:
    return None


def grey(value: int) -> Frame:
    return Frame(np.full((4, 6, 3), value, np.uint8), float(value), value, f"{value}.png")


def test_a_mailbox_holds_only_the_newest(mailbox: Any) -> None:
    """What was not taken is overwritten; its slot is free at once."""
    writer, slots, letters, give_back = mailbox
    for value in range(1, 10):
        writer.post(grey(value), seq=value, stamped=False)
    letter = take_letter(letters)
    assert letter is not None
    assert (letter.seq, letter.source, letter.captured_s) == (9, "9.png", 9.0)
    assert (slots.copy(letter) == 9).all()
    assert take_letter(letters) is None
    give_back(letter.slot)


def test_a_slot_that_is_being_read_is_never_written(mailbox: Any) -> None:
    """However many frames come while the reader holds one."""
    writer, slots, letters, give_back = mailbox
    writer.post(grey(1), seq=1, stamped=True)
    held = take_letter(letters)
    assert held is not None
    for value in range(2, 20):
        writer.post(grey(value), seq=value, stamped=True)
        assert (slots.copy(held) == 1).all()
    give_back(held.slot)
    newest = take_letter(letters)
    assert newest is not None
    assert newest.slot != held.slot
    assert (slots.copy(newest) == 19).all()


def test_a_letter_survives_its_record() -> None:
    """Every field, and file names that are long or not UTF-8."""
    for name in ("", "ä" * 127, "x" * 255, os.fsdecode(b"caf\xe9.jpg")):
        letter = Letter(SLOTS - 1, True, 12345.678901, 2**40, 2464, 3280, name)
        assert len(letter.pack()) == RECORD.size
        assert Letter.unpack(letter.pack()) == letter


@pytest.mark.slow
def test_a_frame_of_720p_is_handed_over_in_milliseconds() -> None:
    """From the end of the camera's read to the copy here: at best under 5 ms; 0.5 the median."""
    with pattern(fps=60, width_px=1280, height_px=720) as capture:
        some(capture)
        took_s = [time.monotonic() - some(capture).captured_s for _ in range(120)]
    assert min(took_s) < 0.005  # other work runs beside the tests
