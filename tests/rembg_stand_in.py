"""What stands in for rembg's process: the same protocol, what is bright as mask, and bad manners.

The session's name says how it behaves: good, hang, die, grow or broken.
"""

from __future__ import annotations

import mmap
import os
import time

import numpy as np

from edge.childhood import Talk, begin
from edge.segmenters.rembg_child import _read
from edge.segmenters.rembg_record import MEMORY_BYTES, REQUEST, mask_view, pixel_view

GROWTH_BYTES = 60_000_000  # with each mask


def main() -> None:
    order = begin("stand-in", close_grace_s=0.0)
    talk = Talk(order["talk_fd"])
    memory = mmap.mmap(order["memory_fd"], MEMORY_BYTES)
    manner, hoard = order["session"], []
    if manner == "broken":
        talk.say(fault="no such session")
        return
    talk.say(ready=True)
    while record := _read(REQUEST.size):
        number, height, width = REQUEST.unpack(record)
        if manner == "hang":
            time.sleep(60)
        if manner == "die":
            os.abort()
        if manner == "grow":
            hoard.append(np.ones(GROWTH_BYTES, np.uint8))
        bright = pixel_view(memory, height, width).mean(axis=2) > 127
        np.copyto(mask_view(memory, height, width), bright.astype(np.uint8) * 255)
        talk.say(done=number)
