"""Several runs beside each other, and the layout that shows them."""

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr

from autoseg.errors import RunError
from autoseg.search.run_folder import RunFolder
from autoseg.ui import run_view, search_charts, search_views, views
from autoseg.ui.run_view import Values
from autoseg.ui.search_scores import headline
from autoseg.ui.style import html
from autoseg.ui.texts import label, tr
from autoseg.ui.words import status_name
from autoseg.workspace import Workspace

MAX_RUNS = 8
"""Runs that are compared at once: as many as there are colours for."""


def opened(workspace: Workspace, chosen: Sequence[str] | None) -> Values:
    """The choice of runs and their comparison; the newest of one data set where none is chosen."""
    names = [run.name for run in workspace.runs()]
    kept = [name for name in chosen or () if name in names] or _alike(workspace)
    return {
        "compared": gr.update(choices=run_view.run_choices(workspace), value=kept),
        **compared(workspace, kept),
    }


def _alike(workspace: Workspace) -> list[str]:
    """The newest run, and the next ones on the same data set."""
    runs = workspace.runs()
    source = workspace.source_of(runs[0]) if runs else None
    return [run.name for run in runs if workspace.source_of(run) == source][:MAX_RUNS]


def compared(workspace: Workspace, names: Sequence[str] | None) -> Values:
    """A table of the runs and their scores against time."""
    runs = [run for run in workspace.runs() if run.name in (names or ())][:MAX_RUNS]
    if not runs:
        advice = tr("Choose two or more runs above.")
        return {
            "compare_table": views.empty(tr("No run is chosen"), advice),
            "compare_chart": gr.update(visible=False),
        }
    trials = {run.name: _trials(run) for run in runs}
    return {
        "compare_table": _table(workspace, runs),
        "compare_chart": search_charts.progress(trials, {run.name: _end_min(run) for run in runs}),
    }


def ticked(
    workspace: Workspace, names: Sequence[str] | None, seen: Mapping[str, str]
) -> tuple[Values, dict[str, str]]:
    """What is new of the runs beside each other since the page was last told.

    Args:
        workspace: Where the runs are.
        names: The runs that the page compares; none until the comparison was opened.
        seen: What the page was told.

    Returns:
        New values, and what the page was told with them.
    """
    if not names:
        return {}, dict(seen)
    there = [run.name for run in workspace.runs() if run.name in names]
    stamps = [run_view.stamp(workspace, name) for name in there]
    known = repr((stamps, run_view.live_runs(workspace)))
    if seen.get("comparison") == known:
        return {}, dict(seen)
    choice = gr.update(choices=run_view.run_choices(workspace), value=there)
    values = {"compared": choice, **compared(workspace, there)}
    return run_view.news(values, {**seen, "comparison": known})


def _trials(run: RunFolder) -> Any:
    try:
        return run_view.trials_of(run)
    except RunError:
        return ()


def _end_min(run: RunFolder) -> float:
    try:
        state = run.state()
    except RunError:
        return 0.0
    if state is None:
        return 0.0
    return search_charts.end_min(search_views.elapsed_s(state), state.status in search_views.LIVE)


def _table(workspace: Workspace, runs: Sequence[RunFolder]) -> str:
    header = (
        tr("Run"), tr("Data set"), tr("Status"), tr("Result"), tr("95 % interval"),
        tr("Best on validation images"), tr("Trials"), tr("Time used"), tr("Budget"), tr("Encoder"),
        tr("Per image"),
    )  # fmt: skip
    rows = [_row(workspace, run) for run in runs]
    table = views.table(
        header, rows, numbers=(3, 4, 5, 6, 7, 8, 10), caption=tr("Runs beside each other")
    )
    if len({row[1] for row in rows}) > 1:
        table += views.note(
            tr("These runs are on different data sets, so their scores cannot be compared.")
        )
    return f'<div style="display:grid;gap:10px">{table}</div>'


def _row(workspace: Workspace, run: RunFolder) -> list[str]:
    try:
        state, info, report = run.state(), run.info(), run.json("report/report.json")
        records = run_view.trials_of(run)
    except RunError:
        return [escape(run.name), "–", tr("cannot be read"), *["–"] * 8]
    if state is None or info is None:
        return [escape(run.name), "–", tr("empty"), *["–"] * 8]
    score = headline(state, report) if state.status == "done" else None
    best = next((trial for trial in records if trial.number == state.best_trial), None)
    return [
        f"<b>{escape(run.name)}</b>",
        escape(run_view.dataset_name(workspace, Path(info.source))),
        views.pill(state.status, status_name(state.status)),
        f"<b>{views.percent(score.value)}</b> {score.images}" if score else "–",
        (score.interval if score else "") or "–",
        views.percent(state.best_score),
        str(len(records)),
        views.duration(search_views.elapsed_s(state)),
        views.duration(state.budget_s),
        escape(search_views.short_name(best.recipe.encoder_name)) if best else "–",
        search_views.milliseconds(best.latency_ms if best else None),
    ]


def build() -> dict[str, Any]:
    """The components, by the names of `opened`."""
    chosen = gr.Dropdown(
        label=label("Runs to compare"), multiselect=True, choices=[], value=[],
        max_choices=MAX_RUNS, elem_id="compared",
    )  # fmt: skip
    table = html(elem_id="compare-table")
    chart = gr.LinePlot(
        x="Minutes", y="Score", color="Run", height=search_charts.HEIGHT_PX, visible=False,
        buttons=["fullscreen", "export"], elem_id="compare-chart",
    )  # fmt: skip
    return {"compared": chosen, "compare_table": table, "compare_chart": chart}
