"""The small networks of two earlier systems, which start from nothing."""

from __future__ import annotations

from torch import Tensor, nn

FOUR = (64, 128, 256, 256)  # channels of the student of four blocks
PAIRS = (32, 64, 128)  # channels of the network of three blocks of two convolutions


class CnnFour(nn.Module):
    """Four blocks of convolution, BatchNorm, ReLU and pooling; a mean over places; dropout.

    The student of an Inception-ResNet-v2: 0.96 M parameters for six classes. Its README states
    about 1 M and a last layer of 256; the widths between are chosen to meet both.
    """

    def __init__(self, classes: int, drop: float) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for cin, cout in zip((3, *FOUR), FOUR, strict=False):
            layers += [nn.Conv2d(cin, cout, 3, padding=1, bias=False), nn.BatchNorm2d(cout)]
            layers += [nn.ReLU(inplace=True), nn.MaxPool2d(2)]
        self.features = nn.Sequential(*layers)
        self.classifier = _classifier(FOUR[-1], classes, drop)

    def forward(self, x: Tensor) -> Tensor:  # (b, 3, S, S) -> (b, n)
        logits: Tensor = self.classifier(self.features(x))
        return logits


class CnnPairs(nn.Module):
    """Three blocks of two convolutions, 32, 64 and 128 wide, each followed by pooling.

    0.29 M parameters for six classes. A mean over places stands before the last layer, where the
    original may have had a dense one; its report does not say.
    """

    def __init__(self, classes: int, drop: float) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for cin, cout in zip((3, *PAIRS), PAIRS, strict=False):
            for inner in (cin, cout):
                layers += [nn.Conv2d(inner, cout, 3, padding=1, bias=False)]
                layers += [nn.BatchNorm2d(cout), nn.ReLU(inplace=True)]
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        self.classifier = _classifier(PAIRS[-1], classes, drop)

    def forward(self, x: Tensor) -> Tensor:  # (b, 3, S, S) -> (b, n)
        logits: Tensor = self.classifier(self.features(x))
        return logits


def _classifier(width: int, classes: int, drop: float) -> nn.Sequential:
    return nn.Sequential(
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(drop), nn.Linear(width, classes)
    )
