"""Small segmenters for tests: a network that takes what is bright for the item, and its card."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np

WIDTH_PX, HEIGHT_PX = 64, 48
GAIN = 24.0  # of the logits: sharp, so that only an edge is undecided


def bright_network(*, takes_bytes: bool = False) -> bytes:
    """ONNX: logits of the mean of the channels over 0; (1,3,48,64) to (1,1,48,64)."""
    import onnx
    from onnx import TensorProto, helper

    weights = np.full((1, 3, 1, 1), GAIN / 3, np.float32)
    nodes = [helper.make_node("Conv", ["normalised", "weights"], ["mask"])]
    if takes_bytes:  # (1,48,64,3) uint8, normalised within, as quantized networks are shipped
        nodes = [
            helper.make_node("Cast", ["pixels"], ["levels"], to=TensorProto.FLOAT),
            helper.make_node("Transpose", ["levels"], ["planes"], perm=[0, 3, 1, 2]),
            helper.make_node("Sub", ["planes", "mean"], ["shifted"]),
            helper.make_node("Div", ["shifted", "std"], ["normalised"]),
            *nodes,
        ]
        given = helper.make_tensor_value_info(
            "pixels", TensorProto.UINT8, (1, HEIGHT_PX, WIDTH_PX, 3)
        )
    else:
        given = helper.make_tensor_value_info(
            "normalised", TensorProto.FLOAT, (1, 3, HEIGHT_PX, WIDTH_PX)
        )
    graph = helper.make_graph(
        nodes,
        "bright",
        [given],
        [helper.make_tensor_value_info("mask", TensorProto.FLOAT, (1, 1, HEIGHT_PX, WIDTH_PX))],
        [
            onnx.numpy_helper.from_array(weights, "weights"),
            onnx.numpy_helper.from_array(np.float32(127), "mean"),
            onnx.numpy_helper.from_array(np.float32(128), "std"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return bytes(model.SerializeToString())


def write_mask_net(folder: Path, *, takes_bytes: bool = False, **changed: object) -> Path:
    """Write the network and its card, with keys of the card changed; returns the .onnx."""
    folder.mkdir(parents=True, exist_ok=True)
    network = bright_network(takes_bytes=takes_bytes)
    card = {
        "format": 1,
        "kind": "segmenter",
        "version": 2,
        "sha256": hashlib.sha256(network).hexdigest(),
        "input": {"width_px": WIDTH_PX, "height_px": HEIGHT_PX},
        "mean": [127, 127, 127],
        "std": [128, 128, 128],
        "output": "logits",
        "threshold": 0.5,
        "metrics": [],
        "licence": "test",
    }
    path = folder / "bright.onnx"
    path.write_bytes(network)
    path.with_suffix(".json").write_text(json.dumps({**card, **changed}))
    return path
