"""How fast encoders train on this machine, per pixel: measured on noise, corrected by every run."""

import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from autoseg.config import MAX_FROZEN_DEPTH, from_dict, read_json
from autoseg.depthwise import ease_grouped_convolutions
from autoseg.errors import ConfigError, EncoderError
from autoseg.files import write_json
from autoseg.model import build_model, decoders_for, split_forward, splittable_depths
from autoseg.search.budget import EncoderCost
from autoseg.search.devices import device_key
from autoseg.training.hardware import Precision, has_fast_bf16, wait_for
from autoseg.training.loss import segmentation_loss

_NOISE = (8, 128)
"""Windows and their side, in pixels."""

_STEPS = 4

_HEAD_SHARE = 0.25
_DECODER_SHARE = 0.2
"""The frozen encoder's pass and a decoder step as shares of a whole step, until a run says more."""


@dataclass(frozen=True)
class StepMemory:
    """What training keeps in memory, in bytes per pixel of a window, in float32."""

    saved_bytes: float
    """For the backward pass of a step."""
    feature_bytes: float
    """Cached features of the frozen encoder; 0: they cannot be cached."""


@dataclass(frozen=True)
class Speed:
    """What one encoder costs for each pixel of its input."""

    step_s: float
    """A fine-tuning step with nothing frozen, in seconds per pixel."""
    head_s: float
    """The frozen encoder's forward pass, in seconds per pixel."""
    decoder_s: float
    """A decoder step on cached features, in seconds per pixel."""
    validation_s: float
    """Scoring, in seconds per pixel."""
    memory: StepMemory | None
    """What training keeps; None: a run has no time to count it."""
    measured_on: str
    """"noise", "run", or "noise while busy" if another search had the device."""
    decoder_name: str
    """The decoder, by default that of the encoder."""
    latency_s: float | None = None
    """One image alone, in seconds per pixel; None: not measured yet."""

    def cost(self, window_pixels: float, image_pixels: float) -> EncoderCost:
        """The same for windows and images of so many pixels."""
        return EncoderCost(
            step_s=self.step_s * window_pixels,
            head_s=self.head_s * window_pixels,
            decoder_s=self.decoder_s * window_pixels,
            validation_s=self.validation_s * image_pixels,
            bf16=False,
            latency_s=None if self.latency_s is None else self.latency_s * image_pixels,
        )

    def times(self, factor: float) -> "Speed":
        """That of an encoder so many times slower."""
        return replace(
            self,
            step_s=factor * self.step_s,
            head_s=factor * self.head_s,
            decoder_s=factor * self.decoder_s,
            validation_s=factor * self.validation_s,
            latency_s=None if self.latency_s is None else factor * self.latency_s,
        )


def known_speeds(home: Path, device: torch.device) -> dict[str, Speed]:
    """By encoder, what was measured on this device with this torch."""
    table = _read(home).get(_key(device), {})
    speeds = {}
    for name, values in table.items():
        with suppress(ConfigError, EncoderError):  # Of another version: it is measured again.
            speed = from_dict(Speed, values, "speed.json")
            if speed.decoder_name == decoders_for(name)[0]:
                speeds[name] = speed
    return speeds


def remember_speeds(home: Path, device: torch.device, speeds: Mapping[str, Speed]) -> None:
    """Keep speeds in `speed.json`, those of other encoders and devices as they are.

    Where that cannot be written, on a full disk say, they are measured again when asked for.
    """
    stored = _read(home)
    table = stored.get(_key(device), {})
    table.update({name: asdict(speed) for name, speed in speeds.items()})
    with suppress(OSError):
        write_json(home / "speed.json", {**stored, _key(device): table})


def remember_costs(
    home: Path,
    device: torch.device,
    costs: Mapping[str, EncoderCost],
    window_pixels: float,
    image_pixels: float,
) -> None:
    """Keep what a run measured.

    Args:
        home: `AUTOSEG_HOME`.
        device: Where it was measured.
        costs: By encoder, with its default decoder.
        window_pixels: Of a training window.
        image_pixels: Of the mean validation image, at working size.
    """
    known = known_speeds(home, device)
    speeds = {}
    for name, cost in costs.items():
        memory = known[name].memory if name in known else None
        speeds[name] = Speed(
            cost.step_s / window_pixels,
            cost.head_s / window_pixels,
            cost.decoder_s / window_pixels,
            cost.validation_s / image_pixels,
            memory,
            "run",
            decoders_for(name)[0],
            cost.image_s / image_pixels,
        )
    remember_speeds(home, device, speeds)


def measure_on_noise(encoder_name: str, device: torch.device, *, busy: bool = False) -> Speed:
    """Measure one encoder in a second or so, without data and without its weights."""
    step_s = time_noise(encoder_name, 4, device)
    return Speed(
        step_s,
        _HEAD_SHARE * step_s,
        _DECODER_SHARE * step_s,
        (_HEAD_SHARE + _DECODER_SHARE / 2) * step_s,
        step_memory(encoder_name),
        "noise while busy" if busy else "noise",
        decoders_for(encoder_name)[0],
    )


def time_noise(encoder_name: str, num_classes: int, device: torch.device) -> float:
    """Seconds per pixel of a training step on noise, best of a few, in the precision that is
    faster."""
    model = _network(encoder_name, num_classes).to(device)
    is_cpu, fast = device.type == "cpu", has_fast_bf16(device)
    if is_cpu:
        ease_grouped_convolutions(model)
    images, masks = _noise(*_NOISE, device)
    times = []
    for bf16 in sorted({fast and not is_cpu, fast}):
        for _ in range(_STEPS):  # The first ones warm up.
            started = time.monotonic()
            with Precision(device, bf16).training_autocast():
                logits = model(images)
            segmentation_loss(logits, masks).backward()  # type: ignore[no-untyped-call]
            wait_for(device)
            times.append(time.monotonic() - started)
    return min(times) / masks.numel()


def step_memory(encoder_name: str) -> StepMemory:
    """What training with the default decoder keeps."""
    model = _network(encoder_name, 4)
    images, masks = _noise(2, 64, torch.device("cpu"))
    features = 0
    if MAX_FROZEN_DEPTH in splittable_depths(model):
        with torch.no_grad():
            head, _ = split_forward(model, MAX_FROZEN_DEPTH)
            features = sum(tensor.nbytes for tensor in head(images))
    own = {parameter.data_ptr() for parameter in model.parameters()}
    sizes: dict[int, int] = {}

    def count(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.data_ptr() not in own:
            sizes[tensor.data_ptr()] = tensor.numel() * tensor.element_size()
        return tensor

    model.train()
    with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
        loss = segmentation_loss(model(images), masks)
    total = sum(sizes.values())
    del loss  # Until here, so that no address is used twice.
    return StepMemory(total / masks.numel(), features / masks.numel())


def _network(encoder_name: str, num_classes: int) -> torch.nn.Module:
    model = build_model(encoder_name, decoders_for(encoder_name)[0], num_classes, pretrained=False)
    return model.to(memory_format=torch.channels_last)


def _noise(count: int, side: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    images = torch.randn(count, 3, side, side, device=device)
    masks = torch.zeros(count, side, side, dtype=torch.uint8, device=device)
    return images.contiguous(memory_format=torch.channels_last), masks


def _key(device: torch.device) -> str:
    return f"{device_key(device)} torch {torch.__version__}"


def _read(home: Path) -> dict[str, Any]:
    """All of the file; nothing if it is missing or damaged, for it can be measured again."""
    try:
        stored = read_json(home / "speed.json")
    except ConfigError:
        return {}
    return stored if isinstance(stored, dict) else {}
