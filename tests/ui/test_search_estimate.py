import re

import gradio as gr
import numpy as np
import pytest
from gradio.context import LocalContext
from test_views import text_of
from ui_helpers import write_run
from workspace_helpers import make_photos

from autoseg import estimate
from autoseg.data.dataset import check_dataset
from autoseg.dataset_facts import Facts
from autoseg.estimate import Estimate
from autoseg.machine_load import Load
from autoseg.ui import search_estimate
from autoseg.ui.search_form import Form
from autoseg.ui.texts import dictionary


def found(**changes: object) -> Estimate:
    known = {
        "working_size": (384, 512), "trials_low": 3, "trials_high": 9, "epochs": 12.0,
        "memory_bytes": 2_140_000_000, "ends_after_s": 360.0, "notes": (),
    }  # fmt: skip
    return Estimate(**{**known, **changes})


def test_an_estimate_says_trials_size_memory_and_end():
    html = search_estimate.card(found())
    for expected in ("3 to 9", "512 × 384", "2.1 GB"):
        assert expected in text_of(html)
    assert re.search(r'data-in="360"', html)


def test_one_number_of_trials_is_no_range():
    text = text_of(search_estimate.card(found(trials_high=3)))
    assert re.search(r"Trials\s+3\s+Image", text)


@pytest.mark.parametrize(
    ("language", "told"),
    [("en", "busy with other work (load 13.9 on 2 cores)"), ("zh-CN", "负载 13.9")],
)
def test_a_busy_computer_is_told_beside_the_estimate(language, told):
    before = LocalContext.request.set(gr.Request(headers={"accept-language": language}))
    try:
        assert told in text_of(search_estimate.card(found(load=Load(13.94, cores=2))))
        assert told not in text_of(search_estimate.card(found()))
    finally:
        LocalContext.request.reset(before)


@pytest.mark.parametrize(
    "note",
    [value for name, value in vars(estimate).items() if name.isupper() and str(value)[-1:] == "."],
)
def test_every_note_of_an_estimate_is_said_in_chinese_too(note):
    request = gr.Request(headers={"accept-language": "zh-CN"})
    before = LocalContext.request.set(request)
    try:
        assert search_estimate._note(note) == dictionary("zh")[note]
    finally:
        LocalContext.request.reset(before)


def test_a_data_set_that_was_not_checked_has_none_and_says_what_to_do(workspace):
    make_photos(workspace.folder / "datasets" / "photos")
    assert "Check this data set" in search_estimate.expected(workspace, Form("photos", "6m"))


def test_a_form_that_does_not_hold_has_none(workspace):
    assert search_estimate.expected(workspace, Form("photos", "6m", n_trials="many")) == ""
    assert "Choose a data set" in search_estimate.expected(workspace, Form(None, "6m"))
    assert search_estimate.expected(workspace, Form(None, "6m", n_trials="many")) == ""


def test_the_estimate_is_made_anew_when_anything_changed_that_it_depends_on(workspace):
    form = Form("photos", "6m")
    reasons = [search_estimate.reason(workspace, form)]
    assert search_estimate.reason(workspace, form) == reasons[0]
    reasons.append(search_estimate.reason(workspace, Form("photos", "7m")))
    folder = workspace.check_folder("photos")
    folder.mkdir(parents=True)
    (folder / "facts.npz").touch()
    reasons.append(search_estimate.reason(workspace, form))
    for status in ("queued", "running", "paused"):
        write_run(workspace, "other", status=status)
        reasons.append(search_estimate.reason(workspace, form))
    assert len(set(reasons)) == 5 and reasons[-1] == reasons[2]


@pytest.mark.parametrize(("waiting", "told"), [(0.0, False), (1000.0, True)])
def test_an_estimate_looks_at_the_computer_each_time(workspace, monkeypatch, waiting, told):
    monkeypatch.setattr("os.getloadavg", lambda: (waiting, 0.0, 0.0), raising=False)
    photos = make_photos(workspace.folder / "datasets" / "photos")
    folder = workspace.check_folder("photos")
    folder.mkdir(parents=True)
    Facts.of(check_dataset(photos)).save(folder / "facts.npz")
    form = Form("photos", "6m", encoders=["test_resnet"])
    assert ("load 1000.0" in search_estimate.expected(workspace, form)) == told
    assert search_estimate.reason(workspace, form).endswith(f"{told})")


def test_more_time_is_more_trials(workspace):
    photos = make_photos(workspace.folder / "datasets" / "photos")
    folder = workspace.check_folder("photos")
    folder.mkdir(parents=True)
    Facts.of(check_dataset(photos)).save(folder / "facts.npz")
    trials = []
    for budget in ("2m", "4h"):
        form = Form("photos", budget, encoders=["test_resnet"])
        text = text_of(search_estimate.expected(workspace, form))
        (numbers,) = re.findall(r"Trials\s+(\d+)(?: to (\d+))?", text)
        trials.append([int(number) for number in numbers if number])
    assert np.mean(trials[0]) < np.mean(trials[1])


@pytest.mark.parametrize("budget", ["banana", "-3m", "0", "3"])
def test_a_wrong_budget_is_told_where_the_estimate_stood(workspace, budget):
    """The words at the field went away with the next event, and nothing was left to see."""
    assert "as-error" in search_estimate.expected(workspace, Form("photos", budget))
