"""Making a model of another trial of a run, without a page."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from taking_helpers import FAST, WINNER, takeable_run

from autoseg.bundle import load_bundle
from autoseg.search.run_folder import RunFolder
from autoseg.ui import search_actions, search_take
from autoseg.ui.predict_models import model_choices
from autoseg.workspace import Workspace


@pytest.fixture
def run(workspace: Workspace, photos: Path) -> RunFolder:
    return takeable_run(workspace, "photos-1", photos)


def test_a_run_that_is_done_offers_its_faster_trials(workspace, run):
    values = search_actions.opened(workspace, run.name)
    assert values["take_box"]["visible"]
    assert values["take_trial"]["choices"] == [(f"Trial {FAST}: 70.0 % in 5.0 ms", FAST)]
    assert values["take_trial"]["value"] == FAST


def test_a_run_that_is_not_done_or_has_none_offers_nothing(workspace, run):
    run.write_state(replace(run.state(), status="interrupted"))
    assert not search_actions.opened(workspace, run.name)["take_box"]["visible"]
    run.write_state(replace(run.state(), status="done"))
    run.weights(FAST).unlink()
    assert not search_actions.opened(workspace, run.name)["take_box"]["visible"]
    shutil.rmtree(run.path)
    assert not search_actions.opened(workspace)["take_box"]["visible"]


def test_what_was_taken_is_shown_and_can_predict(workspace, run):
    steps = []
    values = search_take.taken(
        workspace, run.name, FAST, lambda done, step: steps.append((step, *done))
    )
    name = f"photos-1-trial-{FAST}"
    assert values["runs"]["value"] == name and name in values["card"]
    assert "Winner of the search" in values["report"]["value"]
    assert not values["take_problem"]["visible"] and not values["take_box"]["visible"]
    assert name in [value for _, value in model_choices(workspace)]
    load_bundle(workspace.named_run(name).model)
    assert [step for step, *_ in steps[:1]] == ["Checking data"]
    step, done, total = steps[-1]
    assert step == "Evaluating" and done == total > 0


@pytest.mark.parametrize(("number", "why"), [(None, "No trial is chosen"), (WINNER, "the winner")])
def test_what_cannot_be_taken_is_said_beside_the_button(workspace, run, number, why):
    values = search_take.taken(workspace, run.name, number)
    assert list(values) == ["take_problem"]
    assert values["take_problem"]["visible"] and why in values["take_problem"]["value"]


def test_data_that_is_gone_is_said_and_leaves_no_run(workspace, run, photos):
    shutil.rmtree(photos)
    values = search_take.taken(workspace, run.name, FAST)
    assert "bring it back" in values["take_problem"]["value"]
    assert [known.name for known in workspace.runs()] == ["photos-1"]
    shown = search_actions.shown(workspace, run.name)
    assert not shown["take_problem"]["visible"]
