"""Which starts of a bin were heard in which order, and whether two devices share one name.

A daemon has a new boot id at each start, and a start that a later one followed never speaks again,
but for events from its outbox. Where it does, two devices answer to one name.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field

QUIET_S = 3600.0  # a name is disputed until only one start was heard for so long
REMEMBERED = 8  # earlier starts of a bin
BACKLOG = 100  # numbers before the first that was heard, which are asked for at a first meeting

Key = tuple[str, str]  # site, bin


@dataclass(slots=True)
class _Known:
    boot: str
    earlier: OrderedDict[str, None] = field(default_factory=OrderedDict)
    disputed_until_ts: float = 0.0


class Identities:
    """In memory alone: every monitor hears every birth."""

    def __init__(self) -> None:
        self._bins: dict[Key, _Known] = {}

    def born(self, key: Key, boot: str, *, now_ts: float, live: bool) -> bool:
        """Take note of a birth; True where it proves a second device.

        A retained or repeated message (`live` false) proves nothing.
        """
        known = self._bins.get(key)
        if known is None:
            self._bins[key] = _Known(boot)
            return False
        if boot == known.boot or (not live and boot in known.earlier):
            return False
        proof = boot in known.earlier
        known.earlier.pop(boot, None)
        known.earlier[known.boot] = None
        while len(known.earlier) > REMEMBERED:
            known.earlier.popitem(last=False)
        known.boot = boot
        if proof:
            known.disputed_until_ts = now_ts + QUIET_S
        return proof

    def disputed(self, key: Key, *, now_ts: float) -> bool:
        """Whether two devices spoke under this name within the last hour."""
        known = self._bins.get(key)
        return known is not None and known.disputed_until_ts > now_ts

    def first_number(self, key: Key, boot: str, seq: int) -> int:
        """From which number on a start's events are ours to have, `seq` being the first heard.

        All of them where we saw the bin start; where we met it running, a few before.
        """
        known = self._bins.get(key)
        saw_it_start = known is not None and known.boot == boot and bool(known.earlier)
        return 1 if saw_it_start or seq <= BACKLOG else seq
