import shutil
from pathlib import Path

import numpy as np
import pytest
from bundle_helpers import TINY
from gradio.utils import get_upload_folder
from PIL import Image
from predict_helpers import finished_run
from workspace_helpers import make_photos

from autoseg.config import Geometry, parse_duration, to_dict
from autoseg.files import write_json
from autoseg.search.budget import EncoderCost, Plan
from autoseg.search.space import SearchSpace
from autoseg.ui import predict_actions as actions
from autoseg.ui import predict_tab
from autoseg.ui import predict_teach as teach
from autoseg.ui.access import Access
from autoseg.ui.predict_image import Options, example_given, uploaded


@pytest.fixture
def uploads(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "uploads"))
    folder = Path(get_upload_folder())
    folder.mkdir()
    return folder


def predict_example(desk) -> str:
    given = example_given(desk, "photos-1", 0)
    return actions.predicted(desk, "photos-1", [given], Options())["shown"]


def sent(folder: Path, mask: np.ndarray, result_id: str) -> dict:
    """The event of a canvas after its mask was uploaded."""
    Image.fromarray(mask).save(folder / "mask.png")
    return {
        "id": result_id,
        "key": "k1",
        "mask": {"path": str(folder / "mask.png")},
        "changed_px": 9,
    }


def drawn(shape: tuple[int, int] = (48, 64)) -> np.ndarray:
    mask = np.ones(shape, np.uint8)
    mask[:, :20] = 255
    return mask


def test_a_corrected_example_is_kept_for_its_pair(desk, run, uploads):
    result_id = predict_example(desk)
    values = teach.corrected(desk, "photos-1", sent(uploads, drawn(), result_id))
    name = desk.results.get(result_id).info.name
    (kept,) = desk.workspace.corrections("photos").all()
    assert kept.original == name
    assert np.array_equal(kept.read_mask(), drawn())
    assert "1 corrected mask" in values["corrections_text"]
    assert values["train"]["interactive"]
    assert values["canvas"]["answer"] == {"key": "k1", "problem": ""}
    assert [caption for _, caption in values["corrections"]["value"]] == [kept.name]


def test_a_corrected_upload_is_a_new_image(desk, run, uploads, tmp_path):
    Image.new("RGB", (64, 48), (120, 90, 30)).save(tmp_path / "new.png")
    given = [uploaded(str(tmp_path / "new.png"))]
    result_id = actions.predicted(desk, "photos-1", given, Options())["shown"]
    teach.corrected(desk, "photos-1", sent(uploads, drawn(), result_id))
    (kept,) = desk.workspace.corrections("photos").all()
    assert (kept.name, kept.original) == ("new", None)
    assert kept.image_path.read_bytes() == (tmp_path / "new.png").read_bytes()


def test_a_turned_photo_of_the_data_set_is_told_when_it_is_uploaded(
    desk, photos, uploads, tmp_path
):
    """It was kept re-encoded, so a copy of a test image became a new image to learn from."""
    source = photos / "images" / "scene_000.jpg"
    exif = Image.Exif()
    exif[0x0112] = 3
    with Image.open(source) as image:
        image.save(source, exif=exif)
    finished_run(desk.workspace, "photos-1", photos)
    copy = shutil.copy(source, tmp_path / "holiday.jpg")
    values = actions.predicted(desk, "photos-1", [uploaded(str(copy))], Options())
    teach.corrected(desk, "photos-1", sent(uploads, drawn(), values["shown"]))
    (kept,) = desk.workspace.corrections("photos").all()
    assert kept.original == "scene_000"
    assert kept.image_path.read_bytes() == source.read_bytes()


def test_a_mask_can_be_added_after_the_app_was_started_again(workspace, run, uploads):
    result_id = predict_example(predict_tab.new_desk(workspace, Access(local=True)))
    again = predict_tab.new_desk(workspace, Access(local=True))
    values = teach.corrected(again, "photos-1", sent(uploads, drawn(), result_id))
    assert values["canvas"]["answer"]["problem"] == ""
    assert len(workspace.corrections("photos")) == 1


@pytest.mark.parametrize("mask", [drawn((5, 5)), np.full((48, 64), 77, np.uint8)])
def test_a_mask_that_does_not_fit_is_refused(desk, run, uploads, mask):
    values = teach.corrected(desk, "photos-1", sent(uploads, mask, predict_example(desk)))
    assert "Not possible" in values["message"]["value"]
    assert values["canvas"]["answer"]["key"] == "k1" and values["canvas"]["answer"]["problem"]
    assert desk.workspace.corrections("photos").all() == ()


def test_only_what_was_uploaded_is_taken_for_a_mask(desk, run, uploads, tmp_path):
    result_id = predict_example(desk)
    outside = sent(tmp_path, drawn(), result_id)
    for mask in (outside["mask"], outside["mask"]["path"], {"path": 7}, None):
        values = teach.corrected(desk, "photos-1", {"id": result_id, "mask": mask})
        assert "did not arrive" in values["message"]["value"]
    (uploads / "link.png").symlink_to(tmp_path / "mask.png")
    linked = {"id": result_id, "mask": {"path": str(uploads / "link.png")}}
    assert "did not arrive" in teach.corrected(desk, "photos-1", linked)["message"]["value"]


def test_a_correction_can_be_taken_back(desk, run, uploads):
    teach.corrected(desk, "photos-1", sent(uploads, drawn(), predict_example(desk)))
    chosen = teach.picked(desk, "photos", 0)["correction"]
    values = teach.taken_back(desk, "photos-1", "photos", chosen)
    assert "No corrections" in values["corrections_text"]
    assert not values["train"]["interactive"]
    assert teach.picked(desk, "photos", 0) == {}
    assert (
        "No correction is chosen"
        in teach.taken_back(desk, "photos-1", "photos", "")["message"]["value"]
    )


