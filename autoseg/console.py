"""`autoseg search` on the console: a live table read from the run's folder, and Ctrl-C."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from autoseg.config import SearchConfig
from autoseg.errors import PausedError, RunError
from autoseg.evaluation import compared_with
from autoseg.pipeline import SearchResult, run_search
from autoseg.report_facts import missing_trials
from autoseg.search.run_folder import Phase, RunFolder, RunState, TrialRecord
from autoseg.search.stop_request import StopRequest
from autoseg.text import printable

REFRESH_PER_S = 2
MAX_ROWS = 15

_COLUMNS = ("trial", "encoder", "frozen depth", "learning rate", "epochs", "score", "status")
_TRAINED: tuple[Phase, ...] = ("training folds", "evaluating", "finished")
"""Phases after the final training."""

_SCORE_TITLES = {
    "pixel_accuracy": "pixel accuracy (micro)",
    "macro_iou": "IoU (macro)",
    "macro_dice": "Dice = F1 (macro)",
    "macro_precision": "precision (macro)",
    "macro_recall": "recall (macro)",
    "macro_imagewise_iou": "IoU (macro-imagewise)",
    "macro_imagewise_dice": "Dice (macro-imagewise)",
    "macro_boundary_iou": "boundary IoU (macro)",
}


def run(source: Path, config: SearchConfig, folder: Path, started_at: float) -> None:
    """Search with a live view; Ctrl-C once finishes with the best so far, twice leaves.

    Args:
        source: Folder or zip of images and masks.
        config: What to search.
        folder: The run's folder.
        started_at: `time.monotonic()` when the process started, in seconds.
    """
    console = Console()
    run_folder = RunFolder(folder)
    console.print(f"Run [bold]{escape(run_folder.name)}[/] in {escape(str(folder))}")
    _say_what_is_there(run_folder, console)
    requests: list[StopRequest] = []
    try:
        with _stopping_on_interrupt(requests, console), _live_view(run_folder, console):
            result = run_search(
                source, config, folder, started_at=started_at, on_start=requests.append
            )
    except PausedError as error:
        console.print(f"{error} Give the same command for that.")
        return
    print_result(console, result)


def _say_what_is_there(run_folder: RunFolder, console: Console) -> None:
    """Whether this is a new run, one that goes on, or one that is over."""
    state, _ = _read(run_folder)
    if state is None or (state.is_at_work and run_folder.is_held()):
        return  # Of a killed process the record is fresh for a while.
    if state.status == "done":
        console.print("It is finished; this is its result. A new search needs another run name.")
    else:
        console.print(f"Going on where it stood, with {_clock(state.elapsed_s)} of its time used.")


@contextmanager
def _stopping_on_interrupt(requests: list[StopRequest], console: Console) -> Iterator[None]:
    """The first Ctrl-C asks the search to finish; the next one interrupts it."""

    def on_interrupt(number: int, frame: FrameType | None) -> None:
        if not requests or requests[0]:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            raise KeyboardInterrupt
        requests[0].ask()
        console.print("Finishing with the best so far. Ctrl-C again leaves at once.")

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, on_interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def _live_view(run_folder: RunFolder, console: Console) -> Iterator[None]:
    """The run as a table that follows it; plain lines where there is no terminal."""
    if console.is_terminal:
        with Live(
            get_renderable=lambda: _view(run_folder),
            console=console,
            refresh_per_second=REFRESH_PER_S,
        ):
            yield
        return
    done = threading.Event()
    thread = threading.Thread(target=_print_changes, args=(run_folder, console, done))
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _print_changes(run_folder: RunFolder, console: Console, done: threading.Event) -> None:
    """A line per new phase and per finished trial, for logs; one more where the final training has
    made another score of it."""
    phase = waits = ""
    told: dict[int, str] = {}
    while True:
        last = done.wait(1 / REFRESH_PER_S)
        state, trials = _read(run_folder)
        if state is not None and state.status == "queued" and state.message != waits:
            waits = state.message
            console.print(f"{_clock(state.elapsed_s):>7}  {escape(waits)}", highlight=False)
        elif state is not None and state.phase != phase:
            phase = state.phase
            console.print(f"{_clock(state.elapsed_s):>7}  {phase}", highlight=False)
        for trial in trials:
            row = "  ".join(_row(trial))
            is_new = trial.number not in told or (phase in _TRAINED and told[trial.number] != row)
            if trial.status != "running" and is_new:
                if not told:
                    heading = "  ".join(_COLUMNS)
                    console.print(f"         {heading}", highlight=False, soft_wrap=True)
                told[trial.number] = row
                console.print(f"         {row}", highlight=False, soft_wrap=True)
        if last:
            return


def _read(run_folder: RunFolder) -> tuple[RunState | None, tuple[TrialRecord, ...]]:
    """State and trials; nothing where the records cannot be read: the search itself says why."""
    try:
        return run_folder.state(), run_folder.trials()
    except RunError:
        return None, ()


def _view(run_folder: RunFolder) -> RenderableType:
    state, trials = _read(run_folder)
    if state is None:
        return Text("Starting ...")
    if state.status == "queued":
        return Text(state.message)
    left = max(0.0, state.budget_s - state.elapsed_s)
    best = "" if state.best_score is None else f", best so far {100 * state.best_score:.1f}"
    done = f" {100 * state.progress:.0f} %" if 0 < state.progress < 1 else ""
    head = f"{state.phase}{done}, {_clock(state.elapsed_s)} used, {_clock(left)} left{best}"
    if not trials:
        return Text(head)
    table = Table(caption="score: validation IoU, macro-imagewise, in %", caption_justify="left")
    for name in _COLUMNS:
        table.add_column(name, justify="left" if name in ("encoder", "status") else "right")
    ranked = sorted(trials, key=lambda t: (t.status != "running", -(t.score or 0.0)))
    for trial in ranked[:MAX_ROWS]:
        winner = "bold" if "winner" in trial.tags else ""
        table.add_row(*(str(cell) for cell in _row(trial)), style=winner)
    if len(ranked) > MAX_ROWS:
        table.caption = f"and {len(ranked) - MAX_ROWS} more; {table.caption}"
    return Group(Text(head), table)


def _row(trial: TrialRecord) -> tuple[str, ...]:
    """A trial as the table shows it."""
    curve = trial.curve
    rung = f"{curve[-1].epochs:.1f}" if curve else ""
    score = "" if trial.score is None else f"{100 * trial.score:.1f}"
    status = trial.status if not trial.reason else f"{trial.status}: {trial.reason}"
    if curve and curve[-1].phase == "final":
        status = "final"
    if trial.from_run is not None:
        status += f"; its recipe won {escape(printable(trial.from_run))}"
    return (
        str(trial.number),
        trial.recipe.encoder_name,
        str(trial.recipe.frozen_depth),
        f"{trial.recipe.decoder_lr:.1e}",
        rung,
        score,
        status,
    )


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def print_result(console: Console, result: SearchResult) -> None:
    """The scores with their intervals, and where the model is."""
    report = result.report
    split = report["split"]
    judged = "images kept out of training" if split == "folds" else f"{split} images"
    title = f"{report['n_images']} {judged}, in %, with 95 % intervals"
    table = Table(title=title, title_justify="left")
    table.add_column("score")
    table.add_column("model", justify="right")
    default: dict[str, Any] | None = report["default_recipe"]
    if default:
        table.add_column(compared_with(report), justify="right")
    for name, text in _SCORE_TITLES.items():
        cells = [_interval(report["model"]["scores"][name])]
        if default:
            cells.append(_interval(default["scores"][name]))
        table.add_row(text, *cells)
    console.print(table)
    classes = Table(title="per class, in %", title_justify="left")
    for name in ("class", "IoU", "Dice", "precision", "recall", "boundary IoU"):
        classes.add_column(name, justify="left" if name == "class" else "right")
    for row in report["model"]["per_class"]:
        values = (row[key] for key in ("iou", "dice", "precision", "recall", "boundary_iou"))
        cells = ["-" if value is None else f"{100 * value:.1f}" for value in values]
        classes.add_row(escape(row["name"]), *cells)
    console.print(classes)
    console.print(report["note"], highlight=False)
    stopped_after_s: float | None = report.get("stopped_after_s")
    if stopped_after_s is not None:
        used = _clock(stopped_after_s)
        console.print(f"The run was stopped by request after {used}.", highlight=False)
    console.print(report["default_note"], highlight=False)
    if missing := missing_trials(report):
        console.print(missing, highlight=False)
    console.print(f"The model is in [bold]{escape(str(result.run.model))}[/]", soft_wrap=True)


def _interval(score: dict[str, float | None]) -> str:
    value, low, high = score["value"], score["low"], score["high"]
    if value is None or low is None or high is None:
        return "-"
    return f"{100 * value:.1f} ({100 * low:.1f} to {100 * high:.1f})"
