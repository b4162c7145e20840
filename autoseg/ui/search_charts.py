"""Charts of a run, as Gradio's native plots take them."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import gradio as gr

from autoseg.search.front import LOST, pareto_front
from autoseg.search.run_folder import TrialRecord
from autoseg.ui.search_views import frozen_depth, ranked, short_name
from autoseg.ui.style import SERIES_COLORS
from autoseg.ui.texts import tr

MAX_CURVES = 8
"""Learning curves shown at once: those of the best trials and of those that run."""

HEIGHT_PX = 300
"""Height of every chart, also while it is empty, so that nothing moves when it fills."""

Row = Sequence[float | str | None]


def _plot(
    mark: str, title: str, axes: tuple[str, str, str], rows: Sequence[Row],
    colors: Mapping[str, str], shown: bool, extra: Sequence[str] = (), names_on_x: bool = False,
) -> dict[str, Any]:  # fmt: skip
    """A plot's update.

    Args:
        mark: "line" or "point".
        title: Above the plot.
        axes: Names of the horizontal axis, of the vertical one and of the series.
        rows: Values in the order of `axes`, then `extra`.
        colors: Colour of each series.
        shown: Whether it says something yet.
        extra: Further columns, shown when a point is hovered.
        names_on_x: Whether the horizontal axis shows words.
    """
    columns = [*axes, *extra]
    types = {name: "nominal" for name in columns} | {axes[1]: "quantitative"}
    if not names_on_x:
        types[axes[0]] = "quantitative"
    value = {"columns": columns, "data": [list(row) for row in rows], "datatypes": types}
    scores = [float(row[1] or 0.0) for row in rows]
    across = [] if names_on_x else [float(row[0] or 0.0) for row in rows]
    return dict(
        gr.update(
            y_lim=_room(scores), x_lim=[0.0, _round_up(max(across))] if across else None,
            # Never None: Gradio's script fails where a plot loses its value as it is drawn.
            value={**value, "mark": mark},
            # By the style sheet: its script fails, too, where a plot is taken off the page as it is
            # drawn, and plots do not know `visible="hidden"`.
            visible=True, elem_classes=[] if shown else ["as-nothing-yet"],
            title=title, x=axes[0], y=axes[1], color=axes[2], color_map=dict(colors),
        )
    )  # fmt: skip


def _room(scores: Sequence[float]) -> list[float] | None:
    """Limits in steps of five points with air around the scores, so that they seldom move."""
    if not scores:
        return None
    low, high = min(scores), max(scores)
    return [max(0.0, 5 * ((low - 1) // 5)), min(100.0, 5 * ((high + 1) // 5 + 1))]


def _round_up(value: float) -> float:
    """The next number of two digits, so that an axis ends on a mark and seldom changes."""
    if value <= 0:
        return 1.0
    step = 10.0 ** math.floor(math.log10(value)) / 10
    return math.ceil(value / (5 * step)) * 5 * step


def series_color(k: int) -> str:
    """Colour of the k-th series."""
    return SERIES_COLORS[k % len(SERIES_COLORS)]


def _trial_colors(numbers: Iterable[int]) -> dict[str, str]:
    """Different colours for up to as many trials as there are, each trial's the same if it can."""
    taken: dict[str, str] = {}
    for number in sorted(numbers):
        wanted = [series_color(number + k) for k in range(len(SERIES_COLORS))]
        free = [color for color in wanted if color not in taken.values()]
        taken[str(number)] = (free or wanted)[0]
    return taken


def _points(score: float) -> float:
    return round(100 * score, 2)


def curves(trials: Sequence[TrialRecord]) -> dict[str, Any]:
    """Learning curves of the best trials."""
    drawn = [trial for trial in ranked(trials) if trial.curve][:MAX_CURVES]
    rows: list[Row] = [
        (point.epochs, _points(point.score), str(trial.number))
        for trial in sorted(drawn, key=lambda trial: trial.number)
        for point in trial.curve
    ]
    colors = _trial_colors(trial.number for trial in drawn)
    axes = tr("Epochs"), tr("IoU per image (%)"), tr("Trial")
    shown = any(len(trial.curve) > 1 for trial in drawn)
    return _plot("line", tr("Learning curves"), axes, rows, colors, shown)


