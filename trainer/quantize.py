"""Static int8 of an exported network: QDQ, weights per channel, the best of several calibrations.

The scheme is that of Jacob et al. (CVPR 2018): activations with scale and zero point, weights
symmetric, 32-bit sums. ReLU6 needs no node of its own: the range of its output is its clip.
"""

from __future__ import annotations

import io
import logging
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_static,
)
from onnxruntime.quantization.shape_inference import quant_pre_process

from edge.classifier import softmax
from edge.errors import SmartbinError
from edge.pictures import read_picture
from edge.preprocess import Preprocessing, Tensor, prepare
from trainer.bundles import INPUT, IR_VERSION
from trainer.data import PhotoSet
from trainer.evaluate import logits_of
from trainer.scoring import Labels

STRIDE = 16  # pictures whose activations are held at once, 40 MB each at 224 px


@dataclass(frozen=True, slots=True)
class Variant:
    """One way to find the ranges of the activations."""

    name: str
    method: CalibrationMethod
    percentile: float | None = None


VARIANTS = (
    Variant("minmax-u8", CalibrationMethod.MinMax),
    Variant("percentile99.99-u8", CalibrationMethod.Percentile, percentile=99.99),
    Variant("percentile99.999-u8", CalibrationMethod.Percentile, percentile=99.999),
    Variant("entropy-u8", CalibrationMethod.Entropy),
)


@dataclass(frozen=True, slots=True)
class Tried:
    """What a variant gave on validation; shares are 0..1."""

    name: str
    accuracy: float
    agreement: float  # labels equal to fp32's
    divergence: float  # mean KL(fp32, int8), nats
    bytes: int

    @property
    def rank(self) -> tuple[float, float]:
        """Closest to fp32 first: accuracies differ by single pictures, which is luck."""
        return self.agreement, -self.divergence


@dataclass(frozen=True, slots=True)
class Quantized:
    """The chosen int8 network, and all that were tried."""

    onnx: bytes
    logits: npt.NDArray[np.float32]  # (n, classes) on validation
    chosen: Tried
    tried: tuple[Tried, ...]


class Reader(CalibrationDataReader):  # type: ignore[misc]
    """Hands prepared pictures (n, 3, S, S) to onnxruntime, one by one."""

    def __init__(self, inputs: Tensor) -> None:
        self._inputs, self._at, self._end = inputs, 0, len(inputs)

    def get_next(self) -> dict[str, Tensor] | None:
        if self._at >= self._end:
            return None
        self._at += 1
        return {INPUT: self._inputs[self._at - 1 : self._at]}

    def __len__(self) -> int:
        return len(self._inputs)

    def set_range(self, start_index: int, end_index: int) -> None:
        self._at, self._end = start_index, end_index


def prepared(
    photos: PhotoSet, spec: Preprocessing, tick: Callable[[], object] = lambda: None
) -> Tensor:
    """(n, 3, S, S) float32: the photos as the bin would feed them."""
    rows = []
    for path in photos.paths:
        rows.append(prepare(read_picture(path), spec)[0])
        tick()
    return np.stack(rows)


def calibration_rows(targets: Labels, count: int, seed: int) -> list[int]:
    """`count` pictures, as many of each class as there are to be had, in random order."""
    rng = np.random.default_rng([seed, 8])
    by_class = [list(rng.permutation(np.flatnonzero(targets == c))) for c in np.unique(targets)]
    chosen: list[int] = []
    while len(chosen) < min(count, len(targets)):
        for rows in by_class:
            if rows and len(chosen) < count:
                chosen.append(int(rows.pop()))
    return [chosen[i] for i in rng.permutation(len(chosen))]


def quantize(
    fp32: bytes,
    calibration: Tensor,
    val: Tensor,
    truth: Labels,
    *,
    least_agreement: float,
    spec: Preprocessing | None = None,
    variants: Sequence[Variant] = VARIANTS,
    say: Callable[[str], object] = lambda text: None,
) -> Quantized:
    """Try the variants on validation inputs (n, 3, S, S) and keep the one closest to fp32.

    `spec` is what made those inputs of bytes. Raises SmartbinError where even that agrees with fp32
    on a smaller share than it must.
    """
    reference = logits_of(fp32, val)
    best: tuple[Tried, bytes, npt.NDArray[np.float32]] | None = None
    tried = []
    for variant in variants:
        int8 = quantize_once(fp32, calibration, variant, spec)
        logits = logits_of(int8, val)
        result = compare(variant.name, reference, logits, truth, len(int8))
        say(
            f"{variant.name}: accuracy {result.accuracy:.4f}, labels as fp32 "
            f"{result.agreement:.4f}, divergence {result.divergence:.5f}"
        )
        tried.append(result)
        if best is None or result.rank > best[0].rank:
            best = result, int8, logits
    assert best is not None
    refuse_disagreement(best[0], least_agreement)
    return Quantized(best[1], best[2], best[0], tuple(tried))


