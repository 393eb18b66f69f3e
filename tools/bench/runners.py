"""One network in one runtime: fed a squeezed picture, it answers with logits.

Each runtime is imported by its own class, so that a process of its own (tools/bench/child.py)
loads that runtime and nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

Logits = npt.NDArray[np.float32]  # (classes,)


@dataclass(frozen=True, slots=True)
class Contender:
    """A network as some runtime takes it."""

    name: str
    runtime: str  # a key of RUNTIMES
    precision: str
    path: Path
    size_px: int = 224
    mean: tuple[float, float, float] = (127.0, 127.0, 127.0)
    std: tuple[float, float, float] = (128.0, 128.0, 128.0)
    macs: int = 0
    trained: str = ""  # how, in words; empty where its answers mean nothing
    ours: bool = False
    why_not: str = ""  # in words, where it cannot be had here

    @property
    def key(self) -> str:
        return f"{self.name}, {self.precision}, {self.runtime}"

    @property
    def bytes(self) -> int:
        """Of the file, and of its weights where they lie apart."""
        beside = self.path.with_suffix(".bin")
        return self.path.stat().st_size + (beside.stat().st_size if beside.exists() else 0)


class Runner(Protocol):
    """A network that is open; `feed` is not timed, `run` is."""

    def feed(self, square: npt.NDArray[np.uint8]) -> Any:
        """(S, S, 3) uint8 RGB to what this network takes."""

    def run(self, fed: Any) -> Logits: ...


def normalised(contender: Contender, square: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """(S, S, 3) uint8 to float32 of the same shape."""
    mean, std = np.float32(contender.mean), np.float32(contender.std)
    return (square.astype(np.float32) - mean) / std


def channels_first(pixels: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """(S, S, 3) to (1, 3, S, S)."""
    return np.ascontiguousarray(pixels.transpose(2, 0, 1)[None])


class OnnxRunner:
    """onnxruntime on its CPU provider; idle threads do not spin, which would slow the next one."""

    def __init__(self, contender: Contender, threads: int) -> None:
        import onnxruntime as ort

        ort.set_default_logger_severity(3)
        options = ort.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._contender = contender
        self._session = ort.InferenceSession(
            str(contender.path), options, providers=["CPUExecutionProvider"]
        )
        given = self._session.get_inputs()[0]
        self._name, self._bytes = given.name, given.type == "tensor(uint8)"
        self._outputs = [self._session.get_outputs()[0].name]

    def feed(self, square: npt.NDArray[np.uint8]) -> Any:
        return square[None] if self._bytes else channels_first(normalised(self._contender, square))

    def run(self, fed: Any) -> Logits:
        return np.asarray(self._session.run(self._outputs, {self._name: fed})[0][0])


class LiteRunner:
    """LiteRT with XNNPACK, its default on a CPU; channels last."""

    def __init__(self, contender: Contender, threads: int) -> None:
        from ai_edge_litert.interpreter import Interpreter

        self._contender = contender
        self._net = Interpreter(str(contender.path), num_threads=threads)
        self._net.allocate_tensors()
        self._in, self._out = self._net.get_input_details()[0], self._net.get_output_details()[0]

    def feed(self, square: npt.NDArray[np.uint8]) -> Any:
        pixels = normalised(self._contender, square)[None]
        if self._in["dtype"] == np.float32:
            return pixels
        scale, zero = self._in["quantization"]
        return np.clip(np.round(pixels / scale) + zero, -128, 127).astype(np.int8)

    def run(self, fed: Any) -> Logits:
        self._net.set_tensor(self._in["index"], fed)
        self._net.invoke()
        found = self._net.get_tensor(self._out["index"])[0]
        if self._out["dtype"] == np.float32:
            return np.asarray(found)
        scale, zero = self._out["quantization"]
        return np.asarray((found.astype(np.float32) - zero) * scale)


class OpenVinoRunner:
    """OpenVINO on its CPU plugin, one stream; floats become bfloat16 where the core has it."""

    def __init__(self, contender: Contender, threads: int) -> None:
        import openvino

        core = openvino.Core()
        settings = {"INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1}
        net = core.compile_model(core.read_model(str(contender.path)), "CPU", settings)
        self._contender, self._bytes = contender, "u8" in net.inputs[0].element_type.get_type_name()
        self._request = net.create_infer_request()

    def feed(self, square: npt.NDArray[np.uint8]) -> Any:
        return square[None] if self._bytes else channels_first(normalised(self._contender, square))

    def run(self, fed: Any) -> Logits:
        self._request.infer([fed])
        return np.array(self._request.get_output_tensor(0).data[0], np.float32)


class NcnnRunner:
    """ncnn as pnnx writes it: weights as float16."""

    def __init__(self, contender: Contender, threads: int) -> None:
        import ncnn

        self._ncnn, self._contender, self._net = ncnn, contender, ncnn.Net()
        self._net.opt.num_threads = threads
        self._net.load_param(str(contender.path))
        self._net.load_model(str(contender.path.with_suffix(".bin")))

    def feed(self, square: npt.NDArray[np.uint8]) -> Any:
        return channels_first(normalised(self._contender, square))[0]

    def run(self, fed: Any) -> Logits:
        asked = self._net.create_extractor()
        asked.input("in0", self._ncnn.Mat(fed))
        return np.array(asked.extract("out0")[1], np.float32)


RUNTIMES: dict[str, Any] = {
    "onnxruntime": OnnxRunner,
    "LiteRT": LiteRunner,
    "OpenVINO": OpenVinoRunner,
    "ncnn": NcnnRunner,
}


def opened(contender: Contender, threads: int = 1) -> Runner:
    """Ready to run; raises ImportError where its runtime is not installed."""
    made: Runner = RUNTIMES[contender.runtime](contender, threads)
    return made
