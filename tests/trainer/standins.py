"""Stands in for libraries of networks where they are not installed; real ones pass the same tests.

timm's own code imports torchvision, which needs a CUDA build of torch. Of it timm's classifiers
use one class, and only in isinstance(): with that and empty names timm itself runs.
"""

from __future__ import annotations

import importlib.util
import sys
import types
from enum import Enum
from typing import Any

import pytest
import torch
from torch import nn

HAS_TIMM = importlib.util.find_spec("timm") is not None
HAS_TORCHVISION = importlib.util.find_spec("torchvision") is not None
TRANSFORMS = (
    "Compose CenterCrop Resize RandomHorizontalFlip RandomVerticalFlip ColorJitter GaussianBlur "
    "RandomApply ToTensor PILToTensor Normalize RandomCrop RandomResizedCrop Grayscale"
)
DATASETS = "CIFAR10 CIFAR100 MNIST KMNIST FashionMNIST ImageFolder"


class FrozenBatchNorm2d(nn.Module):
    """Looked for by isinstance, found nowhere."""


class InterpolationMode(Enum):
    """The names that timm's transforms read."""

    NEAREST = "nearest"
    BILINEAR = "bilinear"
    BICUBIC = "bicubic"
    BOX = "box"
    HAMMING = "hamming"
    LANCZOS = "lanczos"


def _module(name: str, **content: Any) -> types.ModuleType:
    made = types.ModuleType(name)
    made.__path__ = []  # type: ignore[attr-defined]
    made.__dict__.update(content)
    return made


def torchvision_for_timm(patch: pytest.MonkeyPatch) -> None:
    """What timm imports of torchvision, where the real one is not installed."""
    if HAS_TORCHVISION:
        return
    functional = _module("functional", InterpolationMode=InterpolationMode)
    transforms = _module(
        "transforms",
        functional=functional,
        InterpolationMode=InterpolationMode,
        **dict.fromkeys(TRANSFORMS.split(), object),
    )
    misc = _module("misc", FrozenBatchNorm2d=FrozenBatchNorm2d)
    datasets = _module("datasets", **dict.fromkeys(DATASETS.split(), object))
    parts = {
        "torchvision": _module("torchvision", transforms=transforms, datasets=datasets),
        "torchvision.transforms": transforms,
        "torchvision.transforms.functional": functional,
        "torchvision.ops": _module("ops", misc=misc),
        "torchvision.ops.misc": misc,
        "torchvision.datasets": datasets,
    }
    for name, module in parts.items():
        patch.setitem(sys.modules, name, module)


def without(patch: pytest.MonkeyPatch, *names: str) -> None:
    """These packages cannot be imported, as on a machine without them."""
    for loaded in list(sys.modules):
        if loaded.partition(".")[0] in names:
            patch.delitem(sys.modules, loaded)
    for name in names:
        patch.setitem(sys.modules, name, None)


class SmallNet(nn.Module):
    """A classifier as a library makes one: features, dropout, one linear layer named `fc`."""

    def __init__(self, classes: int = 1000, drop: float = 0.0) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, 2, 1)
        self.bn = nn.BatchNorm2d(8)
        self.drop = nn.Dropout(drop)
        self.fc = nn.Linear(8, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.bn(self.conv(x)).relu().mean((2, 3))
        return self.fc(self.drop(x))  # type: ignore[no-any-return]


def no_hub(*args: Any, **options: Any) -> Any:
    """A hub that cannot be reached."""
    raise ConnectionError("name or service not known")


def timm_stand_in(patch: pytest.MonkeyPatch) -> str:
    """A timm of one network whose hub cannot be reached; returns the network's name."""

    def create_model(name: str, *, pretrained: bool, num_classes: int, drop_rate: float) -> Any:
        return no_hub() if pretrained else SmallNet(num_classes, drop_rate)

    names = ["resnet10t"]
    made = _module(
        "timm",
        create_model=create_model,
        is_model=lambda name: name in names,
        list_models=lambda pattern: names,
    )
    patch.setitem(sys.modules, "timm", made)
    return names[0]


def real_timm(patch: pytest.MonkeyPatch) -> str:
    """timm itself, cut off from its hub; returns the name of one of its smallest networks."""
    torchvision_for_timm(patch)
    import timm

    create = timm.create_model

    def create_model(name: str, *, pretrained: bool, **options: Any) -> Any:
        return no_hub() if pretrained else create(name, pretrained=False, **options)

    patch.setattr(timm, "create_model", create_model)
    return "resnet10t"


def torchvision_stand_in(patch: pytest.MonkeyPatch) -> str:
    """A torchvision.models of one network whose hub cannot be reached; returns its name."""

    def get_model(name: str, *, weights: str | None) -> Any:
        return no_hub() if weights else SmallNet()

    models = _module("models", get_model=get_model, list_models=lambda: ["small"])
    patch.setitem(sys.modules, "torchvision", _module("torchvision", models=models))
    patch.setitem(sys.modules, "torchvision.models", models)
    return "small"


def real_torchvision(patch: pytest.MonkeyPatch) -> str:
    """torchvision itself, cut off from its hub; returns the name of one of its networks."""
    patch.setattr("torch.hub.load_state_dict_from_url", no_hub)
    patch.setattr("torchvision.models._api.load_state_dict_from_url", no_hub)
    return "shufflenet_v2_x0_5"


LIBRARIES = [("timm", timm_stand_in), ("torchvision", torchvision_stand_in)]
LIBRARIES += [("timm", real_timm)] if HAS_TIMM else []
LIBRARIES += [("torchvision", real_torchvision)] if HAS_TORCHVISION else []
