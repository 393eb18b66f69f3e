"""The segmenter's network: the first blocks of EfficientNet-Lite0 and a small decoder for int8.

A U-Net (Ronneberger et al., MICCAI 2015) whose decoder adds instead of concatenating, works in
depthwise-separable convolutions, and gets its last doubling from sub-pixel channels (Shi et al.,
CVPR 2016): nothing is computed at the picture's own resolution but the stem.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from edge.errors import UsageError
from trainer.models import FAMILY, Block, Lite, block_plan, build, conv_bn

MULTIPLE_PX = 16  # the deepest features are 16 times coarser than the input
LOGITS_STRIDE = 2  # of the output


class Segmenter(nn.Module):
    """(b, 3, H, W) normalised pixels to (b, 1, H/2, W/2) logits, above 0 for the item."""

    def __init__(self, trunk: Lite, *, blocks: int, widths: Sequence[int]) -> None:
        super().__init__()
        self.stem = trunk.stem
        self.blocks = trunk.blocks
        self.taps = taps(blocks)
        plan = block_plan(FAMILY["lite0"])
        channels = [plan[i][1] for i in (*self.taps, blocks - 1)]  # at 1/4, 1/8, 1/16
        fine, middle, coarse = widths
        self.deep = nn.Sequential(
            nn.Sequential(conv_bn(channels[2], coarse, 1), nn.ReLU6(inplace=True)),
            Block(coarse, coarse, 5, 1, 2),  # 12 x 9 cells: two 5 x 5 more see the whole tray
            Block(coarse, coarse, 5, 1, 2),
            conv_bn(coarse, middle, 1),
        )
        self.skip_middle = conv_bn(channels[1], middle, 1)
        self.at_middle = nn.Sequential(nn.ReLU6(inplace=True), *separable(middle, middle))
        self.to_fine = conv_bn(middle, fine, 1)
        self.skip_fine = conv_bn(channels[0], fine, 1)
        self.at_fine = nn.Sequential(nn.ReLU6(inplace=True), *separable(fine, fine))
        self.logits = nn.Conv2d(fine, LOGITS_STRIDE**2, 1)
        self.spread = nn.PixelShuffle(LOGITS_STRIDE)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        kept = []
        for i, block in enumerate(self.blocks):
            x = block(x)
            if i in self.taps:
                kept.append(x)
        fine, middle = kept
        y = self.at_middle(doubled(self.deep(x)) + self.skip_middle(middle))
        y = self.at_fine(doubled(self.to_fine(y)) + self.skip_fine(fine))
        logits: Tensor = self.spread(self.logits(y))
        return logits


def taps(blocks: int) -> tuple[int, int]:
    """Positions of the last blocks at a quarter and at an eighth of the input's resolution."""
    plan = block_plan(FAMILY["lite0"])[:blocks]
    halvings = [i for i, (_, _, _, stride, _) in enumerate(plan) if stride == 2]
    if len(halvings) != 3:
        raise UsageError(
            f"network.blocks = {blocks}: must be 6 to 11, so that the deepest features are "
            f"{MULTIPLE_PX} times coarser than the picture"
        )
    return halvings[1] - 1, halvings[2] - 1


def separable(cin: int, cout: int) -> list[nn.Module]:
    """Depthwise 3 x 3, then 1 x 1, each with its ReLU6."""
    return [
        nn.Sequential(conv_bn(cin, cin, 3, groups=cin), nn.ReLU6(inplace=True)),
        nn.Sequential(conv_bn(cin, cout, 1), nn.ReLU6(inplace=True)),
    ]


def doubled(x: Tensor) -> Tensor:
    """(b, c, h, w) to (b, c, 2h, 2w); each value four times, which int8 does exactly."""
    return F.interpolate(x, scale_factor=2.0, mode="nearest")


def build_segmenter(*, blocks: int, widths: Sequence[int], weights: str = "package") -> Segmenter:
    """With an ImageNet trunk (`package`), a trunk from a .pth file, or none (`scratch`)."""
    trunk = build("lite0", 2, blocks=blocks, head=8, weights=weights)
    return Segmenter(trunk, blocks=blocks, widths=widths)
