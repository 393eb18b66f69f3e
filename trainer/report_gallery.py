"""Pictures of a report: small JPEGs inside the page, with maps of the evidence over them."""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from edge.errors import SmartbinError
from edge.pictures import read_picture
from edge.values import Pixels
from trainer.data import load_masks
from trainer.gradcam import Evidence, EvidenceError, overlay, scaled, share_inside
from trainer.report_runs import Judged, TorchNet
from trainer.report_scores import Scored

WIDTH_PX, SMALL_PX, QUALITY = 200, 112, 78
Maps = Callable[[Pixels, list[int]], npt.NDArray[np.float32]]


@dataclass(frozen=True, slots=True)
class Picture:
    """One picture of the gallery and what is said under it."""

    data_uri: str
    caption: str


@dataclass(frozen=True, slots=True)
class Mistake:
    """A misclassified picture: itself, then maps of the class said and the class it has."""

    row: int
    pictures: tuple[Picture, ...]


def jpeg_uri(pixels: Pixels) -> str:
    """(H, W, 3) uint8 RGB as the value of an `img`'s src."""
    done, data = cv2.imencode(".jpg", pixels[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    if not done:
        raise SmartbinError("report: OpenCV was built without JPEG, which its pictures need")
    return "data:image/jpeg;base64," + base64.b64encode(data.tobytes()).decode("ascii")


def student_maps(scored: Scored, student: TorchNet | None) -> tuple[str, Maps | None]:
    """How the student's maps are made, in words, and the function; None where neither works."""
    if student is not None:
        return f"Grad-CAM of {student.name} (the checkpoint, fp32)", student.maps
    try:
        evidence = Evidence(scored.bundle)
    except EvidenceError:
        return "", None
    words = f"class activation map of {scored.bundle.model_id} (the shipped network itself)"
    return words, lambda pixels, labels: evidence.maps(pixels)[labels]


def mistakes(
    scored: Scored,
    maps: Maps | None,
    teacher: Judged | None,
    most: int,
    tick: Callable[[], object] = lambda: None,
) -> list[Mistake]:
    """The misclassified pictures, the greatest loss first, at most `most`."""
    rows = [int(row) for row in np.argsort(-scored.losses, kind="stable") if not scored.right[row]]
    found = []
    for row in rows[:most]:
        pixels = read_picture(scored.photos.paths[row])
        aspect = scored.bundle.preprocessing.max_aspect
        plain = jpeg_uri(overlay(pixels, None, WIDTH_PX, aspect))
        pictures = [Picture(plain, "picture")]
        pair = [int(scored.found[row]), int(scored.truth[row])]
        if maps is not None:
            pictures += _mapped(pixels, maps, pair, scored, "student", aspect)
        if teacher is not None:
            said = int(teacher.probs[row].argmax())
            spec = teacher.net.spec
            pictures += _mapped(
                pixels, teacher.net.maps, [said], scored, "teacher", spec.max_aspect
            )
        found.append(Mistake(row, tuple(pictures)))
        tick()
    return found


def _mapped(
    pixels: Pixels, maps: Maps, labels: list[int], scored: Scored, who: str, aspect: float
) -> list[Picture]:
    """One overlay per class, all on one scale."""
    heats = scaled(maps(pixels, labels))
    return [
        Picture(jpeg_uri(overlay(pixels, heat, WIDTH_PX, aspect)), f"{who}: {scored.labels[label]}")
        for heat, label in zip(heats, labels, strict=True)
    ]


def thumbnail(scored: Scored, row: int) -> str:
    """A small picture for a table, as the network saw it cropped."""
    pixels = read_picture(scored.photos.paths[row])
    return jpeg_uri(overlay(pixels, None, SMALL_PX, scored.bundle.preprocessing.max_aspect))


@dataclass(frozen=True, slots=True)
class Pointing:
    """How much of the evidence lies on the item, on the pictures with a good mask; shares 0..1."""

    n: int
    item_share: float  # mean share of the picture that the item covers: what chance would give
    right: float  # mean share of evidence on the item where the class is right
    wrong: float  # and where it is not; NaN where there is none


def pointing(
    scored: Scored, maps: Maps | None, masks_dir: Path, tick: Callable[[], object] = lambda: None
) -> Pointing | None:
    """Of each picture's best class; None where there is no map or no good mask."""
    if maps is None:
        return None
    masks, good = load_masks(scored.photos, masks_dir)
    aspect = scored.bundle.preprocessing.max_aspect
    inside, cover, right = [], [], []
    for row in np.flatnonzero(good):
        pixels = read_picture(scored.photos.paths[row])
        heat = maps(pixels, [int(scored.found[row])])[0]
        inside.append(share_inside(heat, masks[row], pixels, aspect))
        cover.append(share_inside(np.ones_like(heat), masks[row], pixels, aspect))
        right.append(bool(scored.right[row]))
        tick()
    if not inside:
        return None
    shares, hit = np.array(inside), np.array(right)
    wrong = float(shares[~hit].mean()) if not hit.all() else float("nan")
    mean = float(shares[hit].mean()) if hit.any() else float("nan")
    return Pointing(len(shares), float(np.mean(cover)), mean, wrong)
