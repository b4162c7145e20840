"""Scores of a model whose images are too few for a test split, by networks of the same recipe."""

from collections.abc import Callable

from autoseg.config import Recipe
from autoseg.data.dataset import CheckedDataset
from autoseg.errors import TrainingError
from autoseg.fold_results import FoldResults
from autoseg.judging import Judged, judge_folds
from autoseg.search.bench import Bench
from autoseg.search.folds import Folds, fold_times, train_folds
from autoseg.search.journal import Journal
from autoseg.training.hardware import telling_of_memory

_SPARE = 0.05
"""Share of the folds' time kept back for what cannot be foreseen."""


class OutOfFold:
    """The folds of a run, trained when its model is: a run that ends early has a model first.

    Args:
        journal: The run's records.
        dataset: The data set.
        bench: Measured costs, and whether to go on, whatever the time.
        recipe: What the folds train.
        folds: Images of each fold.
        time_left: Seconds until the evaluation.
    """

    def __init__(
        self,
        journal: Journal,
        dataset: CheckedDataset,
        bench: Bench,
        recipe: Recipe,
        folds: Folds,
        time_left: Callable[[], float],
    ) -> None:
        self._journal = journal
        self._dataset = dataset
        self._bench = bench
        self._recipe = recipe
        self._folds = folds
        self._time_left = time_left
        self._results = FoldResults(journal.folder, recipe, folds)
        self._times = self._results.times() or fold_times(bench, recipe, folds, time_left())

    def time_left_before(self) -> float:
        """Seconds until the final training must leave the rest to the folds; none once it has."""
        if self._results.have_begun():
            return 0.0
        reserved_s = self._times.sum_s(self._missing()) if self._times is not None else 0.0
        return self._time_left() - reserved_s

    def judged(self) -> Judged | None:
        """Every image as predicted by a network that never saw it.

        None: not every fold could be trained. The model is then scored on the validation images.
        """
        missing = self._missing()
        if missing and self._training_s() is None:
            return None
        if missing and self._times is not None:
            self._results.begin(self._times)
            self._journal.enter("training folds")
        bench, known = self._bench, self._results.known()
        trained = train_folds(
            bench, self._recipe, self._folds, self._training_s, self._journal.progress, known
        )
        try:
            with telling_of_memory(bench.device):
                return judge_folds(
                    self._dataset,
                    bench.precision(self._recipe.encoder_name),
                    self._recipe,
                    self._folds,
                    trained,
                    known,
                    self._results.keep,
                    lambda done, total: self._journal.leave_if_paused(),
                )
        except TrainingError:
            return None

    def _missing(self) -> Folds:
        known = self._results.known()
        return tuple(fold for fold in self._folds if fold not in known)

    def _training_s(self) -> float | None:
        """Time to train the next fold, in seconds; None if it is too little.

        What an earlier fold was given is enough, and half of it says something still.
        """
        missing, times = self._missing(), self._times
        if times is None or not missing:
            return None
        spare_s = (1 - _SPARE) * (self._time_left() - times.beside_s(missing))
        training_s = min(times.training_s, spare_s / len(missing))
        return training_s if training_s >= times.training_s / 2 else None
