"""ResNet-18 and ResNet-50 (He et al., CVPR 2016) in plain torch.

Tensors have the names that torchvision gives them, so that any state dict of its resnet18 and
resnet50 loads; the stride of a bottleneck sits on its 3 x 3 convolution, as there.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

STAGES = {"resnet18": (2, 2, 2, 2), "resnet50": (3, 4, 6, 3)}


class Basic(nn.Module):
    """Two 3 x 3 convolutions and a skip."""

    expansion = 1

    def __init__(self, cin: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(cin, width, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = _projection(cin, width, stride)

    def forward(self, x: Tensor) -> Tensor:  # (b, cin, h, w) -> (b, width, h', w')
        out = self.bn1(self.conv1(x)).relu()
        out = self.bn2(self.conv2(out))
        skip = x if self.downsample is None else self.downsample(x)
        return torch.relu(out + skip)


class Bottleneck(nn.Module):
    """1 x 1 narrow, 3 x 3, 1 x 1 four times as wide, and a skip."""

    expansion = 4

    def __init__(self, cin: int, width: int, stride: int) -> None:
        super().__init__()
        wide = width * self.expansion
        self.conv1 = nn.Conv2d(cin, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, wide, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(wide)
        self.downsample = _projection(cin, wide, stride)

    def forward(self, x: Tensor) -> Tensor:  # (b, cin, h, w) -> (b, 4 width, h', w')
        out = self.bn1(self.conv1(x)).relu()
        out = self.bn2(self.conv2(out)).relu()
        out = self.bn3(self.conv3(out))
        skip = x if self.downsample is None else self.downsample(x)
        return torch.relu(out + skip)


def _projection(cin: int, cout: int, stride: int) -> nn.Sequential | None:
    if stride == 1 and cin == cout:
        return None
    return nn.Sequential(nn.Conv2d(cin, cout, 1, stride, bias=False), nn.BatchNorm2d(cout))


class ResNet(nn.Module):
    """(b, 3, S, S) normalised pixels to (b, n) logits."""

    def __init__(self, name: str, classes: int, drop: float) -> None:
        super().__init__()
        block = Basic if name == "resnet18" else Bottleneck
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        cin = 64
        for stage, repeats in enumerate(STAGES[name], start=1):
            width, parts = 32 * 2**stage, []
            for repeat in range(repeats):
                stride = 2 if stage > 1 and repeat == 0 else 1
                parts.append(block(cin, width, stride))
                cin = width * block.expansion
            setattr(self, f"layer{stage}", nn.Sequential(*parts))
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.drop = nn.Dropout(drop)
        self.fc = nn.Linear(cin, classes)
        self.fresh = ("fc.",)
        for part in self.modules():  # of a start from nothing
            if isinstance(part, nn.Conv2d):
                nn.init.kaiming_normal_(part.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        x = self.maxpool(self.bn1(self.conv1(x)).relu())
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = stage(x)
        logits: Tensor = self.fc(self.drop(self.avgpool(x).flatten(1)))
        return logits
