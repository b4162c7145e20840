"""Measuring what encoders cost on this machine, and the plan that follows."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from autoseg.config import FlipName, Geometry, Recipe, SearchConfig
from autoseg.encoders import (
    available_encoders,
    find_encoder,
    use_weights_file,
    weights_at_hand,
)
from autoseg.errors import TrainingError
from autoseg.model import build_model, decoders_for
from autoseg.search.budget import (
    RESERVE_S,
    RESERVE_SHARE,
    SEARCH_FROM_EPOCHS,
    Clock,
    EncoderCost,
    Plan,
    admissible,
    check_enough,
    search_share,
    trial_epochs,
)
from autoseg.search.space import SearchSpace
from autoseg.training.hardware import Precision, has_fast_bf16
from autoseg.training.loss import segmentation_loss
from autoseg.training.trial import TrainingData, Trial

TIMED_STEPS = 2
"""Steps timed per encoder and precision, after one that warms up."""

_TIMED_IMAGES = 4
"""Validation images scored to learn what scoring costs."""

VALIDATION_SHARE = 0.03
"""Share of the budget that one pass over the validation images may take."""

LEAST_VALIDATION = 24
"""Validation images scored while searching, if there are as many, whatever they cost."""

DECODER_SHARE = 0.15
"""Share of the training time that goes to the decoder phase where there is no search."""

TRAINING_SHARE = 0.7
"""Share of the time left after reading the data that training steps get, roughly."""

DECODER_EPOCHS = 5
"""Times the decoder phase sees each cached window."""

LEAST_DECODER_WINDOWS = 160
"""A decoder that saw fewer windows is no better a start than a new one."""

MAX_TRIALS = 200


@dataclass(frozen=True)
class Workload:
    """What a run has to do, before it is known how fast this machine does it."""

    data: TrainingData
    geometry: Geometry
    flip: FlipName
    n_test: int
    """Images of the final evaluation."""
    test_pixels: float
    """Mean pixels of a test image relative to those of its cached copy."""
    encoder_names: tuple[str, ...]
    """Encoders with weights at hand, by rising size."""


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
        TrainingError: Not even one small window fits into memory.
    """
    recipe = first_recipe(encoder_name, work, batch_size)
    fast = has_fast_bf16(device)
    trial = Trial(recipe, work.data, Precision(device, fast and device.type != "cpu"), seed)
    try:
        step_s = trial.time_step(TIMED_STEPS)
        if fast and device.type == "cpu":
            # How much a CPU gains by its bfloat16 units depends on the encoder, so it is asked.
            trial.precision = Precision(device, True)
            bf16_step_s = trial.time_step(TIMED_STEPS)
            trial.precision = Precision(device, bf16_step_s < step_s)
            step_s = min(step_s, bf16_step_s)
        head_s, decoder_s = trial.time_decoder(1)
        validation_s = _time_validation(trial, work)
        return EncoderCost(step_s, head_s, decoder_s, validation_s, trial.precision.bf16)
    finally:
        trial.close()


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


def affordable_pixels(
    encoder_name: str, num_classes: int, device: torch.device, clock: Clock
) -> float:
    """Pixels of windows that the budget can train on, from a few small steps on noise.

    The working size depends on it, and the real calibration on the working size.
    """
    if device.type != "cpu":
        return float("inf")  # Even a minute of a GPU holds thousands of full windows.
    model = build_model(
        encoder_name, decoders_for(encoder_name)[0], num_classes, pretrained=False
    ).to(memory_format=torch.channels_last)
    images = torch.randn(8, 3, 128, 128).contiguous(memory_format=torch.channels_last)
    masks = torch.zeros(8, 128, 128, dtype=torch.uint8)
    times = []
    for _ in range(4):  # The first ones warm up.
        started = time.monotonic()
        segmentation_loss(model(images), masks).backward()  # type: ignore[no-untyped-call]
        times.append(time.monotonic() - started)
    pixels_per_s = masks.numel() / min(times)
    return TRAINING_SHARE * max(0.0, clock.budget_s - clock.elapsed()) * pixels_per_s


