"""Keeps and sends pictures beside the loop: JPEG, blurring and the disk never make an item wait."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import logging
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from edge.errors import SmartbinError
from edge.preprocess import centre_crop, resize_down
from edge.priority import give_way
from edge.uncertain.blur import MODES, PeopleHider
from edge.uncertain.choose import DISPUTED, uncertain
from edge.uncertain.store import PictureStore
from edge.values import Decision, Message, Pixels
from edge.wire import SCHEMA, Topics, encode

log = logging.getLogger(__name__)

KEPT_W, KEPT_H = 384, 288  # the trainer decodes to this; finer would only show more of people
JPEG_QUALITIES = (88, 75, 55, 30)  # the first that fits
MOST_JPEG = 47_000  # bytes; the monitor takes messages of 65,536, and base64 adds a third
WAITING = 16  # pictures between the loop and the thread; more are dropped, counted
RECENT = 32  # items whose actuator may still object
POLL_S = 0.25
ROTATE_S = 60.0  # age is looked at this often, whether or not anything is kept or sent
ACK_S = 30.0  # then a picture is sent again


@dataclass(frozen=True, slots=True)
class Rules:
    """What the owner allows; replaced whole at a reload."""

    keep: bool
    send: bool
    blur: str
    margin: float
    per_minute: float
    face_model: str = ""


@dataclass(frozen=True, slots=True)
class Item:
    """What a kept picture is told with."""

    pixels: Pixels
    payload: dict[str, Any]
    why: str


class PictureCollector:
    """`see`, `object`, `obey` and `acknowledge` only hand over; a thread does the work."""

    def __init__(
        self,
        *,
        topics: Topics,
        open_store: Callable[[], PictureStore],
        publish: Callable[[Message], int | None],
        hider: PeopleHider,
        rules: Rules,
        there: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`there`: a folder of before exists, so that what is old in it goes even with keep off."""
        self.rules = rules  # swapped whole, read by the thread before every step
        self.dropped = 0
        self.trouble = ""
        self._topics, self._open_store, self._publish = topics, open_store, publish
        self._clock, self._hider = clock, hider
        self._store: PictureStore | None = None
        self._there = there
        self._work: queue.Queue[Callable[[], None]] = queue.Queue(WAITING)
        self._recent: dict[str, tuple[Pixels, dict[str, Any]]] = {}  # by event id, for objections
        self._acked: queue.Queue[tuple[int, bool]] = queue.Queue(WAITING)
        self._in_flight: tuple[int, str, float] | None = None  # mid, name, since
        self._next_s = self._rotate_s = 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="pictures", daemon=True)

    def start(self) -> None:
        """Begin; the folder is made when a first picture is kept."""
        self._thread.start()

    def close(self) -> None:
        """End; what waits in memory is not kept any more."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(2.0)

    def see(self, pixels: Pixels, decision: Decision, payload: dict[str, Any]) -> None:
        """An item was decided; `pixels` is the newest whole frame that voted."""
        if not self.rules.keep:
            return
        # Small already here: whole frames of 32 items would be more memory than all the rest.
        whole = resize_down(centre_crop(pixels, 4 / 3), KEPT_W, KEPT_H)
        why = uncertain(decision, margin=self.rules.margin)
        if why:
            self._hand_over(Item(whole, payload, why))
            return
        self._recent[payload["id"]] = whole, payload
        while len(self._recent) > RECENT:
            self._recent.pop(next(iter(self._recent)))

    def object(self, id: str, result: str) -> None:
        """The actuator, or a person at it, did not do as the decision said."""
        if result in DISPUTED and self.rules.keep and id in self._recent:
            pixels, payload = self._recent.pop(id)
            self._hand_over(Item(pixels, payload, f"disputed: {result}"))

    def delete(self, name: str) -> dict[str, Any]:
        """`cmd/pictures` {"delete": ID} or {"delete": "all"}."""
        try:
            self._work.put_nowait(lambda: self._delete(name))
        except queue.Full:
            return {"ok": False, "detail": "too much waits to be written; send it again"}
        return {"ok": True, "detail": "all pictures go" if name == "all" else f"{name} goes"}

    def acknowledge(self, mid: int, accepted: bool) -> None:
        """The broker has answered a publication; called in the network thread."""
        with contextlib.suppress(queue.Full):
            self._acked.put_nowait((mid, accepted))

    def _hand_over(self, item: Item) -> None:
        try:
            self._work.put_nowait(lambda: self._keep(item))
        except queue.Full:
            self.dropped += 1

    def _run(self) -> None:
        give_way()  # faces take a tenth of a second and more
        while not self._stop.is_set():
            try:
                with contextlib.suppress(queue.Empty):
                    self._work.get(timeout=POLL_S)()
                self._look_after()  # each time: a busy bin is never idle, and sends all the same
                self.trouble = ""
            except OSError as error:
                self._complain(f"pictures cannot be kept ({error.strerror})")
            except SmartbinError as error:
                self._complain(f"pictures cannot be kept ({error})")
            except Exception as error:  # the thread's outermost loop: the next picture may do
                log.exception("pictures: a fault of the program")
                self.trouble = f"pictures cannot be kept (a fault of the program: {error})"

    def _complain(self, trouble: str) -> None:
        if trouble != self.trouble:
            log.warning("%s; decisions go on", trouble)
        self.trouble = trouble

    def _look_after(self) -> None:
        if self._clock() >= self._rotate_s:
            self._rotate_s = self._clock() + ROTATE_S
            if self._there or self._store is not None:
                self._opened().rotate()
        self._send_one()

    def _opened(self) -> PictureStore:
        if self._store is None:
            self._store = self._open_store()
        return self._store

    def _keep(self, item: Item) -> None:
        rules = self.rules
        if not rules.keep:  # switched off since the item was seen
            return
        hider = self._hider_for(rules)
        shown, hidden = hider.hide(item.pixels)
        jpeg = _jpeg_of(shown)
        if jpeg:
            note = {"why": item.why, "blur": hider.mode, "hidden": round(hidden, 4)}
            self._opened().add(item.payload["id"], jpeg, {**_told(item.payload), **note})

    def _hider_for(self, rules: Rules) -> PeopleHider:
        """As the owner wants it now; raises SmartbinError, and then nothing is kept."""
        if (self._hider.mode, self._hider.face_model) != (rules.blur, rules.face_model):
            self._hider = PeopleHider(rules.blur, rules.face_model)
        return self._hider

    def _delete(self, name: str) -> None:
        if name == "all":
            self._opened().delete_all()
        else:
            self._opened().delete(name)

    def _send_one(self) -> None:
        self._take_acks()
        rules = self.rules
        if not (rules.keep and rules.send) or self._clock() < self._next_s:
            return
        store = self._opened()
        if self._in_flight is not None:
            return
        # What was kept while less had to be hidden does not leave the bin.
        hidden = MODES[MODES.index(rules.blur) :]
        may_go = (kept.name for kept in store.kept if not kept.sent and kept.blur in hidden)
        waiting = next(may_go, None)
        found = store.read(waiting) if waiting else None
        if waiting is None or found is None:
            return
        mid = self._publish(picture_message(self._topics, *found))
        if mid is not None:
            self._in_flight = mid, waiting, self._clock()
            self._next_s = self._clock() + 60 / rules.per_minute

    def _take_acks(self) -> None:
        with contextlib.suppress(queue.Empty):
            while True:
                mid, accepted = self._acked.get_nowait()
                if self._in_flight and self._in_flight[0] == mid:
                    if accepted:
                        self._opened().mark_sent(self._in_flight[1])
                    self._in_flight = None
        if self._in_flight and self._clock() - self._in_flight[2] > ACK_S:
            self._in_flight = None


def _jpeg_of(pixels: Pixels) -> bytes:
    """As good as fits into a message; empty where nothing does."""
    bgr = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
    for quality in JPEG_QUALITIES:
        good, jpeg = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])
        if good and len(jpeg) <= MOST_JPEG:
            return np.asarray(jpeg).tobytes()
    return b""


def _told(payload: dict[str, Any]) -> dict[str, Any]:
    """What of a decision goes with its picture."""
    kept = ("id", "site", "bin", "boot", "seq", "outcome", "label", "confidence", "top")
    return {key: payload[key] for key in (*kept, "model", "decided_ts")}


def picture_message(topics: Topics, jpeg: bytes, note: dict[str, Any]) -> Message:
    """A picture for the monitor; QoS 1, sent until the broker has it."""
    told = {key: value for key, value in note.items() if key not in ("sent", "kept_ts")}
    body = {
        "v": SCHEMA,
        **told,
        "sha256": hashlib.sha256(jpeg).hexdigest(),
        "jpeg": base64.b64encode(jpeg).decode(),
    }
    return Message(topics.of("picture"), encode(body), qos=1)
