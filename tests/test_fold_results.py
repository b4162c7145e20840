"""Networks beside the model, which judge it where there is no test split."""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from search_helpers import ENCODER, fill_hub_cache

from autoseg.checkpoint import load_weights
from autoseg.config import Geometry, Recipe
from autoseg.data.cache import build_cache
from autoseg.data.dataset import CheckedDataset, check_dataset
from autoseg.data.sample import make_sample_dataset
from autoseg.data.splits import Splits
from autoseg.errors import PausedError, TrainingError
from autoseg.evaluation import Predictions
from autoseg.judging import FoldPredictions, Judged, joined, predict_weights
from autoseg.model import build_model
from autoseg.out_of_fold import OutOfFold, model_spent_s
from autoseg.search.bench import Bench
from autoseg.search.budget import Clock, EncoderCost, Plan
from autoseg.search.journal import Journal
from autoseg.search.networks import NETWORK_PIXELS, NETWORK_WINDOWS, networks_in
from autoseg.search.run_folder import CurvePoint, RunFolder, TrialRecord
from autoseg.search.space import SearchSpace
from autoseg.training.hardware import Precision
from autoseg.training.trial import TrainingData, Trial

pytestmark = pytest.mark.alone  # Networks have seconds, most of which another process could take.

GEOMETRY = Geometry(window=(32, 32), scale=1.0)
RECIPE = Recipe(ENCODER, GEOMETRY, decoder_name="fpn", batch_size=4)
FOLDS = ((6, 7), (0, 1), (2, 3), (4, 5))
SPLITS = Splits(tuple(range(6)), (6, 7), (), FOLDS, 0)
BESIDE = FOLDS[1:]
"""What networks beside the model leave out."""


@dataclass
class Room:
    dataset: CheckedDataset
    bench: Bench
    run: RunFolder

    def train_folds(
        self,
        recipe: Recipe,
        keep_going: Callable[[], bool] = lambda: True,
        budget_s: float = 16.0,
        splits: Splits = SPLITS,
        on_problem: Callable[[str], None] = lambda sentence: None,
    ) -> FoldPredictions:
        """That stage of a run that goes on."""
        clock = Clock(budget_s, time.monotonic())
        journal = Journal(self.run, clock, pid=1)
        try:
            bench = replace(self.bench, keep_going=keep_going)
            return OutOfFold(
                journal, self.dataset, bench, recipe, splits, clock.left, on_problem=on_problem
            ).judged()
        finally:
            journal.close("interrupted", "")

    def times(self) -> list[int]:
        files = sorted((self.run.path / "folds").glob("*.npz"))
        return [file.stat().st_mtime_ns for file in files]


@pytest.fixture
def room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Room]:
    cache_folder = fill_hub_cache(tmp_path / "hub")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(cache_folder))
    monkeypatch.setenv("AUTOSEG_HOME", str(tmp_path / "home"))
    monkeypatch.setattr("autoseg.search.networks.NETWORK_PIXELS", 1.0)
    monkeypatch.setattr("autoseg.search.networks.NETWORK_WINDOWS", 1)
    # A busy computer may take most of such short times.
    monkeypatch.setattr("autoseg.out_of_fold._LEAST_SHARE", 0.02)
    dataset = check_dataset(make_sample_dataset(tmp_path / "set", 8, size=(32, 48)))
    cache = build_cache(dataset, GEOMETRY, tmp_path / "cache")
    data = TrainingData(cache, SPLITS.train, SPLITS.val, dataset.classes.num_classes)
    space = SearchSpace((ENCODER,), GEOMETRY, ("fpn", "unet"), batch_size=4, epochs=2.0)
    cost = EncoderCost(1e-4, 1e-4, 1e-4, 1e-4, bf16=False)
    plan = Plan(space, {ENCODER: cost}, 100.0, 60.0, 60.0, 4, 8, 8, data.val, 3.0, n_networks=4)
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
    assert room.times()[:2] == before and tuple(judged) == BESIDE
    assert all(len(found.confusions) == len(left_out) for left_out, found in judged.items())

    def refuse() -> bool:
        raise AssertionError("There was nothing left to train.")

    # The final training has changed the epochs of the recipe meanwhile.
    again = room.train_folds(replace(RECIPE, epochs=7.0), refuse)
    assert tuple(again) == BESIDE
    for left_out, found in judged.items():
        assert np.array_equal(again[left_out].confusions, found.confusions)
        assert np.array_equal(again[left_out].calibration, found.calibration)
    with pytest.raises(AssertionError, match="nothing left"):  # Another winner has no folds yet.
        room.train_folds(replace(RECIPE, decoder_name="unet"), refuse)
    assert room.times() == []