def test_what_a_model_has_learnt_waits_for_another_one_only(desk, run, uploads, tmp_path):
    """After the training its masks still waited, and a second training was offered for them."""
    teach.corrected(desk, "photos-1", sent(uploads, drawn(), predict_example(desk)))
    made = desk.workspace.with_corrections("photos", run)
    finished_run(desk.workspace, "photos-corrected-1", made.source, start_from=run.model)
    for name, text in (
        ("photos-1", "1 corrected mask of photos waits to be learnt.</div>"),
        ("photos-corrected-1", "No corrected mask of photos waits to be learnt. Learnt by this"),
    ):
        values = teach.shown_corrections(desk, name)
        assert text in values["corrections_text"], name
        assert values["train"]["interactive"] and len(values["corrections"]["value"]) == 1
    Image.new("RGB", (64, 48), (120, 90, 30)).save(tmp_path / "new.png")
    given = [uploaded(str(tmp_path / "new.png"))]
    shown = actions.predicted(desk, "photos-corrected-1", given, Options())["shown"]
    values = teach.corrected(desk, "photos-corrected-1", sent(uploads, drawn(), shown))
    said = "1 corrected mask of photos waits to be learnt. Learnt by this model already: 1."
    assert said in values["corrections_text"]
    values = teach.taken_back(desk, "photos-corrected-1", "photos", "new")
    assert "No corrected mask of photos waits" in values["corrections_text"]


def test_a_mask_that_was_corrected_again_waits_to_be_learnt(desk, run, uploads):
    teach.corrected(desk, "photos-1", sent(uploads, drawn(), predict_example(desk)))
    made = desk.workspace.with_corrections("photos", run)
    finished_run(desk.workspace, "photos-corrected-1", made.source, start_from=run.model)
    values = teach.corrected(
        desk, "photos-corrected-1", sent(uploads, drawn()[::-1], predict_example(desk))
    )
    assert len(desk.workspace.corrections("photos")) == 1
    assert "1 corrected mask of photos waits to be learnt.</div>" in values["corrections_text"]


def test_a_model_without_a_data_set_here_learns_nothing(desk, run, tmp_path):
    assert teach.shown_corrections(desk, "photos-1")["teach_box"]["visible"]
    finished_run(desk.workspace, "other-1", make_photos(tmp_path / "other"))
    for name in ("other-1", "alice/leaves", "/models/leaf", "gone", None):
        assert not teach.shown_corrections(desk, name)["teach_box"]["visible"]
        assert teach.proposed(desk, name) == {"budget": "5m", "outlook": ""}
    assert [each.name for each in desk.workspace.datasets()] == ["photos"]


def measured(run, preparing_s: float) -> None:
    """The records of a search that took so long to prepare."""
    space = SearchSpace((TINY,), Geometry((32, 32), scale=1.0), ("fpn",), batch_size=4, epochs=4.0)
    cost = EncoderCost(0.1, 0.1, 0.1, 0.1, bf16=False)
    until_s = preparing_s + 50.0
    plan = Plan(space, {TINY: cost}, 50.0, 50.0, until_s, 9, 8, 8, (1, 2, 3), 9.0, 100.0)
    write_json(run.path / "plan.json", to_dict(plan))


@pytest.mark.parametrize("waiting", [0.0, 1000.0])
def test_a_busy_computer_is_told_beside_the_time_for_training(desk, run, monkeypatch, waiting):
    monkeypatch.setattr("os.getloadavg", lambda: (waiting, 0.0, 0.0), raising=False)
    measured(run, preparing_s=40.0)
    told = teach.bought(desk, "photos-1", "5m")["outlook"]
    assert "go to training" in told and ("load 1000.0" in told) == bool(waiting)


def test_the_time_for_training_is_told_before_the_start(desk, run):
    """A minute was spent to say in the end that two would have been needed."""
    assert teach.proposed(desk, "photos-1") == {"budget": "5m", "outlook": ""}
    measured(run, preparing_s=40.0)
    least_s = desk.workspace.training_outlook(run).least_s
    assert 60 < least_s < 120, "40 s, and 20 s to judge two models, and some steps"
    too_little = f"Give it at least {least_s:.0f} s"
    values = teach.proposed(desk, "photos-1")
    assert values["budget"] == "5m" and "go to training" in values["outlook"]
    assert too_little in teach.bought(desk, "photos-1", "60s")["outlook"]
    assert "no duration" in teach.bought(desk, "photos-1", "banana")["outlook"]
    refused = teach.continued(desk, "photos-1", "60s")
    assert too_little in refused["message"]["value"] and refused["started"] == ""
    assert [each.name for each in desk.workspace.runs()] == ["photos-1"]
    measured(run, preparing_s=400.0)
    seconds = parse_duration(teach.proposed(desk, "photos-1")["budget"])
    assert desk.workspace.training_outlook(run).training_s(seconds) >= seconds / 2


@pytest.mark.parametrize(
    ("name", "budget", "text"),
    [("gone", "5m", "There is no run"), ("photos-1", "soon", "no duration"), (None, "5m", "model")],
)
def test_a_training_that_cannot_start_says_why(desk, run, name, budget, text):
    values = teach.continued(desk, name, budget)
    assert text in values["message"]["value"] and values["started"] == ""
