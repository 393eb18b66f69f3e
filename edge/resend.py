"""Events that the broker has acknowledged, kept a while in case somebody else lost them.

In memory alone: a ring on the card would double what each event wears it, for the rare broker that
crashes or overflows. After a restart of the bin its earlier events cannot be sent again; a monitor
then reports them as lost.
"""

from __future__ import annotations

import json
import re
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from edge.values import Message

MAX_BYTES = 2_000_000  # some 3,000 events
MAX_RANGE = 2000  # events of one request
_BOOT = re.compile(r"[0-9a-f]{12}")


class Ring:
    """The newest acknowledged events, bounded by bytes; used by the loop alone."""

    def __init__(self, *, max_bytes: int = MAX_BYTES) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self._events: OrderedDict[tuple[str, int], Message] = OrderedDict()

    def __len__(self) -> int:
        return len(self._events)

    def keep(self, message: Message) -> None:
        """Remember an event that the broker has."""
        try:
            body = json.loads(message.payload)
            key = body["boot"], body["seq"]
        except (ValueError, KeyError, TypeError):
            return  # salvaged from a damaged outbox
        if key in self._events:
            return
        self._events[key] = message
        self._bytes += len(message.payload)
        while self._bytes > self._max_bytes:
            _, oldest = self._events.popitem(last=False)
            self._bytes -= len(oldest.payload)

    def obey(self, body: dict[str, Any], *, send: Callable[[Message], None]) -> dict[str, Any]:
        """Carry out cmd/resend {boot, from, to}: each event that is kept goes to `send`."""
        boot, first, last = body.get("boot"), body.get("from"), body.get("to")
        if not (isinstance(boot, str) and _BOOT.fullmatch(boot)):
            return {"ok": False, "detail": "boot must be 12 hexadecimal digits"}
        if type(first) is not int or type(last) is not int or not 1 <= first <= last:
            return {"ok": False, "detail": "from and to must be whole numbers, from 1 up"}
        if last - first >= MAX_RANGE:
            return {"ok": False, "detail": f"at most {MAX_RANGE} events in one request"}
        wanted = [self._events.get((boot, seq)) for seq in range(first, last + 1)]
        found = [message for message in wanted if message is not None]
        for message in found:
            send(message)
        detail = f"{len(found)} of {len(wanted)} events are sent again"
        return {"ok": bool(found), "detail": detail}
