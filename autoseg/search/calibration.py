"""The plan that follows from what encoders cost on this machine."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

import torch

from autoseg.checkpoint import Weights
from autoseg.config import MAX_FROZEN_DEPTH, Recipe, SearchConfig
from autoseg.encoders import find_encoder
from autoseg.errors import TrainingError
from autoseg.search.budget import (
    MIN_STEPS_ON,
    Clock,
    EncoderCost,
    Horizon,
    Plan,
    check_enough,
)
from autoseg.search.measuring import (
    Workload,
    drawn_weights,
    first_recipe,
    measure,
    measure_decoder,
    measure_frozen,
    measure_judging,
    measure_recipe,
)
from autoseg.search.planning import (
    check_latency,
    choose_batch_size,
    decoder_phase,
    divide,
    fast_enough,
    frozen_trial_fits,
    horizon,
    pixels_in,
    reserve,
    validation_subset,
)
from autoseg.search.space import MANY_TRIALS, SearchSpace
from autoseg.search.speed import time_noise

CALIBRATION_SHARE = 0.05
"""Share of the budget after which no further encoder is measured."""


def affordable_pixels(
    encoder_name: str, num_classes: int, device: torch.device, clock: Clock
) -> float:
    """Pixels of windows that the budget can train on, from a few small steps on noise.

    The working size depends on it, and the real calibration on the working size.
    """
    if device.type != "cpu":
        return pixels_in(clock, 0.0, device.type)
    return pixels_in(clock, time_noise(encoder_name, num_classes, device), device.type)


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
        ConfigError: No encoder is as fast as asked.
    """
    n_train = len(work.data.train)
    batch_size = choose_batch_size(n_train, device.type, work.geometry.window)
    reference, *others = work.encoder_names
    costs = {reference: measure(reference, work, device, batch_size, config.seed)}
    recipe = first_recipe(reference, work, batch_size)
    task = work.task(measure_judging(recipe, work, costs[reference], device, clock.budget_s))
    clock.reserve_s = reserve(task, costs[reference], clock.budget_s, n_models=1)
    check_enough(clock, costs[reference].decoder_s * batch_size)
    limit_ms = config.max_latency_ms
    # Measuring others pays only if there will be a search between them.
    calibration_ends = clock.elapsed() + CALIBRATION_SHARE * clock.budget_s
    for number, name in enumerate(others, start=1):
        on_progress(number, len(work.encoder_names))
        ahead = horizon(costs[reference], task, batch_size, clock, config)
        is_late = clock.elapsed() > calibration_ends
        if fast_enough(costs, limit_ms) and (is_late or not ahead.compares_encoders):
            break
        try:
            costs[name] = measure(name, work, device, batch_size, config.seed)
        except TrainingError:
            break  # Larger ones will not fit either.
    check_latency(costs, limit_ms)
    costs = fast_enough(costs, limit_ms)
    reference = next(iter(costs))
    clock.reserve_s = reserve(task, costs[reference], clock.budget_s, n_models=1)
    for name in work.frozen_encoders:
        ahead = horizon(costs[reference], task, batch_size, clock, config)
        if frozen_may_fit(costs[reference], n_train, clock.left(), ahead):
            with suppress(TrainingError):  # Too large for the memory.
                costs[name] = measure_frozen(name, work, device, batch_size, config.seed)
    costs = fast_enough(costs, limit_ms)
    plan = divide(task, costs, batch_size, config, clock, work.frozen_encoders)
    return with_decoders(plan, work, limit_ms, device, lambda: clock.elapsed() > calibration_ends)


