"""Which engine computes a model's predictions on this machine: found out once, beside the work.

"auto" begins with torch. Once torch has computed for as long as it takes to prepare another engine,
that one is prepared in a thread: the network is exported, compared with torch on one to three
images that were just predicted, and timed. Nobody waits for it, and a few predictions in all never
cause it. An engine that is asked for by name computes in float; in int8 if its name says so.
"""

import logging
import math
import threading
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch

from autoseg.bundle import Bundle
from autoseg.engine_files import Verdict, network_files
from autoseg.engines import (
    INT8_NAMES,
    INT8_TOLERANCE,
    TOLERANCE,
    Engine,
    EngineName,
    TorchEngine,
    check_engine,
    disagreement,
    has_bf16,
    is_installed,
    load_engine,
    runtime_of,
    said_by,
)
from autoseg.errors import AutosegError, ConfigError, PredictionError
from autoseg.export import takes_any_size
from autoseg.int8_files import Int8File, candidates, find_int8
from autoseg.training.hardware import Precision

_logger = logging.getLogger(__name__)

PATIENCE_S = 2.0
"""Time that torch computes before another engine is prepared, about what that takes, in seconds:
then preparing in vain never more than doubles the time."""

_FASTER = 0.9
"""An engine is used if it takes at most this share of torch's time."""

_SAMPLES, _ROUNDS = 3, 3
"""Images by which an engine is compared with torch, and how often it is timed."""

_PREPARING = threading.Lock()


def choose_engine(bundle: Bundle, precision: Precision, wish: str) -> Engine:
    """What computes the predictions of a model.

    Args:
        bundle: The model, on its device.
        precision: Where and how torch computes.
        wish: "auto", or a name of `ENGINE_NAMES` or `INT8_NAMES`.

    Raises:
        ConfigError: The engine is unknown, not installed, or not for this model or device; or it
            is to compute in int8 and no file for it was accepted on this machine.
    """
    check_engine(wish)
    own = TorchEngine(bundle.model, bundle.info.preprocessing, precision)
    on_cpu, any_size = precision.device.type == "cpu", takes_any_size(bundle)
    names: tuple[EngineName, ...] = ("openvino", "onnxruntime")
    if wish == "auto":
        found = next((name for name in names if is_installed(name)), None)
        return AutoEngine(bundle, own, found) if found and on_cpu and any_size else own
    for name in names:
        if name == runtime_of(wish):
            if not on_cpu:
                raise ConfigError(f'The engine {name} computes on the CPU: use device="cpu".')
            if not any_size:
                raise ConfigError(
                    f"The engine {name} takes images of any size, but this network takes one "
                    f'size only: use engine="torch".'
                )
            if wish in INT8_NAMES:
                _accepted(bundle, name)
            return AskedEngine(bundle, own, name, int8=wish in INT8_NAMES)
    return own