def refuse_disagreement(result: Tried, least_agreement: float) -> None:
    """An int8 network that says other labels than its fp32 form is not written."""
    if result.agreement < least_agreement:
        raise SmartbinError(
            f"int8 ({result.name}) gives fp32's label on {result.agreement:.1%} of the validation "
            f"pictures, int8.least_agreement is {least_agreement:.1%}; nothing was written: "
            "raise int8.calibration_pictures, or train longer"
        )


def quantize_once(
    fp32: bytes, calibration: Tensor, variant: Variant, spec: Preprocessing | None = None
) -> bytes:
    """ONNX bytes with QuantizeLinear and DequantizeLinear around every convolution.

    With `spec` the steps of the input are the bytes it was made of, where they can be.
    """
    usable = len(calibration) - len(calibration) % STRIDE or len(calibration)
    options: dict[str, object] = {
        "ActivationSymmetric": False,
        "WeightSymmetric": True,
        "CalibStridedMinMax": min(STRIDE, usable),
    }
    if variant.percentile is not None:
        options["CalibPercentile"] = variant.percentile
    if spec is not None:
        options["TensorQuantOverrides"] = byte_steps(spec)
    with _quiet(), tempfile.TemporaryDirectory(prefix="smartbin-int8-") as folder:
        ready, out = (Path(folder) / name for name in ("a.onnx", "b.onnx"))
        ready.write_bytes(preprocessed(fp32))
        quantize_static(
            ready,
            out,
            Reader(calibration[:usable]),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            # Signed ones give the same answers in twice the time (docs/experiments.md).
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=variant.method,
            extra_options=options,
        )
        return _tidied(onnx.load(out))


def byte_steps(spec: Preprocessing) -> dict[str, list[dict[str, object]]]:
    """The input's scale and zero point that give each byte back; empty where channels differ.

    Its range is known. A percentile would cut a level off it, and the network could no longer take
    bytes as they are (trainer.rawinput), which cost a millisecond.
    """
    mean, std = spec.mean[0], spec.std[0]
    alike = set(spec.mean) == {mean} and set(spec.std) == {std}
    if not alike or mean != int(mean) or not 0 <= mean <= 255:
        return {}
    steps = {
        "quant_type": QuantType.QUInt8,
        "scale": np.array(1 / std, np.float32),
        "zero_point": np.array(int(mean), np.uint8),
    }
    return {INPUT: [steps]}


def preprocessed(fp32: bytes) -> bytes:
    """The float network as quantizing takes it: shapes known, what can be fused is fused."""
    with _quiet(), tempfile.TemporaryDirectory(prefix="smartbin-float-") as folder:
        plain, ready = (Path(folder) / name for name in ("a.onnx", "b.onnx"))
        plain.write_bytes(fp32)
        quant_pre_process(plain, ready, skip_symbolic_shape=True)
        return ready.read_bytes()


@contextmanager
def _quiet() -> Iterator[None]:
    """onnxruntime's quantizer prints to standard output and warns on the root logger."""
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)
    try:
        with redirect_stdout(io.StringIO()):
            yield
    finally:
        root.setLevel(level)


def _tidied(model: onnx.ModelProto) -> bytes:
    """Without the tools' notes, which cost bytes and name files of this machine."""
    del model.metadata_props[:]
    del model.graph.value_info[:]
    model.ir_version = min(model.ir_version, IR_VERSION)
    for node in model.graph.node:
        node.doc_string = ""
        del node.metadata_props[:]
    return bytes(model.SerializeToString())


def compare(
    name: str,
    reference: npt.NDArray[np.float32],
    logits: npt.NDArray[np.float32],
    truth: Labels,
    size_bytes: int,
) -> Tried:
    """How far int8 logits (n, c) are from fp32's."""
    p, q = softmax(reference), softmax(logits)
    divergence = float((p * (np.log(p + 1e-9) - np.log(q + 1e-9))).sum(1).mean())
    found = logits.argmax(1)
    return Tried(
        name=name,
        accuracy=float((found == truth).mean()),
        agreement=float((found == reference.argmax(1)).mean()),
        divergence=divergence,
        bytes=size_bytes,
    )
