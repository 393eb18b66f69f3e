"""Cameras: one contract, one module per back-end; `open_camera` picks by the source's prefix.

Nothing here imports a camera library; a back-end is imported when its camera is opened.
"""

from __future__ import annotations

import difflib
import re
import time

from edge.cameras.base import Camera, CameraSpec, Clock
from edge.errors import CameraError

__all__ = ["Camera", "CameraSpec", "Clock", "check_source", "open_camera", "shown"]

# prefix: (pattern of the whole source, how one is written)
SOURCES = {
    "picam": (re.compile(r"picam:\d{1,2}"), "picam:0"),
    "v4l2": (re.compile(r"v4l2:/dev/\S+"), "v4l2:/dev/video0"),
    "usb": (re.compile(r"usb:\d{1,3}"), "usb:0"),
    "rtsp": (re.compile(r"rtsp://[^\s/]+.*"), "rtsp://HOST/PATH"),
    "rtsps": (re.compile(r"rtsps://[^\s/]+.*"), "rtsps://HOST/PATH"),
    "http": (re.compile(r"http://[^\s/]+.*"), "http://HOST/PATH"),
    "https": (re.compile(r"https://[^\s/]+.*"), "https://HOST/PATH"),
    "gst": (re.compile(r"gst:.*\bappsink\b.*", re.DOTALL), "gst:ELEMENT ! ... ! appsink"),
    "file": (re.compile(r"file:.*\S.*"), "file:PATH"),
    "folder": (re.compile(r"folder:.*\S.*"), "folder:PATH"),
}
ROTATIONS_DEG = (0, 90, 180, 270)


def check_source(source: str) -> str | None:
    """Say what is wrong with the syntax of a camera source; None if nothing is."""
    prefix, colon, _ = source.partition(":")
    if colon and prefix in SOURCES:
        pattern, example = SOURCES[prefix]
        if pattern.fullmatch(source):
            return None
        return f"{shown(source)!r}: a {prefix} camera is written {example!r}"
    near = difflib.get_close_matches(prefix, SOURCES, n=1)
    hint = f"; did you mean {SOURCES[near[0]][1]!r}?" if near else ""
    allowed = ", ".join(example for _, example in SOURCES.values())
    return f"{shown(source)!r}: not a camera source{hint or f'; allowed are {allowed}'}"


def open_camera(spec: CameraSpec, *, clock: Clock = time.monotonic) -> Camera:
    """Open the camera that `spec` names; raises CameraError."""
    _check(spec)
    kind, _, rest = spec.source.partition(":")
    if kind == "folder":
        from edge.cameras.folder import FolderCamera

        return FolderCamera(spec, clock=clock)
    if kind == "picam":
        from edge.cameras.picam import PiCamera

        return PiCamera(spec, number=int(rest), clock=clock)
    from edge.cameras.opencv import OpenCvCamera

    return OpenCvCamera(spec, clock=clock)


def shown(source: str) -> str:
    """Return the source as it may be logged: without the passwords of an address.

    Masks too much rather than too little: an address may be misspelt, and a password may hold
    anything but a slash, another @ included.
    """
    without_login = re.sub(r"(\w+:/{1,2}[^/@\s:]*):[^/\s]*@", r"\1:***@", source)
    return re.sub(r"(?i)((?:password|passwd|pwd|token|key)=)[^&\s]*", r"\1***", without_login)


def _check(spec: CameraSpec) -> None:
    where = f"camera {shown(spec.source)}"
    fault = check_source(spec.source)
    if fault:
        raise CameraError(f"camera {fault}")
    if not (1 <= spec.width_px <= 16384 and 1 <= spec.height_px <= 16384):
        size = f"{spec.width_px} x {spec.height_px}"
        raise CameraError(f"{where}: size {size}: each side must be 1..16384 px")
    if not 0 <= spec.fps <= 1000:
        raise CameraError(f"{where}: fps = {spec.fps}: must be 0..1000")
    if spec.rotate_deg not in ROTATIONS_DEG:
        allowed = ", ".join(map(str, ROTATIONS_DEG))
        raise CameraError(f"{where}: rotate_deg = {spec.rotate_deg}: allowed are {allowed}")
