"""Cut rendered items out for the belt's simulation: python -m tools.belt_sprites STILLS EMPTY OUT.

STILLS comes of `python -m tools.render stills --surfaces belt --masks`, EMPTY of the same with
`--items none`. The shadow beside an item stays with it, softly.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import cv2
import numpy as np

SHADOW_PX = 12  # kept around the mask, fading out
QUALITY = 82


def main() -> None:
    stills, empty, out = (Path(name) for name in sys.argv[1:4])
    out.mkdir(parents=True, exist_ok=True)
    listing = json.loads((stills / "stills.json").read_text())
    sprites = [_cut(stills / still["file"], still["label"], out) for still in listing]
    belt = cv2.imread(str(next(empty.glob("*.jpg"))))
    cv2.imwrite(str(out / "belt.webp"), belt, [cv2.IMWRITE_WEBP_QUALITY, 90])
    (out / "sprites.json").write_text(json.dumps({"sprites": sprites}, indent=1) + "\n")


def _cut(path: Path, label: str, out: Path) -> dict[str, object]:
    """Write NAME.webp with an alpha channel; where the item itself lies in it."""
    picture = cv2.imread(str(path))
    mask = cv2.imread(str(path.with_suffix(".mask.png")), cv2.IMREAD_GRAYSCALE)
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (SHADOW_PX + 1, SHADOW_PX + 1))
    alpha = cv2.GaussianBlur(cv2.dilate(mask, kernel), (0, 0), SHADOW_PX / 4)
    alpha = np.maximum(alpha, mask)
    x, y, width, height = cv2.boundingRect((alpha > 2).astype(np.uint8))
    body_x, _, body_width, _ = cv2.boundingRect((mask > 127).astype(np.uint8))
    cut = np.dstack([picture, alpha])[y : y + height, x : x + width]
    name = f"{path.stem.replace('_belt', '')}.webp"
    cv2.imwrite(str(out / name), cut, [cv2.IMWRITE_WEBP_QUALITY, QUALITY])
    return {"file": name, "label": label, "y": y, "body_x": body_x - x, "body_width": body_width}


if __name__ == "__main__":
    main()
