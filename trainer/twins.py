"""Which pictures show the same thing: exact and near twins, and groups of them; needs no torch.

Near twins are pairs whose pooled EfficientNet-Lite0 features (trainer/features.py) point the same
way. A perceptual hash, the signs of the lowest cosine-transform coefficients (Zauner,
"Implementation and Benchmarking of Perceptual Image Hash Functions", 2010), is the second opinion:
it knows a picture saved anew or taken twice, not an object from another side. The figures behind
the thresholds are in docs/data.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from edge.values import Pixels

Features = npt.NDArray[np.float32]  # (n, d), each row of length 1
HashBits = npt.NDArray[np.int8]  # (n, 63) of -1 and 1; a row of zeros is a picture without detail

TWIN_COSINE = 0.80  # 5 in 6 looked at show one object or product, and never two labels
GROUP_COSINE = 0.75  # half of those between show one object: groups lose less when they err here
TWIN_BITS = 4  # of 63: 16 of 18 such pairs have a cosine over 0.8; at 6 bits, 10 of 33 have not
MAX_GROUP = 50  # cuts 1 in 100 of the links of TrashNet; without a limit one group has 70 pictures
HASH_PX, HASH_SIDE = 32, 8
FLAT = 2.0  # grey levels of deviation, below which a hash would be of noise
BLOCK = 1024  # rows compared at a time: 4 MB per 1,000 pictures


@dataclass(frozen=True, slots=True)
class Pair:
    """Two pictures, a < b by position; what was not measured is None."""

    a: int
    b: int
    cosine: float | None = None
    bits: int | None = None  # in which their hashes differ, of 63
    exact: str = ""  # "bytes": equal files; "pixels": equal once decoded

    @property
    def strength(self) -> float:
        """Order of joining: exact twins first, then by cosine, or by hash where there is none."""
        if self.exact:
            return 2.0
        if self.cosine is not None:
            return self.cosine
        return 1.0 - (self.bits or 0) / 63


def hash_bits(pixels: Pixels) -> HashBits:
    """(H, W, 3) RGB to (63,): signs of the low frequencies about their median, or zeros."""
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    small = cv2.resize(grey, (HASH_PX, HASH_PX), interpolation=cv2.INTER_AREA).astype(np.float32)
    if small.std() < FLAT:
        return np.zeros(HASH_SIDE**2 - 1, np.int8)
    low = cv2.dct(small)[:HASH_SIDE, :HASH_SIDE].ravel()[1:]
    return np.where(low > np.median(low), 1, -1).astype(np.int8)


def bits_between(a: HashBits, b: HashBits) -> int | None:
    """In how many bits two hashes differ; None where one of them has no detail."""
    if not a.any() or not b.any():
        return None
    return int((a != b).sum())


def exact_pairs(files: Sequence[str], pixels: Sequence[str]) -> list[Pair]:
    """Pictures with equal hashes, each with the first of its like; "" equals nothing."""
    found: dict[tuple[int, int], Pair] = {}
    for hashes, exact in ((files, "bytes"), (pixels, "pixels")):
        first: dict[str, int] = {}
        for i, value in enumerate(hashes):
            if value and (a := first.setdefault(value, i)) != i:
                found.setdefault((a, i), Pair(a, i, exact=exact))
    return list(found.values())


def near_pairs(features: Features, least: float) -> list[Pair]:
    """All pairs with a cosine of at least `least`, the closest first."""
    pairs = [
        Pair(a, b, cosine=round(min(1.0, value), 4))
        for a, b, value in _over(features, least)  # rounding must not lift a pair over the bar
    ]
    return sorted(pairs, key=lambda pair: -pair.strength)


def hash_pairs(bits: HashBits, most: int = TWIN_BITS) -> list[Pair]:
    """All pairs whose hashes differ in at most `most` of 63 bits."""
    length = bits.shape[1]
    floats = bits.astype(np.float32)
    return [
        Pair(a, b, bits=round((length - value) / 2))
        for a, b, value in _over(floats, length - 2 * most - 0.5)
    ]


def _over(rows: Features, least: float) -> Iterator[tuple[int, int, float]]:
    for start in range(0, len(rows), BLOCK):
        block = rows[start : start + BLOCK] @ rows[start:].T
        above_a, above_b = np.nonzero(np.triu(block >= least, 1))
        for a, b in zip(above_a, above_b, strict=True):
            yield start + int(a), start + int(b), float(block[a, b])


def merged(exact: Iterable[Pair], near: Iterable[Pair]) -> list[Pair]:
    """One entry a pair: what is exact stays exact and gets the cosine of its near twin."""
    table = {(pair.a, pair.b): pair for pair in near}
    for pair in exact:
        other = table.get((pair.a, pair.b))
        cosine = other.cosine if other else None
        table[pair.a, pair.b] = Pair(pair.a, pair.b, cosine, 0, pair.exact)
    return sorted(table.values(), key=lambda pair: (-pair.strength, pair.a, pair.b))


@dataclass(frozen=True, slots=True)
class Groups:
    """A group for each picture, and how many links the size limit cut."""

    ids: npt.NDArray[np.int64]  # (n,), numbered from 0 by first picture
    cut: int  # linked pairs that fell into two groups

    def sizes(self) -> npt.NDArray[np.int64]:
        """Pictures per group, the largest first."""
        return np.sort(np.bincount(self.ids))[::-1].astype(np.int64)


def group(n: int, pairs: Iterable[Pair], max_group: int = MAX_GROUP) -> Groups:
    """Connected components, joined from the strongest link on (Kruskal 1956), limited in size.

    Against chains (a is like b, b like c, and so on to half the data) the limit leaves out the
    weakest links of what would grow too large. Complete linkage would leave out more: it parts
    two views of an object wherever a third one lies between them, and what is parted leaks from
    training into validation. Exact twins are joined whatever the size.
    """
    links = sorted(pairs, key=lambda pair: (-pair.strength, pair.a, pair.b))
    of = list(range(n))
    members = {i: [i] for i in of}
    for link in links:
        one, other = sorted((of[link.a], of[link.b]))
        size = len(members[one]) + len(members[other])
        if one == other or (size > max_group and not link.exact):
            continue
        for i in members[other]:
            of[i] = one
        members[one] += members.pop(other)
    ids = np.unique(np.array(of, np.int64), return_inverse=True)[1].reshape(-1)
    cut = sum(bool(ids[link.a] != ids[link.b]) for link in links)
    return Groups(ids.astype(np.int64), cut)
