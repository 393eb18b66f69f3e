"""A mailbox for one frame between two processes: the newest wins, and nothing can be torn.

Pixels lie in three slots of a shared memory; who owns a slot is decided by pipes, never by a
lock, so a process that is killed at any moment holds up nobody:

    letters  writer -> reader   a record of fixed size says which slot holds which frame; the
                                writer also holds the reading end and takes an unread record back
                                when a newer frame is ready. The kernel gives a record to one side.
    returns  reader -> writer   one byte, the number of a slot that has been copied out

At most one slot lies in the mailbox and one is being copied out, so the writer always has one.
Passing through a pipe is also what orders the pixels before the record on every processor.
"""

from __future__ import annotations

import mmap
import os
import select
import struct
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edge.values import Frame

SLOTS = 3
RECORD = struct.Struct("<BBdQIIH256s")  # slot, stamped, captured_s, seq, h, w, name length, name
NAME_BYTES = 256  # a file name has at most 255


@dataclass(frozen=True, slots=True)
class Letter:
    """A frame that lies in a slot."""

    slot: int
    stamped: bool
    captured_s: float
    seq: int
    height: int
    width: int
    source: str

    def pack(self) -> bytes:
        name = self.source.encode("utf-8", "surrogateescape")[:NAME_BYTES]
        return RECORD.pack(
            self.slot,
            self.stamped,
            self.captured_s,
            self.seq,
            self.height,
            self.width,
            len(name),
            name,
        )

    @classmethod
    def unpack(cls, record: bytes) -> Letter:
        slot, stamped, captured_s, seq, height, width, length, name = RECORD.unpack(record)
        source = name[:length].decode("utf-8", "surrogateescape")
        return cls(slot, bool(stamped), captured_s, seq, height, width, source)


class SharedSlots:
    """Three slots of pixels in a memfd, which vanishes with its last process."""

    def __init__(self, fd: int, slot_bytes: int) -> None:
        self._slot_bytes = slot_bytes
        # Sparse: a slot costs memory only as far as it has been written.
        self._map = mmap.mmap(fd, SLOTS * slot_bytes)

    def write(self, slot: int, pixels: npt.NDArray[np.uint8]) -> None:
        np.copyto(self._view(slot, *pixels.shape[:2]), pixels)

    def copy(self, letter: Letter) -> npt.NDArray[np.uint8]:
        return self._view(letter.slot, letter.height, letter.width).copy()

    def close(self) -> None:
        self._map.close()

    def _view(self, slot: int, height: int, width: int) -> npt.NDArray[np.uint8]:
        return np.ndarray((height, width, 3), np.uint8, self._map, slot * self._slot_bytes)


def make_memory(max_bytes: int) -> tuple[int, int]:
    """Return the descriptor of memory for three slots, and the bytes of a slot in it."""
    slot_bytes = -(-max_bytes // mmap.PAGESIZE) * mmap.PAGESIZE
    fd = os.memfd_create("smartbin-frames", os.MFD_CLOEXEC)
    os.ftruncate(fd, SLOTS * slot_bytes)
    return fd, slot_bytes


def take_letter(fd: int) -> Letter | None:
    """Take the record that lies in the pipe, if one does; ends are non-blocking."""
    try:
        record = os.read(fd, RECORD.size)
    except BlockingIOError:
        return None
    return Letter.unpack(record) if record else None


class Writer:
    """The camera's side."""

    def __init__(
        self, *, slots: SharedSlots, slot_bytes: int, letters_r: int, letters_w: int, returns_r: int
    ) -> None:
        self._slots = slots
        self._slot_bytes = slot_bytes
        self._letters_r, self._letters_w, self._returns_r = letters_r, letters_w, returns_r
        self._free = set(range(SLOTS))

    def fits(self, frame: Frame) -> bool:
        """Say whether a frame is small enough for a slot."""
        return frame.pixels.nbytes <= self._slot_bytes

    def post(self, frame: Frame, *, seq: int, stamped: bool) -> None:
        """Put a frame into the mailbox, in place of one that was not taken."""
        while not self._free:
            self._await_return(None)
        slot = self._free.pop()
        self._slots.write(slot, frame.pixels)
        unread = take_letter(self._letters_r)
        if unread is not None:
            self._free.add(unread.slot)
        height, width = frame.pixels.shape[:2]
        letter = Letter(slot, stamped, frame.captured_s, seq, height, width, frame.source)
        os.write(self._letters_w, letter.pack())
        self._await_return(0)

    def wait_until_taken(self) -> None:
        """Block until the reader has copied out every frame; EOFError when it is gone."""
        while len(self._free) < SLOTS:
            self._await_return(None)

    def _await_return(self, timeout_ms: int | None) -> None:
        poller = select.poll()
        poller.register(self._returns_r, select.POLLIN)
        if not poller.poll(timeout_ms):
            return
        returned = os.read(self._returns_r, SLOTS)
        if not returned:
            raise EOFError("the reader is gone")
        self._free.update(returned)
