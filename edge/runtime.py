"""The only importer of onnxruntime: runs a network that lies in memory."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from edge.errors import BundleError
from edge.preprocess import Input

ort.set_default_logger_severity(3)  # errors only: it warns of a missing cpuinfo on every ARM start
CPU = "CPUExecutionProvider"
PROVIDERS = (
    CPU,
    "XnnpackExecutionProvider",
    "CUDAExecutionProvider",
    "TensorrtExecutionProvider",
    "OpenVINOExecutionProvider",
)
FEATURES = "features"  # name of the second output, where there is one


def _int8_saturates() -> bool:
    """Whether this is an x86 whose int8 multiply-add overflows its 16 bits: one without VNNI."""
    try:
        cpu = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return False
    return platform.machine() in ("x86_64", "AMD64") and "_vnni" not in cpu


def lean_options(*, threads: int) -> ort.SessionOptions:
    """For large networks of others: half the memory (u2netp: 390 of 760 MB), a fifth more time."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.enable_cpu_mem_arena = False
    options.enable_mem_pattern = False
    return options


@dataclass(frozen=True, slots=True)
class Engine:
    """How a network is run."""

    threads: int = 1
    provider: str = CPU
    spinning: bool = False  # saves microseconds and costs an idle core; a bin mostly waits
    arena: bool = True  # keeps its memory between runs

    @property
    def short(self) -> str:
        """The provider's name for a table."""
        return self.provider.removesuffix("ExecutionProvider")


def version() -> str:
    """Of onnxruntime."""
    return str(ort.__version__)


def providers() -> list[str]:
    """Execution providers that can run a network here, the CPU's own first."""
    there = [name for name in ort.get_available_providers() if name in PROVIDERS]
    return [CPU, *(name for name in there if name != CPU)]


class Runtime:
    """One network with one input, one output and perhaps its features."""

    def __init__(
        self, onnx: bytes, *, name: str, threads: int = 1, engine: Engine | None = None
    ) -> None:
        """`engine` goes before `threads`."""
        self._name = name
        engine = engine or Engine(threads=threads)
        options = ort.SessionOptions()
        options.intra_op_num_threads = engine.threads
        options.inter_op_num_threads = 1
        spins = "1" if engine.spinning else "0"
        options.add_session_config_entry("session.intra_op.allow_spinning", spins)
        options.enable_cpu_mem_arena = engine.arena
        if _int8_saturates():  # then slower kernels, with the answers of the others
            options.add_session_config_entry("session.x64quantprecision", "1")
        used = list(dict.fromkeys((engine.provider, CPU)))
        try:
            self._session = ort.InferenceSession(onnx, options, providers=used)
        except Exception as error:  # onnxruntime's own exceptions share no nameable base
            raise BundleError(f"{name}: onnxruntime cannot open the network ({error})") from error
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        extra = outputs[1:]
        if len(inputs) != 1 or not outputs or [o.name for o in extra] not in ([], [FEATURES]):
            raise BundleError(
                f"{name}: the network has {len(inputs)} inputs and {len(outputs)} outputs, one of "
                f"each is needed, and no other output than {FEATURES!r} is allowed"
            )
        self._input, self._output = inputs[0].name, outputs[0].name
        self.input_shape = tuple(inputs[0].shape)  # a str or None stands for a free dimension
        self.output_shape = tuple(outputs[0].shape)
        self.features = int(extra[0].shape[-1]) if extra else 0  # length of the second output
        self.takes_bytes = inputs[0].type == "tensor(uint8)"

    def run(self, batch: Input) -> npt.NDArray[np.float32]:
        """(b, 3, S, S) float32, or (b, S, S, 3) uint8 where it takes bytes, to (b, n) float32."""
        return self._run([self._output], batch)[0]

    def run_with_features(
        self, batch: Input
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """As `run`, with the (b, k) float32 that the last layer sees."""
        logits, features = self._run([self._output, FEATURES], batch)
        return logits, features

    def _run(self, outputs: list[str], batch: Input) -> list[npt.NDArray[np.float32]]:
        try:
            return cast(
                list[npt.NDArray[np.float32]], self._session.run(outputs, {self._input: batch})
            )
        except Exception as error:  # as above
            raise BundleError(f"{self._name}: onnxruntime cannot run it ({error})") from error
