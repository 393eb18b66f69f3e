"""Judging both: what a segmenter cuts out, and the whole frame beside it."""

from __future__ import annotations

from dataclasses import replace

from edge.segmenters.base import Segmenter
from edge.segmenters.ground import share_of
from edge.values import Crop, Frame, Item


class BothLooks:
    """Any segmenter, its cut-outs accompanied by their frames; a whole frame stays alone."""

    def __init__(self, inner: Segmenter) -> None:
        self.inner = inner
        self.name = inner.name

    def cut(self, frame: Frame, item: Item) -> Crop:
        """The inner segmenter's crop, with the frame and how much each of them counts."""
        crop = self.inner.cut(frame, item)
        if crop.mask is None:
            return crop
        return replace(crop, beside=frame.pixels, share=share_of(crop, frame.pixels))

    def close(self) -> None:
        """End what the inner one has begun."""
        self.inner.close()
