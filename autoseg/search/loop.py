"""The trials of a search, one after another, until its time is up."""

from collections.abc import Callable
from dataclasses import replace
from itertools import takewhile

import optuna

from autoseg.config import MAX_FROZEN_DEPTH, Recipe
from autoseg.errors import PausedError, StoppedEarlyError, TrainingError
from autoseg.search.bench import Bench
from autoseg.search.budget import RUNG_SHARES, rungs
from autoseg.search.journal import Journal
from autoseg.search.run_folder import TrialRecord, TrialStatus
from autoseg.search.space import Params
from autoseg.search.study import Study
from autoseg.training.hardware import is_out_of_memory
from autoseg.training.schedule import Schedule
from autoseg.training.trainer import Evaluation
from autoseg.training.trial import TrainResult

PATIENCE = 12
"""Sampled trials in a row without an improvement that end the search."""

MOST_FAILURES = 10
"""Failed trials in a row that end the search: it is not their recipes that are wrong."""

MIN_IMPROVEMENT = 0.0025
"""Smaller gains of the best score count as none."""


class SearchLoop:
    """Asks the study, trains, reports, records.

    Args:
        study: Where points come from.
        bench: Data and decoder starts.
        journal: The run's records.
        time_left: Seconds that search trials may still use.
    """

    def __init__(
        self, study: Study, bench: Bench, journal: Journal, time_left: Callable[[], float]
    ) -> None:
        self.study = study
        self.bench = bench
        self.journal = journal
        self.time_left = time_left

    def run(self) -> None:
        """Run trials until the time, the number of trials or the hope is used up."""
        ended = {
            trial.number: trial.score if trial.status == "complete" else None
            for trial in self.journal.trials.values()
            if trial.status in ("complete", "pruned")
        }
        for number in self.study.retry_interrupted(ended):
            if number in self.journal.trials:
                self._set_aside(number, "interrupted; tried again as a new trial")
        while (
            self.bench.keep_going()
            and self.study.finished() < self.bench.plan.max_trials
            and self._since_improvement() < PATIENCE
            and self._failures() < MOST_FAILURES
            and self.time_left() > self._least_time()
        ):
            self.run_one()

    def _since_improvement(self) -> int:
        """Sampled trials in a row, those of an earlier attempt included, that gained nothing."""
        best, count = 0.0, 0
        for _, trial in sorted(self.journal.trials.items()):
            score = _score_in_search(trial)
            if trial.origin == "sampler" and trial.status in ("complete", "pruned"):
                count = 0 if score - best > MIN_IMPROVEMENT else count + 1
            best = max(best, score)
        return count

    def _failures(self) -> int:
        """Trials in a row, the latest last, that failed."""
        latest_first = sorted(self.journal.trials.items(), reverse=True)
        failed = (trial.status == "failed" for _, trial in latest_first)
        return sum(1 for _ in takewhile(bool, failed))

    def _least_time(self) -> float:
        """Time until a trial of the reference encoder says something, in seconds."""
        plan = self.bench.plan
        windows = plan.space.epochs * len(self.bench.data.train)
        first, *_ = rungs(windows / plan.space.batch_size)
        reference = plan.costs[plan.space.encoders[0]]
        return reference.step_s * windows * max(first, RUNG_SHARES[1])

    def run_one(self) -> None:
        """Ask for one trial and see it through."""
        trial, params, origin = self.study.ask()
        recipe = self.bench.plan.space.recipe(params)
        image_s = self.bench.plan.costs[recipe.encoder_name].time_with(recipe.decoder_name)
        self.journal.begin_trial(trial.number, recipe, origin, image_s, self.study.won_run(trial))
        try:
            result, reason = self._train(trial, params, recipe)
        except PausedError:
            self._set_aside(trial.number, "paused; tried again as a new trial")
            raise
        except StoppedEarlyError:
            self._set_aside(trial.number, "ended before its first step; tried again as a new trial")
            return
        except (TrainingError, RuntimeError) as error:
            if isinstance(error, RuntimeError) and not is_out_of_memory(error):
                raise
            self._fail(trial, params, str(error))
            return
        self._finish(trial, result, reason)

    def _train(
        self, trial: optuna.Trial, params: Params, recipe: Recipe
    ) -> tuple[TrainResult, str]:
        """Train one recipe; the result and, if it was pruned, why.

        Raises:
            StoppedEarlyError: Nothing of the network was trained.
        """
        if recipe.frozen_depth == MAX_FROZEN_DEPTH:
            result = self._train_frozen(trial.number, recipe)
            _refuse_untrained(result)
            return result, ""
        start = self.bench.decoder_start(recipe)
        self._tell(trial.number, start)
        if start and start.best:
            self._add_point(trial.number, start.best, "decoder")
        reason = ""

        def on_evaluation(evaluation: Evaluation) -> bool:
            nonlocal reason
            self._add_point(trial.number, evaluation, "fine-tuning")
            if not self.study.report(trial, params, evaluation.progress, evaluation.score):
                return True
            reason = (
                f"scored {100 * evaluation.score:.1f} after {100 * evaluation.progress:.0f} % of "
                f"its length: not among the best third at that point"
            )
            return False

        network = self.bench.open_trial(
            recipe, self.bench.seed + trial.number, start.weights if start else None
        )
        try:
            result = network.fine_tune(
                self._schedule(recipe), on_evaluation=on_evaluation, keep_going=self._keep_going
            )
        finally:
            network.close()
        _refuse_untrained(result, start)
        return result, reason

    def _train_frozen(self, number: int, recipe: Recipe) -> TrainResult:
        """The wholly frozen encoder: the shared decoder start, unless the rate is another."""
        start = self.bench.decoder_start(recipe)
        if start is not None and recipe.decoder_lr == start.recipe.decoder_lr:
            result = start
        else:
            network = self.bench.open_trial(recipe, self.bench.seed + number)
            try:
                if network.can_cache_features:
                    schedule = self.bench.decoder_schedule(recipe.encoder_name)
                    result = self.bench.train_decoder(network, schedule)
                else:
                    schedule = self._schedule(recipe)
                    result = network.fine_tune(schedule, keep_going=self._keep_going)
            finally:
                network.close()
        self._tell(number, result)
        for evaluation in result.evaluations:
            self._add_point(number, evaluation, "decoder")
        return replace(result, recipe=recipe)

    def _schedule(self, recipe: Recipe) -> Schedule:
        """A trial's length and its rungs."""
        windows = round(recipe.epochs * len(self.bench.data.train))
        return Schedule(windows=windows, evaluations=rungs(windows / recipe.batch_size))

    def _keep_going(self) -> bool:
        return self.bench.keep_going() and self.time_left() > 0

    def _tell(self, number: int, decoder: TrainResult | None) -> None:
        """Keep with a trial what is to be known of the decoder that it started from."""
        if decoder is not None and decoder.note:
            self.journal.note(number, decoder.note)

    def _add_point(self, number: int, evaluation: Evaluation, phase: str) -> None:
        self.journal.add_point(number, evaluation, len(self.bench.data.train), phase)

    def _finish(self, trial: optuna.Trial, result: TrainResult, pruned_because: str) -> None:
        status: TrialStatus = "complete" if result.reason == "complete" else "pruned"
        reason = pruned_because or "ran to its end"
        if result.reason == "stopped":
            by_request = self.time_left() > 0
            reason = "stopped on request" if by_request else "the time of the search was up"
        record = described(self.journal.trials[trial.number], result, status, reason)
        if result.best is not None:
            # The curve begins with the decoder's start, which may be better than what came of it.
            record = replace(record, score=result.best.score)
            # Before the record: a trial on record as ended must have its weights.
            self.journal.save_result(trial.number, result.weights, result.best.confusions)
        self.journal.record(record)
        if status == "complete":
            self.study.complete(trial, record.score or 0.0)
        else:
            self.study.prune(trial)
        n_trials, importances = self.study.importances()
        if importances:
            self.journal.write_importances(n_trials, importances)

    def _set_aside(self, number: int, why: str) -> None:
        """Record that a trial could not end and is tried again, unless that is known of it."""
        record = self.journal.trials[number]
        if record.status not in ("failed", "set aside"):
            self.journal.record(replace(record, status="set aside", reason=why))

    def _fail(self, trial: optuna.Trial, params: Params, why: str) -> None:
        """Record a failed trial; one whose rate was too high comes back with a third of it."""
        record: TrialRecord = self.journal.trials[trial.number]
        self.journal.record(replace(record, status="failed", reason=why))
        self.study.fail(trial)
        if "not a number" in why:
            self.study.retry_slower(trial, params)


def _refuse_untrained(*results: TrainResult | None) -> None:
    """Refuse a network of which nothing was trained: its score would be that of chance."""
    if not any(result is not None and result.windows for result in results):
        raise StoppedEarlyError("The trial ended before its first step.")


def _score_in_search(trial: TrialRecord) -> float:
    """A trial's score without what the final training of an earlier attempt made of it."""
    seen = [point.score for point in trial.curve if point.phase != "final"]
    return min(trial.score or 0.0, max(seen, default=0.0))


def described(
    record: TrialRecord, result: TrainResult, status: TrialStatus, reason: str
) -> TrialRecord:
    """A trial's record with what its training measured."""
    return replace(
        record,
        status=status,
        recipe=result.recipe,
        reason=reason,
        images_per_s=result.images_per_s or None,
        peak_memory_bytes=result.peak_memory_bytes,
        parameters=result.parameters,
    )
