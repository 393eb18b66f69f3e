"""Makes the contenders: what a user would pick instead, converted for the runtimes they run in.

Everything is written into one folder and found there again. What cannot be made here is a
contender all the same: one that says why.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from torch import nn

from edge.errors import SmartbinError
from edge.preprocess import Tensor
from edge.shipped import shipped
from tools.bench.limits import count
from tools.bench.runners import Contender
from trainer import backbones
from trainer.checkpoint import load_trained
from trainer.export import export, fold_batchnorm
from trainer.models import Block, Lite, build, conv_bn, cut_lite0
from trainer.quantize import VARIANTS, quantize_once
from trainer.recipe import Network

CLASSES, SIZE_PX = 6, 224
# Channels, repeats, stride of MobileNetV2's stages behind its first (Sandler et al., CVPR 2018).
MOBILE_STAGES = ((24, 2, 2), (32, 3, 2), (64, 4, 2), (96, 3, 1), (160, 3, 2), (320, 1, 1))
EARLIER = {  # families of the earlier projects' recipes
    "ResNet-18": "resnet18",
    "ResNet-50": "resnet50",
    "EfficientNetV2-S": "timm:tf_efficientnetv2_s",
    "CNN of 4 blocks": "cnn-four",
}
Step = Callable[[], Path]


def students() -> list[Contender]:
    """What this project ships, in the runtime it ships with and in another."""
    found = []
    for precision in ("int8", "fp32"):
        path = shipped(f"models/student.{precision}.onnx")
        macs = count_of(path)
        for runtime in ("onnxruntime", "OpenVINO"):
            told = "shipped, see its JSON"
            found.append(
                Contender(
                    "our student", runtime, precision, path, macs=macs, trained=told, ours=True
                )
            )
    return found


def count_of(path: Path) -> int:
    """Multiply-accumulates of an ONNX file."""
    return count(onnx.shape_inference.infer_shapes(onnx.load(path)))[0]


def lite0(checkpoint: Path | None) -> tuple[nn.Module, str]:
    """EfficientNet-Lite0 whole, and how it was trained; empty without a checkpoint."""
    if checkpoint is None:
        return build("lite0", CLASSES, blocks=0).eval(), ""
    trained = load_trained(checkpoint)
    if not isinstance(trained.net, Lite) or len(trained.net.blocks) != 16:
        raise SmartbinError(f"{checkpoint}: not a whole EfficientNet-Lite0")
    recipe = trained.recipe
    epochs, frozen = recipe.training.epochs, recipe.training.frozen_blocks
    told = f"epoch {trained.epoch} of {epochs}, first {frozen} blocks frozen"
    share = recipe.augment.swap_share
    return trained.net, told + (f", {share:.0%} on other backgrounds" if share else ", no swaps")


def mobilenet_v2() -> nn.Module:
    """MobileNetV2 1.0 with random weights: its published ones come from a hub."""
    blocks, cin = [Block(32, 16, 3, 1, 1)], 16
    for channels, repeats, stride in MOBILE_STAGES:
        for repeat in range(repeats):
            blocks.append(Block(cin, channels, 3, stride if repeat == 0 else 1, 6))
            cin = channels
    stem = nn.Sequential(conv_bn(3, 32, 3, 2), nn.ReLU6(inplace=True))
    head = nn.Sequential(conv_bn(cin, 1280, 1), nn.ReLU6(inplace=True))
    end = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1280, CLASSES))
    return nn.Sequential(stem, *blocks, head, end).eval()


class Workshop:
    """Converts networks into files of one folder, once each."""

    def __init__(self, folder: Path, calibration: Tensor, say: Callable[[str], object]) -> None:
        """`calibration` is (n, 3, S, S) float32, normalised as the Lite family is."""
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._calibration, self._say = folder, calibration, say

    def contenders(self, checkpoints: dict[str, Path]) -> list[Contender]:
        """All, in the order of the table; `checkpoints` of Lite0 by the words that name them."""
        found = students()
        named = checkpoints or {"": None}
        for words, checkpoint in named.items():
            net, told = lite0(checkpoint)
            name = f"EfficientNet-Lite0{f' ({words})' if words else ''}"
            every = checkpoint is None or words == next(iter(named))
            found += self._small(name, net, told, every=every)
        # The shipped files hold no weights that litert-torch could take: its time alone.
        same = cut_lite0(CLASSES).eval()
        found += self._small("our student's layers", same, "", every=False)[:1]
        found += self._small("MobileNetV2", mobilenet_v2(), "", every=False)
        for name, family in EARLIER.items():
            found.append(self._earlier(name, family))
        return found

    def _small(self, name: str, net: nn.Module, told: str, *, every: bool) -> list[Contender]:
        """As int8 in LiteRT and onnxruntime; with `every`, fp32 and the other runtimes too."""
        stem = "".join(c if c.isalnum() else "-" for c in name)
        fp32 = self._folder / f"{stem}.fp32.onnx"
        int8 = self._folder / f"{stem}.int8.onnx"
        self._once(fp32, lambda: export(net, SIZE_PX))
        self._once(int8, lambda: self._int8(fp32))
        macs = count_of(fp32)
        light = self._folder / f"{stem}.int8.tflite"
        steps: list[tuple[str, str, Path, Callable[[], bytes]]] = [
            ("LiteRT", "int8", light, lambda: self._lite(net)),
            ("onnxruntime", "int8", int8, lambda: b""),
        ]
        if every:
            param = self._folder / f"{stem}.param"
            steps += [
                ("OpenVINO", "int8", int8, lambda: b""),
                ("onnxruntime", "fp32", fp32, lambda: b""),
                ("ncnn", "fp16 weights", param, lambda: self._ncnn(net, param)),
            ]
        return [
            self._made(Contender(name, runtime, precision, path, macs=macs, trained=told), step)
            for runtime, precision, path, step in steps
        ]

    def _earlier(self, name: str, family: str) -> Contender:
        path = self._folder / f"{name.replace(' ', '-')}.fp32.onnx"
        spec = Network(family=family, weights="scratch", size_px=SIZE_PX)
        mean, std = backbones.normalisation(spec)
        made = Contender(name, "onnxruntime", "fp32", path, mean=mean, std=std)
        made = self._made(made, lambda: export(backbones.make(spec, CLASSES).eval(), SIZE_PX))
        return made if made.why_not else replace(made, macs=count_of(path))

    def _made(self, contender: Contender, step: Callable[[], bytes]) -> Contender:
        try:
            self._once(contender.path, step)
        except (ImportError, OSError, SmartbinError, RuntimeError) as error:
            why = str(error).strip().splitlines()[0][:160]
            return replace(contender, why_not=why)
        return contender

    def _once(self, path: Path, step: Callable[[], bytes]) -> None:
        if path.exists():
            return
        self._say(f"making {path.name}")
        if content := step():
            path.write_bytes(content)

    def _int8(self, fp32: Path) -> bytes:
        return quantize_once(fp32.read_bytes(), self._calibration, VARIANTS[0])

    def _lite(self, net: nn.Module) -> bytes:
        """Float by litert-torch, then static int8 by its quantizer, input and output too."""
        import litert_torch
        from ai_edge_quantizer import quantizer, recipe

        last = litert_torch.to_channel_last_io(fold_batchnorm(net), args=[0]).eval()
        plain = self._folder / "float.tflite"
        litert_torch.convert(last, (torch.zeros(1, SIZE_PX, SIZE_PX, 3),)).export(str(plain))
        made = quantizer.Quantizer(str(plain))
        made.load_quantization_recipe(recipe.static_wi8_ai8())
        rows = [{"args_0": row[None].transpose(0, 2, 3, 1).copy()} for row in self._calibration]
        done = made.quantize(made.calibrate({"serving_default": rows}))
        plain.unlink()
        return bytes(done.quantized_model)

    def _ncnn(self, net: nn.Module, param: Path) -> bytes:
        """By pnnx, from a trace; it writes its files by itself."""
        trace = param.with_suffix(".pt")
        torch.jit.trace(fold_batchnorm(net), torch.zeros(1, 3, SIZE_PX, SIZE_PX)).save(str(trace))
        tool = Path(sys.executable).with_name("pnnx")
        shape = f"inputshape=[1,3,{SIZE_PX},{SIZE_PX}]"
        out = [f"ncnnparam={param.name}", f"ncnnbin={param.stem}.bin"]
        subprocess.run(
            [str(tool), trace.name, shape, *out], cwd=param.parent, capture_output=True, check=True
        )
        return b""


def calibration_of(squares: list[Any]) -> Tensor:
    """(S, S, 3) uint8 pictures as the Lite family's normalised input, (n, 3, S, S)."""
    stacked = np.stack(squares).astype(np.float32)
    return np.ascontiguousarray(((stacked - 127) / 128).transpose(0, 3, 1, 2))
