"""The command line: reads options, calls autoseg, prints what it says.

Everything that loads torch or more is imported inside its command, so that `--help` answers at
once.
"""

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from autoseg import __version__, cli_export, cli_hub, cli_trials
from autoseg.cli_app import SHAPE, start_app
from autoseg.config import FlipName, SearchConfig, parse_duration, parse_latency, to_dict
from autoseg.errors import AutosegError, ConfigError, PredictionError

if TYPE_CHECKING:
    from autoseg.data.dataset import CheckedDataset
    from autoseg.data.splits import Splits
    from autoseg.prediction import OutputFormat

_MAX_ERRORS_SHOWN = 20

_Mapping = Annotated[
    list[str] | None,
    typer.Option(
        "--map", metavar="VALUE=CLASS", help="What a mask value or colour means; repeatable."
    ),
]

_Source = Annotated[
    str,
    typer.Argument(help="Folder, zip or parquet files of images and masks, or hf://owner/name."),
]

app = typer.Typer(
    name="autoseg",
    help="The best segmentation model that transfer learning can give in the minutes you have.",
    no_args_is_help=True,
    **SHAPE,
)


def run(started_at: float, command: typer.Typer = app) -> None:
    """Run the command line; errors meant for the user end it with status 1 and no traceback.

    Args:
        started_at: `time.monotonic()` when the process started, in seconds.
        command: What reads the arguments of the process.
    """
    # The Hub's client tells of its retries in lines for developers; errors say it in ours.
    os.environ.setdefault("HF_HUB_VERBOSITY", "error")
    try:
        command(obj=started_at)
    except AutosegError as error:
        _print_error(str(error))
        sys.exit(1)


def _print_error(text: str) -> None:
    Console(stderr=True, soft_wrap=True).print(f"[bold red]Error:[/] {escape(text)}")


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"autoseg {__version__}")
        raise typer.Exit


@app.callback()
def _autoseg(
    version: Annotated[
        bool,
        typer.Option("--version", help="Show the version.", callback=_print_version, is_eager=True),
    ] = False,
) -> None:
    pass


@contextmanager
def _progress(text: str, count: ProgressColumn | None = None) -> Iterator[Progress]:
    """A bar on stderr while it is a terminal, gone when done."""
    console = Console(stderr=True)
    count = count or MofNCompleteColumn()
    columns = (TextColumn(text), BarColumn(), count, TimeRemainingColumn())
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as bar:
        yield bar


