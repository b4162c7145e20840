"""A training step of autoseg against a bare PyTorch loop.

Ours draws windows from the memory-mapped cache, augments, standardises, clips gradients and
averages weights; the bare loop has one batch of ready tensors in memory. Network, loss, precision,
batch, size and BatchNorm mode are the same. Rounds alternate, so that other work on the machine
meets both; the best round of each counts. Target: ours at least 0.9 of bare.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from measuring import print_table

from autoseg.config import Geometry, Recipe
from autoseg.data.augmentation import Augmenter
from autoseg.data.batches import Pixels, Windows
from autoseg.data.cache import Cache
from autoseg.depthwise import ease_grouped_convolutions
from autoseg.encoders import find_encoder
from autoseg.model import build_model, decoders_for, parameter_groups, train_mode
from autoseg.preprocessing import Preprocessing
from autoseg.training.average import WeightAverage
from autoseg.training.hardware import Precision
from autoseg.training.loss import segmentation_loss
from autoseg.training.sources import WindowSource
from autoseg.training.trainer import MAX_GRADIENT_NORM, Trainer

ENCODERS = ("tf_efficientnet_lite0.in1k", "resnet18.a1_in1k")
NUM_CLASSES = 5
N_IMAGES = 64
TARGET = 0.9


def make_cache(folder: Path, side: int) -> Cache:
    """Images half as large again as the window: smooth colours, masks of blocks of classes."""
    rng = np.random.default_rng(0)
    shape = (side * 3 // 2, side * 3 // 2)
    coarse = rng.integers(0, 256, (N_IMAGES, shape[0] // 16 + 1, shape[1] // 16 + 1, 3), np.uint8)
    images = coarse.repeat(16, 1).repeat(16, 2)[:, : shape[0], : shape[1]]
    masks = images[..., 0] // (256 // NUM_CLASSES + 1)
    images.tofile(folder / "images.bin")
    masks.astype(np.uint8).tofile(folder / "masks.bin")
    return Cache(folder, np.tile(np.int32(shape), (N_IMAGES, 1)))


def make_model(recipe: Recipe, device: torch.device) -> torch.nn.Module:
    """The network of a recipe with random weights, the same at each call."""
    torch.manual_seed(0)
    model = build_model(recipe.encoder_name, recipe.decoder_name, NUM_CLASSES, pretrained=False)
    if device.type == "cpu":
        ease_grouped_convolutions(model)
    return model.to(device).to(memory_format=torch.channels_last)


def make_source(recipe: Recipe, cache: Cache, device: torch.device) -> WindowSource:
    """Everything autoseg does to a batch before the network sees it."""
    encoder = find_encoder(recipe.encoder_name)
    window, indices = recipe.geometry.window, range(len(cache))
    pixels = Pixels(cache, device, 2**40 if device.type != "cpu" else 0, window)
    pixels.keep(indices)
    windows = Windows(pixels, indices, window, 0)
    return WindowSource(
        windows,
        Augmenter(recipe.augmentation, recipe.flip, 0),
        Preprocessing(recipe.geometry, encoder.mean, encoder.std),
    )


def our_steps(recipe: Recipe, source: WindowSource, precision: Precision) -> Callable[[int], float]:
    """A function that takes n steps of `Trainer` and returns seconds per step."""
    model = make_model(recipe, precision.device)
    trainer = Trainer(
        model,
        parameter_groups(model, recipe),
        lambda: train_mode(model, 0, recipe.train_norm),
        precision,
        recipe.batch_size,
        lambda: np.empty(0),
    )

    def run(n_steps: int) -> float:
        times = trainer.time_steps(source, lambda inputs: model(inputs[0]), n_steps)
        return sum(times[1:]) / n_steps

    return run


def bare_steps(
    recipe: Recipe, source: WindowSource, precision: Precision
) -> Callable[[int], float]:
    """A function that takes n steps of the plain loop and returns seconds per step."""
    model = make_model(recipe, precision.device)
    train_mode(model, 0, recipe.train_norm)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5, fused=True)
    (images,), masks = source.draw(recipe.batch_size)
    masks = masks.long()

    def step() -> float:
        with precision.autocast():
            logits = model(images)
        loss = segmentation_loss(logits, masks)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return float(loss.detach())

    def run(n_steps: int) -> float:
        step()  # As ours: the first of a round warms up.
        started = time.perf_counter()
        for _ in range(n_steps):
            step()
        return (time.perf_counter() - started) / n_steps

    return run


def compare(
    ours: Callable[[int], float], bare: Callable[[int], float], rounds: int, n_steps: int
) -> tuple[float, float, float]:
    """Best seconds per step of ours and of bare, and the median ratio bare / ours of a round."""
    pairs = [(ours(n_steps), bare(n_steps)) for _ in range(rounds)]
    best_ours, best_bare = (min(times) for times in zip(*pairs, strict=True))
    ratio = float(np.median([theirs / own for own, theirs in pairs]))
    return best_ours, best_bare, ratio


def profile(
    recipe: Recipe, source: WindowSource, precision: Precision, n_steps: int
) -> dict[str, float]:
    """Median seconds of each part of our step, the parts called one by one."""
    model = make_model(recipe, precision.device)
    groups = parameter_groups(model, recipe)
    train_mode(model, 0, recipe.train_norm)
    optimizer = torch.optim.AdamW([{**group, "lr": 1e-5} for group in groups], fused=True)
    trained = [p for group in optimizer.param_groups for p in group["params"]]
    average = WeightAverage(model)
    parts: dict[str, list[float]] = {}

    def timed(name: str, work: Callable[[], Any]) -> Any:
        started = time.perf_counter()
        result = work()
        if precision.device.type == "cuda":
            torch.cuda.synchronize()
        parts.setdefault(name, []).append(time.perf_counter() - started)
        return result

    def normalized(images: torch.Tensor) -> torch.Tensor:
        normal = source.preprocessing.normalize(images)
        return normal.contiguous(memory_format=torch.channels_last)

    def forward(images: torch.Tensor) -> torch.Tensor:
        with precision.autocast():
            return model(images)

    for _ in range(n_steps + 1):
        drawn = timed("draw", lambda: source.windows.draw(recipe.batch_size))
        images, masks = timed("augment", lambda batch=drawn: source.augment(*batch))
        images = timed("normalize", lambda batch=images: normalized(batch))
        logits = timed("forward", lambda batch=images: forward(batch))
        loss = timed("loss", lambda out=logits, true=masks: segmentation_loss(out, true))
        timed("backward", loss.backward)
        timed("clip", lambda: torch.nn.utils.clip_grad_norm_(trained, MAX_GRADIENT_NORM))
        timed("optimizer", optimizer.step)
        optimizer.zero_grad(set_to_none=True)
        timed("EMA", average.update)
    return {name: float(np.median(times[1:])) for name, times in parts.items()}


def print_profile(name: str, parts: dict[str, float]) -> None:
    """Milliseconds and share of each part."""
    total = sum(parts.values())
    rows = [
        [part, f"{1e3 * seconds:.1f}", f"{seconds / total:.1%}"] for part, seconds in parts.items()
    ]
    rows.append(["all", f"{1e3 * total:.1f}", ""])
    print_table(f"Where a step goes: {name}", ("part", "ms", "share"), rows)


def main() -> None:
    """Print the table of ratios, then a profile of each case."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--encoders", nargs="+", default=ENCODERS, metavar="NAME")
    parser.add_argument("--precision", nargs="+", default=("fp32", "bf16"))
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--side", type=int, default=256, help="window, pixels")
    parser.add_argument("--augmentation", default="medium")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=6, help="steps of a round")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    device = torch.device(args.device)
    rows, profiles = [], []
    with TemporaryDirectory() as folder:
        cache = make_cache(Path(folder), args.side)
        for encoder in args.encoders:
            recipe = Recipe(
                encoder_name=encoder,
                decoder_name=decoders_for(encoder)[0],
                geometry=Geometry(window=(args.side, args.side), scale=1.0),
                augmentation=args.augmentation,
                batch_size=args.batch,
            )
            source = make_source(recipe, cache, device)
            for name in args.precision:
                precision = Precision(device, bf16=name == "bf16")
                ours, bare, median = compare(
                    our_steps(recipe, source, precision),
                    bare_steps(recipe, source, precision),
                    args.rounds,
                    args.steps,
                )
                rows.append(
                    [
                        f"{encoder} {name}",
                        f"{1e3 * ours:.1f}",
                        f"{1e3 * bare:.1f}",
                        f"{args.batch / ours:.1f}",
                        f"{bare / ours:.3f}",
                        f"{median:.3f}",
                    ]
                )
                profiles.append((rows[-1][0], profile(recipe, source, precision, args.steps)))
    print_table(
        f"Training step on {args.device}, {args.threads} threads, batch {args.batch}, "
        f"{args.side}x{args.side} (target {TARGET})",
        ("case", "ours, ms", "bare, ms", "ours, images/s", "bare / ours", "median of rounds"),
        rows,
    )
    for name, parts in profiles:
        print_profile(name, parts)


if __name__ == "__main__":
    main()
