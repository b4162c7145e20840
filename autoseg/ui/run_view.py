"""A run as the search tab shows it: read from disk, compared with what the page shows already."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from autoseg.errors import RunError
from autoseg.hub.origins import origin_of
from autoseg.search.run_folder import RunFolder, RunState, TrialRecord
from autoseg.search_process import log_tail
from autoseg.ui import views
from autoseg.ui.style import SERIES_COLORS
from autoseg.workspace import Workspace

Values = dict[str, Any]
"""What a callback changes, by the name of the component."""

MAX_CURVES = 8
"""Learning curves shown at once: those of the best trials and of those that run."""

NO_RUN = views.empty("No search yet", "Choose a data set and a time budget, then press Start.")


@dataclass(frozen=True)
class RunView:
    """All of a run that the page shows, read at one moment."""

    name: str
    state: RunState
    dataset: str
    trials: tuple[TrialRecord, ...]
    report: dict[str, Any] | None
    log: str
    is_stopping: bool
    can_resume: bool


def read_run(workspace: Workspace, name: str) -> RunView:
    """Read a run from disk.

    Raises:
        RunError: There is no such run, or it is damaged or of another version.
    """
    run = workspace.named_run(name)
    state, info = run.state(), run.info()
    if state is None:
        raise RunError(f"{run.name} has no state.json; the run's folder is damaged.")
    return RunView(
        name=run.name,
        state=state,
        dataset=f"on {_dataset_name(workspace, Path(info.source))}" if info else "",
        trials=run.trials(),
        report=run.json("report/report.json"),
        log=log_tail(run),
        is_stopping=run.stop_requested(),
        can_resume=info is not None and state.status in ("interrupted", "failed"),
    )


def _dataset_name(workspace: Workspace, source: Path) -> str:
    for dataset in workspace.datasets():
        if dataset.source == source.resolve():
            return dataset.name
    return str(origin_of(source) or source.name)


def run_choices(workspace: Workspace) -> list[tuple[str, str]]:
    """Runs as the list shows them, the newest first."""
    return [(f"{run.name} · {_short_state(run)}", run.name) for run in workspace.runs()]


def _short_state(run: RunFolder) -> str:
    try:
        state = run.state()
    except RunError:
        return "cannot be read"
    if state is None:
        return "empty"
    return state.status + (f" · {views.percent(state.best_score)}" if state.best_score else "")


def page(workspace: Workspace, name: str | None) -> Values:
    """Everything the tab shows of a run, with nothing left out."""
    if name is None:
        return {
            "card": NO_RUN, "trials": _filled(""), "report": _filled(""),
            "curves": gr.update(visible=False),
            "log": "", "stop": gr.update(visible=False), "resume": gr.update(visible=False),
            "try_it": gr.update(visible=False),
        }  # fmt: skip
    try:
        view = read_run(workspace, name)
    except RunError as error:
        return {**page(workspace, None), "card": views.error(error)}
    live = view.state.status == "running"
    best = view.state.best_trial
    return {
        "card": views.run_card(view.name, view.state, view.dataset, len(view.trials)),
        "trials": _filled(views.trials(view.trials, best) if view.trials or live else ""),
        "curves": curves(view.trials),
        "report": _filled(views.report(view.report) if view.report else ""),
        "log": view.log,
        "stop": stop_button(live, view.is_stopping),
        "resume": gr.update(visible=view.can_resume),
        "try_it": gr.update(visible=view.state.status == "done"),
    }


def _filled(text: str) -> dict[str, Any]:
    """A part that takes no room while it is empty."""
    return dict(gr.update(value=text, visible=bool(text)))


def stop_button(live: bool, is_stopping: bool) -> dict[str, Any]:
    """The Stop button: there while a search runs, and pressed only once."""
    text = "Finishing with the best so far …" if is_stopping else "Stop and keep the best"
    return dict(gr.update(value=text, visible=live, interactive=not is_stopping))


def curves(trials: Sequence[TrialRecord]) -> dict[str, Any]:
    """Learning curves of the best trials, as the native plot takes them."""
    drawn = [trial for trial in views.ranked(trials) if trial.curve][:MAX_CURVES]
    rows = [
        [point.epochs, 100 * point.score, f"Trial {trial.number}"]
        for trial in sorted(drawn, key=lambda trial: trial.number)
        for point in trial.curve
    ]
    plot = {
        "columns": ["Epochs", "Score (%)", "Trial"],
        "data": rows,
        "datatypes": {"Epochs": "quantitative", "Score (%)": "quantitative", "Trial": "nominal"},
        "mark": "line",
    }
    colors = {
        f"Trial {trial.number}": SERIES_COLORS[trial.number % len(SERIES_COLORS)] for trial in drawn
    }
    return dict(gr.update(value=plot, color_map=colors, visible=bool(rows)))


def news(values: Values, seen: dict[str, str]) -> tuple[Values, dict[str, str]]:
    """The values that differ from what the page shows, and what it shows after them."""
    digests = {name: _digest(value) for name, value in values.items()}
    changed = {name: values[name] for name, digest in digests.items() if seen.get(name) != digest}
    return changed, {**seen, **digests}


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, default=str).encode()).hexdigest()


def live_run(workspace: Workspace) -> str | None:
    """Name of a run that is being searched."""
    for run in workspace.runs():
        try:
            state = run.state()
        except RunError:
            continue
        if state is not None and state.status == "running":
            return run.name
    return None
