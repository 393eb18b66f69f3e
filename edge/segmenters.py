"""Segmenters: cut the item out of its frame before it is judged."""

from __future__ import annotations

from edge.values import Crop, Frame, Item


class WholeFrame:
    """Cuts nothing: the classifier sees the frame as it is."""

    name = "none"

    def cut(self, frame: Frame, item: Item) -> Crop:
        """Return the whole frame; where the item lies does not matter here."""
        height, width = frame.pixels.shape[:2]
        return Crop(frame.pixels, (0, 0, width, height), segmenter=self.name)
