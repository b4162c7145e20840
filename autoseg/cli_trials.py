"""The commands that choose among the trials of a finished run."""

import json
import os
import shlex
import subprocess
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

if TYPE_CHECKING:
    from autoseg.search.run_folder import Phase, RunFolder
    from autoseg.taking import FinishedTrial

_Run = Annotated[str, typer.Argument(help="Name or folder of a run.")]


def trials(
    run: _Run,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the trials of a run that came to an end, and which of them `take` makes a model of.

    A run keeps the weights of trials that no other beats in both score and time per image, at
    most six, in float32: 13 to 22 MB each for the encoders that come with autoseg. They go with
    the run when it is deleted.
    """
    from autoseg.taking import finished_trials  # noqa: PLC0415 - torch
    from autoseg.workspace import Workspace  # noqa: PLC0415 - numpy, Pillow

    folder = Workspace().run(run)
    found = finished_trials(folder)
    if as_json:
        typer.echo(json.dumps([_facts(trial) for trial in found], indent=2))
        return
    console = Console()
    console.print(_table(folder.name, found))
    state = folder.state()
    if not found and state is not None:
        told = f"No trial has come to its end; the run is {state.status}. {state.error}"
        console.print(escape(told.strip()), soft_wrap=True)
    if any(point.phase == "final" for trial in found for point in trial.record.curve):
        console.print(
            "The winner's score is that after its final training; the others are as the search "
            "trained them.",
            soft_wrap=True,
        )
    if any(trial.can_be_taken for trial in found):
        command = command_line(["autoseg", "take", run, "--trial", "N"])
        console.print(f"{escape(command)} makes a model of one of them.", soft_wrap=True)


def _facts(trial: "FinishedTrial") -> dict[str, object]:
    record = trial.record
    return {
        "trial": record.number,
        "status": record.status,
        "score": record.score,
        "latency_ms": record.latency_ms,
        "encoder_name": record.recipe.encoder_name,
        "decoder_name": record.recipe.decoder_name,
        "frozen_depth": record.recipe.frozen_depth,
        "decoder_lr": record.recipe.decoder_lr,
        "origin": record.origin,
        "from_run": record.from_run,
        "on_front": trial.on_front,
        "is_model": trial.is_model,
        "can_be_taken": trial.can_be_taken,
    }


def _table(name: str, found: "tuple[FinishedTrial, ...]") -> Table:
    table = Table(
        title=f"Trials of {escape(name)}, the best first",
        title_justify="left",
        caption="score: validation IoU, macro-imagewise, in %; ms: per image; *: none is both "
        "faster and better",
        caption_justify="left",
    )
    for column in ("trial", "score", "ms"):
        table.add_column(column, justify="right")
    table.add_column("recipe", overflow="fold")  # Cut short, all encoders of a family look alike.
    for column in ("status", "model"):
        table.add_column(column, no_wrap=True)
    for trial in found:
        record, recipe = trial.record, trial.record.recipe
        table.add_row(
            str(record.number),
            "-" if record.score is None else f"{100 * record.score:.1f}",
            "-" if record.latency_ms is None else f"{record.latency_ms:.1f}",
            f"{escape(recipe.encoder_name)}\n{recipe.decoder_name}, frozen {recipe.frozen_depth}, "
            f"rate {recipe.decoder_lr:.1e}",
            f"{record.status} *" if trial.on_front else record.status,
            "the run's" if trial.is_model else "can be taken" if trial.can_be_taken else "",
        )
    return table


def take(
    run: _Run,
    trial: Annotated[int, typer.Option(help="Number of the trial, as `trials` lists it.")],
    out: Annotated[
        str | None, typer.Option(help="Name or folder of the new run (else RUN-trial-N).")
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(help="The run's data set, if it is elsewhere by now, or hf://owner/name."),
    ] = None,
    device: Annotated[
        str | None, typer.Option(help="auto, cpu, cuda, cuda:1, ... (else as in the search).")
    ] = None,
) -> None:
    """Make a model of another trial of a finished run, such as a faster one.

    It is the trial as the search trained it, without final training, scored on the test images
    beside the winner, in a run of its own: for `predict`, `export`, `push`, or more training.
    """
    from autoseg.console import print_result  # noqa: PLC0415 - torch, optuna
    from autoseg.workspace import Workspace  # noqa: PLC0415 - numpy, Pillow

    workspace = Workspace()
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as bar:
        task = bar.add_task("", total=None)

        def show(phase: "Phase", done: int, total: int) -> None:
            bar.update(task, description=phase.capitalize(), completed=done, total=total)

        result = workspace.take_trial(
            workspace.run(run), trial, out, data=data, device=device, on_progress=show
        )
    print_result(Console(), result)
    typer.echo("To train it on, as a new run:")
    typer.echo(f"  {_training_on(result.run)}")


def _training_on(run: "RunFolder") -> str:
    """The command that gives a taken trial more time."""
    info = run.info()
    assert info is not None
    command = ["autoseg", "search", info.source, "--budget", "5m", "--start-from", str(run.path)]
    for value, meaning in info.config.mapping:
        command += ["--map", f"{value}={meaning}"]
    for name, color in info.config.colors:
        command += ["--color", f"{name}={color}"]
    return command_line(command)


def command_line(words: Sequence[str], system: str = os.name) -> str:
    """Words as the shell of a system ("nt" or "posix", as `os.name` has it) takes them."""
    return subprocess.list2cmdline(words) if system == "nt" else shlex.join(words)
