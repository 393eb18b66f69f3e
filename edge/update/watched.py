"""Items on their way from the loop to the updater's thread, which compares or counts them."""

from __future__ import annotations

import contextlib
import queue
from collections.abc import Callable, Iterator, Sequence

from edge.values import Crop, Decision

WAITING_ITEMS = 8  # of the loop, for the thread; more are not compared
POLL_S = 0.2
Observed = tuple[Sequence[Crop], Decision]  # what the network saw of an item, what became of it


class WatchedItems:
    """`put` belongs to the loop and never waits; `take` to the thread."""

    def __init__(self, *, wanted: bool) -> None:
        """`wanted`: whether items are of use from the start on."""
        self._items: queue.Queue[Observed] = queue.Queue(WAITING_ITEMS)
        self._wanted = wanted

    def put(self, crops: Sequence[Crop], decision: Decision) -> None:
        """An item was decided; let go where nobody compares, or the thread is behind."""
        if self._wanted and crops:
            # A tally needs items, not every item.
            with contextlib.suppress(queue.Full):
                self._items.put_nowait((crops, decision))

    def take(self, count: int, ends: Callable[[], bool]) -> Iterator[Observed]:
        """`count` items as they come from now on; fewer where `ends` becomes true."""
        self._drain()  # of items that another model decided
        self._wanted = True
        try:
            while count > 0 and not ends():
                try:
                    item = self._items.get(timeout=POLL_S)
                except queue.Empty:
                    continue
                count -= 1
                yield item
        finally:
            self._wanted = False
            self._drain()  # whole frames, which nobody would look at any more

    def _drain(self) -> None:
        with contextlib.suppress(queue.Empty):
            while True:
                self._items.get_nowait()
