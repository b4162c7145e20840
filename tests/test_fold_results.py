"""Folds of a paused run are not trained again."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from search_helpers import ENCODER, fill_hub_cache

from autoseg.config import Geometry, Recipe
from autoseg.data.cache import build_cache
from autoseg.data.dataset import CheckedDataset, check_dataset
from autoseg.data.sample import make_sample_dataset
from autoseg.data.splits import Splits
from autoseg.errors import PausedError, TrainingError
from autoseg.judging import Judged
from autoseg.out_of_fold import OutOfFold
from autoseg.search.bench import Bench
from autoseg.search.budget import Clock, EncoderCost, Plan
from autoseg.search.folds import FOLD_SHARE
from autoseg.search.journal import Journal
from autoseg.search.run_folder import RunFolder
from autoseg.search.space import SearchSpace
from autoseg.training.trial import TrainingData, Trial

GEOMETRY = Geometry(window=(32, 32), scale=1.0)
RECIPE = Recipe(ENCODER, GEOMETRY, decoder_name="fpn", batch_size=4)
FOLDS = ((6, 7), (0, 1), (2, 3), (4, 5))
SPLITS = Splits(tuple(range(6)), (6, 7), (), FOLDS, 0)


@dataclass
class Room:
    dataset: CheckedDataset
    bench: Bench
    run: RunFolder

    def train_folds(
        self,
        recipe: Recipe,
        keep_going: Callable[[], bool] = lambda: True,
        budget_s: float = 8.0,
    ) -> Judged | None:
        """That stage of a run that goes on."""
        clock = Clock(budget_s, time.monotonic())
        journal = Journal(self.run, clock, pid=1)
        try:
            bench = replace(self.bench, keep_going=keep_going)
            return OutOfFold(journal, self.dataset, bench, recipe, FOLDS, clock.left).judged()
        finally:
            journal.close("interrupted", "")

    def times(self) -> list[int]:
        files = sorted((self.run.path / "folds").glob("*.npz"))
        return [file.stat().st_mtime_ns for file in files]


@pytest.fixture
def room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Room]:
    cache_folder = fill_hub_cache(tmp_path / "hub")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(cache_folder))
    dataset = check_dataset(make_sample_dataset(tmp_path / "set", 8, size=(32, 48)))
    cache = build_cache(dataset, GEOMETRY, tmp_path / "cache")
    data = TrainingData(cache, SPLITS.train, SPLITS.val, dataset.classes.num_classes)
    space = SearchSpace((ENCODER,), GEOMETRY, ("fpn", "unet"), batch_size=4, epochs=2.0)
    cost = EncoderCost(1e-4, 1e-4, 1e-4, 1e-4, bf16=False)
    plan = Plan(space, {ENCODER: cost}, 100.0, 60.0, 60.0, 4, 8, 8, data.val, 3.0)
    bench = Bench(data, plan, torch.device("cpu"), 0, tmp_path / "decoders", lambda: True)
    run = RunFolder(tmp_path / "run")
    run.path.mkdir()
    yield Room(dataset, bench, run)


def test_folds_that_were_judged_before_a_pause_are_kept(room):
    """All were trained again, or none was where the final training had used up the time."""

    def pause() -> bool:
        if len(room.times()) == 2:
            raise PausedError("The search is paused.")
        return True

    with pytest.raises(PausedError):
        room.train_folds(RECIPE, pause)
    before = room.times()
    judged = room.train_folds(RECIPE)
    assert room.times()[:2] == before and len(room.times()) == 4
    assert sorted(judged.indices) == list(range(8)) and len(judged.predictions.confusions) == 8

    def refuse() -> bool:
        raise AssertionError("There was nothing left to train.")

    # The final training has changed the epochs of the recipe meanwhile.
    again = room.train_folds(replace(RECIPE, epochs=7.0), refuse)
    assert again.indices == judged.indices
    assert np.array_equal(again.predictions.confusions, judged.predictions.confusions)
    assert np.array_equal(again.predictions.calibration, judged.predictions.calibration)
    with pytest.raises(AssertionError, match="nothing left"):  # Another winner has no folds yet.
        room.train_folds(replace(RECIPE, decoder_name="unet"), refuse)
    assert room.times() == []


@pytest.mark.parametrize("n_judged", [0, 2])
def test_a_stop_inside_a_fold_leaves_no_score_of_a_network_that_was_not_trained(room, n_judged):
    """Its network was judged untrained, kept for a resumed run, and its images alone reported."""
    asked: list[bool] = []

    def keep_going() -> bool:
        """False from the first step of a fold on."""
        asked.append(len(room.times()) == n_judged)
        return asked.count(True) < 2  # The first time is asked before the fold.

    assert room.train_folds(RECIPE, keep_going) is None
    assert asked.count(True) >= 2 and len(room.times()) == n_judged
    judged = room.train_folds(RECIPE)
    assert judged.split == "folds" and sorted(judged.indices) == list(range(8))


def test_folds_of_which_one_cannot_be_trained_judge_no_model(room, monkeypatch):
    """A later attempt without time to train the others reported a part of the images."""

    def broken(self: Trial, *args: object, **options: object) -> None:
        raise TrainingError("The loss became not a number.")

    with monkeypatch.context() as patch:

        def second_fails(self: Trial, *args: object, **options: object) -> object:
            return (broken if room.times() else real)(self, *args, **options)

        real = Trial.fine_tune
        patch.setattr(Trial, "fine_tune", second_fails)
        assert room.train_folds(RECIPE) is None
    assert len(room.times()) == 1
    assert room.train_folds(RECIPE, budget_s=0.0) is None


def test_memory_that_runs_out_for_a_fold_costs_the_folds_and_not_the_run(room, monkeypatch):
    """For the optimizer's state there is no smaller step: it ended the run with a traceback."""

    def full(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")

    monkeypatch.setattr(torch.optim.AdamW, "step", full)
    assert room.train_folds(RECIPE) is None and room.times() == []


def test_images_that_take_long_to_judge_leave_their_time_to_the_training(room):
    """Judging 45 large photos was counted nowhere: no time was left for a model."""
    clock = Clock(100.0, time.monotonic())
    journal = Journal(room.run, clock, pid=1)
    try:
        for judging_s, share in ((0.0, FOLD_SHARE), (3.0, FOLD_SHARE), (10.0, 0.0)):
            bench = replace(room.bench, plan=replace(room.bench.plan, judging_s=judging_s))
            folds = OutOfFold(journal, room.dataset, bench, RECIPE, FOLDS, clock.left)
            kept_s = clock.left() - folds.time_left_before()
            assert kept_s == pytest.approx(100.0 * share, abs=1.0)
        assert folds.judged() is None  # And no time is lost on what cannot be finished.
        assert clock.left() > 98.0
    finally:
        journal.close("interrupted", "")


def test_time_that_ends_inside_the_last_fold_costs_no_fold(room):
    """Cut short a moment before its end, the last lost the training of all of them."""
    clock = Clock(8.0, time.monotonic())
    journal = Journal(room.run, clock, pid=1)
    asked: list[bool] = []

    def time_is_up() -> bool:
        """From the second step of the last fold on; it is asked once before the fold."""
        asked.append(len(room.times()) == len(FOLDS) - 1)
        if asked.count(True) == 3:
            clock.spent_before_s += clock.left()
        return True

    try:
        bench = replace(room.bench, keep_going=time_is_up)
        folds = OutOfFold(journal, room.dataset, bench, RECIPE, FOLDS, clock.left)
        assert folds.judged().split == "folds" and clock.left() <= 0
    finally:
        journal.close("interrupted", "")
