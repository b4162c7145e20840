"""What a search will do with its time, told before it starts from what is known of the data."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from autoseg.config import Geometry, SearchConfig
from autoseg.data.splits import NUM_FOLDS
from autoseg.data.workers import cpu_count
from autoseg.dataset_facts import Facts
from autoseg.encoders import Encoder, families, find_encoder, weights_at_hand
from autoseg.errors import RunError
from autoseg.machine_load import Load, current_load
from autoseg.model import decoders_for
from autoseg.search.budget import Clock, EncoderCost, Plan, check_enough, rungs
from autoseg.search.calibration import frozen_may_fit
from autoseg.search.devices import runs_in_line
from autoseg.search.encoder_choice import DEFAULT_ENCODERS, few_images_encoders
from autoseg.search.geometry import object_widths, plan_geometry
from autoseg.search.measuring import judging_limit_s
from autoseg.search.networks import networks_in
from autoseg.search.planning import (
    Task,
    check_latency,
    choose_batch_size,
    divide,
    fast_enough,
    horizon,
    pixels_in,
    reserve,
    rough_judging_s,
)
from autoseg.search.resources import free_memory_bytes
from autoseg.search.run_folder import RunFolder
from autoseg.search.speed import (
    Speed,
    known_speeds,
    measure_on_noise,
    remember_speeds,
    step_memory,
)
from autoseg.training.hardware import choose_device, limit_threads

START_S = 6.0
"""Until a search's process has loaded what it needs, roughly, in seconds."""

READ_PIXELS_PER_S = 18e6
"""Images and masks that one core decodes for the check and again for the cache, in pixels."""

CALIBRATION_STEPS = 8.0
"""What measuring an encoder takes, in its own training steps."""

BASE_BYTES = 700 * 2**20
"""A process with torch and Optuna loaded."""

STEP_OVERHEAD = 1.6
"""Gradients, workspace and the batch itself, relative to what the backward pass keeps."""

VIT_FEATURE_BYTES = 24.0
"""Cached features of a small frozen ViT, in bytes per pixel: four maps of 384 channels in float32,
one pixel for 16x16."""

COPIES_OF_WEIGHTS = 8
"""Weights, gradients, AdamW's two moments, the average, the best so far and two starts."""

COPIES_OF_FROZEN_WEIGHTS = 5
"""The same without gradients and moments."""

SHORTEST_PRUNED, SHORTEST_WHOLE = 0.35, 0.7
"""Time of many short trials as a share of full fine-tuning, where some are pruned and where none
is: those that freeze much take less."""

OPENING_S = 0.4
"""Building a network and writing down how a trial went, in seconds."""

MANY_WITHOUT_GAIN = 20
"""Trials after which a search may end because nothing gets better: the portfolio and then 12."""

ONE_RECIPE = "There is only time for one recipe. With more time several are compared."
FROZEN_ONLY = "There is only time to train a decoder on the pretrained encoder as it is."
GOES_ON = "The chosen model is trained on. No recipes are compared."
FEW_IMAGES = (
    "There are few images to learn from, so DINOv2, which learnt without labels, is tried too: "
    "only a decoder is trained on it."
)
WAITS = "Another search has the device. This one begins after it."
FETCHES = "Weights that are not on this computer yet are fetched first."
NO_ROOM = "This may need more memory than is free now."


@dataclass(frozen=True)
class Estimate:
    """What a search will do, in rough numbers."""

    working_size: tuple[int, int]
    """Height and width at which the network sees a typical image, in pixels."""
    trials_low: int
    """Trials there is time for at least; 1: one recipe gets all the time."""
    trials_high: int
    """Trials there may be time for if many are pruned."""
    epochs: float
    """Windows per training image that the model's time would hold with the smallest encoder."""
    memory_bytes: int
    """Peak: of the GPU if there is one, else of the search's process."""
    ends_after_s: float
    """From now until the model is on disk, waiting for the device included, in seconds."""
    notes: tuple[str, ...]
    """Sentences of this module's, for the user."""
    load: Load | None = None
    """Other work that keeps this machine busy now; None: none, or the search that is waited for."""