def test_a_run_has_as_many_networks_as_its_plan_says(room):
    """The model leaves out the first fold itself, and is one of them."""
    for n_networks in (1, 2):
        room.bench = replace(room.bench, plan=replace(room.bench.plan, n_networks=n_networks))
        assert tuple(room.train_folds(RECIPE)) == BESIDE[: n_networks - 1]
    room.bench = replace(room.bench, plan=replace(room.bench.plan, n_networks=4))
    tested = replace(SPLITS, test=(0, 1))
    assert room.train_folds(RECIPE, splits=tested) == {}


@pytest.mark.parametrize("n_judged", [0, 2])
def test_a_stop_inside_a_fold_leaves_no_score_of_a_network_that_was_not_trained(room, n_judged):
    """Its network was judged untrained, and kept for a resumed run."""
    asked: list[bool] = []

    def keep_going() -> bool:
        """False from the first step of a fold on."""
        asked.append(len(room.times()) == n_judged)
        return asked.count(True) < 2  # The first time is asked before the fold.

    assert tuple(room.train_folds(RECIPE, keep_going)) == BESIDE[:n_judged]
    assert asked.count(True) >= 2 and len(room.times()) == n_judged
    assert tuple(room.train_folds(RECIPE)) == BESIDE


def test_a_fold_that_cannot_be_trained_costs_only_itself_and_those_after_it(room, monkeypatch):
    def broken(self: Trial, *args: object, **options: object) -> None:
        raise TrainingError("The loss became not a number.")

    def second_fails(self: Trial, *args: object, **options: object) -> object:
        return (broken if room.times() else real)(self, *args, **options)

    real = Trial.fine_tune
    monkeypatch.setattr(Trial, "fine_tune", second_fails)
    told: list[str] = []
    assert tuple(room.train_folds(RECIPE, on_problem=told.append)) == BESIDE[:1]
    assert len(told) == 1 and "The loss became not a number." in told[0]
    # A later attempt without time for the others keeps it.
    assert tuple(room.train_folds(RECIPE, budget_s=0.0)) == BESIDE[:1]


