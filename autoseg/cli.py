"""The command line: reads options, calls autoseg, prints what it says.

Everything that loads torch or more is imported inside its command, so that `--help` answers at
once.
"""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape

from autoseg import __version__, cli_export, cli_hub, cli_trials
from autoseg.cli_app import SHAPE, start_app
from autoseg.cli_data import check, progress
from autoseg.cli_search import search
from autoseg.errors import AutosegError, ConfigError, PredictionError

if TYPE_CHECKING:
    from autoseg.prediction import OutputFormat

_MAX_ERRORS_SHOWN = 20

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
    flip: Annotated[
        bool,
        typer.Option(
            "--flip",
            help="Average with the mirrored image: twice the time, 0.1 points of IoU or so.",
        ),
    ] = False,
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
    with progress("Predicting") as bar:
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
    _tell_errors(errors)


def _tell_errors(errors: Sequence[str]) -> None:
    """Print why images were not predicted, and end with status 1 if any was not."""
    for text in errors[:_MAX_ERRORS_SHOWN]:
        _print_error(text)
    if len(errors) > _MAX_ERRORS_SHOWN:
        _print_error(f"{len(errors) - _MAX_ERRORS_SHOWN:,} more images were not predicted.")
    if errors:
        raise typer.Exit(1)


def _parse_formats(text: str) -> "list[OutputFormat]":
    from autoseg.prediction import OUTPUT_FORMATS  # noqa: PLC0415 - numpy, Pillow

    names = list(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    chosen = [known for name in names for known in OUTPUT_FORMATS if known == name]
    if not names or len(chosen) != len(names):
        raise ConfigError(f"--format wants some of {', '.join(OUTPUT_FORMATS)}, but got {text!r}.")
    return chosen


for command in (
    check, search, predict, cli_trials.trials, cli_trials.take, cli_export.export,
    cli_hub.push, cli_hub.pull, cli_hub.deploy,
):  # fmt: skip
    app.command()(command)
app.command(name="app")(start_app)
