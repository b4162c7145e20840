"""Training throughput on a GPU against what its memory and arithmetic allow, in eager mode.

The bound of a step is the longer of two times: of its arithmetic, at the rate of a large matrix
product, and of its traffic, what the kernels of loss, forward and backward pass read and write, at
the rate of a copy. Work is counted on tensors without values, rates are measured on the device.
Eager PyTorch is expected to reach 0.55 of the bound (timm's published training times of ResNet50,
ConvNeXt-T and EfficientNet-Lite0 are 0.6 to 0.8 of such bounds). Target: 0.6 of that estimate.

Three more columns say where the rest is. Outside: the share of windows, augmentation,
standardising and averaged weights when every part is waited for. Ready batch: the time of a step
on tensors that lie ready, as a share of ours, when nothing is waited for. Queued: the time in
which the host hands a step to the device, as a share of the step; near 1 the host is the limit.

Beside torch and timm it needs segmentation-models-pytorch, psutil and rich, and no weights. On a
CPU give it small numbers: --encoders test_resnet.r160_in1k --batch 2 --side 64 --steps 2.
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from measuring import print_table
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode
from training_step import make_cache, make_model, make_source, profile

from autoseg.config import Geometry, Recipe
from autoseg.model import build_model, decoders_for, parameter_groups, train_mode
from autoseg.smp_models import weightless
from autoseg.training.hardware import (
    Precision,
    choose_device,
    device_name,
    free_memory,
    has_fast_bf16,
    peak_memory_bytes,
    reset_peak_memory,
    wait_for,
)
from autoseg.training.loss import segmentation_loss
from autoseg.training.sources import WindowSource
from autoseg.training.trainer import Trainer

ENCODERS = ("tf_efficientnet_lite0.in1k", "resnet18.a1_in1k", "convnext_tiny.in12k_ft_in1k")
NUM_CLASSES = 5
EAGER_SHARE = 0.55
"""Share of the bound that eager PyTorch was expected to reach."""

TARGET = 0.6
"""Share of that estimate that training must reach."""

OUTSIDE = ("draw", "augment", "normalize", "EMA")
"""Parts of a step that are neither forward or backward pass nor optimizer."""


@dataclass(frozen=True)
class Device:
    """What a device can do, measured."""

    flops_per_s: float
    """Of a large matrix product in the type of training."""
    bytes_per_s: float
    """Read and written by a copy."""


@dataclass(frozen=True)
class Work:
    """What a training step costs, without the optimizer."""

    flops: float
    nbytes: float
    """Read and written by all kernels."""

    def seconds(self, device: Device) -> float:
        """The least time of the step."""
        return max(self.flops / device.flops_per_s, self.nbytes / device.bytes_per_s)


class Traffic(TorchDispatchMode):
    """Counts what operations read and write, views aside."""

    def __init__(self) -> None:
        super().__init__()
        self.nbytes = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Run an operation and count its tensors."""
        result = func(*args, **(kwargs or {}))
        if not func.is_view and "empty" not in func.name():
            tensors = tree_leaves((args, kwargs, result))
            self.nbytes += sum(t.nbytes for t in tensors if isinstance(t, torch.Tensor))
        return result


def best_seconds(work: Callable[[], object], device: torch.device, repeats: int = 10) -> float:
    """The best of some repetitions, after one that warms up."""
    times = []
    for _ in range(repeats + 1):
        wait_for(device)
        started = time.perf_counter()
        work()
        wait_for(device)
        times.append(time.perf_counter() - started)
    return min(times[1:])