def best_by_time(trials: Iterable[TrialRecord]) -> list[tuple[float, float]]:
    """Minutes of the run and the best score so far, wherever it rose."""
    known = sorted(
        (point.at_s, point.score)
        for trial in trials
        for point in trial.curve
        if point.at_s is not None
    )
    steps: list[tuple[float, float]] = []
    for at_s, score in known:
        if not steps or score > steps[-1][1]:
            steps.append((at_s / 60, score))
    return steps


_END_STEP_S = 10.0


def end_min(elapsed_s: float, live: bool) -> float:
    """Where the last stair of a run ends, in minutes: now, or where the run ended.

    While the run goes on it grows by steps: one that grew with every look would be drawn anew with
    every look.

    Args:
        elapsed_s: Time of the run, in seconds.
        live: Whether it goes on.
    """
    shown_s = _END_STEP_S * math.floor(elapsed_s / _END_STEP_S) if live else elapsed_s
    return shown_s / 60


def progress(
    runs: Mapping[str, Sequence[TrialRecord]], until_min: Mapping[str, float]
) -> dict[str, Any]:
    """The best score so far against time: a staircase for each run.

    Args:
        runs: Trials by the name of their run.
        until_min: Where the last stair of each ends, in minutes of the run (`end_min`).
    """
    rows: list[Row] = []
    for name, trials in runs.items():
        stairs = best_by_time(trials)
        for k, (minute, score) in enumerate(stairs):
            if k:
                rows.append((minute, _points(stairs[k - 1][1]), name))
            rows.append((minute, _points(score), name))
        if stairs and until_min[name] > stairs[-1][0]:
            rows.append((until_min[name], _points(stairs[-1][1]), name))
    colors = {name: series_color(k) for k, name in enumerate(runs)}
    axes = tr("Minutes"), tr("Best IoU per image (%)"), tr("Run")
    rounded = [(round(float(minute or 0), 3), *rest) for minute, *rest in rows]
    return _plot("line", tr("Best score against time"), axes, rounded, colors, bool(rows))


def _scored(trials: Iterable[TrialRecord]) -> list[TrialRecord]:
    return [trial for trial in trials if trial.score is not None and trial.status not in LOST]


def depth(trials: Iterable[TrialRecord]) -> dict[str, Any]:
    """Score against the frozen depth, a point for each trial."""
    scored = sorted(_scored(trials), key=lambda trial: trial.recipe.frozen_depth)
    encoders = sorted({short_name(trial.recipe.encoder_name) for trial in scored})
    colors = {name: series_color(k) for k, name in enumerate(encoders)}
    rows: list[Row] = [
        (
            frozen_depth(trial.recipe.frozen_depth),
            _points(trial.score or 0.0),
            short_name(trial.recipe.encoder_name),
            str(trial.number),
        )
        for trial in scored
    ]
    axes = tr("Frozen depth"), tr("IoU per image (%)"), tr("Encoder")
    title = tr("Score by frozen depth")
    shown = len(rows) > 1
    return _plot("point", title, axes, rows, colors, shown, [tr("Trial")], names_on_x=True)


def speed(trials: Iterable[TrialRecord]) -> dict[str, Any]:
    """Score against milliseconds per image; those that no other beats stand out."""
    records = list(trials)
    front = {trial.number for trial in pareto_front(records)}
    best, others = tr("Best at its speed"), tr("Other trials")
    rows: list[Row] = [
        (
            round(trial.latency_ms, 2),
            _points(trial.score or 0.0),
            best if trial.number in front else others,
            str(trial.number),
            short_name(trial.recipe.encoder_name),
        )
        for trial in _scored(records)
        if trial.latency_ms is not None
    ]
    axes = tr("Milliseconds per image"), tr("IoU per image (%)"), tr("Kind")
    colors = {best: SERIES_COLORS[1], others: SERIES_COLORS[0]}
    title = tr("Score against speed")
    extra = [tr("Trial"), tr("Encoder")]
    return _plot("point", title, axes, rows, colors, len(rows) > 1, extra)


def to_come(trials: Sequence[TrialRecord]) -> str:
    """What a search will show and when, one sentence; "" once all charts are there."""
    if not best_by_time(trials):
        return tr("The first chart appears after the first evaluation.")
    if all(len(trial.curve) < 2 for trial in trials):
        return tr("The first learning curve appears after the second evaluation.")
    if len(_scored(trials)) < 2:
        return tr("Trials are compared by frozen depth and speed when two of them have ended.")
    return ""
