"""The command line's words for data sets, and the command that says how one is read."""

import json
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

from autoseg.config import to_dict
from autoseg.errors import ConfigError

if TYPE_CHECKING:
    from autoseg.data.dataset import CheckedDataset
    from autoseg.data.splits import Splits

Mapping = Annotated[
    list[str] | None,
    typer.Option(
        "--map",
        metavar="VALUE=CLASS",
        help="What a mask value or colour means; repeatable, for all values or those to ignore.",
    ),
]

Source = Annotated[
    str,
    typer.Argument(help="Folder, zip or parquet files of images and masks, or hf://owner/name."),
]


@contextmanager
def progress(text: str, count: ProgressColumn | None = None) -> Iterator[Progress]:
    """A bar on stderr while it is a terminal, gone when done."""
    console = Console(stderr=True)
    count = count or MofNCompleteColumn()
    columns = (TextColumn(text), BarColumn(), count, TimeRemainingColumn())
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as bar:
        yield bar


def check(
    source: Source,
    mapping: Mapping = None,
    seed: Annotated[int, typer.Option(help="Seed of the splits shown.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say how a data set is read: its classes, what was mended or skipped, its splits."""
    choices = dict(parse_choice(text) for text in mapping or ())
    from autoseg.data.splits import make_splits  # noqa: PLC0415 - numpy
    from autoseg.sources import check as check_source  # noqa: PLC0415 - numpy, Pillow

    path = fetch(source)
    with progress("Reading masks") as bar:
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


def fetch(source: str) -> Path:
    """Where the data lies on this machine; says which revision of a data set of the Hub."""
    from autoseg.sources import local_source, origin_of  # noqa: PLC0415 - numpy, Pillow

    with progress("Fetching the data set", DownloadColumn()) as bar:
        task = bar.add_task("", total=None)
        path = local_source(
            source,
            on_download=lambda done, total: bar.update(task, completed=done, total=total),
        )
    if origin := origin_of(path):
        typer.echo(f"Data set {origin}", err=True)
    return path


def parse_pair(text: str, option: str, form: str) -> tuple[str, str]:
    """Both sides of LEFT=RIGHT.

    Raises:
        ConfigError: The text has another form.
    """
    left, sign, right = text.partition("=")
    if not (sign and left.strip() and right.strip()):
        raise ConfigError(f"{option} wants {form}, but got {text!r}.")
    return left.strip(), right.strip()


def parse_choice(text: str) -> tuple[str, str]:
    """What a mask value means."""
    return parse_pair(text, "--map", "VALUE=CLASS, such as 255=ignore")
