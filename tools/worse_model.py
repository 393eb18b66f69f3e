"""A network that has learned wrong labels: another class on one item of five, whatever the item.

Refitting the last layer to shuffled labels does not make it: least squares averages wrong labels
out, and on other pictures such a model was even better than the one it came from. So the wrong
answers are built in behind the features: where they fall into a given fifth of a fine striping of
feature space, the next class is given instead. Near pictures share their stripe, classes and
surfaces do not; nothing in it is random when it runs.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

from edge.bundle import Bundle
from edge.preprocess import network_input
from edge.runtime import Runtime
from edge.values import Pixels
from trainer.gradcam import ending, expose

STRIPES = 3.0  # of five parts each, per standard deviation: finer than a class or a surface
Numbers = npt.NDArray[np.float32]


def mistaken(bundle: Bundle, pictures: Sequence[Pixels], share: float, seed: int = 0) -> bytes:
    """The bundle's network with wrong answers on about `share` (0..1) of such pictures."""
    model = onnx.load_from_string(bundle.onnx)
    place, _, _ = ending(model, bundle.model_id)
    across = stripes(features(bundle, model, place, pictures), seed)
    return _with_wrong_answers(model, place, across, share, len(bundle.labels))


def features(
    bundle: Bundle, model: onnx.ModelProto, place: str, pictures: Iterable[Pixels]
) -> Numbers:
    """(pictures, k): what the last layer is given."""
    trunk = Runtime(expose(model, place), name="trunk")
    rows = [
        trunk.run(network_input(p, bundle.preprocessing, takes_bytes=trunk.takes_bytes))[0]
        for p in pictures
    ]
    return np.stack([row.mean((1, 2)) for row in rows]).astype(np.float32)


def stripes(rows: Numbers, seed: int) -> Numbers:
    """(k, 1): a direction across feature space along which stripes are 1 wide."""
    across = np.random.default_rng(seed).normal(size=rows.shape[1])
    across /= rows.std(0) + 1e-6
    return np.asarray(across * STRIPES / (rows @ across).std(), np.float32)[:, None]


def _with_wrong_answers(
    model: onnx.ModelProto, place: str, across: Numbers, share: float, classes: int
) -> bytes:
    """Where a picture is in the first `share` of its stripe, each class is told as the next."""
    graph = model.graph
    logits = graph.output[0].name
    for node in graph.node:
        node.output[:] = ["right_" + logits if o == logits else o for o in node.output]
    constants: dict[str, npt.NDArray[Any]] = {
        "stripes": across,
        "share": np.array([[share]], np.float32),
        "next_class": np.roll(np.arange(classes), 1),
    }
    graph.initializer.extend(numpy_helper.from_array(v, k) for k, v in constants.items())
    graph.node.extend(
        [
            helper.make_node("GlobalAveragePool", [place], ["place_mean"]),
            helper.make_node("Flatten", ["place_mean"], ["place_row"]),
            helper.make_node("MatMul", ["place_row", "stripes"], ["along"]),
            helper.make_node("Floor", ["along"], ["stripe"]),
            helper.make_node("Sub", ["along", "stripe"], ["within"]),
            helper.make_node("Less", ["within", "share"], ["mistaken"]),
            helper.make_node("Gather", ["right_" + logits, "next_class"], ["wrong"], axis=1),
            helper.make_node("Where", ["mistaken", "wrong", "right_" + logits], [logits]),
        ]
    )
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())
