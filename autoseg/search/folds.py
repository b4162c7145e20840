"""Scores where images are too few for a test split: every image by a network that never saw it."""

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace

from autoseg.checkpoint import Weights
from autoseg.config import Recipe
from autoseg.search.bench import Bench
from autoseg.search.budget import EVALUATION_MARGIN
from autoseg.training.schedule import Schedule

FOLD_SHARE = 0.35
"""Share of the time left after the search that the folds may take, predicting images included."""

LEAST_STEPS = 20
"""Optimizer steps below which a fold's network says nothing of the recipe."""

OPENING_S = 0.5
"""Building a fold's network and writing what it predicts, in seconds."""

_DECODER_SHARE = 0.25
"""Share of a fold's time that goes to its decoder phase."""


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
    """What the folds take."""

    training_s: float
    """Training one fold's network, in seconds."""
    judging_s: float
    """Predicting an image that was left out, in seconds."""

    def beside_s(self, folds: Folds) -> float:
        """Time of some folds beside their training, in seconds."""
        return sum(OPENING_S + self.judging_s * len(left_out) for left_out in folds)

    def sum_s(self, folds: Folds) -> float:
        """Time of some folds, in seconds."""
        return self.training_s * len(folds) + self.beside_s(folds)


def fold_times(bench: Bench, recipe: Recipe, folds: Folds, left_s: float) -> FoldTimes | None:
    """Times of the folds; None where they leave too little to train on.

    Args:
        bench: Measured costs.
        recipe: What every fold trains.
        folds: Images of each fold.
        left_s: Time left until the evaluation, in seconds.
    """
    plan = bench.plan
    cost = plan.costs[recipe.encoder_name]
    judging_s = EVALUATION_MARGIN * (plan.judging_s + cost.time_with(recipe.decoder_name))
    beside_s = FoldTimes(0.0, judging_s).beside_s(folds)
    training_s = (FOLD_SHARE * left_s - beside_s) / len(folds)
    enough = training_s > LEAST_STEPS * cost.step_s * recipe.batch_size
    return FoldTimes(training_s, judging_s) if enough else None


def train_folds(
    bench: Bench,
    recipe: Recipe,
    folds: Folds,
    training_s: Callable[[], float | None],
    on_progress: Callable[[float, float], None],
    known: Collection[tuple[int, ...]] = (),
) -> Iterator[FoldModel]:
    """Train the chosen recipe once per fold, on the other folds.

    Each starts from the pretrained encoder: a decoder of the search has seen the fold. The
    recipe was chosen with the help of the first fold, so the estimate stays a little optimistic.
    A stop inside a fold ends them all, without that one: its network is not the recipe's.

    Args:
        bench: Data and costs.
        recipe: What to train.
        folds: Images of each fold.
        training_s: Time of the next fold, in seconds; None: there is too little.
        on_progress: Told after every fold.
        known: Folds that need no training any more.
    """
    everything = sorted(i for fold in folds for i in fold)
    for k, left_out in enumerate(folds):
        if left_out in known:
            continue
        seconds = training_s()
        if seconds is None or not bench.keep_going():
            return
        train = tuple(i for i in everything if i not in set(left_out))
        fold_bench = replace(bench, data=replace(bench.data, train=train, val=left_out))
        trial = fold_bench.open_trial(recipe, bench.seed + 100 + k)
        try:
            decoder_s = _DECODER_SHARE * seconds if trial.can_cache_features else 0.0
            if decoder_s:
                fold_bench.train_decoder(
                    trial, Schedule(seconds=decoder_s, cooldown_share=0.3, evaluations=(1.0,))
                )
            result = trial.fine_tune(
                Schedule(seconds=seconds - decoder_s, cooldown_share=0.4, evaluations=(1.0,)),
                keep_going=bench.keep_going,
            )
        finally:
            trial.close()
        if result.reason != "complete":
            return
        on_progress(k + 1, len(folds))
        yield FoldModel(left_out, result.weights)
