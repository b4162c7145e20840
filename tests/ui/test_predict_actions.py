from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from bundle_helpers import make_bundle
from PIL import Image
from predict_helpers import finished_run
from smp_helpers import make_smp
from workspace_helpers import make_photos

from autoseg.data.dataset import check_dataset
from autoseg.errors import PredictionError
from autoseg.predictor import Predictor
from autoseg.pulled_models import PulledModel
from autoseg.ui import predict_actions as actions
from autoseg.ui import predict_showing as showing
from autoseg.ui.predict_examples import examples
from autoseg.ui.predict_image import Options, example_given, uploaded
from autoseg.ui.predict_showing import NOTHING, TRUTH

PLAIN = Options()


@pytest.fixture
def image(photos) -> Path:
    return photos / "images" / "scene_003.jpg"


def read(path: str | Path) -> np.ndarray:
    with Image.open(path) as file:
        return np.asarray(file)


def predict(desk, image, compare=None, options=PLAIN, name="photos-1"):
    return actions.predicted(desk, name, [uploaded(str(image))], options, compare)


def example(desk, name="photos-1", compare=None, index=0):
    given = example_given(desk, name, index)
    return actions.predicted(desk, name, [given], PLAIN, compare)


def test_the_canvas_shows_what_the_model_predicts(desk, run, image):
    canvas = predict(desk, image)["canvas"]
    wanted = Predictor.from_pretrained(run.path).predict(image)
    assert np.array_equal(read(canvas["classes"]), wanted.mask)
    assert np.array_equal(read(canvas["confidence"]), wanted.confidence_image())
    assert canvas["names"] == list(wanted.class_names)
    assert canvas["seconds"] > 0 and canvas["other"] is None


def test_the_options_reach_the_model(desk, run, image):
    predictor = Predictor.from_pretrained(run.path)
    flipped = predict(desk, image, options=Options(flip=True))["canvas"]
    wanted = predictor.predict(image, flip=True).confidence_image()
    assert np.array_equal(read(flipped["confidence"]), wanted)
    tiled = predict(desk, image, options=Options(tile_px=32))["canvas"]
    assert np.array_equal(read(tiled["classes"]), predictor.predict(image, tile_px=32).mask)


def test_an_example_is_compared_with_its_ground_truth(desk, run, photos):
    canvas = example(desk, compare=TRUTH)["canvas"]
    dataset = check_dataset(photos, max_workers=1)
    names = [sample.name for sample in dataset.samples]
    assert np.array_equal(read(canvas["other"]), dataset.mask(names.index(canvas["name"])))
    assert canvas["other_name"] == "Ground truth"


def test_the_list_says_that_an_example_can_be_compared_with_its_ground_truth(desk, run, image):
    """It stood among the models of a list that showed "Nothing", and nobody found it."""
    assert "ground truth" in example(desk)["compare"]["label"]
    for values in (predict(desk, image), showing.emptied()):
        assert values["compare"]["label"] == "Compare with"


def test_a_ground_truth_that_is_gone_is_told_beside_the_prediction(desk, run, photos):
    values = example(desk)
    for mask in (photos / "masks").iterdir():
        mask.unlink()
    again = showing.shown_again(desk, values["shown"], Options(), TRUTH)
    assert again["canvas"]["other"] is None and again["compare"]["value"] == NOTHING
    assert "can no longer be read" in again["message"]["value"]


def test_examples_whose_names_begin_alike_have_each_their_own_ground_truth(desk, tmp_path):
    """Names of results end after 64 characters: the first example's was shown for all."""
    photos = make_photos(tmp_path / "many", 20)
    for folder, suffix in (("images", ".jpg"), ("masks", ".png")):
        for path in (photos / folder).iterdir():
            path.rename(path.with_name(f"{70 * 'a'}{path.stem[-3:]}{suffix}"))
    offered = examples(finished_run(desk.workspace, "photos-1", photos))
    assert len(offered) > 1
    for index, each in enumerate(offered):
        values = example(desk, compare=TRUTH, index=index)
        assert np.array_equal(read(values["canvas"]["other"]), each.truth())


def test_an_uploaded_image_has_no_ground_truth(desk, run, image):
    values = predict(desk, image, compare=TRUTH)
    assert values["canvas"]["other"] is None
    assert values["compare"]["value"] == NOTHING


def test_a_second_model_is_compared_with(desk, run, photos, image):
    finished_run(desk.workspace, "photos-2", photos, seed=1)
    canvas = predict(desk, image, compare="model:photos-2")["canvas"]
    wanted = Predictor.from_pretrained(desk.workspace.run("photos-2").path).predict(image).mask
    assert np.array_equal(read(canvas["other"]), wanted)
    assert canvas["other_name"] == "photos-2"
    assert not np.array_equal(read(canvas["classes"]), wanted)


def test_the_former_model_is_compared_with_unless_the_user_says_otherwise(desk, run, photos, image):
    finished_run(desk.workspace, "photos-2", photos, seed=1, start_from=run.model)
    values = predict(desk, image, name="photos-2")
    assert values["compare"]["value"] == "model:photos-1"
    wanted = Predictor.from_pretrained(run.path).predict(image).mask
    assert np.array_equal(read(values["canvas"]["other"]), wanted)
    assert predict(desk, image, NOTHING, name="photos-2")["canvas"]["other"] is None


def test_models_of_other_classes_cannot_be_compared(desk, run, image, tmp_path):
    bundle = make_bundle(tmp_path / "bundle")
    desk.workspace.pulled.add(PulledModel("alice/leaves", "a" * 40, str(bundle)))
    values = predict(desk, image, compare="model:alice/leaves")
    assert "has other classes" in values["message"]["value"]
    assert values["canvas"]["other"] is None


