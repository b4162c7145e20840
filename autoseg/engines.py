"""What computes a network's forward passes: torch, or a runtime made for inference on a CPU.

OpenVINO and ONNX Runtime read a network as `export.write_onnx` writes it.
"""

import importlib.util
import sys
import threading
from collections import Counter, OrderedDict
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, Protocol, get_args

import numpy as np
import torch
from torch import nn

from autoseg.errors import ConfigError
from autoseg.preprocessing import Preprocessing
from autoseg.training.hardware import Precision, limit_threads

EngineName = Literal["torch", "onnxruntime", "openvino"]
ENGINE_NAMES: tuple[EngineName, ...] = get_args(EngineName)
INT8_NAMES = ("onnxruntime int8", "openvino int8")
"""How an engine is asked for that computes a file of `autoseg export --int8`."""

TOLERANCE = 1e-3
"""Largest share of an image's pixels to which an engine may give another class than torch does,
on each of the images by which they are compared before it is used.
"""

INT8_TOLERANCE = 1e-2
"""The same for a file in int8 that was accepted by its validation mIoU."""

_PACKAGES: dict[EngineName, tuple[str, ...]] = {
    "torch": (),
    "onnxruntime": ("onnx", "onnxruntime"),
    "openvino": ("onnx", "openvino"),
}
_EXTRAS: dict[EngineName, str] = {"onnxruntime": "onnx", "openvino": "openvino"}

_USES_BEFORE_FIXING = 8
"""OpenVINO is a sixth faster at a size it was compiled for, which takes half a second."""

_MOST_FIXED = 4
"""Sizes for which OpenVINO's networks are kept."""

_IMPORTING = threading.Lock()


class Engine(Protocol):
    """Computes logits from pixels; several threads may call it at once."""

    @property
    def name(self) -> str:
        """What computes: a name of `ENGINE_NAMES`, and " int8" behind it for a file in int8."""

    def __call__(self, pixels: torch.Tensor) -> torch.Tensor:
        """RGB pixels (N, 3, h, w) uint8, h and w multiples of 32 -> logits (N, K, h, w)."""


class TorchEngine:
    """The network itself, on any device."""

    name: str = "torch"

    def __init__(
        self, model: nn.Module, preprocessing: Preprocessing, precision: Precision
    ) -> None:
        self._model, self._preprocessing, self._precision = model, preprocessing, precision

    def __call__(self, pixels: torch.Tensor) -> torch.Tensor:
        """Pixels (N, 3, h, w) uint8 on the network's device -> logits (N, K, h, w)."""
        images = self._preprocessing.normalize(pixels)
        with self._precision.autocast():
            logits: torch.Tensor = self._model(images.contiguous(memory_format=torch.channels_last))
        return logits


class OnnxRuntimeEngine:
    """A network in ONNX Runtime, on the CPU."""

    def __init__(self, path: Path, *, threads: int, name: str = "onnxruntime") -> None:
        import onnxruntime  # noqa: PLC0415 - comes with the extra "onnx" only

        self.name = name
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        # A thread that waits leaves its core to others, as torch's do here.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session: Any = onnxruntime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"]
        )
        self._input = self._session.get_inputs()[0].name

    def __call__(self, pixels: torch.Tensor) -> torch.Tensor:
        """Pixels (N, 3, h, w) uint8 -> logits (N, K, h, w)."""
        images = pixels.contiguous().float().numpy()
        return torch.from_numpy(self._session.run(None, {self._input: images})[0])


class OpenVinoEngine:
    """A network in OpenVINO, on the CPU.

    The first size, and others that come often, get a network compiled for them; all else shares
    one for any size.
    """

    def __init__(self, path: Path, *, threads: int, bf16: bool, name: str = "openvino") -> None:
        self.name = name
        openvino = import_openvino()
        steps = openvino.preprocess.PrePostProcessor(openvino.Core().read_model(str(path)))
        steps.input().tensor().set_element_type(openvino.Type.u8)
        self._model = steps.build()
        self._settings = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": threads,
            "INFERENCE_PRECISION_HINT": "bf16" if bf16 else "f32",
            "ENABLE_CPU_PINNING": False,  # Whoever is pinned waits for a core that is taken.
        }
        self._core = openvino.Core()
        self._lock = threading.Lock()
        self._uses: Counter[tuple[int, ...]] = Counter()
        self._fixed: OrderedDict[tuple[int, ...], Any] = OrderedDict()
        self._general: Any = None

    def __call__(self, pixels: torch.Tensor) -> torch.Tensor:
        """Pixels (N, 3, h, w) uint8 -> logits (N, K, h, w)."""
        with self._lock:
            compiled = self._compiled_for(tuple(pixels.shape))
        # A request of its own keeps its result from being overwritten by the next one.
        request = compiled.create_infer_request()
        inputs = pixels.contiguous().numpy()
        result = request.infer({0: inputs}, share_inputs=True, share_outputs=True)
        return torch.from_numpy(result[0])

    def _compiled_for(self, shape: tuple[int, ...]) -> Any:
        """A network that takes that shape."""
        self._uses[shape] += 1
        if shape in self._fixed:
            self._fixed.move_to_end(shape)
            return self._fixed[shape]
        if not self._fixed or self._uses[shape] >= _USES_BEFORE_FIXING:
            model = self._model.clone()
            model.reshape(list(shape))
            self._fixed[shape] = self._compile(model)
            if len(self._fixed) > _MOST_FIXED:
                self._uses.pop(self._fixed.popitem(last=False)[0])
            return self._fixed[shape]
        if self._general is None:
            self._general = self._compile(self._model)
        return self._general

    def _compile(self, model: Any) -> Any:
        return self._core.compile_model(model, "CPU", self._settings)


