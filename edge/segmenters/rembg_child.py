"""rembg's process: opens a session, answers pictures with masks, ends when its parent does.

The only importer of rembg and Pillow. Started by edge.segmenters.rembg.
"""

from __future__ import annotations

import contextlib
import json
import mmap
import os
import sys
import traceback
from pathlib import Path
from typing import Any

import numpy as np

from edge.childhood import MAX_TEXT, ORDERS_FD, Talk, begin
from edge.runtime import lean_options
from edge.segmenters.rembg_record import MEMORY_BYTES, REQUEST, mask_view, pixel_view

PROCESS_NAME = "smartbin-rembg"
CUSTOM = "u2net_custom"
CUSTOM_SESSIONS = (CUSTOM, "dis_custom", "ben_custom")  # what rembg calls them
OOM_SCORE = "800"  # where memory runs out, the kernel takes this process, not the daemon


def main() -> None:
    """Run the process; the order says everything."""
    order = begin(PROCESS_NAME, close_grace_s=0.0)
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(OOM_SCORE)
    talk = Talk(order["talk_fd"])
    memory = mmap.mmap(order["memory_fd"], MEMORY_BYTES)
    try:
        masks = Masks(order["session"], order["model"], threads=order["threads"])
        talk.say(ready=True)
        _serve(masks, memory, talk)
    except NoNetwork as error:
        talk.say(fault=str(error)[:MAX_TEXT])
        sys.exit(1)
    except Exception as error:  # rembg's and onnxruntime's own share no nameable base
        traceback.print_exc()
        talk.say(fault=f"{type(error).__name__}: {error}"[:MAX_TEXT].replace("\n", " "))
        sys.exit(1)


class NoNetwork(Exception):
    """The network of a session is not there and cannot be fetched; told in one sentence."""


def no_network(session: str, error: OSError) -> NoNetwork:
    """Which file is missing, why, and where it goes."""
    why = error.strerror or type(error).__name__  # requests' errors are OSErrors without the first
    home = os.environ.get("U2NET_HOME")
    where = f"put it into {home}" if home else "set U2NET_HOME to a folder that holds it"
    return NoNetwork(f"{session}.onnx cannot be opened or fetched ({why}); {where}")


def _serve(masks: Masks, memory: mmap.mmap, talk: Talk) -> None:
    while record := _read(REQUEST.size):
        number, height, width = REQUEST.unpack(record)
        mask = masks.of(pixel_view(memory, height, width))
        np.copyto(mask_view(memory, height, width), mask)
        talk.say(done=number)


def _read(size: int) -> bytes:
    data = b""
    while len(data) < size:
        part = os.read(ORDERS_FD, size - len(data))
        if not part:
            return b""
        data += part
    return data


class Masks:
    """A session of rembg."""

    def __init__(self, session: str, model: str, *, threads: int) -> None:
        from PIL import Image
        from rembg import new_session, remove

        self._image, self._remove = Image, remove
        options: dict[str, Any] = {"sess_opts": lean_options(threads=threads)}
        if session in CUSTOM_SESSIONS:
            if not model:
                raise ValueError(f"session {session}: name its .onnx as segmenter.model")
            options["model_path"] = str(Path(model).resolve())
        try:
            self._session = new_session(session, **options)
        except OSError as error:
            if session in CUSTOM_SESSIONS:
                raise
            raise no_network(session, error) from error
        if session == CUSTOM:
            _follow_card(self._session, Path(model).with_suffix(".json"))

    def of(self, pixels: Any) -> Any:
        """(h, w, 3) uint8 RGB to (h, w) uint8, 255 on the item."""
        picture = self._image.fromarray(pixels)
        mask = self._remove(picture, session=self._session, only_mask=True)
        return np.asarray(mask.convert("L").resize(picture.size), np.uint8)


def _follow_card(session: Any, card_path: Path) -> None:
    """Feed a network of smartbin's own as its card says; rembg's custom session asks for 320x320.

    Done on the session itself, not in rembg: it calls `normalize` for its input and
    `inner_session.run` for its output.
    """
    if not card_path.exists():
        return
    card = json.loads(card_path.read_text(encoding="utf-8"))
    if card.get("kind") != "segmenter":
        return
    size = (int(card["input"]["width_px"]), int(card["input"]["height_px"]))
    entry = session.inner_session.get_inputs()[0]

    def normalize(picture: Any, *_theirs: Any, **_more: Any) -> dict[str, Any]:
        pixels = np.asarray(picture.convert("RGB").resize(size), np.float32)
        if entry.type == "tensor(uint8)":
            return {entry.name: pixels.astype(np.uint8)[None]}
        scaled = (pixels - np.array(card["mean"])) / np.array(card["std"])
        return {entry.name: scaled.transpose(2, 0, 1)[None].astype(np.float32)}

    session.normalize = normalize
    if card["output"] == "logits":
        session.inner_session = _Probabilities(session.inner_session)


class _Probabilities:
    """A network of logits that answers in probabilities, as rembg's sessions expect."""

    def __init__(self, network: Any) -> None:
        self._network = network

    def __getattr__(self, name: str) -> Any:
        return getattr(self._network, name)

    def run(self, *arguments: Any) -> list[Any]:
        return [1 / (1 + np.exp(-np.clip(out, -30, 30))) for out in self._network.run(*arguments)]
