"""Which items are on the belt: identity by trigger, in order, each with its own frames.

Pure: time and position come in as values. An item waits for two things: its frames, which must
have been exposed after its trigger while it was in the picture, and the gap behind it, because
only that says whether a diverter can part it from the next.
"""

from __future__ import annotations

import logging
from collections import deque
from dataclasses import dataclass, field

from edge.belt.clock import BeltClock
from edge.values import Frame, Item, Outcome

UNKNOWN = "unknown"  # cause of what only stands for whatever lies at the trigger
log = logging.getLogger(__name__)

MAX_ITEMS = 64  # judged at once; a gate that chatters must not grow memory
MAX_REFUSED = 64  # beyond these, each with an event of its own; the last one counts the rest
JAM_FACTOR = 3  # times the longest item
STILL_LEADS = 8  # edges without any travel between them: more than an item that shakes on the beam
FRAME_WAIT_S = 0.25  # from the end of an item's window to the latest arrival of its frame


@dataclass(frozen=True, slots=True)
class Optics:
    """Where and when the camera sees what passed the trigger."""

    camera_mm: float  # from the trigger to where the leading edge is in the picture's right place
    window_mm: float  # how much further it may be and still be wholly in the picture
    exposure_s: float  # how long before its time stamp a frame may have begun to be exposed
    strobe_s: float  # from the beginning of the exposure to the light


@dataclass(frozen=True, slots=True)
class Spacing:
    """What a diverter can part."""

    min_gap_mm: float  # between the end of one item and the beginning of the next
    max_item_mm: float  # longer ones are two that touch, or a jam


@dataclass(slots=True)
class _Tracked:
    number: int
    cause: str
    lead_s: float
    lead_mm: float
    trail_mm: float | None = None  # None while it is still in the beam
    trail_s: float | None = None
    frames: list[Frame] = field(default_factory=list)
    seen: bool = False  # its window has passed, or its frames are complete
    crowd: str = ""  # why it cannot be parted from a neighbour
    refused: bool = False  # MAX_ITEMS waited before it: it is told, but not looked at
    more: int = 0  # refused after it, and told with it


