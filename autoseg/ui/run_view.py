"""A run as the search tab shows it: read from disk, compared with what the page shows already."""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import gradio as gr

from autoseg.config import read_json
from autoseg.errors import ConfigError, RunError
from autoseg.hub.origins import origin_of
from autoseg.search.front import pareto_front
from autoseg.search.run_folder import RunFolder, RunInfo, RunState, TrialRecord
from autoseg.search_process import log_tail
from autoseg.taking import finished_trials
from autoseg.ui import report_view, search_charts, search_views, views
from autoseg.ui.predict_models import former_model
from autoseg.ui.search_scores import headline, headline_of
from autoseg.ui.search_views import LIVE
from autoseg.ui.texts import tr
from autoseg.ui.words import status_name
from autoseg.workspace import Workspace

Values = dict[str, Any]
"""What a callback changes, by the name of the component."""

CAN_GO_ON = ("interrupted", "failed", "paused")
"""Statuses from which a run goes on where it stood."""

_PICTURE_FILE = re.compile(r"\d{1,6}(-\d{1,4})?\.jpg")
_WATCHED = ("state.json", "importances.json", "resources.json", "live/live.json",
            "report/report.json", "log.txt", "stop", "pause", "search.json")  # fmt: skip


@dataclass(frozen=True)
class RunView:
    """All of a run that the page shows, read at one moment."""

    name: str
    state: RunState
    about: str
    """Its data set, and the run it goes on from."""
    trials: tuple[TrialRecord, ...]
    report: dict[str, Any] | None
    importances: dict[str, Any] | None
    resources: dict[str, Any] | None
    pictures: str
    """HTML of the best model's predictions."""
    log: str
    is_stopping: bool
    is_pausing: bool
    can_resume: bool
    takeable: tuple[TrialRecord, ...]
    """Trials beside the winner that a model can be made of, the fastest first."""

    @property
    def is_live(self) -> bool:
        """Whether a process works on it, or waits with it."""
        return self.state.status in LIVE


def read_run(workspace: Workspace, name: str) -> RunView:
    """Read a run from disk.

    Raises:
        RunError: There is no such run, or it is damaged or of another version.
    """
    run = workspace.named_run(name)
    state, info = run.state(), run.info()
    if state is None:
        raise RunError(f"{run.name} has no state.json; the run's folder is damaged.")
    live = state.status in LIVE
    trials = trials_of(run)
    return RunView(
        name=run.name,
        state=state,
        about=_about(workspace, run.name, info),
        trials=trials,
        report=run.json("report/report.json"),
        importances=_passing(run.path / "importances.json"),
        resources=_passing(run.path / "resources.json") if live else None,
        pictures=_pictures(run.path / "live"),
        log=log_tail(run),
        is_stopping=run.stop_requested(),
        is_pausing=run.pause_requested(),
        can_resume=info is not None and state.status in CAN_GO_ON,
        takeable=_takeable(run, trials) if state.status == "done" else (),
    )


def _takeable(run: RunFolder, trials: Iterable[TrialRecord]) -> tuple[TrialRecord, ...]:
    found = [trial.record for trial in finished_trials(run, trials) if trial.can_be_taken]
    return tuple(sorted(found, key=lambda record: record.latency_ms or 0.0))


def _about(workspace: Workspace, run_name: str, info: RunInfo | None) -> str:
    if info is None:
        return ""
    dataset = tr("on {dataset}", dataset=dataset_name(workspace, Path(info.source)))
    if info.config.start_from is None:
        return dataset
    parent = Path(info.config.start_from)
    as_given = parent.parent.name if parent.name == "model" else parent.name
    model = former_model(workspace, run_name) or as_given
    return tr("{dataset}, goes on from {model}", dataset=dataset, model=model)


def dataset_name(workspace: Workspace, source: Path) -> str:
    """What the page calls a data set."""
    for dataset in workspace.datasets():
        if dataset.source == source.resolve():
            return dataset.name
    return str(origin_of(source) or source.name)


def _passing(file: Path) -> dict[str, Any] | None:
    """A record that comes and goes, and that the page can do without."""
    try:
        values = read_json(file)
    except ConfigError:
        return None
    return values if isinstance(values, dict) else None


def _pictures(folder: Path) -> str:
    values = _passing(folder / "live.json")
    if values is None:
        return ""
    named = [str(image.get("file")) for image in values.get("images", ())]
    files: dict[str, bytes] = {}
    for name in filter(_PICTURE_FILE.fullmatch, named):
        try:
            files[name] = (folder / name).read_bytes()
        except OSError:
            continue  # Being replaced: the next look finds it.
    return search_views.pictures(values, files)


def trials_of(run: RunFolder) -> tuple[TrialRecord, ...]:
    """Trials of a run, read again only where a file changed.

    Raises:
        RunError: A record is damaged.
    """
    return _read_trials(run.path, _stamp(sorted((run.path / "trials").glob("*/trial.json"))))


@lru_cache(maxsize=32)
def _read_trials(path: Path, _stamp: str) -> tuple[TrialRecord, ...]:
    return RunFolder(path).trials()


def _stamp(files: Iterable[Path]) -> str:
    """Another text whenever one of the files was written, made or removed."""
    known = []
    for file in files:
        try:
            status = file.stat()
        except OSError:
            continue
        known.append((str(file), status.st_mtime_ns, status.st_size))
    return hashlib.sha256(repr(known).encode()).hexdigest()