def measure_device(precision: Precision) -> Device:
    """Rates of a large product and of a large copy."""
    device, on_gpu = precision.device, precision.device.type != "cpu"
    side = 8192 if on_gpu else 512
    left, right = (
        torch.randn(side, side, device=device).to(precision.training_dtype) for _ in range(2)
    )
    product_s = best_seconds(lambda: left @ right, device)
    source = torch.zeros(2**31 if on_gpu else 2**25, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    copy_s = best_seconds(lambda: target.copy_(source), device)
    return Device(2 * side**3 / product_s, 2 * source.nbytes / copy_s)


def count_work(recipe: Recipe, dtype: torch.dtype) -> Work:
    """Arithmetic and traffic of a step, from shapes alone; the network wholly in `dtype`."""
    with weightless():
        model = build_model(recipe.encoder_name, recipe.decoder_name, NUM_CLASSES, pretrained=False)
    model = model.to(dtype)
    train_mode(model, 0, recipe.train_norm)
    shape = (recipe.batch_size, *recipe.geometry.window)
    images = torch.empty(shape[0], 3, *shape[1:], dtype=dtype, device="meta")
    masks = torch.empty(shape, dtype=torch.uint8, device="meta")
    with Traffic() as traffic:
        with FlopCounterMode(display=False) as flops:
            logits = model(images)
        segmentation_loss(logits, masks).backward()
    # Not counted backwards: torch counts grouped convolutions there as if they had one group.
    return Work(3 * flops.get_total_flops(), traffic.nbytes)


@dataclass(frozen=True)
class Steps:
    """Times of a step, in seconds, and what it took."""

    step_s: float
    queued_s: float
    ready_s: float
    memory_bytes: int | None
    passes: int


def time_steps(recipe: Recipe, source: WindowSource, precision: Precision, n_steps: int) -> Steps:
    """Best of three rounds of steps, ours and on a ready batch in turn, none waited for alone."""
    reset_peak_memory(precision.device)
    model = make_model(recipe, precision.device)
    trainer = Trainer(
        model,
        [{**group, "lr": 1e-5} for group in parameter_groups(model, recipe)],
        lambda: train_mode(model, 0, recipe.train_norm),
        precision,
        recipe.batch_size,
        lambda: np.empty(0),
    )
    train_mode(model, 0, recipe.train_norm)
    inputs, masks = source.draw(recipe.batch_size)

    class Ready:
        """The same tensors again and again."""

        def draw(self, count: int) -> tuple[list[torch.Tensor], torch.Tensor]:
            return inputs, masks

        def give_back(self) -> bool:
            return False

    def round_of(batches: WindowSource | Ready) -> tuple[float, float]:
        wait_for(precision.device)
        started = time.perf_counter()
        for _ in range(n_steps):
            trainer._step(batches, lambda tensors: model(tensors[0]))
        queued = time.perf_counter() - started
        wait_for(precision.device)
        return (time.perf_counter() - started) / n_steps, queued / n_steps

    before = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = True  # As a phase of training has it.
    try:
        round_of(source)
        rounds = [(round_of(source), round_of(Ready())) for _ in range(3)]
    finally:
        torch.backends.cudnn.benchmark = before
    ours, ready = min(own for own, _ in rounds), min(other for _, other in rounds)
    return Steps(*ours, ready[0], peak_memory_bytes(precision.device), trainer.passes)


def row(
    recipe: Recipe, source: WindowSource, precision: Precision, device: Device, n_steps: int
) -> list[str]:
    """One line of the table."""
    least_s = count_work(recipe, precision.training_dtype).seconds(device)
    bound = recipe.batch_size / least_s
    steps = time_steps(recipe, source, precision, n_steps)
    free_memory(precision.device)
    parts = profile(recipe, source, precision, n_steps)
    free_memory(precision.device)
    outside = sum(parts[part] for part in OUTSIDE) / sum(parts.values())
    found = recipe.batch_size / steps.step_s
    return [
        f"{recipe.encoder_name.partition('.')[0]} x{recipe.batch_size}",
        f"{found:.1f}",
        f"{bound:.1f}",
        f"{found / bound:.2f}",
        f"{found / (EAGER_SHARE * bound):.2f}",
        f"{outside:.0%}",
        f"{steps.ready_s / steps.step_s:.2f}",
        f"{steps.queued_s / steps.step_s:.2f}",
        "-" if steps.memory_bytes is None else f"{steps.memory_bytes / 1e9:.1f}",
        str(steps.passes),
    ]


def main() -> None:
    """Measure the device, then every encoder and batch, and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--encoders", nargs="+", default=ENCODERS, metavar="NAME")
    parser.add_argument("--batch", nargs="+", type=int, default=(16, 32))
    parser.add_argument("--side", type=int, default=512, help="window, pixels")
    parser.add_argument("--augmentation", default="medium")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--steps", type=int, default=20, help="steps of a round")
    args = parser.parse_args()
    chosen = choose_device(args.device)
    precision = Precision(chosen, bf16=has_fast_bf16(chosen))
    device = measure_device(precision)
    free_memory(chosen)
    print(
        f"{device_name(chosen)}, torch {torch.__version__}, {precision.training_dtype}: "
        f"{device.flops_per_s / 1e12:.1f} TFLOP/s, {device.bytes_per_s / 1e9:.0f} GB/s",
        flush=True,
    )
    rows = []
    with TemporaryDirectory() as folder:
        cache = make_cache(Path(folder), args.side)
        for encoder in args.encoders:
            for batch in args.batch:
                recipe = Recipe(
                    encoder_name=encoder,
                    decoder_name=decoders_for(encoder)[0],
                    geometry=Geometry(window=(args.side, args.side), scale=1.0),
                    augmentation=args.augmentation,
                    batch_size=batch,
                )
                source = make_source(recipe, cache, chosen)
                rows.append(row(recipe, source, precision, device, args.steps))
                print("  ".join(rows[-1]), flush=True)
    print_table(
        f"Training at {args.side}x{args.side}, eager, {precision.training_dtype} "
        f"(target: {TARGET} of the estimate)",
        (
            *("case", "images/s", "bound", "/ bound", "/ estimate", "outside"),
            *("ready batch", "queued", "GB", "passes"),
        ),
        rows,
    )


if __name__ == "__main__":
    main()
