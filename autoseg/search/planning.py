"""What a run has to do, in numbers, and how its time is divided once costs are known."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from autoseg.config import AugmentationName, FlipName, Geometry, SearchConfig
from autoseg.encoders import find_encoder
from autoseg.errors import ConfigError
from autoseg.model import decoders_for
from autoseg.search.budget import (
    EVALUATION_MARGIN,
    RESERVE_S,
    RESERVE_SHARE,
    Clock,
    EncoderCost,
    Horizon,
    Plan,
    admissible,
    rungs,
)
from autoseg.search.networks import networks_for
from autoseg.search.space import SearchSpace

VALIDATION_SHARE = 0.03
"""Share of the budget that one pass over the validation images may take."""

LEAST_VALIDATION = 24
"""Validation images scored while searching, if there are as many, whatever they cost."""

DECODER_SHARE = 0.15
"""Share of the training time that goes to the decoder phase where there is no search."""

DECODER_EPOCHS = 5
"""Times the decoder phase sees each cached window."""

LEAST_DECODER_WINDOWS = 160
"""A decoder that saw fewer windows is no better a start than a new one."""

FEW_IMAGES = 100
"""Training images below which augmentation is strong and a frozen self-supervised encoder joins."""

LIGHT_UP_TO_WINDOWS, LIGHT_UP_TO_EPOCHS = 16_000, 150
"""Windows of a budget, and windows of each training image, up to which images are flipped and
recoloured, but not turned and zoomed."""

JUDGING_IMAGE_S = 0.01
"""What judging an image takes beside the network, however small it is, in seconds."""

JUDGING_S, JUDGING_CLASS_S, JUDGING_PRESENT_S = 60e-9, 10e-9, 60e-9
"""What comes to that for each pixel, in seconds: at least, for each class that there is, and for
each that the image shows.