def stamp(workspace: Workspace, name: str | None) -> str:
    """Another text whenever anything changed on disk that the page shows."""
    files = [run.path / "state.json" for run in workspace.runs()]
    if name is not None:
        run = workspace.run(name)
        files += [run.path / part for part in _WATCHED]
        files += sorted((run.path / "trials").glob("*/trial.json"))
    return _stamp(files)


def run_choices(workspace: Workspace) -> list[tuple[str, str]]:
    """Runs as the list shows them, the newest first."""
    return [(f"{run.name} · {_short_state(run)}", run.name) for run in workspace.runs()]


def _short_state(run: RunFolder) -> str:
    try:
        state, score = run.state(), headline_of(run)
    except RunError:
        return tr("cannot be read")
    if state is None:
        return tr("empty")
    return status_name(state.status) + (f" · {score.text}" if score else "")


def no_run() -> str:
    """What stands where a run would be shown."""
    return views.empty(
        tr("No search yet"), tr("Choose a data set and a time budget, then press Start.")
    )


def page(workspace: Workspace, name: str | None) -> Values:
    """Everything the tab shows of a run, with nothing left out."""
    if name is None:
        return _empty_page(no_run())
    try:
        view = read_run(workspace, name)
    except RunError as error:
        return _empty_page(views.error(error), manage=True)
    best = view.state.best_trial
    has_charts = bool(view.trials) or view.is_live
    n_trials = sum(trial.status != "set aside" for trial in view.trials)
    return {
        "card": search_views.run_card(
            view.name, view.state, view.about, n_trials, view.resources,
            headline(view.state, view.report),
        ),
        "pictures": _filled(view.pictures),
        "report": _filled(report_view.report(view.report) if view.report else ""),
        "trials": _filled(search_views.trials(view.trials, best) if has_charts else ""),
        "charts": gr.update(visible=has_charts),
        **_charts(view),
        "log": view.log,
        **_buttons(view),
        **_taking(view.takeable),
        "manage": gr.update(visible=True),
    }  # fmt: skip


def _empty_page(card: str, manage: bool = False) -> Values:
    hidden = gr.update(visible=False)
    buttons = dict.fromkeys(("pause", "stop", "resume", "try_it", "share"), hidden)
    parts = dict.fromkeys(("pictures", "report", "trials"), _filled(""))
    return {
        "card": card, **parts, "charts": hidden, "log": "", **buttons, **_taking(()),
        "manage": gr.update(visible=manage),
    }  # fmt: skip


def _charts(view: RunView) -> Values:
    until_min = search_charts.end_min(search_views.elapsed_s(view.state), view.is_live)
    soon = search_charts.to_come(view.trials) if view.is_live else ""
    matters = view.is_live or view.importances
    return {
        "soon": _filled(views.note(soon) if soon else ""),
        "curves": search_charts.curves(view.trials),
        "progress": search_charts.progress({view.name: view.trials}, {view.name: until_min}),
        "depth": search_charts.depth(view.trials),
        "speed": search_charts.speed(view.trials),
        "front": _filled(search_views.front(pareto_front(view.trials))),
        "importances": _filled(search_views.importances(view.importances) if matters else ""),
    }


def _buttons(view: RunView) -> Values:
    done = view.state.status == "done"
    asked = view.is_stopping or view.is_pausing
    return {
        "pause": pause_button(view.is_live, view.is_pausing, asked),
        "stop": stop_button(view.state.status == "running", view.is_stopping, asked),
        "resume": gr.update(visible=view.can_resume),
        "try_it": gr.update(visible=done),
        "share": gr.update(visible=done),
    }


def _taking(trials: Sequence[TrialRecord]) -> Values:
    """The choice of another trial to make a model of."""
    choices = [(search_views.in_short(trial), trial.number) for trial in trials]
    chosen = choices[0][1] if choices else None
    return {
        "take_box": gr.update(visible=bool(choices)),
        "take_trial": gr.update(choices=choices, value=chosen),
    }


def _filled(text: str) -> dict[str, Any]:
    """A part that takes no room while it is empty."""
    return dict(gr.update(value=text, visible=bool(text)))


def pause_button(live: bool, is_pausing: bool, asked: bool) -> dict[str, Any]:
    """The Pause button: there while a search runs or waits, and pressed only once."""
    text = tr("Pausing …") if is_pausing else tr("Pause")
    return dict(gr.update(value=text, visible=live, interactive=not asked))


def stop_button(running: bool, is_stopping: bool, asked: bool) -> dict[str, Any]:
    """The Stop button: there while a search runs, and pressed only once."""
    text = tr("Finishing with the best so far …") if is_stopping else tr("Stop and keep the best")
    return dict(gr.update(value=text, visible=running, interactive=not asked))


def news(values: Values, seen: Mapping[str, str]) -> tuple[Values, dict[str, str]]:
    """The values that differ from what the page shows, and what it shows after them."""
    digests = {name: _digest(value) for name, value in values.items()}
    changed = {name: values[name] for name, digest in digests.items() if seen.get(name) != digest}
    return changed, {**seen, **digests}


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, default=str).encode()).hexdigest()


def live_runs(workspace: Workspace) -> list[tuple[str, str, str]]:
    """Name, status and phase of the runs that are being searched or wait."""
    found: list[tuple[str, str, str]] = []
    for run in workspace.runs():
        try:
            state = run.state()
        except RunError:
            continue
        if state is not None and state.status in LIVE:
            found.append((run.name, state.status, state.phase))
    return found
