import shutil
from dataclasses import replace
from itertools import islice

import gradio as gr
import pytest
from gradio.context import LocalContext
from predict_helpers import finished_run

from autoseg.ui import predict_actions as actions
from autoseg.ui.predict_image import Options, example_given, uploaded
from autoseg.ui.predict_kept import noted, restored
from autoseg.ui.predict_showing import NOTHING, TRUTH
from autoseg.ui.results import ResultStore

pytestmark = pytest.mark.usefixtures("run")


@pytest.fixture
def images(photos):
    return sorted((photos / "images").iterdir())[:3]


def predict_batch(desk, images, most: int | None = None) -> dict:
    """What the browser keeps of a batch, of its first answers perhaps."""
    given = [uploaded(str(image)) for image in images]
    kept = {}
    said = actions.predicted_batch(
        desk, "photos-1", given, Options(), None, "name", lambda done, total: None, 0.0
    )
    for values in islice(said, most):
        kept |= {name: value for name, value in noted(values).items() if name.startswith("kept_")}
    return kept


def again(desk, kept) -> dict:
    return restored(desk, kept["kept_ids"], kept["kept_shown"])


def as_user(name: str | None):
    return LocalContext.request.set(gr.Request(username=name, headers={}))


def test_a_batch_is_shown_again_with_the_image_that_was_chosen(desk, images):
    kept = predict_batch(desk, images)
    last = kept["kept_ids"]["value"][-1]
    kept |= noted({"shown": last})
    values = again(desk, kept)
    assert values["canvas"]["id"] == values["shown"] == last
    assert sorted(values["ids"]) == sorted(kept["kept_ids"]["value"])
    assert values["batch"]["selected_index"] == values["ids"].index(last)
    assert len(values["batch"]["value"]) == 3 and values["batch_box"]["visible"]
    assert values["model"] == "photos-1"
    repeated = actions.predicted(desk, "photos-1", values["given"][:1], Options())
    assert repeated["canvas"]["name"] == desk.results.get(values["ids"][0]).info.name


def test_a_reload_in_the_middle_of_a_batch_shows_what_there_is_so_far(desk, images):
    """It showed one image, though the others were on the disk."""
    kept = predict_batch(desk, images, most=2)
    values = again(desk, kept)
    assert values["ids"] and sorted(values["ids"]) == sorted(kept["kept_ids"]["value"])
    assert len(values["batch"]["value"]) == 2 and values["batch_box"]["visible"]


def test_a_model_that_was_named_by_its_folder_predicts_again(desk, images, run, tmp_path):
    """The newest run of the list stood there instead, and predicted the image again."""
    folder = shutil.copytree(run.model, tmp_path / "mine")
    given = [uploaded(str(images[0]))]
    values = again(desk, noted(actions.predicted(desk, str(folder), given, Options())))
    assert values["model"] == str(folder)
    repeated = actions.predicted(desk, values["model"], values["given"], Options())
    assert desk.results.get(repeated["shown"]).info.model == str(folder)


def test_an_example_is_predicted_again_with_its_ground_truth(desk):
    given = example_given(desk, "photos-1", 0)
    kept = noted(actions.predicted(desk, "photos-1", [given], Options()))
    values = again(desk, kept)
    assert values["given"] == [given] and not values["batch_box"]["visible"]
    compared = actions.predicted(desk, "photos-1", values["given"], Options(), TRUTH)
    assert compared["canvas"]["other"]


@pytest.mark.parametrize("compare", [TRUTH, NOTHING, "model:photos-0"])
def test_what_a_result_was_compared_with_is_restored(desk, photos, compare):
    finished_run(desk.workspace, "photos-0", photos, seed=1)
    given = example_given(desk, "photos-1", 0)
    kept = noted(actions.predicted(desk, "photos-1", [given], Options(), compare))
    values = again(desk, kept)
    assert values["compare"]["value"] == compare
    assert bool(values["canvas"]["other"]) == (compare != NOTHING)
    assert values["wish"].of("photos-1") == compare and values["wish"].of("photos-0") is None


@pytest.mark.parametrize("said", ["model:gone", "model:../../x", 7, {"a": 1}, ["truth"], None])
def test_a_comparison_that_cannot_be_is_none(desk, said):
    given = example_given(desk, "photos-1", 0)
    kept = noted(actions.predicted(desk, "photos-1", [given], Options()))
    kept["kept_shown"] = {**kept["kept_shown"], "compare": said}
    values = again(desk, kept)
    assert values["compare"]["value"] == NOTHING and not values["canvas"]["other"]


def test_what_was_pruned_is_left_out(desk, images):
    kept = predict_batch(desk, images)
    first, *others = kept["kept_ids"]["value"]
    shutil.rmtree(desk.results.folder / first)
    values = again(desk, kept)
    assert sorted(values["ids"]) == sorted(others) and values["shown"] in others
    shutil.rmtree(desk.results.folder)
    assert again(desk, kept) == {}


def test_results_of_another_workspace_are_not_shown(desk, images, tmp_path):
    kept = predict_batch(desk, images)
    elsewhere = replace(desk, results=ResultStore(tmp_path / "elsewhere"))
    assert again(elsewhere, kept) == {}


def test_what_one_user_saw_is_not_shown_to_the_next_at_the_same_browser(desk, images):
    token = as_user("anna")
    try:
        kept = predict_batch(desk, images)
        assert again(desk, kept)["ids"]
        for other in ("bob", None):
            as_user(other)
            assert again(desk, kept) == {}
    finally:
        LocalContext.request.reset(token)


@pytest.mark.parametrize(
    "said", [None, "x", 7, [], {}, {"user": None}, {"user": None, "value": ["../..", 3, None, {}]}]
)
def test_whatever_a_browser_says_is_no_error(desk, said):
    assert restored(desk, said, said) == {}


def test_a_damaged_result_does_not_keep_the_page_from_opening(desk, images):
    kept = predict_batch(desk, images)
    for result_id in kept["kept_ids"]["value"]:
        (desk.results.folder / result_id / "classes.png").unlink()
        (desk.results.folder / result_id / "thumbnail.jpg").unlink()
    assert again(desk, kept) == {}
