"""The final phase: the winner goes on with a schedule tied to the time that is left."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from autoseg.checkpoint import Weights, load_weights, save_weights
from autoseg.config import MAX_FROZEN_DEPTH, Recipe
from autoseg.errors import AutosegError, BudgetError, StoppedEarlyError, TrainingError
from autoseg.files import autoseg_home
from autoseg.metrics import clearly_better
from autoseg.search.bench import Bench
from autoseg.search.budget import MIN_STEPS, check_enough
from autoseg.search.journal import Journal
from autoseg.search.loop import described
from autoseg.training.compile_gains import Gain
from autoseg.training.hardware import free_memory, telling_of_memory
from autoseg.training.schedule import Schedule
from autoseg.training.trainer import Evaluation
from autoseg.training.trial import TrainResult, Trial

COOLDOWN_SHARE = 0.4
"""Share of the final phase in which the learning rate falls to 0."""

EVALUATION_SHARE = 0.06
"""Share of the final phase that scoring may take."""

MAX_EVALUATIONS = 6

TRAINED_ON = "former model"
"""Origin of the trial of a run that trains a former model on."""


@dataclass(frozen=True)
class FinalModel:
    """What goes into the bundle."""

    number: int
    """Its trial."""
    recipe: Recipe
    weights: Weights
    confusions: np.ndarray
    """On the validation images, (n, K, K)."""


def train_final(
    bench: Bench,
    journal: Journal,
    number: int,
    recipe: Recipe,
    weights: Weights | None,
    time_left: Callable[[], float],
) -> FinalModel:
    """Continue one trial until the time is up, and keep the best weights seen.

    An interrupted final phase goes on from its latest weights on disk.

    Args:
        bench: Data, costs and decoder starts.
        journal: The run's records.
        number: The trial.
        recipe: Its recipe.
        weights: Its weights; None: it has not been trained yet.
        time_left: Seconds until training must be over.

    Raises:
        BudgetError: There is no time to train anything.
        StoppedEarlyError: A stop was asked before the first step, and there are no weights, or
            only those of a former model.
        TrainingError: Training broke, and there is nothing to fall back on.
    """
    kept = _Kept(journal.folder.path / "final", number)
    former = tuple(saved for saved in (kept.best(), kept.latest()) if saved is not None)
    with telling_of_memory(bench.device):
        start = None if weights is not None else _decoder_start(bench, journal, number, recipe)
        if start is not None:
            weights = start.weights
        first = former[-1] if former and weights is None else weights
        trial = bench.open_trial(recipe, bench.seed + 1, first)
        try:
            phase = _Phase(bench, journal, number, trial, kept, time_left)
            before, result, reason = phase.work(start, weights, former)
        finally:
            trial.close()
    chosen = _better(before, result)
    # Whoever goes on from here must not fall back on what was just found to be worse.
    kept.keep_best(chosen.weights)
    assert chosen.best is not None
    recipe = _finished(journal, number, result, chosen.best.score, reason, recipe)
    return FinalModel(number, recipe, chosen.weights, chosen.best.confusions)


@dataclass(frozen=True)
class _Kept:
    """Weights of a final phase on disk, for an attempt that goes on with it."""

    folder: Path
    number: int
    """Its trial: a search that goes on after a stop may find another winner."""

    def best(self) -> Weights | None:
        """The best that were scored."""
        return self._load("")

    def latest(self) -> Weights | None:
        """Those that training came to after the best, and that nobody scored."""
        return self._load("-latest")

    def has_latest(self) -> bool:
        """Whether training had gone on after the best were scored."""
        return self._file("-latest").is_file()

    def keep_best(self, weights: Weights) -> None:
        """Keep scored weights in place of all others."""
        save_weights(self._file(""), weights)
        self._file("-latest").unlink(missing_ok=True)

    def keep_latest(self, weights: Weights) -> None:
        """Keep weights beside the best, if the disk takes them and no loss has spoilt them."""
        floats = (tensor for tensor in weights.values() if tensor.is_floating_point())
        if all(bool(torch.isfinite(tensor).all()) for tensor in floats):
            with suppress(OSError):  # Training needs no copy to go on.
                save_weights(self._file("-latest"), weights)

    def _load(self, suffix: str) -> Weights | None:
        file = self._file(suffix)
        return load_weights(file) if file.is_file() else None

    def _file(self, suffix: str) -> Path:
        return self.folder / f"{self.number}{suffix}.safetensors"


@dataclass(frozen=True)
class _Phase:
    """The final phase of one trial."""

    bench: Bench
    journal: Journal
    number: int
    trial: Trial
    kept: _Kept
    time_left: Callable[[], float]

    def work(
        self, start: TrainResult | None, weights: Weights | None, former: Sequence[Weights]
    ) -> tuple[TrainResult | None, TrainResult, str]:
        """The best before the training, what came of it, and why it ended; arguments as `_begun`.

        Raises:
            TrainingError: Training broke before there was anything to keep.
        """
        before: TrainResult | None = None
        try:
            with telling_of_memory(self.bench.device):
                before = _begun(self.trial, start, weights, former)
                if before is not None and self.kept.has_latest():
                    self.kept.keep_best(before.weights)  # All of them are scored now.
                nothing = before is None or (start is not None and start.windows == 0)
                result, reason = self._trained(before, not former, not former and nothing)
                return before, result, reason
        except TrainingError as error:
            broke = str(error)
        # Outside the handler: its traceback would keep the tensors of what failed.
        free_memory(self.bench.device)
        # What was good before the loss diverged or memory ran out is worth more than no model.
        good = self.kept.best() or weights or self.kept.latest()
        if good is None:
            raise TrainingError(broke)
        self.trial.model.load_state_dict(good)
        return before, self.trial.scored(), broke

    def _trained(
        self, before: TrainResult | None, begins: bool, nothing: bool
    ) -> tuple[TrainResult, str]:
        """What comes of the time that is left, and why it ended.

        Args:
            before: The best so far.
            begins: Whether this is the first attempt.
            nothing: Whether `before` is no network that was trained.
        """
        recipe = self.trial.recipe
        schedule = _schedule(self.bench, recipe, self.time_left())
        if begins and self.journal.trials[self.number].origin == TRAINED_ON:
            _refuse_unchanged(self.bench, self.journal, recipe, self.time_left())
        held_back = not self.bench.keep_going()
        result = before if schedule is None or held_back else self._go_on(schedule)
        if result is None or (nothing and result.windows == 0):
            raise _untrained(is_late=schedule is None or self.time_left() <= 0)
        stopped = (held_back or result.reason == "stopped") and self.time_left() > 0
        return result, "stopped on request" if stopped else "trained to the end of the time"

    def _go_on(self, schedule: Schedule) -> TrainResult:
        """Train over the schedule; the best weights so far, and the latest, are always on disk."""
        journal, number, trial = self.journal, self.number, self.trial
        n_train = len(self.bench.data.train)
        told: list[Weights] = []

        def on_evaluation(evaluation: Evaluation) -> bool:
            if told:
                journal.on_result(number, told.pop(), evaluation.confusions)
            journal.add_point(number, evaluation, n_train, "final")
            journal.progress(evaluation.progress, 1.0)
            return True

        def on_best(averaged: Weights) -> None:
            self.kept.keep_best(averaged)
            told[:] = [averaged]  # Their evaluation is told next.

        def note(sentence: str, gain: Gain | None) -> None:
            journal.note(number, sentence, None if gain is None else gain.ratio)

        if trial.recipe.frozen_depth == MAX_FROZEN_DEPTH and trial.can_cache_features:
            result = self.bench.train_decoder(
                trial, schedule, on_evaluation, on_best, self.kept.keep_latest
            )
            if result.note:
                journal.note(number, result.note)
            return result
        assert schedule.seconds is not None
        return trial.fine_tune(
            schedule,
            on_evaluation=on_evaluation,
            on_best=on_best,
            on_average=self.kept.keep_latest,
            keep_going=self.bench.keep_going,
            compilation=trial.compilation(autoseg_home(), schedule.seconds, note),
        )


def _untrained(is_late: bool) -> AutosegError:
    """Why there is no model: it was too late for a first step, or a stop came before it."""
    if is_late:
        return BudgetError(
            "The time was used up before anything could be trained: preparing took longer "
            "than planned. Give a larger budget, or close other programs."
        )
    return StoppedEarlyError(
        "The search was stopped before anything was trained. The same command goes on."
    )


def _refuse_unchanged(bench: Bench, journal: Journal, recipe: Recipe, left_s: float) -> None:
    """Refuse to hand a former model back as the new one without having trained it.

    Raises:
        BudgetError: There is no time for a training step, with the budget that would do.
        StoppedEarlyError: A stop was asked before the first step.
    """
    cost = bench.plan.costs[recipe.encoder_name]
    step_s, scoring_s = cost.step_s * recipe.batch_size, cost.validation_s * len(bench.data.val)
    clock = replace(journal.clock)  # As `time_left` sees it: the caller may keep more back.
    clock.reserve_s = clock.budget_s - clock.elapsed() - left_s
    check_enough(clock, step_s, MIN_STEPS, scoring_s)
    if not bench.keep_going():
        raise _untrained(is_late=False)


def _begun(
    trial: Trial, start: TrainResult | None, weights: Weights | None, former: Sequence[Weights]
) -> TrainResult | None:
    """The best there is before the training, which then starts from the trial's present weights.

    Args:
        trial: The network, with `weights` if there are any.
        start: Weights and scores that an unsearched recipe begins with.
        weights: What the final phase begins with; None: nothing that was trained.
        former: What an earlier attempt at the final phase left, the latest last.
    """
    before = start if start is not None or weights is None else trial.scored()
    for saved in former:
        trial.model.load_state_dict(saved)
        before = _better(before, trial.scored())
    return before


def _finished(
    journal: Journal, number: int, result: TrainResult, score: float, reason: str, recipe: Recipe
) -> Recipe:
    """Record how the final phase ended; the recipe with the epochs it took.

    Args:
        journal: The run's records.
        number: The trial.
        result: What came of the training.
        score: Of the weights that are kept, which need not be the highest of the curve.
        reason: Why it ended.
        recipe: What was trained.
    """
    record = described(journal.trials[number], result, "complete", reason)
    epochs = record.curve[-1].epochs if record.curve else result.recipe.epochs
    recipe = replace(recipe, epochs=max(epochs, 1e-3))
    journal.record(replace(record, recipe=recipe, score=score))
    return recipe


def _decoder_start(
    bench: Bench, journal: Journal, number: int, recipe: Recipe
) -> TrainResult | None:
    """Where a recipe begins that was not searched, as part of its trial's curve."""
    if recipe.frozen_depth == MAX_FROZEN_DEPTH:
        return None  # The final phase is its decoder phase.
    start = bench.decoder_start(recipe)
    if start is not None and start.note:
        journal.note(number, start.note)
    if any(point.phase == "decoder" for point in journal.trials[number].curve):
        return start  # An earlier attempt told of it.
    for evaluation in start.evaluations if start is not None else ():
        journal.add_point(number, evaluation, len(bench.data.train), "decoder")
    return start


def _better(before: TrainResult | None, after: TrainResult) -> TrainResult:
    """The final phase's weights, unless those it began with are clearly better.

    By the bare validation score a decoder on the frozen encoder was kept over 600 further steps on
    coffee_leaf, and cost 4 points on the test split.
    """
    if before is None or before.best is None or after.best is None:
        return after
    return before if clearly_better(before.best.confusions, after.best.confusions) else after


def _schedule(bench: Bench, recipe: Recipe, left_s: float) -> Schedule | None:
    """As long as there is time, the last evaluation included; None if there is none."""
    cost = bench.plan.costs[recipe.encoder_name]
    scoring_s = cost.validation_s * len(bench.data.val)
    seconds = left_s - scoring_s
    if seconds < 2 * cost.step_s * recipe.batch_size:
        return None
    affordable = EVALUATION_SHARE * seconds / max(1e-9, scoring_s)
    count = int(min(MAX_EVALUATIONS, max(1.0, affordable)))
    shares = tuple(float(share) for share in np.linspace(0, 1, count + 1)[1:])
    return Schedule(seconds=seconds, cooldown_share=COOLDOWN_SHARE, evaluations=shares)