class AutoEngine:
    """Torch until something else has proven to be as good and faster."""

    def __init__(self, bundle: Bundle, own: TorchEngine, other: EngineName) -> None:
        self._bundle, self._own, self._other = bundle, own, other
        self._engine: Engine = own
        self._lock = threading.Lock()
        self._samples: deque[torch.Tensor] = deque(maxlen=_SAMPLES)
        # Int8 may change more pixels, and by how many differs more between images.
        self._fewest = _SAMPLES if candidates(bundle, other) else 1
        self._spent_s = 0.0
        self.preparing: threading.Thread | None = None
        """Finds out whether the other engine is better; None: not yet begun."""

    @property
    def name(self) -> str:
        """What computes at present."""
        return self._engine.name

    def __call__(self, pixels: torch.Tensor) -> torch.Tensor:
        """Pixels (N, 3, h, w) uint8 -> logits (N, K, h, w)."""
        engine = self._engine
        if engine is not self._own:
            try:
                return engine(pixels)
            except Exception as error:  # Whatever it is, such as its memory: torch is still there.
                self._engine = self._own
                self._tell(error)
        started = time.perf_counter()
        logits = self._own(pixels)
        if self.preparing is None:
            self._count(pixels, time.perf_counter() - started)
        return logits

    def _count(self, pixels: torch.Tensor, seconds: float) -> None:
        with self._lock:
            self._samples.append(pixels)
            self._spent_s += seconds
            enough = self._spent_s >= PATIENCE_S and len(self._samples) >= self._fewest
            if self.preparing is None and enough:
                # No daemon: a process must not end inside a runtime. It ends early by itself.
                self.preparing = threading.Thread(target=self._prepare, name="autoseg-engine")
                self.preparing.start()

    def _prepare(self) -> None:
        samples = list(self._samples)
        self._samples.clear()
        try:
            engine, verdict = prepare(
                self._bundle, self._own, self._other, samples, int8=len(samples) == _SAMPLES
            )
        except Exception as error:  # A network or a machine that it does not know.
            self._tell(error)
            return
        if engine is not None and verdict.faster:
            self._engine = engine

    def _tell(self, error: Exception) -> None:
        """Say why the other engine is not used; predictions go on as they would without it."""
        said = f"{self._other} cannot compute this model, torch goes on: {said_by(error)}"
        _logger.warning(said)


class AskedEngine:
    """The engine that was asked for, prepared by the first image."""

    def __init__(
        self, bundle: Bundle, own: TorchEngine, name: EngineName, *, int8: bool = False
    ) -> None:
        self._bundle, self._own, self._runtime, self._int8 = bundle, own, name, int8
        self._name = f"{name} int8" if int8 else name
        self._engine: Engine | None = None
        self._is_prepared = False
        self._lock = threading.Lock()

    @property
    def name(self) -> str:
        """What was asked for, which is what computes."""
        return self._name

    def __call__(self, pixels: torch.Tensor) -> torch.Tensor:
        """Pixels (N, 3, h, w) uint8 -> logits (N, K, h, w).

        Raises:
            PredictionError: The engine cannot compute this network, or not as torch does.
        """
        try:
            with self._lock:
                if not self._is_prepared:
                    self._engine, self._is_prepared = self._prepare(pixels), True
            if self._engine is not None:
                return self._engine(pixels)
        except AutosegError:
            raise
        except Exception as error:  # Each runtime has errors of its own.
            raise PredictionError(
                f'{self._name} cannot compute this model: {said_by(error)} Use engine="torch".'
            ) from error
        raise PredictionError(
            f"{self._name} gives more than {INT8_TOLERANCE if self._int8 else TOLERANCE:.1%} of "
            f'the first image\'s pixels another class than torch does. Use engine="torch".'
        )

    def _prepare(self, pixels: torch.Tensor) -> Engine | None:
        """The engine; None where its masks are not torch's."""
        if not self._int8:
            return prepare(self._bundle, self._own, self._runtime, [pixels])[0]
        with _PREPARING, torch.inference_mode():
            file = _accepted(self._bundle, self._runtime).path
            wanted = [self._own(pixels)]
            way = _way_that_agrees(self._runtime, file, [pixels], wanted, int8=True)
            return None if way is None else way.engine


def _accepted(bundle: Bundle, name: EngineName) -> Int8File:
    """The file in int8 for an engine that was asked for."""
    file = find_int8(bundle, name)
    if file is None:
        target = "onnx" if name == "onnxruntime" else name
        raise ConfigError(
            f"Beside the model in {bundle.path} is no file in int8 for {name} that was accepted "
            f"on this machine for its weights. `autoseg export MODEL --to {target} --int8` makes "
            f"one."
        )
    return file