def with_decoders(
    plan: Plan,
    work: Workload,
    limit_ms: float | None,
    device: torch.device,
    is_late: Callable[[], bool],
) -> Plan:
    """A plan with the time of one image for every pair of encoder and decoder that it searches.

    A study's choices are the same for all of its trials. So where there is a limit, a decoder is
    searched only if no encoder is slower with it than that; the default decoder always is.

    Args:
        plan: With times for the default decoder alone.
        work: Data.
        limit_ms: Longest time of one image, in milliseconds; None: any.
        device: Where it is measured.
        is_late: Whether there is no time to measure more: what is left counts as the default
            decoder where there is no limit, and is not searched where there is one.
    """
    space, limit_s = plan.space, float("inf") if limit_ms is None else limit_ms / 1000
    names = [name for name in space.encoders if space.searches_decoders_of(name)]
    if space.expected_trials < MANY_TRIALS or not names:
        return plan  # Decoders are not searched.
    default, *others = space.decoder_names
    kept, costs = [default], dict(plan.costs)
    for decoder in others:
        if is_late():
            kept += [decoder] if limit_ms is None else []
            continue
        times_s: dict[str, float] = {}
        with suppress(TrainingError):  # Too large for the memory.
            for name in names:
                times_s[name] = measure_decoder(name, decoder, work, device)
                if times_s[name] > limit_s:
                    break
        if len(times_s) < len(names) or max(times_s.values()) > limit_s:
            continue
        kept.append(decoder)
        for name, seconds in times_s.items():
            known = costs[name]
            costs[name] = replace(known, decoders_s={**known.decoders_s, decoder: seconds})
    return replace(plan, space=replace(space, decoder_names=tuple(kept)), costs=costs)


def measure_again(
    plan: Plan,
    work: Workload,
    device: torch.device,
    clock: Clock,
    seed: int,
    recipe: Recipe | None = None,
) -> Plan:
    """A plan that was made on another device or machine, with what it costs on this one.

    What is searched, the lengths of its trials and the validation images stay, so that what was
    tried counts; so do the encoders that were fast enough where the run began. Time that is kept
    back for a longer evaluation comes off the search, half of which stays. Sets the clock's
    reserve.

    Args:
        plan: That of the other device.
        work: Data.
        device: Where the run goes on.
        clock: The run's.
        seed: Of the windows that are timed.
        recipe: What a run without a search trains; None: the run searches.

    Raises:
        TrainingError: The reference encoder does not fit into memory here.
    """
    n_train, searches = len(work.data.train), plan.search_s > 0
    reference, *_ = plan.costs
    costs = _costs_again(plan, work, device, clock, seed, recipe)
    cost = costs[reference]
    first = recipe or _first_recipe_of(plan, reference, work)
    drawn = drawn_weights(first, work.data.num_classes)
    task = work.task(measure_judging(first, work, cost, device, clock.budget_s, drawn))
    n_models = 2 if searches or recipe is not None else 1
    reserve_s = clock.reserve_s = reserve(task, cost, clock.budget_s, n_models)
    less_s = min(max(0.0, reserve_s - plan.reserve_s), plan.search_s / 2)
    left_s = max(0.0, clock.left()) / plan.n_networks
    trial_epochs = plan.space.epochs if searches else None
    windows, features = decoder_phase(cost, n_train, left_s, trial_epochs)
    return replace(
        plan,
        costs=costs,
        reference_epochs=left_s / (cost.step_s * n_train),
        search_s=plan.search_s - less_s,
        search_until_s=plan.search_until_s - less_s,
        decoder_windows=windows,
        decoder_features=features,
        reserve_s=reserve_s,
        evaluation_images=task.n_test,
        judging_s=task.judging_s,
    )


def _costs_again(
    plan: Plan,
    work: Workload,
    device: torch.device,
    clock: Clock,
    seed: int,
    recipe: Recipe | None,
) -> dict[str, EncoderCost]:
    """What a plan's encoders cost on this device.

    Those for which there is no time or no memory are taken to be as much slower or faster than they
    were as the reference is.
    """
    ends = clock.elapsed() + CALIBRATION_SHARE * clock.budget_s
    reference, *others = plan.costs
    costs = {reference: _cost_again(reference, plan, work, device, seed, recipe)}
    for name in others:
        costs[name] = plan.costs[name].scaled(plan.costs[reference], costs[reference])
        if clock.elapsed() < ends:
            with suppress(TrainingError):  # It may be larger than this device has memory for.
                costs[name] = _cost_again(name, plan, work, device, seed, None)
    return costs