def estimate_search(facts: Facts, config: SearchConfig, home: Path) -> Estimate:
    """Plan a search as `make_plan` would, with speeds that are known instead of measured ones.

    An encoder whose speed is not known yet is measured on noise, which takes a second or two; all
    later answers take milliseconds.

    Args:
        facts: Of the data set.
        config: What the user asks.
        home: `AUTOSEG_HOME`, where speeds and the devices' lines are.

    Raises:
        BudgetError: The budget is too small to train anything.
        ConfigError: There is no such device, or no encoder as fast as asked.
        EncoderError: An encoder is unknown.
    """
    load = current_load()  # Before speeds are measured, which is work too.
    limit_threads()
    device = choose_device(config.device)
    in_line = runs_in_line(home, device)
    frozen = few_images_encoders(config, len(facts.train))
    encoders = [*_encoders(config, device), *map(find_encoder, frozen)]
    speeds = _speeds(encoders, device, home, busy=bool(in_line))
    clock = Clock(config.budget_s, started_at=0.0, stood_at=_preparing_s(facts))
    affordable = pixels_in(clock, speeds[0].step_s, device.type)
    has_folds = not len(facts.test) and config.start_from is None
    n_networks = networks_in(affordable, NUM_FOLDS if has_folds else 0)
    geometry = _geometry(facts, config, device, affordable / n_networks, encoders[0].name)
    image_pixels = _cached_pixels(facts.sizes, geometry)
    task = _task(facts, geometry, n_networks)
    costs = {
        encoder.name: speed.cost(float(np.prod(geometry.window)), image_pixels)
        for encoder, speed in zip(encoders, speeds, strict=True)
    }
    for name in frozen:  # Its steps train the decoder alone.
        costs[name] = replace(costs[name], step_s=costs[name].head_s + costs[name].decoder_s)
    plan = _plan(task, costs, config, clock, device, frozen)
    low, high = _trials(plan, task, config)
    memory_bytes = _memory(plan, encoders, speeds, device)
    facts_on_notes = {
        GOES_ON: config.start_from is not None,
        ONE_RECIPE: config.start_from is None and high == 1 and config.n_trials != 1,
        FROZEN_ONLY: config.start_from is None and plan.frozen_only,
        FEW_IMAGES: bool(plan.space.frozen_encoders),
        WAITS: bool(in_line),
        FETCHES: not all(weights_at_hand(encoder) for encoder in encoders),
        NO_ROOM: memory_bytes > free_memory_bytes(device),
    }
    typical = np.median(facts.sizes, axis=0)
    return Estimate(
        working_size=geometry.resized_shape(round(typical[0]), round(typical[1])),
        trials_low=low,
        trials_high=high,
        epochs=plan.reference_epochs,
        memory_bytes=memory_bytes,
        ends_after_s=config.budget_s + sum(_left_s(home, name) for name in in_line),
        notes=tuple(note for note, holds in facts_on_notes.items() if holds),
        load=load if load.is_busy and not in_line else None,
    )


def _encoders(config: SearchConfig, device: torch.device) -> list[Encoder]:
    """Encoders of the search by rising size, without asking the Hub whether it has them."""
    if config.encoders:
        known = families()
        chosen = [e for text in config.encoders for e in known.get(text) or (find_encoder(text),)]
        allowed = [e for e in chosen if config.allow_noncommercial or e.commercial] or chosen
        return sorted(dict.fromkeys(allowed), key=lambda encoder: encoder.params)
    names = DEFAULT_ENCODERS.get(device.type, DEFAULT_ENCODERS["cpu"])
    given = [find_encoder(name) for name, _ in config.weights_files]
    here = [e for e in map(find_encoder, names) if weights_at_hand(e)]
    return list(dict.fromkeys([*here, *given]))


def _speeds(
    encoders: list[Encoder], device: torch.device, home: Path, *, busy: bool
) -> list[Speed]:
    """The speed of each encoder, the first of them measured if need be.

    The others are taken to be as much slower as their size suggests.
    """
    known = known_speeds(home, device)
    first = known.get(encoders[0].name)
    if first is None or (first.measured_on == "noise while busy" and not busy):
        first = measure_on_noise(encoders[0].name, device, busy=busy)
        remember_speeds(home, device, {encoders[0].name: first})
    elif first.memory is None:
        first = replace(first, memory=step_memory(encoders[0].name))
        remember_speeds(home, device, {encoders[0].name: first})
    speeds = [first]
    for encoder in encoders[1:]:
        speed = known.get(encoder.name)
        larger = float(np.sqrt(encoder.params / encoders[0].params))
        speeds.append(speed if speed is not None else first.times(larger))
    return speeds


def _preparing_s(facts: Facts) -> float:
    """Until the images are checked and cached, in seconds."""
    pixels = facts.sizes.astype(np.float64).prod(1).sum()
    return START_S + float(pixels) / (READ_PIXELS_PER_S * cpu_count())


def _geometry(
    facts: Facts, config: SearchConfig, device: torch.device, affordable: float, reference: str
) -> Geometry:
    seen = np.concatenate([facts.train, facts.val])
    sizes = facts.sizes[seen]
    widths = object_widths(sizes, facts.class_pixels[seen], facts.class_boundary[seen])
    decoder_name = decoders_for(reference)[0]
    return plan_geometry(
        sizes, widths, device.type, config.max_side, affordable, decoder_name=decoder_name
    )


def _task(facts: Facts, geometry: Geometry, n_networks: int) -> Task:
    judged = facts.test if len(facts.test) else facts.val
    return Task(
        geometry=geometry,
        flip="none",  # It costs nothing.
        n_train=len(facts.train),
        val=tuple(facts.val.tolist()),
        n_test=len(judged),
        judging_s=rough_judging_s(facts.sizes[judged], facts.class_pixels[judged]),
        n_networks=n_networks,
    )


