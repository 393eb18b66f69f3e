"""What a picture file is, read from its bytes without decoding: kind, depth, colours, turning.

The reader of the edge brings all of these to upright 8-bit RGB (edge/pictures.py); an audit names
them, because a folder that mixes them was filled from several sources, and colours may differ.

Sources: JPEG, ITU-T T.81 annex B; Exif, JEITA CP-3451; PNG, W3C 2003 and its third edition (acTL,
eXIf); WebP, RFC 9649; TIFF 6.0; GIF89a; BMP, BITMAPINFOHEADER.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

SUFFIXES = {
    "jpeg": (".jpg", ".jpeg"),
    "png": (".png",),
    "webp": (".webp",),
    "bmp": (".bmp",),
    "tiff": (".tif", ".tiff"),
    "gif": (".gif",),
}
NOT_FRAMES = {0xC4, 0xC8, 0xCC}  # JPEG markers among C0..CF that start no frame
ORIENTATION, BITS, PHOTOMETRIC = 0x0112, 258, 262  # TIFF tags, used by Exif too
TIFF_PALETTE, TIFF_CMYK = 3, 5


@dataclass(frozen=True, slots=True)
class Facts:
    """`kind` is a key of SUFFIXES or empty; `traits` are words such as cmyk and animated."""

    kind: str
    traits: tuple[str, ...]

    def fits(self, suffix: str) -> bool:
        """True where the suffix says what the bytes are, or the bytes are of no known kind."""
        return not self.kind or suffix.lower() in SUFFIXES[self.kind]


def facts_of(data: bytes) -> Facts:
    """Look at the bytes of a whole file; a damaged one gives what was read before the damage."""
    kind = _kind(data)
    if not kind:
        return Facts("", ())
    traits: list[str] = []
    with suppress(struct.error, IndexError):  # ends early: whoever decodes it will say so
        for trait in READERS[kind](data):
            traits.append(trait)
    return Facts(kind, tuple(dict.fromkeys(traits)))


def _kind(data: bytes) -> str:
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "webp"
    starts = {
        b"\xff\xd8": "jpeg",
        b"\x89PNG": "png",
        b"BM": "bmp",
        b"II*\0": "tiff",
        b"MM\0*": "tiff",
        b"GIF8": "gif",
    }
    return next((kind for start, kind in starts.items() if data.startswith(start)), "")


def _jpeg(data: bytes) -> Iterator[str]:
    at = 2
    while data[at] == 0xFF:
        marker = data[at + 1]
        (length,) = struct.unpack_from(">H", data, at + 2)
        body = at + 4
        if marker == 0xE1 and data[body : body + 6] == b"Exif\0\0":
            yield from _tiff_traits(data[body + 6 : at + 2 + length], exif=True)
        if 0xC0 <= marker <= 0xCF and marker not in NOT_FRAMES:
            bits, components = data[body], data[body + 5]
            yield from _depth(bits)
            yield from {1: ["grey"], 4: ["cmyk"]}.get(components, [])
            return
        at += 2 + length


def _png(data: bytes) -> Iterator[str]:
    at = 8
    while at + 8 <= len(data):
        length, name = struct.unpack_from(">I4s", data, at)
        body = data[at + 8 : at + 8 + length]
        if name == b"IHDR":
            yield from _depth(body[8])
            colour = {0: ["grey"], 3: ["palette"], 4: ["grey", "transparent"], 6: ["transparent"]}
            yield from colour.get(body[9], [])
        elif name == b"acTL":
            yield "animated"
        elif name == b"tRNS":
            yield "transparent"
        elif name == b"eXIf":
            yield from _tiff_traits(body, exif=True)
        at += 12 + length


def _webp(data: bytes) -> Iterator[str]:
    if data[12:16] != b"VP8X":
        return
    flags = data[20]
    yield from ["animated"] if flags & 0x02 else []
    yield from ["transparent"] if flags & 0x10 else []
    at = 12
    while at + 8 <= len(data):
        name, length = struct.unpack_from("<4sI", data, at)
        if name == b"EXIF":
            body = data[at + 8 : at + 8 + length]
            yield from _tiff_traits(body.removeprefix(b"Exif\0\0"), exif=True)
        at += 8 + length + length % 2


def _bmp(data: bytes) -> Iterator[str]:
    (bits,) = struct.unpack_from("<H", data, 28)
    if bits <= 8:
        yield "palette"


def _gif(data: bytes) -> Iterator[str]:
    yield "palette"
    if data.count(b"\x21\xf9\x04") > 1:  # one graphic control extension stands before each picture
        yield "animated"


def _tiff(data: bytes) -> Iterator[str]:
    return _tiff_traits(data, exif=False)


def _tiff_traits(data: bytes, *, exif: bool) -> Iterator[str]:
    order = "<" if data[:2] == b"II" else ">"
    (start,) = struct.unpack_from(f"{order}I", data, 4)
    (count,) = struct.unpack_from(f"{order}H", data, start)
    for i in range(count):
        tag, _, values, value = struct.unpack_from(f"{order}HHIH", data, start + 2 + 12 * i)
        if tag == ORIENTATION and 2 <= value <= 8:
            yield "exif-rotated"
        if tag == BITS and not exif:
            if values > 2:  # three and more shorts stand elsewhere in the file
                (where,) = struct.unpack_from(f"{order}I", data, start + 2 + 12 * i + 8)
                (value,) = struct.unpack_from(f"{order}H", data, where)
            yield from _depth(value)
        if tag == PHOTOMETRIC and not exif:
            yield from {TIFF_PALETTE: ["palette"], TIFF_CMYK: ["cmyk"]}.get(value, [])
    (following,) = struct.unpack_from(f"{order}I", data, start + 2 + 12 * count)
    if following and not exif:
        yield "animated"  # several pages: the first is read


def _depth(bits: int) -> list[str]:
    return [f"{bits}-bit"] if bits > 8 else []


READERS = {
    "jpeg": _jpeg,
    "png": _png,
    "webp": _webp,
    "bmp": _bmp,
    "tiff": _tiff,
    "gif": _gif,
}