def prepare(
    bundle: Bundle,
    own: TorchEngine,
    name: EngineName,
    samples: Sequence[torch.Tensor],
    *,
    int8: bool = False,
) -> tuple[Engine | None, Verdict]:
    """Make an engine for a network and judge it, or take what is known of it from the disk.

    Args:
        bundle: The model.
        own: The same in torch.
        name: "onnxruntime" or "openvino".
        samples: Pixels (N, 3, h, w) uint8 each, of real images.
        int8: Whether a file in int8 may be what is used, if one was accepted and is faster.

    Returns:
        The engine, None where its masks are not torch's; and what came out for it. That is kept,
        unless there is no engine: that holds for this process.
    """
    with _PREPARING, torch.inference_mode():
        file = find_int8(bundle, name) if int8 else None
        files = network_files(bundle, name)
        verdict = files.verdict(file)
        if not threading.main_thread().is_alive():  # The program is over.
            return None, Verdict(agrees=False)
        if verdict is None:
            engine, verdict = _judge(
                name, files.network, None if file is None else file.path, own, samples
            )
            if verdict.agrees:  # What failed on an odd image may serve all others.
                files.keep(verdict, file)
            return engine, verdict
        used = file.path if verdict.int8 and file is not None else files.network
        return load_engine(name, used, bf16=verdict.bf16, int8=verdict.int8), verdict


class _Way(NamedTuple):
    """A way to compute a network that was found to give torch's masks."""

    engine: Engine
    bf16: bool


def _judge(
    name: EngineName,
    network: Path,
    int8: Path | None,
    own: TorchEngine,
    samples: Sequence[torch.Tensor],
) -> tuple[Engine | None, Verdict]:
    """Compare an engine with torch on real images, and its ways to compute with each other."""
    wanted = [own(pixels) for pixels in samples]
    in_float = _way_that_agrees(name, network, samples, wanted)
    if in_float is None:
        return None, Verdict(agrees=False)
    in_int8 = None if int8 is None else _way_in_int8(name, int8, samples, wanted)
    engines = [own, in_float.engine] + ([] if in_int8 is None else [in_int8.engine])
    torch_s, float_s, *int8_s = _seconds(engines, samples[0])
    if in_int8 is not None and int8_s[0] <= _FASTER * float_s:
        faster = int8_s[0] <= _FASTER * torch_s
        return in_int8.engine, Verdict(True, in_int8.bf16, faster, int8=True)
    return in_float.engine, Verdict(True, in_float.bf16, float_s <= _FASTER * torch_s)


def _way_that_agrees(
    name: EngineName,
    file: Path,
    samples: Sequence[torch.Tensor],
    wanted: Sequence[torch.Tensor],
    *,
    int8: bool = False,
) -> _Way | None:
    """The first way to compute a file that gives torch's masks: bfloat16 where there is any."""
    for bf16 in (True, False) if has_bf16(name) else (False,):
        engine = load_engine(name, file, bf16=bf16, int8=int8)
        differing = max(
            disagreement(logits, engine(pixels))
            for logits, pixels in zip(wanted, samples, strict=True)
        )
        if differing <= (INT8_TOLERANCE if int8 else TOLERANCE):
            return _Way(engine, bf16)
    return None


def _way_in_int8(
    name: EngineName, file: Path, samples: Sequence[torch.Tensor], wanted: Sequence[torch.Tensor]
) -> _Way | None:
    """How to compute a user's file in int8; why it cannot be used is told."""
    try:
        way = _way_that_agrees(name, file, samples, wanted, int8=True)
        why = (
            f"it gives more than {INT8_TOLERANCE:.0%} of the pixels another class than torch does "
            f"on this machine."
        )
    except Exception as error:  # Each runtime has errors of its own.
        way, why = None, said_by(error)
    if way is None:
        _logger.warning("%s is not used: %s", file, why)
    return way


def _seconds(engines: Sequence[Engine], pixels: torch.Tensor) -> list[float]:
    """The least of a few times of each, in turns: others may have wanted the cores in the rest."""
    least = [math.inf] * len(engines)
    for _ in range(_ROUNDS):
        for k, engine in enumerate(engines):
            started = time.perf_counter()
            engine(pixels)
            least[k] = min(least[k], time.perf_counter() - started)
    return least