class Tracker:
    """Used by one thread; gives items back in the order in which they came."""

    def __init__(self, *, clock: BeltClock, optics: Optics, spacing: Spacing, votes: int) -> None:
        self._clock = clock
        self._optics = optics
        self._spacing = spacing
        self._votes = votes
        self._items: deque[_Tracked] = deque()
        self._last: _Tracked | None = None  # the newest, even when it was given back
        self._number = 0
        self._jam = ""
        self._still = 0  # edges since the last item that the belt's clock puts before its end
        self.refused = 0  # items beyond MAX_ITEMS, left to run off the end

    def __len__(self) -> int:
        return len(self._items)

    def lead(self, at_s: float, cause: str) -> bool:
        """An item's leading edge is at the trigger; False where it is none, or too many wait.

        One that is refused keeps its place in the line, and is given back as a fault in its turn.
        """
        item = self._begin(at_s, cause)
        return item is not None and not item.refused

    def point(self, at_s: float, cause: str) -> bool:
        """An item whose length nobody knows is at the trigger; False as of `lead`."""
        item = self._begin(at_s, cause)
        if item is None:
            return False
        item.trail_mm, item.trail_s = item.lead_mm, at_s
        return not item.refused

    def _begin(self, at_s: float, cause: str) -> _Tracked | None:
        """The item of a leading edge; None where the belt turned back, and it is one of before."""
        at_mm = self._clock.position_mm(at_s)
        last = self._last
        if last is not None and _turned_back(last, at_mm):
            self._still += 1
            return None  # the belt turned back: the same item once more
        self._still = 0
        self._number += 1
        judged = sum(not item.refused for item in self._items)
        item = _Tracked(self._number, cause, at_s, at_mm, refused=judged >= MAX_ITEMS)
        if last is not None:
            self._mind_the_gap(last, item)
        return self._refuse(item) if item.refused else self._append(item)

    def _append(self, item: _Tracked) -> _Tracked:
        self._items.append(item)
        self._last = item
        return item

    def _refuse(self, item: _Tracked) -> _Tracked:
        """Give it a place in the line all the same, or have the last one there speak for it."""
        self.refused += 1
        last = self._items[-1]
        if not last.refused:
            log.warning("belt: %d items wait already; what comes runs off the end", MAX_ITEMS)
        if len(self._items) < MAX_ITEMS + MAX_REFUSED:
            item.seen = True
            return self._append(item)
        last.more += 1
        last.lead_mm, last.trail_mm, last.trail_s = item.lead_mm, None, None
        return last

    def trail(self, at_s: float) -> None:
        """The end of the newest item is past the trigger."""
        if self._last is not None:
            at_mm = self._clock.position_mm(at_s)
            if self._last.trail_mm is None or at_mm > self._last.trail_mm:
                self._last.trail_mm, self._last.trail_s = max(at_mm, self._last.lead_mm), at_s
            self._check_length(self._last, at_mm)

    def frame(self, frame: Frame) -> None:
        """Give a frame to every item that was in the picture when it was exposed."""
        begun_s = frame.captured_s - self._optics.exposure_s
        lit_mm = self._clock.position_mm(begun_s + self._optics.strobe_s)
        for item in self._items:
            if item.seen:
                continue
            passed_mm = lit_mm - item.lead_mm - self._optics.camera_mm
            if passed_mm > self._optics.window_mm:
                item.seen = True
            elif begun_s >= item.lead_s and passed_mm >= 0:
                item.frames.append(frame)
                item.seen = len(item.frames) >= self._votes

    @property
    def trouble(self) -> str:
        """What is wrong with the trigger, in words; empty while it is well."""
        if self._still >= STILL_LEADS and not self._jam:
            return (
                f"belt: {self._still} edges at the trigger, and no travel since the last item; "
                "does the belt run, and is belt.encoder_a wired?"
            )
        return self._jam

    def ready(self, now_s: float, *, edges_until_s: float) -> Item | None:
        """The oldest item, where all is known of it; call it again until it returns None.

        `edges_until_s` is up to when the trigger has told of every edge.
        """
        edges_mm = self._clock.position_mm(edges_until_s)
        self._check_jam(edges_mm)
        if not self._items:
            return None
        oldest = self._items[0]
        if not (self._is_seen(oldest, now_s) and self._is_parted(oldest, edges_mm)):
            return None
        self._items.popleft()
        return self._given(oldest)

    def look_for(self, votes: int) -> None:
        """So many frames for each item from now on, those on the belt included."""
        self._votes = votes

    def give_up(self, why: str) -> list[Item]:
        """The items in their order, each barred by `why` where nothing else bars it."""
        gone = [self._given(item, otherwise=("fault", why)) for item in self._items]
        self._items.clear()
        return gone

    def clear(self, now_s: float, *, covered: bool) -> None:
        """Forget the items; numbering goes on.

        Who knows what lies at the trigger now: what comes next must keep its gap to that. Where
        the trigger is `covered`, that still has to end.
        """
        if self._items:
            log.info("belt: %d items are forgotten and run off the end", len(self._items))
        self._items.clear()
        at_mm = self._clock.position_mm(now_s)
        self._last = _Tracked(self._number, UNKNOWN, now_s, at_mm)
        if not covered:
            self._last.trail_mm, self._last.trail_s = at_mm, now_s
        self._jam = ""
        self._still = 0

    def _check_jam(self, edges_mm: float) -> None:
        """An item that does not end: two that touch at first, then a jam or a dirty sensor."""
        last = self._last
        if last is None or last.trail_mm is not None:
            self._jam = ""
            return
        self._check_length(last, edges_mm)
        length_mm = edges_mm - last.lead_mm
        if length_mm > JAM_FACTOR * self._spacing.max_item_mm:
            self._jam = (
                f"the trigger has been covered for {length_mm:.0f} mm; "
                "clean it or clear a jam; of a new gate, try the other belt.gate_broken"
            )

    def _mind_the_gap(self, before: _Tracked, item: _Tracked) -> None:
        end_mm = before.lead_mm if before.trail_mm is None else before.trail_mm
        gap_mm = item.lead_mm - end_mm
        if gap_mm < self._spacing.min_gap_mm:
            why = f"{gap_mm:.0f} mm apart, a diverter needs {self._spacing.min_gap_mm:g} mm"
            before.crowd = (
                before.crowd or f"too close: items {before.number} and {item.number} {why}"
            )
            item.crowd = before.crowd

    def _check_length(self, item: _Tracked, end_mm: float) -> None:
        length_mm = end_mm - item.lead_mm
        if length_mm > self._spacing.max_item_mm and not item.crowd:
            item.crowd = (
                f"{length_mm:.0f} mm long, an item has at most {self._spacing.max_item_mm:g} mm: "
                "two that touch?"
            )

    def _is_seen(self, item: _Tracked, now_s: float) -> bool:
        """Its frames are complete, or none can come any more."""
        if item.seen:
            return True
        # A camera that gives nothing at all must not hold an item for ever.
        since_s = now_s - FRAME_WAIT_S - self._optics.exposure_s + self._optics.strobe_s
        end_mm = item.lead_mm + self._optics.camera_mm + self._optics.window_mm
        return self._clock.position_mm(since_s) > end_mm

    def _is_parted(self, item: _Tracked, edges_mm: float) -> bool:
        """What follows is far enough, or known to be too near; or it is barred anyway."""
        if item.crowd or not item.frames or len(self._items) > 1:
            return True  # the next one's gap is known since it came
        return item.trail_mm is not None and edges_mm - item.trail_mm >= self._spacing.min_gap_mm

    def _given(self, item: _Tracked, otherwise: tuple[Outcome, str] | None = None) -> Item:
        begin_mm = self._place_mm(item.lead_s, item.lead_mm)
        end_mm = begin_mm
        if item.trail_s is not None and item.trail_mm is not None:
            end_mm = self._place_mm(item.trail_s, item.trail_mm)
        return Item(
            frames=tuple(item.frames),
            trigger_s=item.lead_s,
            cause=item.cause,
            barred=_bar(item, otherwise),
            place_mm=(begin_mm + end_mm) / 2,
        )

    def _place_mm(self, at_s: float, then_mm: float) -> float:
        """Asked anew: pulses of the encoder that were on their way when the edge came are here now.

        A belt that stood and shook may have counted so many since that it has forgotten; then what
        was said at the edge holds.
        """
        return self._clock.position_mm(at_s) if self._clock.remembers(at_s) else then_mm


def _bar(item: _Tracked, otherwise: tuple[Outcome, str] | None) -> tuple[Outcome, str] | None:
    """Why an item is not judged by its frames, or `otherwise`; None where it is judged."""
    if item.refused:
        rest = f"; so do the {item.more} that came after it" if item.more else ""
        return "fault", f"full: {MAX_ITEMS} items waited already, it runs off the end{rest}"
    if item.crowd:
        return "ambiguous", item.crowd
    if otherwise is None and not item.frames:
        return "fault", "stale: no frame was exposed while the item was in the picture"
    return otherwise


def _turned_back(last: _Tracked, at_mm: float) -> bool:
    """Whether an edge at `at_mm` is one of the item before, seen again on a belt that went back.

    What only stands for an unknown one (after a pause) ends where the belt stood then: on a belt
    that stands still an item may be put there.
    """
    if last.trail_mm is None:
        return at_mm <= last.lead_mm
    return at_mm < last.trail_mm or (at_mm == last.trail_mm and last.cause != UNKNOWN)