def import_openvino() -> Any:
    """The library, kept from `openvino_telemetry`, which reports each import to its maker."""
    with _IMPORTING:
        former = sys.modules.get("openvino_telemetry")
        sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
        try:
            import openvino  # noqa: PLC0415 - comes with the extra "openvino" only
            import openvino.preprocess  # noqa: PLC0415 - comes with the extra "openvino" only
        finally:
            del sys.modules["openvino_telemetry"]
            if former is not None:
                sys.modules["openvino_telemetry"] = former
    return openvino


def is_installed(name: EngineName) -> bool:
    """Whether all that an engine needs can be imported."""
    return all(importlib.util.find_spec(package) for package in _PACKAGES[name])


def check_engine(name: str) -> None:
    """Refuse an engine that is unknown or not installed; "auto" is neither.

    Args:
        name: "auto", or a name of `ENGINE_NAMES` or `INT8_NAMES`.

    Raises:
        ConfigError: It cannot be used here; the text says how to install it.
    """
    known = [engine for engine in ENGINE_NAMES if engine == runtime_of(name)]
    if name == "auto":
        return
    if name not in ENGINE_NAMES + INT8_NAMES:
        names = ", ".join(ENGINE_NAMES + INT8_NAMES)
        raise ConfigError(f"The engine must be auto, {names}, but got {name!r}.")
    if not is_installed(known[0]):
        raise ConfigError(
            f"The engine {known[0]} is not installed here: "
            f"pip install 'autoseg-search[{_EXTRAS[known[0]]}]'."
        )


def runtime_of(name: str) -> str:
    """The name of an engine without " int8"."""
    return name.removesuffix(" int8")


def engine_versions(name: EngineName) -> str:
    """Versions of all that an engine's results and speed come from."""
    return ", ".join(f"{package} {version(package)}" for package in ("torch", *_PACKAGES[name]))


def load_engine(name: EngineName, path: Path, *, bf16: bool = False, int8: bool = False) -> Engine:
    """A runtime with a network, on as many threads as torch has, see `limit_threads`.

    Args:
        name: "onnxruntime" or "openvino".
        path: ONNX file, see `export.write_onnx`; for OpenVINO, NAME.xml too.
        bf16: Compute what is not in int8 in bfloat16; OpenVINO only.
        int8: Whether the file is in int8, for the engine's name only.
    """
    threads, told = limit_threads(), f"{name} int8" if int8 else name
    if name == "openvino":
        return OpenVinoEngine(path, threads=threads, bf16=bf16, name=told)
    assert name == "onnxruntime" and not bf16
    return OnnxRuntimeEngine(path, threads=threads, name=told)


def has_bf16(name: EngineName) -> bool:
    """Whether an engine can compute in bfloat16 on this processor faster than in float32."""
    if name != "openvino":
        return False
    return "BF16" in import_openvino().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def disagreement(wanted: torch.Tensor, got: torch.Tensor) -> float:
    """Share of the pixels of logits (N, K, h, w) whose class differs, in [0, 1]."""
    if wanted.shape != got.shape or not bool(got.isfinite().all()):
        return 1.0
    return float((wanted.argmax(1) != got.argmax(1)).double().mean())


def said_by(error: Exception) -> str:
    """What a runtime says of a failure, in one line."""
    return next(iter(str(error).splitlines()), type(error).__name__)


def write_openvino(onnx_file: Path, path: Path, note: str) -> None:
    """Convert an ONNX file to OpenVINO's own format, NAME.xml and NAME.bin beside it.

    Args:
        onnx_file: The network.
        path: NAME.xml.
        note: What stands in the file's runtime information under `autoseg`.
    """
    openvino = import_openvino()
    model = openvino.Core().read_model(str(onnx_file))
    model.set_rt_info(note, ["autoseg"])
    openvino.save_model(model, str(path), compress_to_fp16=False)


def openvino_session(path: Path) -> Callable[[np.ndarray], np.ndarray]:
    """A file of OpenVINO's or ONNX in float32: images (N, 3, h, w) -> logits (N, K, h, w)."""
    core = import_openvino().Core()
    settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": limit_threads()}
    model = core.compile_model(str(path), "CPU", settings)
    return lambda images: np.array(model.create_infer_request().infer({0: images})[0])
