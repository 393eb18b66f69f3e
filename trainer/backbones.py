"""Every network a recipe can name, and the weights it starts from; never a silent random start.

Our own: EfficientNet-Lite (trainer/models.py), ResNet (trainer/resnet.py) and two small ones that
start from nothing (trainer/scratch_nets.py). `timm:NAME` and `torchvision:NAME` are theirs,
imported only when asked for; timm itself imports torchvision.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from edge.errors import MissingExtraError, UsageError
from trainer import models
from trainer.models import FAMILY, package_file
from trainer.recipe import Network
from trainer.resnet import STAGES, ResNet
from trainer.scratch_nets import CnnFour, CnnPairs

Triple = tuple[float, float, float]
# Mean and deviation of RGB on 0..255, as published weights expect them.
NORMALISATIONS: dict[str, tuple[Triple, Triple]] = {
    "lite": (models.MEAN, models.STD),
    "imagenet": ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375)),
    "half": ((127.5, 127.5, 127.5), (127.5, 127.5, 127.5)),
}
FROM_NOTHING: dict[str, Callable[[int, float], nn.Module]] = {
    "cnn-four": CnnFour,
    "cnn-pairs": CnnPairs,
}
LITE_IN_TIMM = re.compile(r"timm:(?:tf_)?efficientnet_(lite[0-2])(?:\..*)?")
SMALLEST_PX = {"timm:inception_resnet_v2": 75}  # its unpadded convolutions leave nothing below
DEFAULT_FRESH = ("head.", "classifier.")


def normalisation(spec: Network) -> tuple[Triple, Triple]:
    """Mean and deviation of the network's input, RGB on 0..255."""
    if spec.normalise != "auto":
        return NORMALISATIONS[spec.normalise]
    theirs = spec.family in STAGES or ":" in spec.family
    return NORMALISATIONS["imagenet" if theirs else "lite"]


def least_px(family: str) -> int:
    """The smallest square a network computes on."""
    return SMALLEST_PX.get(family.partition(".")[0], 32)


def make(spec: Network, classes: int, weights: str | None = None) -> nn.Module:
    """The recipe's network with the weights that it, or `weights`, names.

    Raises MissingExtraError where a library or its weights cannot be had, UsageError for a name
    that nobody knows and for a file that does not fit.
    """
    start = weights or spec.weights
    if spec.family in FAMILY:
        return models.build(
            spec.family,
            classes,
            blocks=spec.blocks,
            head=spec.head,
            drop=spec.dropout,
            weights=_lite_start(start),
        )
    if spec.family in FROM_NOTHING:
        net = FROM_NOTHING[spec.family](classes, spec.dropout)
        return net if start == "scratch" else _loaded(net, start, spec.family)
    if spec.family in STAGES:
        return _resnet(spec, classes, start)
    library, _, name = spec.family.partition(":")
    maker = {"timm": _timm, "torchvision": _torchvision}[library]
    return maker(name, classes, spec, start)


def fresh_prefixes(net: nn.Module) -> tuple[str, ...]:
    """Names that the layers behind the trunk begin with: they learn faster, and first."""
    return tuple(getattr(net, "fresh", DEFAULT_FRESH))


def is_fresh(net: nn.Module, name: str) -> bool:
    """True for a parameter or module of the head."""
    return f"{name}.".startswith(fresh_prefixes(net))


def _lite_start(start: str) -> str:
    if start == "hub":
        raise UsageError(
            "network.weights = 'hub': the Lite weights are pip packages; use 'package', or the "
            "family timm:tf_efficientnet_lite0"
        )
    return start


def _resnet(spec: Network, classes: int, start: str) -> nn.Module:
    net = ResNet(spec.family, classes, spec.dropout)
    if start == "scratch":
        return net
    if start == "hub":
        theirs = _torchvision(spec.family, classes, spec, "hub")
        return _taken(net, theirs.state_dict(), f"torchvision's {spec.family}")
    return _loaded(net, start, spec.family)


def _loaded(net: nn.Module, start: str, family: str) -> nn.Module:
    """Tensors by name from a .pth, or a best.pt of this trainer."""
    if start == "package":
        raise MissingExtraError(
            f"network.weights = 'package': there is no package of weights for {family}; name a "
            ".pth file, 'hub' where the network has published weights, or 'scratch' to start from "
            "nothing"
        )
    path = Path(start)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise UsageError(f"{path}: no such file of weights (network.weights)") from error
    except Exception as error:  # torch raises pickle, zip and its own errors for a damaged file
        raise UsageError(f"{path}: weights cannot be read ({type(error).__name__})") from error
    for inside in ("state", "state_dict", "model"):
        if isinstance(content, dict) and isinstance(content.get(inside), dict):
            content = content[inside]
    return _taken(net, content, str(path))


