"""The only importer of onnxruntime: runs a network that lies in memory."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import cast

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from edge.errors import BundleError
from edge.preprocess import Tensor

ort.set_default_logger_severity(3)  # errors only: it warns of a missing cpuinfo on every ARM start


def _int8_saturates() -> bool:
    """Whether this is an x86 whose int8 multiply-add overflows its 16 bits: one without VNNI."""
    try:
        cpu = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return False
    return platform.machine() in ("x86_64", "AMD64") and "_vnni" not in cpu


class Runtime:
    """One network with one input and one output, on the CPU."""

    def __init__(self, onnx: bytes, *, name: str, threads: int = 1) -> None:
        self._name = name
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        # Spinning threads save microseconds and cost an idle core; a bin mostly waits.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        if _int8_saturates():  # then slower kernels, with the answers of the others
            options.add_session_config_entry("session.x64quantprecision", "1")
        try:
            self._session = ort.InferenceSession(onnx, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's own exceptions share no nameable base
            raise BundleError(f"{name}: onnxruntime cannot open the network ({error})") from error
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        if len(inputs) != 1 or len(outputs) != 1:
            raise BundleError(
                f"{name}: the network has {len(inputs)} inputs and {len(outputs)} outputs, "
                "one of each is needed"
            )
        self._input, self._output = inputs[0].name, outputs[0].name
        self.input_shape = tuple(inputs[0].shape)  # a str or None stands for a free dimension
        self.output_shape = tuple(outputs[0].shape)

    def run(self, batch: Tensor) -> npt.NDArray[np.float32]:
        """(b, 3, S, S) float32 to the network's output, (b, n) float32 logits."""
        try:
            outputs = self._session.run([self._output], {self._input: batch})
        except Exception as error:  # as above
            raise BundleError(f"{self._name}: onnxruntime cannot run it ({error})") from error
        return cast(npt.NDArray[np.float32], outputs[0])
