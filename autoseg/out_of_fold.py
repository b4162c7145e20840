"""Scores of a model whose images are too few for a test split, by networks of the same recipe."""

from collections.abc import Callable

from autoseg.config import Recipe
from autoseg.data.dataset import CheckedDataset
from autoseg.data.splits import Splits
from autoseg.errors import TrainingError
from autoseg.fold_results import FoldResults
from autoseg.judging import FoldPredictions, judge_folds
from autoseg.search.bench import Bench
from autoseg.search.folds import Folds, fold_times, train_folds
from autoseg.search.journal import Journal
from autoseg.search.run_folder import TrialRecord
from autoseg.training.hardware import telling_of_memory

_SPARE = 0.05
"""Share of the folds' time kept back for what cannot be foreseen."""

_LEAST_SHARE = 0.8
"""Share of the model's training time below which no network is trained beside it."""


def judging_folds(splits: Splits) -> Folds:
    """Folds that networks may leave out; none where there is a test split.

    Of few groups of near-duplicates some folds hold no image.
    """
    return () if splits.test else tuple(fold for fold in splits.folds if fold)


def model_spent_s(trial: TrialRecord) -> float:
    """Time that a model was trained for since its search, as far as that was scored, in seconds."""
    searched_s = max((p.seconds for p in trial.curve if p.phase == "fine-tuning"), default=0.0)
    return trial.curve[-1].seconds - searched_s if trial.curve else 0.0


class OutOfFold:
    """Networks beside the model, each of which leaves out a fold that the model learns from.

    They are trained when the model is: a run that ends early has a model first.

    Args:
        journal: The run's records.
        dataset: The data set.
        bench: Measured costs, and whether to go on, whatever the time.
        recipe: What they train.
        splits: Of the run; where there is a test split, none is trained.
        time_left: Seconds until the evaluation.
        spent_s: What earlier attempts have trained the model for, in seconds.
        on_problem: Told, in a sentence, why a network could not be trained.
    """

    def __init__(
        self,
        journal: Journal,
        dataset: CheckedDataset,
        bench: Bench,
        recipe: Recipe,
        splits: Splits,
        time_left: Callable[[], float],
        spent_s: float = 0.0,
        on_problem: Callable[[str], None] = lambda sentence: None,
    ) -> None:
        self._journal = journal
        self._dataset = dataset
        self._bench = bench
        self._recipe = recipe
        self._all = judging_folds(splits)
        others = self._all[1 : bench.plan.n_networks]  # The model leaves out the first.
        self._time_left = time_left
        self._on_problem = on_problem
        self._results = FoldResults(journal.folder, recipe, others)
        # Whatever an attempt has lost is lost by all networks alike.
        self._times = self._results.times() or fold_times(
            bench, recipe, others, time_left(), spent_s
        )
        self._folds = others[: self._times.n_folds if self._times is not None else 0]

    def time_left_before(self) -> float:
        """Seconds until the final training must leave the rest to the folds; none once it has."""
        if self._results.have_begun():
            return 0.0
        reserved_s = self._times.sum_s(self._missing()) if self._times is not None else 0.0
        return self._time_left() - reserved_s

    def judged(self) -> FoldPredictions:
        """Images as predicted by networks that never saw them, by the folds they are of.

        Each fold counts by itself: where the time or the memory did not do for all of them, the
        others still say what they say.
        """
        if self._times is not None and self._training_s() is not None and self._bench.keep_going():
            self._results.begin(self._times)
            self._journal.enter("training folds")
            try:
                with telling_of_memory(self._bench.device):
                    self._train_missing()
            except TrainingError as error:
                self._on_problem(f"A network beside the model could not be trained. {error}")
        return self._results.known()

    def _train_missing(self) -> None:
        """Train and judge the networks that no earlier attempt has."""
        bench, known = self._bench, self._results.known()
        judge_folds(
            self._dataset,
            bench.precision(self._recipe.encoder_name),
            self._recipe,
            train_folds(
                bench, self._recipe, self._folds, self._all, self._training_s,
                self._journal.progress, known,
            ),
            self._results.keep,
            lambda done, total: self._journal.leave_if_paused(),
        )  # fmt: skip

    def _missing(self) -> Folds:
        known = self._results.known()
        return tuple(fold for fold in self._folds if fold not in known)

    def _training_s(self) -> float | None:
        """Time to train the next network, in seconds; None if it is too little.

        As long as the model's if there is as much, and not much less: rather fewer networks.
        """
        missing, times = self._missing(), self._times
        if times is None or not missing:
            return None
        least_s = _LEAST_SHARE * times.training_s
        left_s = (1 - _SPARE) * self._time_left()
        shared_s = (left_s - times.beside_s(missing)) / len(missing)
        training_s = min(times.training_s, max(least_s, shared_s))
        return training_s if training_s <= left_s - times.beside_s(missing[:1]) else None