def _taken(net: nn.Module, source: Any, where: str) -> nn.Module:
    """All of the trunk, each tensor by its name; of the head only what has the same shape."""
    if not isinstance(source, dict):
        raise UsageError(f"{where}: holds no table of tensors")
    given = {name.removeprefix("module."): tensor for name, tensor in source.items()}
    taken: dict[str, Tensor] = {}
    for name, tensor in net.state_dict().items():
        there = given.get(name)
        if there is not None and there.shape == tensor.shape:
            taken[name] = there
        elif not is_fresh(net, name):
            found = "is not in it" if there is None else f"is {tuple(there.shape)}"
            raise UsageError(f"{where}: {name} {found}, the network needs {tuple(tensor.shape)}")
    net.load_state_dict(taken, strict=False)
    return net


def _library(name: str) -> Any:
    """Import timm or torchvision, or say which of the two is missing."""
    try:
        return importlib.import_module("torchvision.models" if name == "torchvision" else name)
    except ImportError as error:
        missing = (error.name or name).partition(".")[0]
        why = " (timm imports torchvision)" if missing != name else ""
        raise MissingExtraError(
            f"network.family = '{name}:...' needs {missing}{why}: pip install 'smartbin[trainer]'; "
            "lite0 to lite2, resnet18, resnet50, cnn-four and cnn-pairs need neither"
        ) from error


def _timm(name: str, classes: int, spec: Network, start: str) -> nn.Module:
    timm = _library("timm")
    if not timm.is_model(name):
        close = ", ".join(timm.list_models(f"*{name[:12]}*")[:5]) or "see timm.list_models()"
        raise UsageError(f"network.family = 'timm:{name}': timm has no such network; {close}")
    package = LITE_IN_TIMM.fullmatch(f"timm:{name}")
    options = {"num_classes": classes, "drop_rate": spec.dropout}
    if start == "hub":
        try:
            return _marked(timm.create_model(name, pretrained=True, **options))
        except Exception as error:  # hub, HTTP, file and timm errors, all of them "not to be had"
            if package is None:
                raise _no_hub(f"timm:{name}", error) from error
    net = timm.create_model(name, pretrained=False, **options)
    if start == "scratch":
        return _marked(net)
    if start in ("hub", "package") and package is not None:
        return _in_order(_marked(net), package_file(FAMILY[package[1]].package))
    return _loaded(_marked(net), start, f"timm:{name}")


def _torchvision(name: str, classes: int, spec: Network, start: str) -> nn.Module:
    tv = _library("torchvision")
    if name not in tv.list_models():
        raise UsageError(
            f"network.family = 'torchvision:{name}': torchvision has no such network; see "
            "torchvision.models.list_models()"
        )
    if start == "hub":
        try:
            net = tv.get_model(name, weights="DEFAULT")
        except Exception as error:  # URL, file and torch errors, all of them "not to be had"
            raise _no_hub(f"torchvision:{name}", error) from error
    else:
        net = tv.get_model(name, weights=None)
    net = _marked(_relabelled(net, classes, spec.dropout))
    return net if start in ("hub", "scratch") else _loaded(net, start, f"torchvision:{name}")


def _no_hub(family: str, error: Exception) -> MissingExtraError:
    return MissingExtraError(
        f"{family}: its weights cannot be fetched from the hub ({type(error).__name__}: "
        f"{str(error).splitlines()[0][:120] if str(error) else 'no reason given'}); name a .pth "
        "file as network.weights, or 'scratch' to start from nothing"
    )


def _last_linear(net: nn.Module) -> str:
    names = [name for name, part in net.named_modules() if isinstance(part, nn.Linear)]
    if not names:
        raise UsageError(f"{type(net).__name__}: has no linear layer to give other classes to")
    return names[-1]


def _relabelled(net: nn.Module, classes: int, drop: float) -> nn.Module:
    """With a new last layer, which every classifier of torchvision but SqueezeNet has."""
    name = _last_linear(net)
    parent, _, leaf = name.rpartition(".")
    holder = net.get_submodule(parent)
    old = getattr(holder, leaf)
    setattr(holder, leaf, nn.Linear(old.in_features, classes))
    for part in holder.modules():
        if isinstance(part, nn.Dropout):
            part.p = drop
    return net


def _marked(net: nn.Module) -> nn.Module:
    """With the name of its last layer, by which a training knows what is new."""
    net.fresh = (f"{_last_linear(net)}.",)  # type: ignore[assignment]
    return net


def _in_order(net: nn.Module, path: Path) -> nn.Module:
    """The Lite packages list their tensors as timm does, under other names."""
    source = list(torch.load(path, map_location="cpu", weights_only=True).items())
    names = [name for name in net.state_dict() if not is_fresh(net, name)]
    renamed = {name: tensor for name, (_, tensor) in zip(names, source, strict=False)}
    return _taken(net, renamed, str(path))
