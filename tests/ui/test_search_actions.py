import os
from dataclasses import replace

import pytest
from ui_helpers import trial, write_run
from workspace_helpers import make_photos

from autoseg.errors import BudgetError
from autoseg.search.budget import Clock, check_enough
from autoseg.ui import run_view, search_actions
from autoseg.ui.search_form import Form


def age(run, seconds: float) -> None:
    """Make a run's first record that much older."""
    file = run.path / "search.json"
    os.utime(file, (file.stat().st_mtime - seconds,) * 2)


def test_the_newest_run_is_shown_first(workspace):
    age(write_run(workspace, "old"), 60)
    write_run(workspace, "new", status="running")
    values = search_actions.opened(workspace)
    assert values["runs"]["value"] == "new"
    assert [name for _, name in values["runs"]["choices"]] == ["new", "old"]
    assert "Searching" in values["card"]
    assert values["stop"]["visible"] and not values["resume"]["visible"]


def test_a_finished_run_shows_its_report(workspace):
    write_run(workspace, "done")
    values = search_actions.opened(workspace)
    assert "Default recipe" in values["report"]["value"]
    assert values["try_it"]["visible"] and not values["stop"]["visible"]


def test_an_interrupted_run_can_go_on(workspace):
    write_run(workspace, "cut", status="interrupted")
    assert search_actions.opened(workspace)["resume"]["visible"]


def test_a_run_that_had_too_little_time_does_not_spend_it_again(workspace):
    run = write_run(workspace, "short", status="failed")
    with pytest.raises(BudgetError) as refusal:
        check_enough(Clock(5.0, spent_before_s=50.0), 1.0)
    run.write_state(replace(run.state(), error=str(refusal.value)))
    assert (
        "Start it anew with more" in search_actions.resumed(workspace, "short")["problem"]["value"]
    )
    assert run.state().status == "failed"


def test_a_damaged_run_is_an_error_on_the_page(workspace):
    run = write_run(workspace, "broken")
    (run.path / "state.json").write_text("{")
    values = search_actions.opened(workspace)
    assert "damaged" in values["card"]
    assert "cannot be read" in values["runs"]["choices"][0][0]


def test_an_empty_workspace_says_what_to_do(workspace):
    values = search_actions.opened(workspace)
    assert values["card"] == run_view.no_run()
    assert not values["charts"]["visible"] and not values["manage"]["visible"]


def test_only_news_is_sent_to_the_page(workspace):
    run = write_run(workspace, "live", status="running")
    values = search_actions.opened(workspace)
    changed, seen = run_view.news(values, {})
    assert changed == values
    run.write_trial(trial(3))
    changed, seen = run_view.news(search_actions.ticked(workspace, "live"), seen)
    assert {"trials", "curves"} <= changed.keys()
    assert not {"report", "log", "resume", "importances", "pictures"} & changed.keys()


@pytest.mark.parametrize("budget", ["", None, "soon", "-5m"])
def test_a_budget_that_is_none_starts_nothing(workspace, budget):
    make_photos(workspace.folder / "datasets" / "photos")
    values = search_actions.started(workspace, Form("photos", budget))
    assert "budget" in values["problem"]["value"] or "duration" in values["problem"]["value"]
    assert workspace.runs() == []


def test_stop_is_asked_once_and_a_reload_remembers(workspace):
    run = write_run(workspace, "live", status="running")
    assert not search_actions.stopped(workspace, "live")["stop"]["interactive"]
    assert run.stop_requested()
    values = search_actions.opened(workspace)
    assert not values["stop"]["interactive"] and not values["pause"]["interactive"]


def test_pause_is_asked_once_and_a_reload_remembers(workspace):
    run = write_run(workspace, "live", status="running")
    assert not search_actions.paused(workspace, "live")["pause"]["interactive"]
    assert run.pause_requested() and not run.stop_requested()
    values = search_actions.opened(workspace)
    assert not values["stop"]["interactive"] and not values["pause"]["interactive"]


def test_a_paused_run_can_go_on_and_nothing_else(workspace):
    write_run(workspace, "rest", status="paused")
    values = search_actions.opened(workspace)
    assert values["resume"]["visible"]
    assert not any(values[name]["visible"] for name in ("pause", "stop", "try_it", "share"))


def test_a_waiting_run_can_be_paused_but_has_nothing_to_keep(workspace):
    write_run(workspace, "next", status="queued")
    values = search_actions.opened(workspace)
    assert values["pause"]["visible"] and not values["stop"]["visible"]
    assert "waiting" in values["card"]


def test_what_cannot_be_paused_says_why(workspace):
    write_run(workspace, "over")
    values = search_actions.paused(workspace, "over")
    assert "nothing to pause" in values["problem"]["value"]


def test_a_renamed_run_is_shown_under_its_new_name(workspace):
    write_run(workspace, "old")
    values = search_actions.renamed(workspace, "old", " better name ")
    assert values["runs"]["value"] == "better-name"
    assert [run.name for run in workspace.runs()] == ["better-name"]


@pytest.mark.parametrize("name", ["", None, "///", "other"])
def test_a_name_that_will_not_do_is_an_error_beside_the_field(workspace, name):
    write_run(workspace, "old")
    write_run(workspace, "other")
    values = search_actions.renamed(workspace, "old", name)
    assert values["manage_problem"]["visible"] and set(values) == {"manage_problem"}
    assert {run.name for run in workspace.runs()} == {"old", "other"}


def test_a_run_is_deleted_only_after_the_question(workspace):
    age(write_run(workspace, "left"), 60)
    write_run(workspace, "gone")
    asked = search_actions.asked_to_delete(workspace, "gone")
    assert asked["question"]["visible"] and "gone" in asked["question_text"]
    assert not search_actions.kept()["question"]["visible"]
    assert len(workspace.runs()) == 2
    values = search_actions.deleted(workspace, "gone")
    assert values["runs"]["value"] == "left" and not values["question"]["visible"]
    assert [run.name for run in workspace.runs()] == ["left"]


def test_a_run_that_is_searched_is_not_deleted(workspace):
    run = write_run(workspace, "busy", status="running")
    with run.locked():
        values = search_actions.deleted(workspace, "busy")
    assert "in use by another process" in values["manage_problem"]["value"]
    assert run.path.is_dir()


def test_a_run_that_was_deleted_elsewhere_makes_room_for_the_newest(workspace):
    write_run(workspace, "left")
    assert search_actions.ticked(workspace, "gone")["runs"]["value"] == "left"


def test_the_stamp_changes_with_every_record_and_with_nothing_else(workspace):
    run = write_run(workspace, "live", status="running")
    first = run_view.stamp(workspace, "live")
    assert run_view.stamp(workspace, "live") == first
    seen = {first}
    for change in (
        lambda: run.write_trial(trial(3)),
        lambda: (run.path / "importances.json").write_text("{}"),
        run.request_stop,
        run.request_pause,
        lambda: write_run(workspace, "other"),
    ):
        change()
        seen.add(run_view.stamp(workspace, "live"))
    assert len(seen) == 6


@pytest.mark.parametrize("name", ["../../etc", "nothing", None])
def test_a_run_that_is_not_there_is_an_error_on_the_page(workspace, name):
    assert "There is no run" in search_actions.stopped(workspace, name)["problem"]["value"]
