"""Compiling a network in the midst of a long training, where that pays."""

import itertools
import os
import shutil
import time
import warnings
from collections.abc import Callable, Collection
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

import torch

from autoseg.files import size_bytes, used_at
from autoseg.training.compile_gains import PRIOR, Case, Gain, expected_gain, remember_gain
from autoseg.training.hardware import free_memory, is_out_of_memory, wait_for

TIMED_STEPS = 5
"""Steps timed before compiling and after it, besides one that warms up."""

CACHE_FOLDER = "compiled"
"""Where in `AUTOSEG_HOME` torch keeps what it compiled, so that the next time takes less."""

MOST_COMPILED_BYTES = 5 * 10**9
"""What is kept there at most, once nobody has compiled for an hour."""

_AT_REST_S = 3600.0

Network = Callable[[torch.Tensor], torch.Tensor]
Note = Callable[[str, Gain | None], None]


class Compilation:
    """A network in the steps of a training: as it is at first, and compiled once that pays.

    It compiles before one step, in a forward and a backward pass that count for nothing, and never
    later: whatever does not fit what was compiled then runs as it is. The module is not changed, so
    that scoring, with images of many shapes, goes on without.

    Args:
        model: The network, on its device, with gradients only within a step.
        batch_size: Images of a whole step.
        device: Where the network is.
        case: Under which its gain is remembered.
        home: `AUTOSEG_HOME`.
        seconds: How long the training will last.
        note: Told in a sentence what is being done and then what came of it, with the gain.
        backend: Of `torch.compile`.
        device_types: Where to compile. On CPUs steps became 0.76 to 1.1 times as fast.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        batch_size: int,
        device: torch.device,
        case: Case,
        home: Path,
        seconds: float,
        note: Note,
        *,
        backend: str | Callable[..., Any] = "inductor",
        device_types: Collection[str] = ("cuda",),
    ) -> None:
        self._model = model
        self._run: Network = model
        self._batch_size = batch_size
        self._device = device
        self._case = case
        self._home = home
        self._ends = time.monotonic() + seconds
        self._tell = note
        self._backend = backend
        self._began: list[float] = []
        self._eager_s = 0.0
        self._compile_s = 0.0
        self._shape: torch.Size | None = None
        self._is_timing = device.type in device_types and self._pays()

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """Images (N, 3, h, w) -> logits (N, K, h, w), at the beginning of a step."""
        if self._shape is not None and images.shape != self._shape:
            # Memory ran out, and the trainer now cuts steps into parts.
            self._leave(Gain(0.0, self._compile_s, no_memory=True), _NO_MEMORY)
        if self._is_timing:
            step_s = self._time_step(images)
            if step_s is not None:
                self._go_on(images, step_s)
        return self._run(images)

    def _pays(self) -> bool:
        return expected_gain(self._home, self._case).pays(self._ends - time.monotonic())

    def _time_step(self, images: torch.Tensor) -> float | None:
        """Seconds of a step, once there were enough of them."""
        if len(images) != self._batch_size:
            self._is_timing = False  # Memory is short as it is.
            return None
        wait_for(self._device)
        self._began.append(time.monotonic())
        if len(self._began) < TIMED_STEPS + 2:
            return None
        times = [after - before for before, after in itertools.pairwise(self._began)]
        self._began.clear()
        return min(times[1:])  # Between two steps the network may be scored.

    def _go_on(self, images: torch.Tensor, step_s: float) -> None:
        """Compile after the steps before it, judge after those that follow."""
        if self._shape is not None:
            self._judge(step_s)
        elif self._pays():
            self._eager_s = step_s
            self._compile(images)
        else:
            self._is_timing = False

    def _compile(self, images: torch.Tensor) -> None:
        """Compile for images of this shape, or say why that failed."""
        _empty_if_full(self._home / CACHE_FOLDER)
        os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(self._home / CACHE_FOLDER))
        # Should the process die of it, it must not do so again when the run goes on.
        remember_gain(self._home, self._case, Gain(0.0, PRIOR.compile_s))
        self._tell("Compiling the network, for faster steps.", None)
        began, no_memory, why = time.monotonic(), False, ""
        try:
            self._run = self._compiled(images)
        except Exception as error:  # Compilers and drivers fail in all kinds of ways.
            cause = _innermost(error)
            no_memory = isinstance(cause, RuntimeError) and is_out_of_memory(cause)
            why = _NO_MEMORY if no_memory else _FAILED + _first_line(cause)
        # Outside the handler: its traceback would keep the tensors of the failed pass.
        self._model.zero_grad(set_to_none=True)
        wait_for(self._device)
        self._compile_s = time.monotonic() - began
        if why:
            free_memory(self._device)
            self._leave(Gain(0.0, self._compile_s, no_memory), why)
        else:
            self._shape = images.shape

    def _compiled(self, images: torch.Tensor) -> Network:
        """The compiled network, after a pass forwards and backwards, both of which compile."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Advice to whoever writes networks.
            compiled = torch.compile(self._model, dynamic=False, backend=self._backend)
            network = cast(Network, compiled)
            logits = network(images)
            with torch.autocast(self._device.type, enabled=False):
                logits.float().sum().backward()  # type: ignore[no-untyped-call]

        def run(images: torch.Tensor) -> torch.Tensor:
            with torch.compiler.set_stance("eager_on_recompile"):
                return network(images)

        return run

    def _judge(self, step_s: float) -> None:
        """Keep the compiled network if its steps are faster; remember either way."""
        gain = Gain(self._eager_s / step_s, self._compile_s)
        took = f"The network was compiled in {gain.compile_s:.0f} s"
        if gain.ratio <= 1.0:
            self._leave(gain, f"{took}, but its steps are no faster: training goes on without.")
            return
        times = f"{1000 * step_s:.0f} ms instead of {1000 * self._eager_s:.0f} ms"
        self._is_timing = False
        self._end(gain, f"{took}: a step takes {times}.")

    def _leave(self, gain: Gain, sentence: str) -> None:
        """Go on with the network as it is."""
        self._run, self._shape, self._is_timing = self._model, None, False
        self._end(gain, sentence)

    def _end(self, gain: Gain, sentence: str) -> None:
        remember_gain(self._home, self._case, gain)
        self._tell(sentence, gain)


def _empty_if_full(folder: Path) -> None:
    """Begin anew where too much was kept: its files belong together in ways that torch alone knows.

    Where they change, another search compiles, and they stay.
    """
    with suppress(OSError):  # Another search is at work there, or nobody may look.
        changed_at = max(map(used_at, folder.rglob("*")), default=0.0)
        if size_bytes(folder) > MOST_COMPILED_BYTES and time.time() - changed_at > _AT_REST_S:
            shutil.rmtree(folder, ignore_errors=True)


_NO_MEMORY = "Memory ran out for the compiled network: training goes on without."

_FAILED = "The network could not be compiled, and training goes on without: "


def _innermost(error: BaseException) -> BaseException:
    """What a compiler's error is about."""
    while (inner := getattr(error, "inner_exception", None)) is not None:
        error = inner
    return error


def _first_line(error: BaseException) -> str:
    """What is wrong, in short."""
    text = str(error).strip().partition("\n")[0][:200]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
