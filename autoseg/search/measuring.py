"""Measuring what encoders cost on this machine, on a run's own data."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch

from autoseg.checkpoint import Weights
from autoseg.config import MAX_FROZEN_DEPTH, DecoderName, FlipName, Geometry, Recipe
from autoseg.inference import segment
from autoseg.model import build_model, decoders_for
from autoseg.search.budget import EncoderCost
from autoseg.search.planning import Task
from autoseg.training.hardware import (
    Precision,
    free_memory,
    has_fast_bf16,
    predicting_precision,
    telling_of_memory,
)
from autoseg.training.trial import TrainingData, Trial, preprocessing_of, tile_of

TIMED_STEPS = 2
"""Steps timed per encoder and precision, after one that warms up."""

_TIMED_IMAGES = 4
"""Validation images scored to learn what scoring costs."""

_IMAGE_TIMING_S = 0.3
"""One image alone is timed again for so long, in seconds: other work on the machine doubled the
time of one network where three tries had to do."""

_MOST_TIMED_IMAGES = 20

JUDGING_SHARE = 0.02
"""Share of the budget that timing the final evaluation may take; a second, where that is more."""


@dataclass(frozen=True)
class Workload:
    """What a run has to do, before it is known how fast this machine does it."""

    data: TrainingData
    geometry: Geometry
    flip: FlipName
    n_test: int
    """Images of the final evaluation."""
    encoder_names: tuple[str, ...]
    """Encoders with weights at hand, the reference first."""
    time_judging: Callable[[Trial, float], float]
    """Given a network, and the most seconds to spend: those that judging an image takes at its own
    size, as the final evaluation does it."""
    frozen_encoders: tuple[str, ...] = ()
    """Others, with weights at hand, that are only tried frozen."""
    n_networks: int = 1
    """Networks that share the time, see `Plan`."""

    def task(self, judging_s: float) -> Task:
        """The same in numbers.

        Args:
            judging_s: What `measure_judging` found.
        """
        n_train, val = len(self.data.train), self.data.val
        return Task(self.geometry, self.flip, n_train, val, self.n_test, judging_s, self.n_networks)


def first_recipe(encoder_name: str, work: Workload, batch_size: int) -> Recipe:
    """The recipe whose step is measured: nothing frozen, the default decoder."""
    return Recipe(
        encoder_name=encoder_name,
        geometry=work.geometry,
        decoder_name=decoders_for(encoder_name)[0],
        flip=work.flip,
        batch_size=batch_size,
    )


def measure(
    encoder_name: str, work: Workload, device: torch.device, batch_size: int, seed: int
) -> EncoderCost:
    """Time one encoder in the precisions this device offers.

    Raises:
        TrainingError: The network does not fit into memory, or not even one small window does.
    """
    return measure_recipe(first_recipe(encoder_name, work, batch_size), work, device, seed)


def measure_frozen(
    encoder_name: str, work: Workload, device: torch.device, batch_size: int, seed: int
) -> EncoderCost:
    """`measure` of an encoder that is only tried frozen: its steps train the decoder alone.

    Raises:
        TrainingError: The network does not fit into memory, or not even one small window does.
    """
    recipe = replace(first_recipe(encoder_name, work, batch_size), frozen_depth=MAX_FROZEN_DEPTH)
    return measure_recipe(recipe, work, device, seed)


def measure_recipe(
    recipe: Recipe,
    work: Workload,
    device: torch.device,
    seed: int,
    weights: Weights | None = None,
) -> EncoderCost:
    """Time one recipe in the precisions this device offers.

    Args:
        recipe: What is timed.
        work: Data.
        device: Where.
        seed: Of the windows.
        weights: Weights to build it with; None: the pretrained ones.

    Raises:
        TrainingError: The network does not fit into memory, or not even one small window does.
    """
    first = Precision(device, has_fast_bf16(device) and device.type != "cpu")
    with telling_of_memory(device):
        trial = Trial(recipe, work.data, first, seed, weights)
        try:
            return _timed(trial, work)
        finally:
            trial.close()


def _timed(trial: Trial, work: Workload) -> EncoderCost:
    """What a trial's network costs, in the precision that is faster."""
    device = trial.precision.device
    step_s = trial.time_step(TIMED_STEPS)
    if has_fast_bf16(device) and device.type == "cpu":
        # How much a CPU gains by its bfloat16 units depends on the encoder, so it is asked.
        trial.precision = Precision(device, True)
        bf16_step_s = trial.time_step(TIMED_STEPS)
        trial.precision = Precision(device, bf16_step_s < step_s)
        step_s = min(step_s, bf16_step_s)
    head_s, decoder_s = trial.time_decoder(1)
    validation_s = _time_validation(trial, work)
    latency_s = _time_image(trial.model, trial.recipe, work, device)
    return EncoderCost(step_s, head_s, decoder_s, validation_s, trial.precision.bf16, latency_s)