@app.command()
def check(
    source: _Source,
    mapping: _Mapping = None,
    seed: Annotated[int, typer.Option(help="Seed of the splits shown.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say how a data set is read: its classes, what was mended or skipped, its splits."""
    choices = dict(_parse_choice(text) for text in mapping or ())
    from autoseg.data.splits import make_splits  # noqa: PLC0415 - numpy
    from autoseg.sources import check as check_source  # noqa: PLC0415 - numpy, Pillow

    path = _fetch(source)
    with _progress("Reading masks") as bar:
        task = bar.add_task("", total=None)
        dataset = check_source(
            path,
            mapping=choices or None,
            on_progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    splits = make_splits(dataset, seed)
    if as_json:
        value = {
            "root": str(dataset.root),
            "fingerprint": dataset.fingerprint,
            "classes": to_dict(dataset.classes),
            "verdict": to_dict(dataset.verdict),
            "splits": {name: len(getattr(splits, name)) for name in ("train", "val", "test")},
            "notes": list(splits.notes),
        }
        typer.echo(json.dumps(value, indent=2, ensure_ascii=False, default=str))
    else:
        _print_check(dataset, splits)


def _fetch(source: str) -> Path:
    """Where the data lies on this machine; says which revision of a data set of the Hub."""
    from autoseg.sources import local_source, origin_of  # noqa: PLC0415 - numpy, Pillow

    with _progress("Fetching the data set", DownloadColumn()) as bar:
        task = bar.add_task("", total=None)
        path = local_source(
            source,
            on_download=lambda done, total: bar.update(task, completed=done, total=total),
        )
    if origin := origin_of(path):
        typer.echo(f"Data set {origin}", err=True)
    return path


def _parse_pair(text: str, option: str, form: str) -> tuple[str, str]:
    left, sign, right = text.partition("=")
    if not (sign and left.strip() and right.strip()):
        raise ConfigError(f"{option} wants {form}, but got {text!r}.")
    return left.strip(), right.strip()


def _parse_choice(text: str) -> tuple[str, str]:
    return _parse_pair(text, "--map", "VALUE=CLASS, such as 255=ignore")


def _parse_color(text: str) -> tuple[str, str]:
    return _parse_pair(text, "--color", "CLASS=#RRGGBB")


def _locate(model: str) -> str:
    """The folder of a model that is named as `predict` has it."""
    from autoseg.continuing import locate_start  # noqa: PLC0415 - torch
    from autoseg.workspace import Workspace  # noqa: PLC0415 - numpy, Pillow

    return locate_start(Workspace().model_source(model))


def _parse_weights(text: str) -> tuple[str, str]:
    return _parse_pair(text, "--weights", "ENCODER=FILE")


def _print_check(dataset: "CheckedDataset", splits: "Splits") -> None:
    """The verdict as a table and sentences."""
    from autoseg.data.verdict import TABLE_HEADER  # noqa: PLC0415 - numpy, Pillow

    console, verdict = Console(), dataset.verdict
    console.print(f"[bold]{verdict.pairs:,}[/] pairs of image and mask, {escape(verdict.sizes)}")
    table = Table(title="What the mask values mean", title_justify="left")
    for column, name in enumerate(TABLE_HEADER):
        table.add_column(name, justify="right" if column in (1, 2) else "left")
    for row in verdict.table():
        table.add_row(*map(escape, row))
    console.print(table)
    for title, sentences in (
        ("Mended", verdict.mended),
        ("Could be meant differently", verdict.ambiguous),
        ("Notes", (*verdict.notes, *splits.notes)),
    ):
        if sentences:
            console.print(f"[bold]{title}[/]")
            for sentence in sentences:
                console.print(f"  {escape(sentence)}")
    if verdict.skipped_count:
        console.print(f"[bold]Left out[/] {verdict.skipped_count:,} files, such as")
        for skipped in verdict.skipped[:5]:
            console.print(f"  {escape(f'{skipped.path}: {skipped.why}')}")
    sizes = ", ".join(f"{name} {len(getattr(splits, name)):,}" for name in ("train", "val", "test"))
    console.print(f"[bold]Splits[/] {sizes}")


@app.command()
def search(
    context: typer.Context,
    source: _Source,
    budget: Annotated[
        str, typer.Option(help="Time from now to the model on disk: 90s, 6m, 1h30m.")
    ],
    run: Annotated[
        str | None,
        typer.Option(help="Name or folder of the run (else an interrupted one, else a new one)."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of splits, sampler and training.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, ...")] = "auto",
    encoders: Annotated[
        list[str] | None,
        typer.Option(
            help="Encoders or families, with commas (else four, on a GPU six, as far as their "
            "weights are here)."
        ),
    ] = None,
    n_trials: Annotated[
        int | None, typer.Option("--trials", help="Most trials, failed ones not counted.")
    ] = None,
    max_side: Annotated[
        int | None, typer.Option(help="Most pixels of the longer side at working size.")
    ] = None,
    max_latency: Annotated[
        str | None,
        typer.Option(help="Longest time of one image on this machine: 20ms, 0.5s."),
    ] = None,
    flip: Annotated[
        FlipName | None,
        typer.Option(help="Flips that keep every class what it is (else from names and masks)."),
    ] = None,
    allow_noncommercial: Annotated[
        bool,
        typer.Option(
            "--allow-noncommercial", help="Also search weights that forbid commercial use."
        ),
    ] = False,
    weights: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ENCODER=FILE", help="safetensors file of pretrained weights; repeatable."
        ),
    ] = None,
    mapping: _Mapping = None,
    color: Annotated[
        list[str] | None,
        typer.Option(metavar="CLASS=#RRGGBB", help="Colour of a class; repeatable."),
    ] = None,
    start_from: Annotated[
        str | None,
        typer.Option(help="Train this model on instead of searching: a run, a folder, OWNER/NAME."),
    ] = None,
    warm_start: Annotated[
        bool,
        typer.Option(
            " /--no-warm-start", help="Do not try early what won earlier runs on similar data."
        ),
    ] = True,
) -> None:
    """Find and train the best model for a data set in the time given.

    Ctrl-C once finishes with the best so far; twice leaves at once. The same command goes on with
    a run that was interrupted or paused. While another search has the device, it waits its turn.
    """
    config = SearchConfig(
        budget_s=parse_duration(budget),
        seed=seed,
        device=device,
        encoders=tuple(
            name.strip() for text in encoders or () for name in text.split(",") if name.strip()
        ),
        n_trials=n_trials,
        max_side=max_side,
        max_latency_ms=parse_latency(max_latency) if max_latency else None,
        flip=flip,
        allow_noncommercial=allow_noncommercial,
        weights_files=tuple(_parse_weights(text) for text in weights or ()),
        mapping=tuple(_parse_choice(text) for text in mapping or ()),
        colors=tuple(_parse_color(text) for text in color or ()),
        start_from=_locate(start_from) if start_from else None,
        warm_start=warm_start,
    )
    from autoseg import console  # noqa: PLC0415 - torch, optuna
    from autoseg.workspace import Workspace  # noqa: PLC0415 - numpy, Pillow

    path = _fetch(source)
    workspace = Workspace()
    folder = workspace.run(run).path if run else workspace.name_run(path, config)
    console.run(path, config, folder, context.obj)


@app.command()
def predict(
    model: Annotated[
        str, typer.Argument(help="A run (name or folder), the folder of a model, or OWNER/NAME.")
    ],
    images: Annotated[list[str], typer.Argument(help="Files, folders, patterns such as '*.tif'.")],
    out: Annotated[Path, typer.Option(help="Folder for the masks.")] = Path("predictions"),
    formats: Annotated[
        str,
        typer.Option(
            "--format", help="With commas: index, color, overlay, coco, polygons, confidence."
        ),
    ] = "index",
    flip: Annotated[bool, typer.Option("--flip", help="Average with the mirrored image.")] = False,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, ...")] = "auto",
    engine: Annotated[
        str,
        typer.Option(
            help="What computes: auto, torch, onnxruntime, openvino, 'onnxruntime int8', "
            "'openvino int8'."
        ),
    ] = "auto",
    revision: Annotated[
        str | None, typer.Option(help="Branch, tag or commit of a model on the Hub.")
    ] = None,
) -> None:
    """Write the masks of images; by default NAME.png with class indices as grey values."""
    wanted = _parse_formats(formats)
    from autoseg.inputs import find_images, plan_outputs  # noqa: PLC0415 - numpy, Pillow

    plan = plan_outputs(find_images(images, leave_out=out), out, wanted)
    from autoseg.predictor import Predictor  # noqa: PLC0415 - torch
    from autoseg.workspace import Workspace  # noqa: PLC0415 - numpy, Pillow

    source = Workspace().model_source(model)
    predictor = Predictor.from_pretrained(source, device=device, engine=engine, revision=revision)
    if flip:
        predictor.check_flip()
    errors: list[str] = []
    used: dict[str, int] = {}
    with _progress("Predicting") as bar:
        for image, targets in bar.track(plan.items(), total=len(plan)):
            try:
                prediction = predictor.predict(image.path, flip=flip)
                used[prediction.engine] = used.get(prediction.engine, 0) + 1
                for output_format, target in targets.items():
                    prediction.save(target, output_format)
            except PredictionError as error:
                errors.append(str(error))
    typer.echo(f"Predicted {len(plan) - len(errors):,} of {len(plan):,} images into {out}.")
    if used:
        told = ", ".join(f"{count:,} by {name}" for name, count in used.items())
        typer.echo(f"Computed {told if len(used) > 1 else f'by {next(iter(used))}'}.")
    for note in predictor.notes:
        typer.echo(note)
    if errors:
        for text in errors[:_MAX_ERRORS_SHOWN]:
            _print_error(text)
        if len(errors) > _MAX_ERRORS_SHOWN:
            _print_error(f"{len(errors) - _MAX_ERRORS_SHOWN:,} more images were not predicted.")
        raise typer.Exit(1)


def _parse_formats(text: str) -> "list[OutputFormat]":
    from autoseg.prediction import OUTPUT_FORMATS  # noqa: PLC0415 - numpy, Pillow

    names = list(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    chosen = [known for name in names for known in OUTPUT_FORMATS if known == name]
    if not names or len(chosen) != len(names):
        raise ConfigError(f"--format wants some of {', '.join(OUTPUT_FORMATS)}, but got {text!r}.")
    return chosen


for command in (
    cli_trials.trials, cli_trials.take, cli_export.export,
    cli_hub.push, cli_hub.pull, cli_hub.deploy,
):  # fmt: skip
    app.command()(command)
app.command(name="app")(start_app)
