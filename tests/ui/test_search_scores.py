from dataclasses import replace

import pytest
from predict_helpers import finished_run
from test_views import text_of
from ui_helpers import REPORT, write_run
from workspace_helpers import make_photos

from autoseg.files import write_json
from autoseg.ui import run_view, search_actions, search_compare
from autoseg.ui.predict_models import model_choices
from autoseg.ui.search_scores import headline, headline_of


@pytest.fixture
def run(workspace):
    """A finished run that scored higher in its search than on the test images."""
    run = write_run(workspace, "done")
    run.write_state(replace(run.state(), best_score=0.886))
    return run


def test_a_finished_run_is_named_by_its_test_score_everywhere(workspace, run):
    """The card, the list and the menu showed the validation score, which is too good."""
    values = search_actions.opened(workspace, "done")
    told = dict((name, text) for text, name in run_view.run_choices(workspace))["done"]
    table = search_compare.compared(workspace, ["done"])["compare_table"]
    for text in (text_of(values["card"]), told, text_of(table)):
        assert "72.0 %" in text and "67.0 to 77.0" in text and "on 12 test images" in text
    assert "88.6" not in values["card"] and "88.6" not in told


def test_the_menu_of_models_names_the_test_score(workspace, tmp_path):
    photos = workspace.add_dataset(make_photos(tmp_path / "photos")).source
    run = finished_run(workspace, "photos-1", photos)
    write_json(run.report / "report.json", REPORT)
    told = [text for text, _ in model_choices(workspace)]
    assert told == ["photos-1 · 72.0 % (67.0 to 77.0) on 12 test images"]


@pytest.mark.parametrize(
    ("split", "said"),
    [("validation", "on 12 validation images"), ("folds", "on 12 images not learnt from")],
)
def test_a_run_without_a_test_split_says_so(run, split, said):
    shown = headline(run.state(), {**REPORT, "split": split})
    assert shown is not None and shown.images == said


def test_a_running_search_has_a_score_on_validation_images(workspace):
    run = write_run(workspace, "live", status="running")
    write_json(run.report / "report.json", REPORT)  # Of an attempt before.
    shown = headline_of(run)
    assert shown is not None and shown.text == "72.0 % on validation images"


def test_a_run_without_any_score_has_no_headline(run):
    assert headline(None, None) is None
    assert headline(replace(run.state(), status="running", best_score=None), REPORT) is None


def test_a_damaged_report_leaves_the_score_of_the_search(run):
    (run.report / "report.json").write_text("{")
    shown = headline_of(run)
    assert shown is not None and shown.text == "88.6 % on validation images"
