"""Networks that judge a recipe where images are too few for a test split.

The model never learns from the first fold. In a longer run more networks of its recipe, each
trained as long as the model, leave out the others.
"""

import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass

from autoseg.checkpoint import Weights
from autoseg.config import MAX_FROZEN_DEPTH, Recipe
from autoseg.files import autoseg_home
from autoseg.search.bench import Bench
from autoseg.search.budget import EVALUATION_MARGIN
from autoseg.search.final import COOLDOWN_SHARE
from autoseg.search.networks import networks_for
from autoseg.training.schedule import Schedule
from autoseg.training.trial import TrainResult

LEAST_STEPS = 20
"""Optimizer steps below which a network says nothing of the recipe."""

OPENING_S = 0.5
"""Building a network and writing what it predicts, in seconds."""


Folds = tuple[tuple[int, ...], ...]
"""Images of each fold."""


@dataclass(frozen=True)
class FoldModel:
    """A network trained without one fold."""

    left_out: tuple[int, ...]
    """The images it never saw."""
    weights: Weights


@dataclass(frozen=True)
class FoldTimes:
    """What the networks take that are trained beside the model."""

    training_s: float
    """Training one of them, in seconds; the model takes as long."""
    judging_s: float
    """Predicting an image that was left out, in seconds."""
    n_folds: int = 0
    """How many of them there are."""

    def beside_s(self, folds: Folds) -> float:
        """Time of some folds beside their training, in seconds."""
        return sum(OPENING_S + self.judging_s * len(left_out) for left_out in folds)

    def sum_s(self, folds: Folds) -> float:
        """Time of some folds, in seconds."""
        return self.training_s * len(folds) + self.beside_s(folds)


def fold_times(
    bench: Bench, recipe: Recipe, folds: Folds, left_s: float, spent_s: float = 0.0
) -> FoldTimes | None:
    """Times of the networks beside the model, and how many of them there is time for.

    Args:
        bench: Measured costs.
        recipe: What each of them trains.
        folds: What they may leave out, one after another.
        left_s: Time left until the evaluation, in seconds.
        spent_s: What the model has been trained for already, in seconds.

    Returns:
        The times; None where no network is trained beside the model.
    """
    plan = bench.plan
    cost = plan.costs[recipe.encoder_name]
    judging_s = EVALUATION_MARGIN * (plan.judging_s + cost.time_with(recipe.decoder_name))
    all_s = left_s + spent_s
    n_networks = networks_for(cost.step_s, recipe.geometry, all_s, 1 + len(folds))
    folds = folds[: n_networks - 1]
    beside_s = FoldTimes(0.0, judging_s).beside_s(folds)
    training_s = (all_s - beside_s) / (1 + len(folds))
    if not folds or training_s <= LEAST_STEPS * cost.step_s * recipe.batch_size:
        return None
    return FoldTimes(training_s, judging_s, len(folds))


def train_folds(
    bench: Bench,
    recipe: Recipe,
    folds: Folds,
    learnt: Folds,
    training_s: Callable[[], float | None],
    on_progress: Callable[[float, float], None],
    known: Collection[tuple[int, ...]] = (),
) -> Iterator[FoldModel]:
    """Train the chosen recipe once per fold, on the other folds.

    Each starts from the pretrained encoder: a decoder of the search has seen the fold. A stop
    inside a fold ends them all, without that one: its network is not the recipe's.

    Args:
        bench: Data and costs.
        recipe: What to train.
        folds: Those that are left out, one after another.
        learnt: All folds.
        training_s: Time of the next fold, in seconds; None: there is too little.
        on_progress: Told after every fold.
        known: Folds that need no training any more.
    """
    everything = sorted(i for fold in learnt for i in fold)
    for k, left_out in enumerate(folds, start=1):
        if left_out in known:
            continue
        seconds = training_s()
        if seconds is None or not bench.keep_going():
            return
        train = tuple(i for i in everything if i not in set(left_out))
        fold_bench = bench.with_splits(train, left_out, f"fold{k}")
        result = _trained(fold_bench, recipe, bench.seed + 100 + k, seconds)
        if result.reason != "complete" or not result.windows:
            return
        on_progress(k, len(folds))
        yield FoldModel(left_out, result.weights)


def _trained(bench: Bench, recipe: Recipe, seed: int, seconds: float) -> TrainResult:
    """A network after the phases that the model of a run without a search goes through."""
    began = time.monotonic()
    is_frozen = recipe.frozen_depth == MAX_FROZEN_DEPTH
    start = None if is_frozen else bench.decoder_start(recipe)
    if start is not None and start.reason != "complete":
        return start
    trial = bench.open_trial(recipe, seed, None if start is None else start.weights)
    left_s = max(0.0, seconds - (time.monotonic() - began))
    schedule = Schedule(seconds=left_s, cooldown_share=COOLDOWN_SHARE)
    try:
        if is_frozen and trial.can_cache_features:
            return bench.train_decoder(trial, schedule)
        compilation = trial.compilation(autoseg_home(), left_s, lambda sentence, gain: None)
        return trial.fine_tune(schedule, keep_going=bench.keep_going, compilation=compilation)
    finally:
        trial.close()
