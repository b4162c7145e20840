import json
from dataclasses import replace

import pytest
from ui_helpers import trial

from autoseg.search.run_folder import CurvePoint
from autoseg.ui import search_charts


def timed(number, score, latency_ms, status="complete"):
    return replace(trial(number, status), score=score, latency_ms=latency_ms)


def scored_at(number, *points):
    curve = tuple(CurvePoint(1.0, 1.0, None, score, at_s=at_s) for at_s, score in points)
    return replace(trial(number), curve=curve)


def rows_of(update):
    plot = update["value"]
    assert all(len(row) == len(plot["columns"]) for row in plot["data"])
    assert {update["x"], update["y"], update["color"]} <= set(plot["columns"])
    assert {row[2] for row in plot["data"]} <= set(update["color_map"])
    json.dumps(update)
    return plot["data"]


def test_curves_are_those_of_the_best_trials():
    rows = rows_of(search_charts.curves([trial(number) for number in range(20)]))
    assert {row[2] for row in rows} == {str(number) for number in range(12, 20)}


def test_no_two_curves_share_a_colour():
    update = search_charts.curves([trial(number) for number in (0, 8, 16, 3)])
    assert len(set(update["color_map"].values())) == 4


def test_the_best_score_only_rises_and_at_the_times_it_was_known():
    trials = [scored_at(0, (60, 0.5), (180, 0.4)), scored_at(1, (120, 0.3), (240, 0.7))]
    assert search_charts.best_by_time(trials) == [(1.0, 0.5), (4.0, 0.7)]
    rows = rows_of(search_charts.progress({"run": trials}, {"run": 5.0}))
    assert [row[:2] for row in rows] == [[1.0, 50.0], [4.0, 50.0], [4.0, 70.0], [5.0, 70.0]]


def test_runs_are_drawn_in_colours_of_their_own():
    update = search_charts.progress(
        {"a": [scored_at(0, (60, 0.5))], "b": [trial(1)]}, {"a": 2.0, "b": 2.0}
    )
    assert len(set(update["color_map"].values())) == 2


def test_scores_from_before_times_were_noted_draw_nothing():
    update = search_charts.progress({"old": [trial(0)]}, {"old": 3.0})
    assert update["value"]["data"] == [] and update["elem_classes"] == ["as-nothing-yet"]


def test_one_evaluation_already_draws_a_line_to_the_end():
    """A single point drew nothing, so the chart of a short search stayed empty."""
    update = search_charts.progress({"run": [scored_at(0, (60, 0.5))]}, {"run": 2.5})
    assert [row[:2] for row in rows_of(update)] == [[1.0, 50.0], [2.5, 50.0]]
    assert update["elem_classes"] == []


@pytest.mark.parametrize("elapsed_s", [0.5, 29.9, 30.1, 155.8])
def test_the_last_stair_ends_now_or_a_moment_ago_and_where_the_run_ended(elapsed_s):
    """It ended at the next half minute, which was yet to come."""
    now_min = elapsed_s / 60
    assert now_min - 1 / 6 < search_charts.end_min(elapsed_s, live=True) <= now_min
    assert search_charts.end_min(elapsed_s, live=False) == now_min


def test_a_chart_is_shown_when_it_has_something_to_say():
    once, twice = scored_at(0, (60, 0.5)), scored_at(1, (60, 0.5), (90, 0.6))
    assert search_charts.curves([once])["elem_classes"] == ["as-nothing-yet"]
    assert search_charts.curves([once, twice])["elem_classes"] == []
    for chart in (search_charts.depth, search_charts.speed):
        assert chart([timed(0, 0.5, 10)])["elem_classes"] == ["as-nothing-yet"]
        assert chart([timed(0, 0.5, 10), timed(1, 0.6, 20)])["elem_classes"] == []


def test_what_is_not_shown_yet_is_announced_one_step_at_a_time():
    once, twice = scored_at(0, (60, 0.5)), scored_at(1, (60, 0.5), (90, 0.6))
    unscored = replace(twice, score=None)
    said = [search_charts.to_come(trials) for trials in ([], [once], [unscored], [once, twice])]
    assert len(set(said)) == 4 and said[-1] == ""


def test_the_front_stands_out():
    trials = [
        timed(0, 0.5, 10), timed(1, 0.6, 20), timed(2, 0.55, 25), timed(3, 0.7, 30),
        timed(4, 0.4, 10), timed(5, 0.9, 5, "failed"), timed(6, 0.9, None),
        timed(7, 0.9, 5, "set aside"),
    ]  # fmt: skip
    rows = rows_of(search_charts.speed(trials))
    assert {row[3] for row in rows if row[2] == "Best at its speed"} == {"0", "1", "3"}


def test_each_scored_trial_is_a_point_at_its_frozen_depth():
    rows = rows_of(search_charts.depth([trial(0), trial(1), replace(trial(2), score=None)]))
    assert [row[0] for row in rows] == ["2", "2"]


@pytest.mark.parametrize("scores", [[50.0], [3.0, 99.5], [0.0, 100.0]])
def test_no_point_lies_on_the_edge_of_a_chart_unless_scores_end_there(scores):
    low, high = search_charts._room(scores)
    assert low <= max(0, min(scores) - 1) and high >= min(100, max(scores) + 1)


def test_charts_of_nothing_are_empty():
    for update in (search_charts.curves([]), search_charts.speed([]), search_charts.depth([])):
        assert update["value"]["data"] == [] and rows_of(update) == []