def _cost_again(
    name: str,
    plan: Plan,
    work: Workload,
    device: torch.device,
    seed: int,
    recipe: Recipe | None,
) -> EncoderCost:
    """What an encoder costs on this device, with weights that are drawn: the pretrained ones need
    not be here any more.
    """
    if recipe is None:
        recipe = _first_recipe_of(plan, name, work)
        if name in plan.space.frozen_encoders:
            recipe = replace(recipe, frozen_depth=MAX_FROZEN_DEPTH)
    drawn = drawn_weights(recipe, work.data.num_classes)
    cost = measure_recipe(recipe, work, device, seed, drawn)
    others = [d for d in plan.space.decoder_names if d in plan.costs[name].decoders_s]
    times_s: dict[str, float] = {d: measure_decoder(name, d, work, device) for d in others}
    return replace(cost, decoders_s=times_s)


def _first_recipe_of(plan: Plan, name: str, work: Workload) -> Recipe:
    """`first_recipe` with the decoder that the plan's run began with: the default may have changed
    since."""
    recipe = first_recipe(name, work, plan.space.batch_size)
    return replace(recipe, decoder_name=plan.space.first_decoder(name))


def frozen_may_fit(reference: EncoderCost, n_train: int, left_s: float, ahead: Horizon) -> bool:
    """Whether a search of the time left may have time for an encoder that is only tried frozen.

    Args:
        reference: What the reference encoder costs.
        n_train: Images to train on.
        left_s: Time for search and training, in seconds.
        ahead: How much training that is.
    """
    limit_s = ahead.encoder_share * ahead.search_share * max(0.0, left_s)
    # It is slower than the reference, and measured only if it might fit.
    return frozen_trial_fits(reference, n_train, ahead.trial_epochs, limit_s)


def plan_training_on(
    work: Workload,
    recipe: Recipe,
    weights: Weights,
    config: SearchConfig,
    device: torch.device,
    clock: Clock,
) -> Plan:
    """The plan of a run without a search: one recipe goes on from the weights of a former model.

    Raises:
        BudgetError: Too little time to train at all.
        ConfigError: The model is not as fast as asked.
    """
    n_train, name = len(work.data.train), recipe.encoder_name
    cost = measure_recipe(recipe, work, device, config.seed, weights)
    check_latency({name: cost}, config.max_latency_ms)
    task = work.task(measure_judging(recipe, work, cost, device, clock.budget_s, weights))
    # The former model is judged beside the new one.
    reserve_s = clock.reserve_s = reserve(task, cost, clock.budget_s, n_models=2)
    val = validation_subset(task, cost, clock.budget_s, config.seed)
    scoring_s = 2 * cost.validation_s * len(val)  # Before the training and after it.
    check_enough(clock, cost.step_s * recipe.batch_size, MIN_STEPS_ON, scoring_s)
    epochs_left = clock.left() / (cost.step_s * n_train)
    windows, features = decoder_phase(cost, n_train, clock.left(), trial_epochs=None)
    is_vit = find_encoder(name).kind == "vit"
    space = SearchSpace(
        encoders=(name,),
        geometry=work.geometry,
        decoder_names=(recipe.decoder_name,),
        vit_encoders=(name,) if is_vit else (),
        flip=recipe.flip,
        augmentation=recipe.augmentation,
        batch_size=recipe.batch_size,
        epochs=epochs_left,
        expected_trials=0,
    )
    return Plan(
        space=space,
        costs={name: cost},
        reference_epochs=epochs_left,
        search_s=0.0,
        search_until_s=clock.elapsed(),
        max_trials=1,
        decoder_windows=windows,
        decoder_features=features,
        val=val,
        reserve_s=reserve_s,
        evaluation_images=task.n_test,
        judging_s=task.judging_s,
    )
