"""The pictures of the best trial so far, on real tiny networks."""

import io
import json
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from search_helpers import fill_hub_cache

from autoseg.config import Geometry, Recipe
from autoseg.data.cache import build_cache
from autoseg.data.dataset import CheckedDataset, check_dataset
from autoseg.data.sample import make_sample_dataset
from autoseg.live import LivePictures
from autoseg.search.bench import Bench
from autoseg.search.budget import EncoderCost, Plan
from autoseg.search.run_folder import RunFolder
from autoseg.search.space import SearchSpace
from autoseg.training.trial import TrainingData

ENCODER = "test_resnet.r160_in1k"
GEOMETRY = Geometry(window=(64, 64), scale=0.5)
RECIPE = Recipe(ENCODER, GEOMETRY)
COST = EncoderCost(1e-3, 1e-3, 1e-3, 1e-2, bf16=False)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> CheckedDataset:
    return check_dataset(make_sample_dataset(tmp_path_factory.mktemp("set"), 12, size=(96, 128)))


@pytest.fixture(scope="module")
def bench(dataset: CheckedDataset, tmp_path_factory: pytest.TempPathFactory) -> Bench:
    folder = tmp_path_factory.mktemp("bench")
    cache = build_cache(dataset, GEOMETRY, folder / "cache")
    data = TrainingData(cache, (0, 1, 2), tuple(range(3, 12)), dataset.classes.num_classes)
    space = SearchSpace((ENCODER,), GEOMETRY, ("fpn",))
    plan = Plan(space, {ENCODER: COST}, 100.0, 60.0, 60.0, 9, 8, 8, data.val, 3.0)
    with pytest.MonkeyPatch.context() as patch:
        cached = fill_hub_cache(folder / "hub")
        patch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(cached))
        yield Bench(data, plan, torch.device("cpu"), 0, folder / "decoders", lambda: True)


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return RunFolder(tmp_path / "run")


@pytest.fixture
def pictures(run, dataset, bench) -> LivePictures:
    return LivePictures(run, dataset, bench, lambda number: RECIPE, budget_s=3600.0)


@pytest.fixture(scope="module")
def trained(bench: Bench) -> tuple[dict[str, torch.Tensor], np.ndarray]:
    trial = bench.open_trial(RECIPE, 0)
    scored = trial.scored()
    trial.close()
    return scored.weights, scored.best.confusions


def better(confusions: np.ndarray) -> np.ndarray:
    return confusions + 10_000 * np.eye(confusions.shape[1], dtype=np.int64)


def record(run: RunFolder) -> dict:
    return run.json("live/live.json")


def test_four_images_spread_over_the_set_are_drawn(pictures, run, trained, dataset):
    weights, confusions = trained
    pictures.offer(0, weights, confusions)
    shown = record(run)
    assert shown["trial"] == 0 and 0 <= shown["score"] <= 1
    assert [row["name"] for row in shown["images"]] == [
        dataset.samples[k].name for k in (3, 6, 8, 11)
    ]
    for row in shown["images"]:
        content = (run.live / row["file"]).read_bytes()
        picture = Image.open(io.BytesIO(content))
        assert picture.format == "JPEG" and picture.width > 3 * 128
        assert 0 <= row["iou"] <= 1
    assert not [path for path in run.live.iterdir() if path.suffix == ".part"]


def test_the_score_of_a_picture_is_that_of_the_validation(pictures, run, trained, bench):
    """The same pixels as in the trial's own score, not those of another resize."""
    weights, confusions = trained
    pictures.offer(0, weights, confusions)
    shown = record(run)["images"]
    places = [list(bench.data.val).index(k) for k in (3, 6, 8, 11)]
    for row, place in zip(shown, places, strict=True):
        matrix = confusions[place].astype(float)
        with np.errstate(invalid="ignore"):
            values = np.diag(matrix) / (matrix.sum(0) + matrix.sum(1) - np.diag(matrix))
        assert row["iou"] == pytest.approx(np.nanmean(values), abs=2e-3)


def test_only_a_better_trial_is_drawn_also_after_the_search_went_on(
    pictures, run, trained, dataset, bench
):
    weights, confusions = trained
    pictures.offer(0, weights, confusions)
    pictures.offer(1, weights, confusions)
    assert record(run)["trial"] == 0
    resumed = LivePictures(run, dataset, bench, lambda number: RECIPE, budget_s=3600.0)
    resumed.offer(2, weights, confusions)
    assert record(run)["trial"] == 0
    resumed.offer(3, weights, better(confusions))
    assert record(run)["trial"] == 3


@pytest.mark.alone
def test_drawing_keeps_to_its_share_of_the_time(run, dataset, bench, trained):
    weights, confusions = trained
    short = LivePictures(run, dataset, bench, lambda number: RECIPE, budget_s=8.0)
    started = time.monotonic()
    short.offer(0, weights, confusions)
    each_s = time.monotonic() - started
    count = len(record(run)["images"])
    assert 1 <= count < 4  # Half of 0.16 s is enough for fewer.
    for number in range(1, 40):
        confusions = better(confusions)
        short.offer(number, weights, confusions)
    assert time.monotonic() - started < 0.16 + 2 * each_s + 0.5
    assert record(run)["trial"] < 39 and len(record(run)["images"]) == count
    none = LivePictures(RunFolder(run.path / "other"), dataset, bench, lambda n: RECIPE, 1.0)
    none.offer(0, weights, confusions)
    assert not (run.path / "other").exists()


def test_drawing_leaves_the_random_numbers_of_training_alone(pictures, trained):
    weights, confusions = trained
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    pictures.offer(0, weights, confusions)
    assert torch.equal(torch.rand(4), expected)


def test_a_new_record_replaces_the_former_whole(pictures, run, trained):
    weights, confusions = trained
    pictures.offer(0, weights, confusions)
    first = json.dumps(record(run))
    pictures.offer(1, weights, better(confusions))
    assert json.dumps(record(run)) != first
    assert sorted(path.name for path in run.live.iterdir()) == [
        "1-0.jpg", "1-1.jpg", "1-2.jpg", "1-3.jpg", "live.json"
    ]  # fmt: skip


def test_a_kill_while_drawing_leaves_the_pictures_that_the_record_is_about(
    pictures, run, trained, monkeypatch
):
    """New pictures stood under the names of the former ones, with the former trial and scores."""
    weights, confusions = trained
    pictures.offer(0, weights, confusions)
    before = {row["file"]: (run.live / row["file"]).read_bytes() for row in record(run)["images"]}

    def killed(path: Path, value: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("autoseg.live.write_json", killed)
    other = {name: tensor + 0.5 for name, tensor in weights.items()}
    with pytest.raises(KeyboardInterrupt):
        pictures.offer(1, other, better(confusions))
    assert record(run)["trial"] == 0
    after = {row["file"]: (run.live / row["file"]).read_bytes() for row in record(run)["images"]}
    assert after == before


def test_a_search_that_goes_on_has_no_new_time_to_draw(run, dataset, bench, trained):
    weights, confusions = trained
    first = LivePictures(run, dataset, bench, lambda number: RECIPE, budget_s=60.0)
    first.offer(0, weights, confusions)
    used = record(run)["seconds"]
    assert 0 < used < 30
    # The share of this budget is used up already.
    resumed = LivePictures(run, dataset, bench, lambda number: RECIPE, budget_s=50 * used)
    resumed.offer(1, weights, better(confusions))
    assert record(run)["trial"] == 0