Measured on one core of an AMD EPYC with images of 512x512 and 2000x1500: 20 to 70, 8 to 10, and 25
to 60 ns. These are high: what an estimate promises shall not be more than a plan then gives.
"""

MAX_TRIALS = 200

PRUNED_SHARE, WHOLE_SHARE = 0.5, 1.0
"""Time of trials, on average, as a share of one of the default recipe: where two of three are
pruned, and where none is: larger encoders take more, those that freeze much take less."""

TRAINING_SHARE = 0.7
"""Share of the time left after reading the data that training steps get, roughly."""


@dataclass(frozen=True)
class Task:
    """What a run has to do, in numbers."""

    geometry: Geometry
    """Working size."""
    flip: FlipName
    """Flips that keep every class what it is."""
    n_train: int
    """Images to train on."""
    val: tuple[int, ...]
    """Images to score while searching."""
    n_test: int
    """Images of the final evaluation."""
    judging_s: float
    """What judging one of them at its own size takes beside the network's own time, on the
    processor: reading, resizing, counting boundaries; in seconds."""
    n_networks: int = 1
    """Networks that share the time, see `Plan`."""


def choose_batch_size(n_train: int, device_type: str, window: tuple[int, int]) -> int:
    """Windows per step: 8 of 256x256 on a CPU, up to 16 on a GPU, at least 20 steps an epoch."""
    if device_type == "cpu":
        return max(2, min(8, 8 * 256 * 256 // (window[0] * window[1])))
    return max(2, min(16, n_train // 20))


def pixels_in(clock: Clock, step_s: float, device_type: str) -> float:
    """Pixels of windows that the time left can train on, at so many seconds each."""
    if device_type != "cpu":
        return float("inf")  # Even a minute of a GPU holds thousands of full windows.
    return TRAINING_SHARE * max(0.0, clock.budget_s - clock.elapsed()) / step_s


def fast_enough(
    costs: Mapping[str, EncoderCost], max_latency_ms: float | None
) -> dict[str, EncoderCost]:
    """Encoders whose time for one image is within the limit, in their order.

    Args:
        costs: What was measured.
        max_latency_ms: The limit, in milliseconds; None: there is none.
    """
    limit_s = float("inf") if max_latency_ms is None else max_latency_ms / 1000
    return {name: cost for name, cost in costs.items() if cost.image_s <= limit_s}


def check_latency(costs: Mapping[str, EncoderCost], max_latency_ms: float | None) -> None:
    """Refuse a limit that no encoder keeps.

    Raises:
        ConfigError: With the fastest encoder and its time.
    """
    if fast_enough(costs, max_latency_ms):
        return
    fastest = min(costs, key=lambda name: costs[name].image_s)
    raise ConfigError(
        f"No encoder takes at most {max_latency_ms:g} ms for one image on this machine at working "
        f"size. The fastest, {fastest}, takes {1000 * costs[fastest].image_s:.1f} ms. Allow more "
        f"time, smaller images (--max-side), or name smaller encoders."
    )


def divide(
    task: Task,
    costs: Mapping[str, EncoderCost],
    batch_size: int,
    config: SearchConfig,
    clock: Clock,
    frozen_encoders: Collection[str] = (),
) -> Plan:
    """Divide the time that is left.

    Args:
        task: What there is to do.
        costs: What was measured, the reference encoder first.
        batch_size: Windows per step.
        config: What the user asked.
        clock: The run's, its reserve set for one model's evaluation.
        frozen_encoders: Those of `costs` that are only tried frozen.
    """
    reference = next(iter(costs))
    reserve_s = clock.reserve_s
    step_s = costs[reference].step_s
    task = replace(
        task, n_networks=networks_for(step_s, task.geometry, clock.left(), task.n_networks)
    )
    ahead = horizon(costs[reference], task, batch_size, clock, config)
    if ahead.search_share > 0:
        reserve_s = clock.reserve_s = reserve(task, costs[reference], clock.budget_s, n_models=2)
        ahead = horizon(costs[reference], task, batch_size, clock, config)
    search_s = ahead.search_share * max(0.0, clock.left())
    names, frozen = _searched(costs, frozen_encoders, task.n_train, ahead, search_s)
    space = _space(task, costs[reference], batch_size, ahead, search_s, names, frozen)
    epochs = space.epochs
    decoder_windows, decoder_features = decoder_phase(
        costs[reference],
        task.n_train,
        clock.left() / task.n_networks,
        epochs if search_s else None,
    )
    frozen_windows, frozen_features = frozen_trial(task.n_train, epochs) if frozen else (0, 0)
    return Plan(
        space=space,
        costs={name: costs[name] for name in names},
        reference_epochs=ahead.epochs,
        search_s=search_s,
        search_until_s=clock.elapsed() + search_s,
        max_trials=config.n_trials or (MAX_TRIALS if search_s else 1),
        decoder_windows=decoder_windows,
        decoder_features=decoder_features,
        val=validation_subset(task, costs[reference], clock.budget_s, config.seed),
        reserve_s=reserve_s,
        evaluation_images=task.n_test,
        judging_s=task.judging_s,
        frozen_windows=frozen_windows,
        frozen_features=frozen_features,
        n_networks=task.n_networks,
    )


def _searched(
    costs: Mapping[str, EncoderCost],
    frozen_encoders: Collection[str],
    n_train: int,
    ahead: Horizon,
    search_s: float,
) -> tuple[list[str], list[str]]:
    """Encoders that a search of so many seconds has time for, the reference first, and those among
    them, at the end, that are only tried frozen."""
    reference, limit_s = next(iter(costs)), ahead.encoder_share * search_s
    tuned = {name: cost for name, cost in costs.items() if name not in frozen_encoders}
    epochs = ahead.trial_epochs
    names = admissible(tuned, n_train, epochs, limit_s) if search_s else [reference]
    frozen = [
        name
        for name in costs
        if name in frozen_encoders and frozen_trial_fits(costs[name], n_train, epochs, limit_s)
    ]
    return names + frozen, frozen


def _space(
    task: Task,
    reference: EncoderCost,
    batch_size: int,
    ahead: Horizon,
    search_s: float,
    names: Sequence[str],
    frozen: Sequence[str],
) -> SearchSpace:
    """What a search of so many seconds searches."""
    trial_s = ahead.trial_epochs * task.n_train * reference.step_s
    is_pruned = len(rungs(ahead.trial_epochs * task.n_train / batch_size)) > 1
    vits = tuple(name for name in names if find_encoder(name).kind == "vit")
    pyramids = [name for name in names if name not in vits]
    searched = decoders_for(pyramids[0] if pyramids else names[0])
    defaults = {name: decoders_for(name)[0] for name in pyramids}
    return SearchSpace(
        encoders=tuple(names),
        tries_each=ahead.names_encoders,
        geometry=task.geometry,
        decoder_names=searched,
        vit_encoders=vits,
        own_decoders={k: own for k, own in defaults.items() if own != searched[0]},
        frozen_encoders=tuple(frozen),
        flip=task.flip,
        augmentation=choose_augmentation(ahead.epochs * task.n_train, task.n_train),
        batch_size=batch_size,
        epochs=ahead.trial_epochs,
        expected_trials=int(search_s / (trial_s * (PRUNED_SHARE if is_pruned else WHOLE_SHARE))),
    )


def horizon(
    reference: EncoderCost, task: Task, batch_size: int, clock: Clock, config: SearchConfig
) -> Horizon:
    """How much training the time left holds.

    Args:
        reference: What the reference encoder costs.
        task: What there is to do.
        batch_size: Windows per step.
        clock: The run's.
        config: What the user asked.
    """
    epochs = max(0.0, clock.left()) / (reference.step_s * task.n_train * task.n_networks)
    return Horizon(
        epochs, task.n_train / batch_size, config.n_trials, bool(config.encoders), task.n_networks
    )


def choose_augmentation(windows: float, n_train: int) -> AugmentationName:
    """Strength of the augmentation for a budget of so many windows.

    Augmentation slows learning down before it helps, and turning and zooming resamples, which
    blurs. In a short training that decides, unless the images are so few that they come again and
    again. Measured (`tests/benchmarks/results/ablations.jsonl`, windows that were trained on, of
    which the time of a budget holds half as many again), macro IoU of "light" less that of
    "medium", coffee_leaf and dsb2018: 1,300 windows of an FPN +0.8 and +1.3, the same from 50
    images +0.9 and +1.3 ("strong": another 0.6 and 1.7 less); 7,300 windows of a U-Net +0.1 and
    +0.8; 4,000 windows from 20 images of coffee_leaf -0.7.

    Args:
        windows: Windows that the time left holds.
        n_train: Images to train on.
    """
    if windows <= min(LIGHT_UP_TO_WINDOWS, LIGHT_UP_TO_EPOCHS * n_train):
        return "light"
    return "strong" if n_train < FEW_IMAGES else "medium"


def reserve(task: Task, cost: EncoderCost, budget_s: float, n_models: int) -> float:
    """Time for scoring the test images with each model, and for the bundle."""
    evaluation_s = EVALUATION_MARGIN * task.n_test * (task.judging_s + cost.image_s)
    return RESERVE_S + RESERVE_SHARE * budget_s + n_models * evaluation_s


def rough_judging_s(sizes: np.ndarray, class_pixels: np.ndarray) -> float:
    """What judging an image takes beside the network (`Task.judging_s`), where nothing is timed.

    Args:
        sizes: Height and width of each image, (N, 2), in pixels.
        class_pixels: Pixels of each class, (N, K).
    """
    each_s = JUDGING_S + JUDGING_CLASS_S * class_pixels.shape[1]
    present_s = JUDGING_PRESENT_S * (class_pixels > 0).sum(1)
    pixels = sizes.astype(np.float64).prod(1)
    return JUDGING_IMAGE_S + float((pixels * (each_s + present_s)).mean())


def validation_subset(task: Task, cost: EncoderCost, budget_s: float, seed: int) -> tuple[int, ...]:
    """Validation images scored while searching: all, or as many as there is time for."""
    affordable = int(VALIDATION_SHARE * budget_s / max(1e-9, cost.validation_s))
    shuffled = np.random.default_rng(seed).permutation(np.array(task.val))
    return tuple(sorted(shuffled[: max(LEAST_VALIDATION, affordable)].tolist()))


def decoder_phase(
    cost: EncoderCost, n_train: int, left_s: float, trial_epochs: float | None
) -> tuple[int, int]:
    """Windows of the decoder phase and how many of them have their features cached.

    Args:
        cost: Of the encoder.
        n_train: Images to train on.
        left_s: Time for training, in seconds.
        trial_epochs: Length of a trial; None: there is no search.
    """
    features = 2 * n_train
    windows = DECODER_EPOCHS * features
    full_s = features * cost.head_s + windows * cost.decoder_s
    if trial_epochs is not None:
        # Done once per encoder: at most a quarter of one trial's fine-tuning.
        limit_s = 0.25 * cost.step_s * n_train * trial_epochs
    else:
        limit_s = DECODER_SHARE * left_s
    share = min(1.0, limit_s / max(1e-9, full_s))
    share = max(share, LEAST_DECODER_WINDOWS / windows)
    # Two digits are enough, and two calibrations of one machine then plan alike.
    return _coarse(windows * share), _coarse(features * share)


def frozen_trial(n_train: int, epochs: float) -> tuple[int, int]:
    """Length of a trial of an encoder that is only tried frozen, whose decoder phase is all of it.

    Args:
        n_train: Images to train on.
        epochs: Length of a fine-tuned trial.

    Returns:
        Windows, as many as a fine-tuned trial sees, and those whose features are cached, at least
        one of each image.
    """
    windows = round(epochs * n_train)
    return windows, max(n_train, round(windows / DECODER_EPOCHS))


def frozen_trial_fits(cost: EncoderCost, n_train: int, epochs: float, limit_s: float) -> bool:
    """Whether such a trial takes no longer than allowed.

    Args:
        cost: Of the encoder.
        n_train: Images to train on.
        epochs: Length of a fine-tuned trial.
        limit_s: Longest time of a trial, in seconds.
    """
    windows, features = frozen_trial(n_train, epochs)
    return features * cost.head_s + windows * cost.decoder_s <= limit_s


def _coarse(count: float) -> int:
    """Round down to one and a half significant digits; at least 8."""
    value = max(8, int(count))
    step = 10 ** max(0, len(str(value)) - 2) * 5
    return max(8, value // step * step) if step <= value else value
