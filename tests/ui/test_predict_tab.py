from pathlib import Path

import numpy as np
import pytest
from bundle_helpers import make_bundle
from PIL import Image
from smp_helpers import make_smp
from ui_helpers import write_run
from workspace_helpers import make_photos

from autoseg.files import write_json
from autoseg.ui import predict_tab


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return make_photos(tmp_path / "photos")


@pytest.fixture
def results(tmp_path: Path) -> Path:
    (tmp_path / "results").mkdir()
    return tmp_path / "results"


@pytest.fixture
def run(workspace, photos):
    run = write_run(workspace, "photos-1", source=photos)
    make_bundle(run.model)
    write_json(run.path / "splits.json", {"train": [0, 2, 4], "val": [1], "test": [3, 5]})
    write_json(run.path / "verdict.json", {"pairs": 6, "skipped": []})
    return run


def test_a_prediction_is_shown_with_its_areas(workspace, run, photos, results):
    image = photos / "images" / "scene_003.jpg"
    values = predict_tab.predicted(workspace, results, name=run.name, folder=None, image=str(image))
    with Image.open(values["mask_file"]["value"]) as file:
        mask = np.asarray(file)
    assert mask.shape == (48, 64)
    first, overlay = values["viewer"]["value"]
    assert first == str(image)
    with Image.open(overlay) as file:
        assert file.size == (64, 48)
    assert f"{int((mask == 0).sum()):,}" in values["classes"]


def test_what_was_guessed_of_a_stock_model_is_on_the_page(workspace, run, photos, results):
    model = make_smp(results.parent / "stock")
    image = photos / "images" / "scene_003.jpg"
    values = predict_tab.predicted(
        workspace, results, name=run.name, folder=str(model), image=str(image)
    )
    assert "images are taken at their own size" in values["classes"]
    assert "class 1" in values["classes"]


def test_an_image_that_browsers_do_not_draw_is_converted(workspace, run, photos, results):
    image = results.parent / "scan.tif"
    with Image.open(photos / "images" / "scene_003.jpg") as file:
        file.save(image)
    values = predict_tab.predicted(workspace, results, name=run.name, image=str(image))
    assert values["viewer"]["value"][0].endswith(".jpg")


@pytest.mark.parametrize(
    ("name", "text"),
    [("nothing", "There is no run"), ("../photos-1", "not on this computer"), (None, "No model")],
)
def test_a_missing_model_is_an_error_on_the_page(workspace, run, photos, results, name, text):
    image = str(photos / "images" / "scene_003.jpg")
    assert text in predict_tab.predicted(workspace, results, name=name, image=image)["classes"]


def test_a_file_that_is_no_image_is_an_error_on_the_page(workspace, run, results):
    (results.parent / "x.png").write_text("no image")
    values = predict_tab.predicted(
        workspace, results, name=run.name, image=str(results.parent / "x.png")
    )
    assert "does not decode" in values["classes"]
    assert not values["viewer"]["visible"]


def test_examples_come_from_the_test_split(workspace, run):
    names = [sample.name for sample in predict_tab.examples(workspace, run.name)]
    assert names == ["scene_003", "scene_005"]


def test_no_examples_when_the_data_has_changed(workspace, run, photos):
    (photos / "masks" / "scene_000.png").unlink()
    assert predict_tab.examples(workspace, run.name) == []


def test_only_runs_with_a_model_are_offered(workspace, run):
    write_run(workspace, "live", status="running")
    assert [name for _, name in predict_tab.model_choices(workspace)] == ["photos-1"]


def test_old_results_are_removed(workspace, run, photos, results):
    image = str(photos / "images" / "scene_003.jpg")
    for _ in range(30):
        predict_tab.new_folder(results)
    predict_tab.predicted(workspace, results, name=run.name, image=image)
    assert len(list(results.iterdir())) <= 21