def drawn_weights(recipe: Recipe, num_classes: int) -> Weights:
    """Random weights of a recipe's network, which take as long as any to compute with."""
    model = build_model(recipe.encoder_name, recipe.decoder_name, num_classes, pretrained=False)
    weights: Weights = model.state_dict()
    return weights


def measure_decoder(
    encoder_name: str, decoder_name: DecoderName, work: Workload, device: torch.device
) -> float:
    """Seconds of one image through an encoder with another decoder than its default.

    Its weights are drawn: they do not matter, and reading the pretrained ones takes longer.

    Raises:
        TrainingError: Not even one image fits into memory.
    """
    recipe = replace(first_recipe(encoder_name, work, batch_size=1), decoder_name=decoder_name)
    model = build_model(encoder_name, decoder_name, work.data.num_classes, pretrained=False)
    try:
        with telling_of_memory(device):
            model = model.to(device).to(memory_format=torch.channels_last)
            return _time_image(model, recipe, work, device)
    finally:
        del model
        free_memory(device)


def measure_judging(
    recipe: Recipe,
    work: Workload,
    cost: EncoderCost,
    device: torch.device,
    budget_s: float,
    weights: Weights | None = None,
) -> float:
    """Seconds that judging an image takes at its own size, beside the network's own time.

    Most of it is work of one core of the processor, whatever the device: reading, resizing,
    counting boundaries. On a GPU it is many times what the network takes.

    Args:
        recipe: Whose network judges.
        work: Data.
        cost: What that network costs.
        device: Where it computes.
        budget_s: Of the run, in seconds.
        weights: Weights to build it with; None: the pretrained ones.

    Raises:
        TrainingError: Memory ran out.
    """
    with telling_of_memory(device):
        trial = Trial(recipe, work.data, Precision(device, cost.bf16), 0, weights)
        try:
            seconds = work.time_judging(trial, judging_limit_s(budget_s))
        finally:
            trial.close()
    return max(0.0, seconds - cost.image_s)


def judging_limit_s(budget_s: float) -> float:
    """Time that timing the final evaluation may take in a run of that budget, in seconds."""
    return max(1.0, JUDGING_SHARE * budget_s)


def _time_validation(trial: Trial, work: Workload) -> float:
    """Seconds of scoring an image of mean size, from a few images of all sizes."""
    pixels = work.data.cache.shapes[list(work.data.val)].astype(np.float64).prod(1)
    ranks = (np.arange(_TIMED_IMAGES) + 0.5) / _TIMED_IMAGES * len(pixels)
    chosen = np.unique(np.argsort(pixels)[ranks.astype(int)])
    images = [work.data.val[k] for k in chosen]
    trial.evaluate(images[:1])
    started = time.monotonic()
    trial.evaluate(images)
    per_pixel = (time.monotonic() - started) / pixels[chosen].sum()
    return float(per_pixel * pixels.mean())


def _time_image(
    model: torch.nn.Module, recipe: Recipe, work: Workload, device: torch.device
) -> float:
    """Seconds of one image of mean size, alone, best of a few after one that warms up.

    It is computed as a `Predictor` does it by torch: on a CPU never in bfloat16, in which training
    may be faster.
    """
    pixels = work.data.cache.shapes[list(work.data.val)].astype(np.float64).prod(1)
    chosen = work.data.val[int(np.argmin(np.abs(pixels - pixels.mean())))]
    image = np.array(work.data.cache.image(chosen))
    seen_as, tile = preprocessing_of(recipe).without_resizing(), tile_of(recipe)
    model.eval()

    def forward(images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = model(images.contiguous(memory_format=torch.channels_last))
        return logits

    times: list[float] = []
    with predicting_precision(device).autocast():
        while len(times) < _TIMED_IMAGES or (
            sum(times) < _IMAGE_TIMING_S and len(times) < _MOST_TIMED_IMAGES
        ):
            started = time.monotonic()
            segment(forward, image, seen_as, device=device, tile=tile)
            times.append(time.monotonic() - started)
    return min(times[1:])
