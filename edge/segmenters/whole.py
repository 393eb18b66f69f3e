"""The segmenter `none`."""

from __future__ import annotations

from edge.segmenters.base import WHOLE, whole_frame
from edge.values import Crop, Frame, Item


class WholeFrame:
    """Cuts nothing: the classifier sees the frame as it is."""

    name = WHOLE

    def cut(self, frame: Frame, item: Item) -> Crop:
        """Return the whole frame; where the item lies does not matter here."""
        return whole_frame(frame.pixels)

    def close(self) -> None:
        """Nothing to give back."""
