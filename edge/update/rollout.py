"""Whose turn it is: the retained wish of a group, and whether a bin is in its canary share.

groups/v1/GROUP/model holds {"v":1,"version":7,"share":0.05,"salt":"...","withdrawn":[6]}. It says
what is wanted, never what is trusted: a version runs only when its signature holds.
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass

from edge.update.chance import most_share, surely_more, tail
from edge.update.errors import UpdateError
from edge.values import Message
from edge.wire import SCHEMA, encode

MOST_BYTES = 4096
MOST_RISE = 0.05  # of the canaries' abstained or failed share above the others'
SUSPECTED_ABOVE = 0.10  # that rise; a share higher by so much is found quickest
GOOD_REFUSED = 0.01  # of the bins refuse a good model by chance
# Of stopping a good one for that: strict, for whoever is stopped in vain reads the reasons and goes
# on, and 1 refusal of 10 bins stops.
CHANCE_OF_STOP = 0.1


@dataclass(frozen=True, slots=True)
class Wish:
    """What a group of bins is to run."""

    version: int
    share: float = 1.0  # of the bins, 0..1
    salt: str = ""  # another salt draws other canaries
    withdrawn: tuple[int, ...] = ()  # versions that bins leave for their last good one

    def message(self, group: str) -> Message:
        """Retained, so that a bin that was away hears it."""
        payload = {
            "v": SCHEMA,
            "version": self.version,
            "share": self.share,
            "salt": self.salt,
            "withdrawn": list(self.withdrawn),
        }
        return Message(topic_of(group), encode(payload), qos=1, retain=True)


def topic_of(group: str) -> str:
    """Where the wish of a group is retained."""
    return f"groups/v1/{group}/model"


def read_wish(payload: bytes) -> Wish | None:
    """A retained wish, None where it was cleared; raises UpdateError for anything else."""
    if not payload:
        return None
    if len(payload) > MOST_BYTES:
        raise UpdateError(f"wished model: payload over {MOST_BYTES} bytes; ignored")
    try:
        content = json.loads(payload)
        share = float(content.get("share", 1.0))
        if content["v"] != SCHEMA or not 0 <= share <= 1 or not math.isfinite(share):
            raise ValueError("v or share")
        return Wish(
            version=int(content["version"]),
            share=share,
            salt=str(content.get("salt", ""))[:64],
            withdrawn=tuple(int(v) for v in content.get("withdrawn", [])),
        )
    except (
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        OverflowError,  # int() of the Infinity that Python's JSON allows
        RecursionError,
    ) as error:
        raise UpdateError(
            f"wished model: not a wish ({error}); allowed is "
            '{"v":1,"version":7,"share":0..1,"salt":"...","withdrawn":[...]}'
        ) from error


def chosen(wish: Wish, site: str, bin_name: str) -> bool:
    """Whether this bin is in the share: drawn by its name, so that it stays in as it grows."""
    digest = hashlib.sha256(f"{wish.salt}/{site}/{bin_name}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64 < wish.share


@dataclass(frozen=True, slots=True)
class Counts:
    """Items of a set of bins under one version, and what went wrong with them."""

    items: int = 0
    abstained: int = 0
    moved: int = 0  # acks that were heard
    failed: int = 0  # of those: jammed, refused, late or missing


@dataclass(frozen=True, slots=True)
class Ruling:
    """What a rollout does next."""

    action: str  # wait, go or stop
    reason: str


def rule(
    canaries: Counts, others: Counts, refusals: int, *, least_items: int, bins: int = 0
) -> Ruling:
    """Go on to all bins, wait for more items, or stop; pure. `bins` are in the canary share."""
    bins = max(bins, refusals)
    if refusals and tail(refusals, bins, GOOD_REFUSED) < CHANCE_OF_STOP:
        return Ruling("stop", f"{refusals} of {bins} canaries refused the model or rolled it back")
    for word, hits, n, their_hits, their_n in (
        ("abstain on", canaries.abstained, canaries.items, others.abstained, others.items),
        ("fail to move", canaries.failed, canaries.moved, others.failed, others.moved),
    ):
        usual = most_share(their_hits, their_n) + MOST_RISE
        if surely_more(hits, n, expected=usual, suspected=usual + SUSPECTED_ABOVE):
            return Ruling(
                "stop",
                f"canaries {word} {hits} of {n} items, other bins on {their_hits} of {their_n}",
            )
    if canaries.items < least_items:
        return Ruling("wait", f"{canaries.items} of {least_items} canary items seen")
    return Ruling("go", f"{canaries.items} canary items, no worse than elsewhere")