def test_classes_in_another_order_are_matched_by_name(desk, run, photos, image):
    other = finished_run(desk.workspace, "photos-2", photos)
    loaded = Predictor.from_pretrained(other.path)
    names = loaded.class_names
    turned = replace(
        loaded.bundle.info,
        classes=replace(
            loaded.bundle.info.classes,
            names=names[::-1],
            palette=loaded.bundle.info.classes.palette[::-1],
        ),
    )
    table = showing._class_table(
        replace(loaded, bundle=replace(loaded.bundle, info=turned)),
        loaded.bundle.info.classes,
        "x",
    )
    assert table[: len(names)].tolist() == list(range(len(names)))[::-1]


def test_what_was_guessed_of_a_stock_model_is_on_the_page(desk, tmp_path, image):
    model = make_smp(tmp_path / "stock")
    values = predict(desk, image, name=str(model))
    assert "images are taken at their own size" in values["message"]["value"]
    assert not values["canvas"]["editable"]


@pytest.mark.parametrize(
    ("name", "text"), [("nothing", "There is no run"), (None, "No model is chosen")]
)
def test_a_missing_model_is_an_error_on_the_page(desk, run, image, name, text):
    assert text in predict(desk, image, name=name)["message"]["value"]


def test_a_file_that_is_no_image_is_an_error_on_the_page(desk, run, tmp_path):
    (tmp_path / "x.png").write_text("no image")
    assert "does not decode" in predict(desk, tmp_path / "x.png")["message"]["value"]


def test_no_image_is_asked_for(desk, run):
    values = actions.predicted(desk, run.name, [], PLAIN)
    assert "There is no image" in values["message"]["value"]


def test_examples_come_from_the_held_out_images(desk, run, photos):
    held_out = run.json("splits.json")["test"] or run.json("splits.json")["val"]
    names = [each.sample.name for each in examples(run)]
    assert names == [f"scene_{k:03d}" for k in held_out]


def test_no_examples_when_the_data_has_changed(run, photos):
    (photos / "masks" / "scene_000.png").unlink()
    assert examples(run) == []


@pytest.mark.parametrize("index", [99, -1, None, "0"])
def test_an_example_that_is_not_there_is_an_error(desk, run, index):
    with pytest.raises(PredictionError):
        example_given(desk, run.name, index)


def test_a_correction_of_an_example_replaces_its_pair(desk, run, image):
    result = desk.results.get(example(desk)["shown"])
    assert (result.info.dataset, result.info.original) == ("photos", result.info.name)
    of_upload = desk.results.get(predict(desk, image)["shown"])
    assert (of_upload.info.dataset, of_upload.info.original) == ("photos", "")


def batch(desk, files, order="name", **options):
    given = [uploaded(str(file)) for file in files]
    progress = []
    said = list(
        actions.predicted_batch(
            desk, "photos-1", given, PLAIN, None, order, lambda *at: progress.append(at)
        )
    )
    return said, progress


def test_the_first_image_of_a_batch_is_shown_before_the_last_is_predicted(desk, run, photos):
    files = sorted((photos / "images").iterdir())[:3]
    said, progress = batch(desk, files)
    assert [values["canvas"]["name"] for values in said if "canvas" in values] == ["scene_000"] * 2
    assert progress == [(0, 3), (1, 3), (2, 3)]
    assert len(said[-1]["ids"]) == len(said[-1]["batch"]["value"]) == 3


def test_one_bad_file_does_not_cost_the_others(desk, run, photos, tmp_path):
    (tmp_path / "bad.jpg").write_text("no image")
    files = [tmp_path / "bad.jpg", *sorted((photos / "images").iterdir())[:2]]
    said, _ = batch(desk, files)
    assert len(said[-1]["ids"]) == 2
    assert "<b>Not predicted.</b> bad" in said[-1]["message"]["value"]


def test_a_batch_without_a_model_says_so_once(desk, photos):
    said, _ = batch(desk, sorted((photos / "images").iterdir())[:4])
    assert len(said) == 1
    assert said[0]["message"]["value"].count("as-error") == 1


def test_a_batch_counts_the_problems_that_it_does_not_tell(desk, run, tmp_path):
    files = [tmp_path / f"bad{k}.jpg" for k in range(actions.MOST_PROBLEMS + 12)]
    for file in files:
        file.write_text("no image")
    said, _ = batch(desk, files)
    message = said[-1]["message"]["value"]
    assert message.count("as-error") == actions.MOST_PROBLEMS
    assert "And 12 more images" in message


def test_a_batch_that_is_too_large_is_refused(desk, run, image):
    said, _ = batch(desk, [image] * (actions.MOST_IMAGES + 1))
    assert "autoseg predict" in said[-1]["message"]["value"]


def test_the_least_certain_image_comes_first(desk, run, photos):
    said, _ = batch(desk, sorted((photos / "images").iterdir())[:4], order="uncertain")
    shares = [desk.results.get(each).info.uncertainty for each in said[-1]["ids"]]
    assert shares == sorted(shares, reverse=True) and len(set(shares)) > 1
    by_name = actions.sorted_batch(desk, said[-1]["ids"], "name")
    names = [desk.results.get(each).info.name for each in by_name["ids"]]
    assert names == sorted(names)


def test_an_image_of_the_batch_is_shown_by_its_place(desk, run, photos):
    said, _ = batch(desk, sorted((photos / "images").iterdir())[:3])
    values = showing.chosen(desk, said[-1]["ids"], 2, PLAIN, NOTHING)
    assert values["canvas"]["name"] == "scene_002"
    assert showing.chosen(desk, said[-1]["ids"], 7, PLAIN, NOTHING) == {}
