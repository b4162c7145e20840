"""The Optuna study of a run: its journal, its sampler and its pruner."""

import logging
import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from optuna.trial import TrialState

from autoseg.config import MAX_FROZEN_DEPTH
from autoseg.search.budget import RUNG_SHARES
from autoseg.search.space import DECODER_LR, Origin, Params, SearchSpace

STUDY_NAME = "autoseg"
REDUCTION_FACTOR = 3
"""eta of successive halving: of three trials at a rung one goes on."""

MIN_TRIALS_FOR_IMPORTANCES = 4
"""Complete trials below which nothing is said of parameters."""

ORIGIN = "autoseg:origin"
FROM_RUN = "autoseg:from_run"
RETRY_OF = "autoseg:retry_of"


class Study:
    """One run's study on disk.

    Args:
        journal: Optuna's journal file; made if missing.
        space: What is searched.
        seed: Seed of the sampler.
    """

    def __init__(self, journal: Path, space: SearchSpace, seed: int) -> None:
        logging.getLogger("optuna").setLevel(logging.WARNING)
        self.space = space
        _mend(journal)
        # Optuna's own choice is a symbolic link, which Windows lets only administrators make.
        lock = JournalFileOpenLock(str(journal)) if os.name == "nt" else None
        storage = JournalStorage(JournalFileBackend(str(journal), lock_obj=lock))
        pruner = optuna.pruners.SuccessiveHalvingPruner(
            min_resource=step_of(RUNG_SHARES[0]),
            reduction_factor=REDUCTION_FACTOR,
            bootstrap_count=0,  # More would prune the portfolio.
        )
        self._study = optuna.create_study(
            storage=storage,
            study_name=STUDY_NAME,
            direction="maximize",
            pruner=pruner,
            load_if_exists=True,
        )
        done = len(self._study.trials)
        # A resumed sampler must not repeat the draws it made before.
        self._study.sampler = optuna.samplers.TPESampler(seed=seed + 1000 * done)

    def retry_interrupted(self, scores: Mapping[int, float | None]) -> list[int]:
        """Queue again what a killed process left running.

        Args:
            scores: Trials whose end is on record: the score of a complete one, None for a pruned
                one. If the kill came before the study heard of it, the study hears of it now.

        Returns:
            Numbers of the trials that will be tried again.
        """
        lost = []
        for trial in self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            if trial.number in scores:
                score = scores[trial.number]
                state = TrialState.PRUNED if score is None else TrialState.COMPLETE
                self._study.tell(trial.number, score, state=state)
                continue
            lost.append(trial.number)
            # The kill may have come when some of them were suggested and others not yet.
            params = {**trial.system_attrs.get("fixed_params", {}), **trial.params}
            self._study.tell(trial.number, state=TrialState.FAIL)
            if params:
                self._study.enqueue_trial(params, user_attrs=_again(trial))
        return lost

    def ask(self) -> tuple[optuna.Trial, Params, str]:
        """The next trial, its point and where the point came from.

        Retried points come first, then the space's first points, then what the sampler suggests.
        """
        self._enqueue_first_points()
        trial = self._study.ask()
        with warnings.catch_warnings():
            # A retried point of an older plan may lie on the edge of today's ranges.
            warnings.simplefilter("ignore", UserWarning)
            params = self.space.suggest(trial)
        return trial, params, str(trial.user_attrs.get(ORIGIN, "sampler"))

    def won_run(self, trial: optuna.Trial) -> str | None:
        """Name of the earlier run that a trial's point won; None: it comes from none."""
        name = trial.user_attrs.get(FROM_RUN)
        return None if name is None else str(name)

    def _enqueue_first_points(self) -> None:
        """Queue the next of the space's first points if nothing else waits."""
        trials = self._study.get_trials(deepcopy=False)
        if any(trial.state == TrialState.WAITING for trial in trials):
            return
        first = [trial.user_attrs for trial in trials if RETRY_OF not in trial.user_attrs]
        tried = sum(attributes.get(ORIGIN) in get_args(Origin) for attributes in first)
        for point in self.space.first_points()[tried : tried + 1]:
            attributes: dict[str, str] = {ORIGIN: point.origin}
            if point.run is not None:
                attributes[FROM_RUN] = point.run
            self._study.enqueue_trial(point.params, user_attrs=attributes)

    def report(self, trial: optuna.Trial, params: Params, share: float, score: float) -> bool:
        """Report a rung; whether the trial should be pruned.

        A trial on the wholly frozen encoder learns fast and saturates early, so it is never
        compared with fine-tuned ones at a rung. At the end there is nothing left to save.
        """
        if params["frozen_depth"] == MAX_FROZEN_DEPTH:
            return False
        trial.report(score, step=step_of(share))
        return share < 1 and bool(trial.should_prune())

    def complete(self, trial: optuna.Trial, score: float) -> None:
        """Record a finished trial."""
        self._study.tell(trial, score)

    def prune(self, trial: optuna.Trial) -> None:
        """Record a pruned trial; its value is its last report."""
        self._study.tell(trial, state=TrialState.PRUNED)

    def fail(self, trial: optuna.Trial) -> None:
        """Record a trial without a score."""
        self._study.tell(trial, state=TrialState.FAIL)

    def retry_slower(self, trial: optuna.Trial, params: Params) -> None:
        """Queue a point again with a third of its learning rate, once."""
        if RETRY_OF in trial.user_attrs or params["decoder_lr"] / 3 < DECODER_LR[0]:
            return
        slower = {**params, "decoder_lr": params["decoder_lr"] / 3}
        self._study.enqueue_trial(slower, user_attrs=_again(trial))

    def importances(self) -> tuple[int, dict[str, float]]:
        """How much each parameter decides whether a trial is among the best, so far.

        Source: PED-ANOVA, Watanabe et al. 2023, arXiv 2304.10255, extended to parameters that not
        every trial has (arXiv 2601.20800).

        Returns:
            The trials it is known from, and the share of each parameter, together 1, the largest
            first; no shares below `MIN_TRIALS_FOR_IMPORTANCES` trials.
        """
        complete = self._study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        if len(complete) < MIN_TRIALS_FOR_IMPORTANCES:
            return len(complete), {}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # Of few trials: the caller knows.
            shares = optuna.importance.get_param_importances(self._study)
        return len(complete), {name: float(share) for name, share in shares.items()}

    def finished(self) -> int:
        """Trials that came to an end by themselves."""
        states = (TrialState.COMPLETE, TrialState.PRUNED)
        return len(self._study.get_trials(deepcopy=False, states=states))


def _mend(journal: Path) -> None:
    """Take away what a killed process or a full disk left: half a line, and Optuna's own lock.

    Optuna would append to the half line, which damages both, and wait half a minute for the lock.
    Nobody else is at work here: the run is held.
    """
    journal.with_name(f"{journal.name}.lock").unlink(missing_ok=True)
    if journal.is_file():
        content = journal.read_bytes()
        os.truncate(journal, content.rfind(b"\n") + 1)


def _again(trial: optuna.Trial | optuna.trial.FrozenTrial) -> dict[str, Any]:
    """What a trial is told to be that repeats another."""
    return {ORIGIN: "sampler", **trial.user_attrs, RETRY_OF: trial.number}


def step_of(share: float) -> int:
    """Optuna's step of a share of a trial."""
    return round(900 * share)
