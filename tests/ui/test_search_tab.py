import json
import os

import pytest
from ui_helpers import trial, write_run
from workspace_helpers import make_photos

from autoseg.errors import ConfigError
from autoseg.ui import run_view, search_tab
from autoseg.ui.search_tab import Form


def age(run, seconds: float) -> None:
    """Make a run's first record that much older."""
    file = run.path / "search.json"
    os.utime(file, (file.stat().st_mtime - seconds,) * 2)


def test_the_newest_run_is_shown_first(workspace):
    age(write_run(workspace, "old"), 60)
    write_run(workspace, "new", status="running")
    values = search_tab.opened(workspace)
    assert values["runs"]["value"] == "new"
    assert [name for _, name in values["runs"]["choices"]] == ["new", "old"]
    assert "Searching" in values["card"]
    assert values["stop"]["visible"] and not values["resume"]["visible"]


def test_a_finished_run_shows_its_report(workspace):
    write_run(workspace, "done")
    values = search_tab.opened(workspace)
    assert "Default recipe" in values["report"]["value"]
    assert values["try_it"]["visible"] and not values["stop"]["visible"]


def test_an_interrupted_run_can_go_on(workspace):
    write_run(workspace, "cut", status="interrupted")
    assert search_tab.opened(workspace)["resume"]["visible"]


def test_a_damaged_run_is_an_error_on_the_page(workspace):
    run = write_run(workspace, "broken")
    (run.path / "state.json").write_text("{")
    values = search_tab.opened(workspace)
    assert "damaged" in values["card"]
    assert "cannot be read" in values["runs"]["choices"][0][0]


def test_an_empty_workspace_says_what_to_do(workspace):
    assert search_tab.opened(workspace)["card"] == run_view.NO_RUN


def test_only_news_is_sent_to_the_page(workspace):
    run = write_run(workspace, "live", status="running")
    values = search_tab.opened(workspace)
    changed, seen = run_view.news(values, {})
    assert changed == values
    run.write_trial(trial(3))
    changed, seen = run_view.news(search_tab.ticked(workspace, "live"), seen)
    assert {"trials", "curves"} <= changed.keys()
    assert not {"report", "log", "resume"} & changed.keys()


def test_curves_are_those_of_the_best_trials():
    plot = run_view.curves([trial(number) for number in range(20)])["value"]
    names = {row[2] for row in plot["data"]}
    assert names == {f"Trial {number}" for number in range(12, 20)}
    assert all(len(row) == len(plot["columns"]) for row in plot["data"])
    json.dumps(plot)


def test_a_form_becomes_a_configuration():
    form = Form("photos", "1h30m", seed=3.0, flip="none", n_trials=5.0, encoders=["resnet"])
    config = form.config()
    assert (config.budget_s, config.seed, config.flip, config.n_trials) == (5400, 3, "none", 5)
    assert config.encoders == ("resnet",)
    assert Form("photos", "90s").config().flip is None


@pytest.mark.parametrize("budget", ["", None, "soon", "-5m"])
def test_a_budget_that_is_none_is_refused(workspace, budget):
    with pytest.raises(ConfigError):
        Form("photos", budget).config()
    make_photos(workspace.folder / "datasets" / "photos")
    values = search_tab.started(workspace, Form("photos", budget))
    assert "budget" in values["problem"]["value"] or "duration" in values["problem"]["value"]


def test_a_second_search_waits_for_the_first(workspace):
    make_photos(workspace.folder / "datasets" / "photos")
    write_run(workspace, "live", status="running")
    values = search_tab.started(workspace, Form("photos", "6m"))
    assert "live is being searched" in values["problem"]["value"]
    assert [run.name for run in workspace.runs()] == ["live"]


def test_stop_is_asked_once_and_a_reload_remembers(workspace):
    run = write_run(workspace, "live", status="running")
    assert not search_tab.stopped(workspace, "live")["stop"]["interactive"]
    assert run.stop_requested()
    assert not search_tab.opened(workspace)["stop"]["interactive"]


@pytest.mark.parametrize("name", ["../../etc", "nothing", None])
def test_a_run_that_is_not_there_is_an_error_on_the_page(workspace, name):
    assert "There is no run" in search_tab.stopped(workspace, name)["problem"]["value"]