def _cached_pixels(sizes: np.ndarray, geometry: Geometry) -> float:
    """Mean pixels of an image at working size."""
    kinds, counts = np.unique(sizes, axis=0, return_counts=True)
    shapes = np.array([geometry.resized_shape(int(h), int(w)) for h, w in kinds], np.float64)
    return float(shapes.prod(1) @ counts / counts.sum())


def _plan(
    task: Task,
    costs: Mapping[str, EncoderCost],
    config: SearchConfig,
    clock: Clock,
    device: torch.device,
    frozen: Collection[str],
) -> Plan:
    """The plan that measuring these costs would lead to; moves the clock as measuring would."""
    batch_size = choose_batch_size(task.n_train, device.type, task.geometry.window)
    first, *_ = costs.values()
    limit_ms = None if config.start_from is not None else config.max_latency_ms
    clock.reserve_s = reserve(task, first, clock.budget_s, n_models=1)
    assert clock.stood_at is not None
    clock.stood_at += min(3 * (task.judging_s + first.image_s), judging_limit_s(clock.budget_s))
    measured: dict[str, EncoderCost] = {}
    for name, cost in costs.items():
        ahead = horizon(first, task, batch_size, clock, config)
        if name in frozen or (not ahead.compares_encoders and fast_enough(measured, limit_ms)):
            break  # Those that are tried frozen come last.
        measured[name] = cost
        clock.stood_at += CALIBRATION_STEPS * cost.step_s * batch_size
        if len(measured) == 1:
            check_enough(clock, cost.decoder_s * batch_size)
    check_latency(measured, limit_ms)
    measured = fast_enough(measured, limit_ms)
    first = next(iter(measured.values()))
    clock.reserve_s = reserve(task, first, clock.budget_s, n_models=1)
    ahead = horizon(first, task, batch_size, clock, config)
    if frozen_may_fit(first, task.n_train, clock.left(), ahead):
        measured |= fast_enough({name: costs[name] for name in frozen}, limit_ms)
    return divide(task, measured, batch_size, config, clock, frozen)


def _trials(plan: Plan, task: Task, config: SearchConfig) -> tuple[int, int]:
    """Fewest and most trials that the search's time will hold."""
    if config.start_from is not None or plan.search_s <= 0:
        return 1, 1
    windows = plan.space.epochs * task.n_train
    names = [name for name in plan.space.encoders if name not in plan.space.frozen_encoders]
    costs = [plan.costs[name] for name in names]
    scoring_s = [cost.validation_s * len(plan.val) for cost in costs]
    decoders_s = [_decoder_s(plan, name) for name in plan.space.encoders]
    scored = len(rungs(windows / plan.space.batch_size))
    shortest_share = SHORTEST_PRUNED if scored > 1 else SHORTEST_WHOLE
    longest_s = windows * float(np.mean([cost.step_s for cost in costs]))
    shortest_s = shortest_share * windows * min(cost.step_s for cost in costs)
    longest_s += OPENING_S + scored * float(np.mean(scoring_s))
    shortest_s += OPENING_S + min(scoring_s)
    low = (plan.search_s - sum(decoders_s)) / longest_s
    high = (plan.search_s - min(decoders_s)) / shortest_s
    most = plan.max_trials
    return (
        max(1, min(int(low), MANY_WITHOUT_GAIN, most)),
        max(1, min(int(np.ceil(high)), most)),
    )


def _decoder_s(plan: Plan, name: str) -> float:
    """Training the decoder that all trials of an encoder start from, and scoring it, in seconds."""
    cost, (windows, features) = plan.costs[name], plan.decoder_length(name)
    scoring_s = cost.validation_s * len(plan.val)
    return features * cost.head_s + windows * cost.decoder_s + scoring_s


def _memory(plan: Plan, encoders: list[Encoder], speeds: list[Speed], device: torch.device) -> int:
    """Peak memory of the largest encoder that is searched, in bytes."""
    height, width = plan.space.geometry.window
    pixels = float(height * width)
    most, features, memory = 0.0, 0.0, speeds[0].memory
    assert memory is not None  # `_speeds` counts it.
    for encoder, speed in zip(encoders, speeds, strict=True):
        copies, kept = COPIES_OF_WEIGHTS, speed.memory or memory
        if encoder.name in plan.space.frozen_encoders:
            copies = COPIES_OF_FROZEN_WEIGHTS
            features = max(features, VIT_FEATURE_BYTES * plan.frozen_features * pixels)
        else:
            features = max(features, kept.feature_bytes * plan.decoder_features * pixels)
        if encoder.name in plan.space.encoders:
            step = STEP_OVERHEAD * kept.saved_bytes * plan.space.batch_size * pixels
            most = max(most, step + copies * 4.0 * encoder.params)
    if device.type == "cuda":
        return int(most)
    return int(BASE_BYTES + most + min(features, 0.25 * free_memory_bytes(device)))


def _left_s(home: Path, name: str) -> float:
    """Time that a run of the workspace still has, in seconds; 0 where it cannot be told."""
    try:
        state = RunFolder(home / "runs" / name).state()
    except RunError:
        return 0.0
    return max(0.0, state.budget_s - state.elapsed_s) if state else 0.0
