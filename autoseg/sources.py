"""What users name as data: a folder, a zip, parquet files, or a data set of the Hub."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from autoseg.data.dataset import CheckedDataset, Progress, check_dataset
from autoseg.errors import DatasetError
from autoseg.hub.origins import is_hub_dataset, origin_of

__all__ = ["check", "local_source", "origin_of"]

if TYPE_CHECKING:
    from autoseg.hub.connection import Connection

_REPO = re.compile(r"[\w.-]+/[\w.-]+")
"""What looks like a repository of the Hub, and may be a folder."""

_EATEN_SLASH = re.compile(r"^(hf|https?):/(?!/)")
"""What `Path` makes of an address."""


def local_source(
    source: str | Path,
    *,
    revision: str | None = None,
    connection: "Connection | None" = None,
    on_download: Progress | None = None,
    use_cache: bool = True,
) -> Path:
    """Where the data of a source lies on this machine; a data set of the Hub is fetched first.

    Args:
        source: Folder, zip, parquet files, or "hf://owner/name" and its other forms.
        revision: Branch, tag or commit on the Hub; None: as `source` says, else the main branch.
        connection: The Hub; None: the machine's own login.
        on_download: Called with (bytes done, all bytes); None: bars on the terminal.
        use_cache: Whether a copy in the cache will do where the Hub gives no answer.

    Raises:
        ConfigError: The text names no data set.
        HubError: The Hub does not give it.
        DatasetError: It holds nothing that can be read.
    """
    text = _EATEN_SLASH.sub(r"\1://", str(source))
    if not is_hub_dataset(text):
        if not Path(source).expanduser().exists() and _REPO.fullmatch(text):
            raise DatasetError(
                f"{text} does not exist. For a data set of the Hub write hf://{text}."
            )
        return Path(source)
    from autoseg.hub.connection import connect  # noqa: PLC0415 - the Hub's client
    from autoseg.hub.datasets import fetch_dataset  # noqa: PLC0415 - the Hub's client

    return fetch_dataset(
        text, connection or connect(), on_download, revision=revision, use_cache=use_cache
    )


def check(
    source: str | Path,
    *,
    class_names: Sequence[str] | None = None,
    mapping: Mapping[str, str | int] | None = None,
    colors: Mapping[str, str] | None = None,
    max_workers: int | None = None,
    on_progress: Progress | None = None,
    on_download: Progress | None = None,
    workdir: Path | None = None,
) -> CheckedDataset:
    """Read a data set, decode everything once, and say what it is.

    Args:
        source: Folder, zip or parquet files of images and masks, or "hf://owner/name".
        class_names: Names in the order of the class indices; they override a class list.
        mapping: Raw mask value or "#rrggbb" -> class name, class index or "ignore"; "*" stands
            for every other value, which may also be "nearest": the class of the nearest named
            value. It overrides what the masks look like; where all it says is what to ignore,
            the other values are read as if nothing was said.
        colors: Class name -> "#rrggbb"; the others keep the colours found.
        max_workers: Processes; None takes one per core.
        on_progress: Called with (pairs done, all pairs).
        on_download: Called with (bytes done, all bytes) while a data set of the Hub is fetched.
        workdir: Folder where packed data is unpacked, and found again; None: a folder that goes
            when this process ends.

    Raises:
        AmbiguousMasksError: The masks can be read in more than one way.
        DatasetError: The data cannot be used; the text says what to do.
        HubError: The Hub does not give the data set.
    """
    path = local_source(source, on_download=on_download)
    dataset = check_dataset(
        path,
        class_names=class_names,
        mapping=mapping,
        colors=colors,
        max_workers=max_workers,
        on_progress=on_progress,
        workdir=workdir,
    )
    origin = origin_of(dataset.root)
    if origin is None:
        return dataset
    terms = f"licence {origin.licence}" if origin.licence else "its card names no licence"
    note = f"From the Hub: {origin}, {terms}."
    verdict = replace(dataset.verdict, notes=(*dataset.verdict.notes, note))
    return replace(dataset, verdict=verdict)