def choose_batch_size(n_train: int, device: torch.device, window: tuple[int, int]) -> int:
    """Windows per step: 8 of 256x256 on a CPU, up to 16 on a GPU, at least 20 steps an epoch."""
    if device.type == "cpu":
        return max(2, min(8, 8 * 256 * 256 // (window[0] * window[1])))
    return max(2, min(16, n_train // 20))


def make_plan(
    work: Workload,
    config: SearchConfig,
    device: torch.device,
    clock: Clock,
    on_progress: Callable[[float, float], None] = lambda done, total: None,
) -> Plan:
    """Measure encoders and divide the time that is left.

    Raises:
        BudgetError: Too little time to train at all.
    """
    n_train = len(work.data.train)
    batch_size = choose_batch_size(n_train, device, work.geometry.window)
    reference, *others = work.encoder_names
    costs = {reference: measure(reference, work, device, batch_size, config.seed)}
    reserve_s = _reserve(work, costs[reference], clock, n_models=1)
    clock.reserve_s = reserve_s
    check_enough(clock, costs[reference].decoder_s * batch_size)
    epoch_s = costs[reference].step_s * n_train
    # Measuring others pays only if there will be a search between them.
    calibration_ends = clock.elapsed() + 0.05 * clock.budget_s
    for number, name in enumerate(others, start=1):
        on_progress(number, len(work.encoder_names))
        if clock.left() / epoch_s < SEARCH_FROM_EPOCHS or clock.elapsed() > calibration_ends:
            break
        try:
            costs[name] = measure(name, work, device, batch_size, config.seed)
        except TrainingError:
            break  # Larger ones will not fit either.
    if search_share(clock.left() / epoch_s) > 0:
        reserve_s = clock.reserve_s = _reserve(work, costs[reference], clock, n_models=2)
    epochs_left = max(0.0, clock.left()) / epoch_s
    search_s = search_share(epochs_left) * max(0.0, clock.left())
    epochs = trial_epochs(epochs_left)
    names = admissible(costs, n_train, epochs, search_s) if search_s else [reference]
    expected = int(search_s / (epochs * epoch_s * 0.5)) if search_s else 0
    vits = tuple(name for name in names if find_encoder(name).kind == "vit")
    pyramids = [name for name in names if name not in vits]
    space = SearchSpace(
        encoders=tuple(names),
        geometry=work.geometry,
        decoder_names=decoders_for(pyramids[0] if pyramids else reference),
        vit_encoders=vits,
        flip=work.flip,
        augmentation="strong" if n_train < 100 else "medium",
        batch_size=batch_size,
        epochs=epochs,
        expected_trials=expected,
    )
    decoder_windows, decoder_features = _decoder_phase(
        costs[reference], n_train, clock.left(), epochs_left, bool(search_s)
    )
    return Plan(
        space=space,
        costs={name: costs[name] for name in names},
        reference_epochs=epochs_left,
        search_s=search_s,
        search_until_s=clock.elapsed() + search_s,
        max_trials=config.n_trials or (MAX_TRIALS if search_s else 1),
        decoder_windows=decoder_windows,
        decoder_features=decoder_features,
        val=_validation_subset(work, costs[reference], clock.budget_s, config.seed),
        reserve_s=reserve_s,
        evaluation_images=_evaluation_images(work),
    )


def _reserve(work: Workload, cost: EncoderCost, clock: Clock, n_models: int) -> float:
    """Time for scoring the test images with each model, and for the bundle."""
    evaluation_s = cost.validation_s * _evaluation_images(work)
    return RESERVE_S + RESERVE_SHARE * clock.budget_s + n_models * evaluation_s


def _evaluation_images(work: Workload) -> float:
    """Test images as validation images: one by one, boundaries too, at the original size."""
    return work.n_test * (1.25 + 0.5 * work.test_pixels)


def _validation_subset(
    work: Workload, cost: EncoderCost, budget_s: float, seed: int
) -> tuple[int, ...]:
    """Validation images scored while searching: all, or as many as there is time for."""
    affordable = int(VALIDATION_SHARE * budget_s / max(1e-9, cost.validation_s))
    shuffled = np.random.default_rng(seed).permutation(np.array(work.data.val))
    return tuple(sorted(shuffled[: max(LEAST_VALIDATION, affordable)].tolist()))


def _decoder_phase(
    cost: EncoderCost, n_train: int, left_s: float, epochs_left: float, searches: bool
) -> tuple[int, int]:
    """Windows of the decoder phase and how many of them have their features cached."""
    features = 2 * n_train
    windows = DECODER_EPOCHS * features
    full_s = features * cost.head_s + windows * cost.decoder_s
    if searches:
        # Done once per encoder: at most a quarter of one trial's fine-tuning.
        limit_s = 0.25 * cost.step_s * n_train * trial_epochs(epochs_left)
    else:
        limit_s = DECODER_SHARE * left_s
    share = min(1.0, limit_s / max(1e-9, full_s))
    share = max(share, LEAST_DECODER_WINDOWS / windows)
    # Two digits are enough, and two calibrations of one machine then plan alike.
    return _coarse(windows * share), _coarse(features * share)


def _coarse(count: float) -> int:
    """Round down to one and a half significant digits; at least 8."""
    value = max(8, int(count))
    step = 10 ** max(0, len(str(value)) - 2) * 5
    return max(8, value // step * step) if step <= value else value


DEFAULT_ENCODERS = {
    "cpu": (
        "tf_efficientnet_lite0.in1k",
        "tf_efficientnet_lite1.in1k",
        "tf_efficientnet_lite2.in1k",
        "resnet18.a1_in1k",
    ),
    "cuda": (
        "tf_efficientnet_lite0.in1k",
        "tf_efficientnet_lite1.in1k",
        "tf_efficientnet_lite2.in1k",
        "resnet18.a1_in1k",
        "resnet50.a1_in1k",
        "convnext_tiny.in12k_ft_in1k",
    ),
}
"""Encoders searched when none are named, the reference first, then by rising size."""


def default_encoders(config: SearchConfig, device: torch.device) -> tuple[str, ...]:
    """The encoders of a search: those asked for, else those of this device with weights here.

    Raises:
        EncoderError: A name is unknown, or weights cannot be had or used.
    """
    for name, path in config.weights_files:
        use_weights_file(find_encoder(name), Path(path))
    if config.encoders:
        asked = available_encoders(config.allow_noncommercial, config.encoders)
        return tuple(e.name for e in sorted(asked, key=lambda e: e.params))
    given = tuple(find_encoder(name).name for name, _ in config.weights_files)
    names = dict.fromkeys(DEFAULT_ENCODERS.get(device.type, DEFAULT_ENCODERS["cpu"]) + given)
    return tuple(name for name in names if weights_at_hand(find_encoder(name)))