def test_memory_that_runs_out_for_a_fold_costs_the_folds_and_not_the_run(room, monkeypatch):
    """For the optimizer's state there is no smaller step: it ended the run with a traceback."""

    def full(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")

    monkeypatch.setattr(torch.optim.AdamW, "step", full)
    assert room.train_folds(RECIPE) == {} and room.times() == []


def test_every_network_has_as_long_as_the_model(room):
    """They had 7 % of the time each, and told 69 % where the model had 86."""
    clock = Clock(100.0, time.monotonic())
    journal = Journal(room.run, clock, pid=1)
    try:
        folds = OutOfFold(journal, room.dataset, room.bench, RECIPE, SPLITS, clock.left)
        model_s = folds.time_left_before()
        beside_s = clock.left() - model_s
        assert beside_s / len(BESIDE) == pytest.approx(model_s, rel=0.05)
    finally:
        journal.close("interrupted", "")


@pytest.mark.parametrize(
    ("spent_s", "lost_s", "more_s"), [(15.0, 0.0, 0.0), (15.0, 20.0, 0.0), (24.0, 0.0, 900.0)]
)
def test_an_attempt_that_goes_on_gives_all_networks_the_same_time(room, spent_s, lost_s, more_s):
    """In the middle of the model's training, after lost time, and with a larger budget."""
    clock = Clock(100.0 + more_s, time.monotonic())
    journal = Journal(room.run, clock, pid=1)
    clock.spent_before_s = spent_s + lost_s
    try:
        folds = OutOfFold(
            journal, room.dataset, room.bench, RECIPE, SPLITS, clock.left, spent_s=spent_s
        )
        model_s = spent_s + folds.time_left_before()
        beside_s = clock.left() - folds.time_left_before()
        assert model_s == pytest.approx((100 + more_s - lost_s) / 4, rel=0.05)
        assert beside_s / len(BESIDE) == pytest.approx(model_s, rel=0.05)
    finally:
        journal.close("interrupted", "")


def test_what_a_model_was_trained_for_is_what_came_after_the_search():
    points = [
        CurvePoint(1.0, 2.0, 0.5, 0.6, "decoder"), CurvePoint(3.0, 7.0, 0.5, 0.7),
        CurvePoint(8.0, 20.0, 0.5, 0.8, "final"),
    ]  # fmt: skip
    trial = TrialRecord(0, "running", RECIPE, "default")
    assert model_spent_s(trial) == 0.0
    assert model_spent_s(replace(trial, curve=tuple(points[:2]))) == 0.0
    assert model_spent_s(replace(trial, curve=tuple(points))) == 13.0
    # Without a search the decoder is the model's.
    assert model_spent_s(replace(trial, curve=(points[0], points[2]))) == 20.0


def test_no_network_learns_from_what_it_judges_nor_starts_from_the_models_decoder(
    room, monkeypatch
):
    learnt: list[set[int]] = []
    real = Trial.__init__

    def noted(self: Trial, recipe: Recipe, data: TrainingData, *rest: object) -> None:
        learnt.append(set(data.train))
        real(self, recipe, data, *rest)

    start = room.bench.decoder_start(RECIPE)
    monkeypatch.setattr(Trial, "__init__", noted)
    judged = room.train_folds(RECIPE)
    everything = {i for fold in FOLDS for i in fold}
    # Each opens one trial for the decoder and one for the rest.
    assert learnt == [everything - set(fold) for fold in judged for _ in range(2)]
    name = f"{ENCODER}+{RECIPE.decoder_name}.safetensors"
    for k in range(1, len(FOLDS)):
        theirs = load_weights(room.bench.folder / f"fold{k}" / name)
        assert any((theirs[key] != start.weights[key]).any() for key in theirs)


def test_a_fold_without_images_is_left_out(room):
    """Of few groups of near-duplicates some folds get none, and predicting none failed."""
    splits = replace(SPLITS, folds=((6, 7), (0, 1), (), (2, 3, 4, 5)))
    assert tuple(room.train_folds(RECIPE, splits=splits)) == ((0, 1), (2, 3, 4, 5))


def test_a_search_that_took_the_time_leaves_fewer_networks(room, monkeypatch):
    """Each gets what it must have of what is left."""
    step_s, area = 1e-4, 32 * 32
    monkeypatch.setattr("autoseg.search.networks.NETWORK_PIXELS", 5.0 / step_s * area)
    assert tuple(room.train_folds(RECIPE)) == BESIDE[:2]


def test_what_judging_takes_comes_off_the_training_and_may_leave_none(room):
    """Judging 45 large photos was counted nowhere: no time was left for a model."""
    clock = Clock(100.0, time.monotonic())
    journal = Journal(room.run, clock, pid=1)
    try:
        for judging_s, model_s in ((0.0, 25.0), (3.0, 19.0), (20.0, 100.0)):
            bench = replace(room.bench, plan=replace(room.bench.plan, judging_s=judging_s))
            folds = OutOfFold(journal, room.dataset, bench, RECIPE, SPLITS, clock.left)
            assert folds.time_left_before() == pytest.approx(model_s, abs=2.0)
        assert folds.judged() == {}  # And no time is lost on what cannot be finished.
        assert clock.left() > 98.0
    finally:
        journal.close("interrupted", "")


def test_rather_fewer_networks_than_ones_that_were_trained_for_much_less_than_the_model(
    room, monkeypatch
):
    """Half of the time that was kept back for the folds is gone, say by a slow computer."""
    monkeypatch.setattr("autoseg.out_of_fold._LEAST_SHARE", 0.8)
    clock = Clock(20.0, time.monotonic())
    journal = Journal(room.run, clock, pid=1)
    try:
        folds = OutOfFold(journal, room.dataset, room.bench, RECIPE, SPLITS, clock.left)
        beside_s = clock.left() - folds.time_left_before()
        clock.spent_before_s += clock.left() - beside_s / 2
        began = time.monotonic()
        assert tuple(folds.judged()) == BESIDE[:1]
        assert time.monotonic() - began > 0.75 * beside_s / len(BESIDE)
    finally:
        journal.close("interrupted", "")


def test_time_that_ends_inside_the_last_fold_costs_no_fold(room):
    """Cut short a moment before its end, the last lost all of its training."""
    clock = Clock(16.0, time.monotonic())
    journal = Journal(room.run, clock, pid=1)
    asked: list[bool] = []

    def time_is_up() -> bool:
        """From the second step of the last fold on; it is asked once before the fold."""
        asked.append(len(room.times()) == len(BESIDE) - 1)
        if asked.count(True) == 3:
            clock.spent_before_s += clock.left()
        return True

    try:
        bench = replace(room.bench, keep_going=time_is_up)
        folds = OutOfFold(journal, room.dataset, bench, RECIPE, SPLITS, clock.left)
        assert tuple(folds.judged()) == BESIDE and clock.left() <= 0
    finally:
        journal.close("interrupted", "")


@pytest.mark.parametrize(("affordable", "n_folds", "n_networks"), [
    (0.0, 5, 1), (1.9 * NETWORK_PIXELS, 5, 1), (3.2 * NETWORK_PIXELS, 5, 3),
    (math.inf, 5, 5), (math.inf, 0, 1),
])  # fmt: skip
def test_more_time_is_shared_by_more_networks(affordable, n_folds, n_networks):
    assert networks_in(affordable, n_folds) == n_networks


def test_large_windows_are_counted_by_their_number():
    """On a GPU a network that saw as many pixels as on a CPU would have had 24 steps."""
    area = 512 * 512
    needed = NETWORK_WINDOWS * area
    assert needed > NETWORK_PIXELS
    assert [networks_in(share * needed, 5, area) for share in (0.9, 1.9, 9)] == [1, 1, 5]


def test_the_images_of_all_networks_are_judged_together(room):
    own = Judged("validation", SPLITS.val, predictions_of(room, SPLITS.val), 4.0)
    assert joined(own, {}) is own
    folds = {left_out: predictions_of(room, left_out) for left_out in BESIDE[:2]}
    together = joined(own, folds)
    assert together.split == "folds" and together.indices == (6, 7, 0, 1, 2, 3)
    expected = predictions_of(room, together.indices)
    assert np.array_equal(together.predictions.confusions, expected.confusions)
    assert np.array_equal(together.predictions.boundaries, expected.boundaries)
    assert np.allclose(together.predictions.calibration, expected.calibration)
    assert together.seconds == 12.0


def predictions_of(room: Room, indices: tuple[int, ...]) -> Predictions:
    """Those of a network that was not trained."""
    torch.manual_seed(0)
    network = build_model(ENCODER, "fpn", room.dataset.classes.num_classes, pretrained=False)
    cpu = Precision(torch.device("cpu"))
    return predict_weights(room.dataset, indices, cpu, RECIPE, network.state_dict())
