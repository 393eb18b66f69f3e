"""Pooled features of the pretrained EfficientNet-Lite0, by which near twins are found."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch

from edge.pictures import read_picture
from edge.preprocess import Preprocessing, squeeze
from trainer.judge import placed, to_input
from trainer.models import FAMILY, MEAN, STD, build
from trainer.twins import Features

BATCH = 32
SPEC = Preprocessing(FAMILY["lite0"].size_px, MEAN, STD)


@torch.inference_mode()
def features(
    paths: Sequence[Path],
    tick: Callable[[], object] = lambda: None,
    *,
    device: str = "cpu",
    weights: str = "package",
) -> Features:
    """(n, 1280) float32: the head's channels averaged over the picture, each row of length 1."""
    torch.manual_seed(0)  # of the last layer, which is not used, and of weights = "scratch"
    net = build("lite0", 2, weights=weights).eval()
    placed(net, device)
    rows = []
    for start in range(0, len(paths), BATCH):
        views = []
        for path in paths[start : start + BATCH]:
            views.append(squeeze(read_picture(path), SPEC))
            tick()
        maps = net.head(net.blocks(net.stem(to_input(np.stack(views), device))))  # (b, 1280, 7, 7)
        rows.append(torch.nn.functional.normalize(maps.mean((2, 3))).cpu().numpy())
    return np.concatenate(rows).astype(np.float32)
