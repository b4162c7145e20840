"""A whole search of few images, which an encoder that is only tried frozen joins and wins."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from search_helpers import ENCODER, fill_hub_cache, once

from autoseg.bundle import load_bundle
from autoseg.config import MAX_FROZEN_DEPTH, SearchConfig, from_dict, to_dict
from autoseg.data.sample import make_sample_dataset
from autoseg.engines import is_installed
from autoseg.export import export_onnx
from autoseg.pipeline import SearchResult, run_search
from autoseg.predictor import Predictor
from autoseg.search.budget import Plan
from autoseg.search.run_folder import RunFolder

VIT = "test_vit.r160_in1k"
SPLITS = {"train": 16, "val": 12, "test": 12}


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("few") / "set"
    for seed, (split, count) in enumerate(SPLITS.items()):
        make_sample_dataset(folder / split, count, seed, size=(64, 96))
        (folder / split / "classes.txt").replace(folder / "classes.txt")
    return folder


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory, photos: Path) -> Iterator[SearchResult]:
    """A search without named encoders, its defaults the tests' own, stopped in its final phase.

    The reference encoder's weights are zeros: it tells nothing of an image, so it cannot win.
    """

    def in_final_phase() -> bool:
        return any(point.phase == "final" for trial in run.trials() for point in trial.curve)

    folder = tmp_path_factory.mktemp("runs")
    cache = fill_hub_cache(fill_hub_cache(folder / "hub", ENCODER, scale=0.0), VIT)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AUTOSEG_HOME", str(folder / "home"))
        patch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(cache))
        patch.setattr("autoseg.search.encoder_choice.DEFAULT_ENCODERS", {"cpu": (ENCODER,)})
        patch.setattr("autoseg.search.encoder_choice.FEW_IMAGES_ENCODER", VIT)
        patch.setattr("autoseg.search.final.MAX_EVALUATIONS", 100)  # The first one comes soon.
        run = RunFolder(folder / "few-1")
        config = SearchConfig(800.0, device="cpu", n_trials=4, max_side=64)
        yield run_search(
            photos, config, run.path, on_start=lambda stop: once(in_final_phase, stop.ask)
        )


def test_its_trial_is_the_third_and_runs_to_its_end(done):
    plan = from_dict(Plan, done.run.json("plan.json"), "plan.json")
    assert plan.space.encoders == (ENCODER, VIT) and plan.space.frozen_encoders == (VIT,)
    third = done.run.trials()[2]
    assert (third.recipe.encoder_name, third.origin) == (VIT, "portfolio")
    assert third.status == "complete" and third.recipe.decoder_name == "dpt"
    assert third.recipe.frozen_depth == MAX_FROZEN_DEPTH
    (searched,) = [point for point in third.curve if point.phase == "decoder"]
    assert searched.epochs == pytest.approx(plan.space.epochs, abs=0.5)


def test_it_wins_and_its_decoder_is_trained_further(done):
    (winner,) = [trial for trial in done.run.trials() if "winner" in trial.tags]
    assert winner.recipe.encoder_name == VIT and winner.curve[-1].phase == "final"
    assert winner.origin in ("portfolio", "sampler")
    assert done.report["split"] == "test" and done.report["model"]["scores"]["macro_iou"]["value"]


def test_its_model_is_a_bundle_with_the_encoder_as_it_was_pretrained(done, photos, tmp_path):
    bundle = load_bundle(done.run.model)
    recipe = bundle.info.recipe
    assert recipe.encoder_name == VIT and recipe.frozen_depth == MAX_FROZEN_DEPTH
    assert to_dict(recipe)["decoder_name"] == "dpt" and bundle.info.weights_licence == "apache-2.0"
    card = (done.run.model / "README.md").read_text(encoding="utf-8")
    assert VIT in card and "4 of 4" in card
    image = next((photos / "test" / "images").iterdir())
    prediction = Predictor.from_pretrained(done.run.path, device="cpu").predict(image)
    assert prediction.mask.shape == np.asarray(Image.open(image)).shape[:2]
    if is_installed("onnxruntime"):
        assert export_onnx(bundle, tmp_path / "model.onnx").is_file()


def test_what_its_steps_cost_is_no_speed_of_fine_tuning_it(done):
    speeds = (done.run.path.parent / "home" / "speed.json").read_text(encoding="utf-8")
    assert ENCODER in speeds and VIT not in speeds
