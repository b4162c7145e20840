import re
from dataclasses import replace

from test_views import text_of
from ui_helpers import write_run

from autoseg.ui import search_compare


def test_runs_of_the_newest_ones_data_set_are_compared_at_first(workspace):
    for name in ("a", "b"):
        write_run(workspace, name)
    write_run(workspace, "other", source=workspace.folder / "elsewhere")
    values = search_compare.opened(workspace, [])
    chosen = values["compared"]["value"]
    assert set(chosen) in ({"a", "b"}, {"other"})
    assert len(re.findall("<tr", values["compare_table"])) == len(chosen) + 1


def test_a_comparison_shows_score_and_interval_of_each(workspace):
    write_run(workspace, "a")
    write_run(workspace, "b", status="paused")
    text = text_of(search_compare.compared(workspace, ["a", "b"])["compare_table"])
    for expected in ("72.0 %", "67.0 to 77.0", "paused", "2 min"):
        assert expected in text
    assert "cannot be compared" not in text


def test_scores_on_different_data_come_with_a_warning(workspace):
    write_run(workspace, "a")
    write_run(workspace, "b", source=workspace.folder / "elsewhere")
    table = search_compare.compared(workspace, ["a", "b"])["compare_table"]
    assert "different data sets" in table


def test_a_damaged_run_and_one_that_is_gone_do_not_hide_the_others(workspace):
    write_run(workspace, "a")
    run = write_run(workspace, "broken")
    (run.trial(0) / "trial.json").write_text("{")
    text = text_of(search_compare.compared(workspace, ["a", "broken", "gone"])["compare_table"])
    assert "cannot be read" in text and "72.0 %" in text and "gone" not in text


def test_nothing_chosen_says_what_to_do(workspace):
    values = search_compare.compared(workspace, [])
    assert "Choose two" in values["compare_table"] and not values["compare_chart"]["visible"]


def test_a_comparison_follows_its_runs_and_sends_only_news(workspace):
    """It stood still while the runs went on."""
    run = write_run(workspace, "a", status="running")
    write_run(workspace, "b")
    assert search_compare.ticked(workspace, [], {}) == ({}, {})
    values, seen = search_compare.ticked(workspace, ["a", "b"], {"card": "x"})
    assert "72.0 %" in values["compare_table"] and seen["card"] == "x"
    assert search_compare.ticked(workspace, ["a", "b"], seen) == ({}, seen)
    run.write_state(replace(run.state(), best_score=0.93))
    values, seen = search_compare.ticked(workspace, ["a", "b"], seen)
    assert "93.0 %" in values["compare_table"] and "compare_chart" not in values
    workspace.delete_run(workspace.named_run("b"))
    values, seen = search_compare.ticked(workspace, ["a", "b"], seen)
    assert values["compared"]["value"] == ["a"]
