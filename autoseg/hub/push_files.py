"""What of a model's folder goes to the Hub: known files only, and the card for its new place."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from autoseg.bundle import CARD_FILE, CONFIG_FILE, REPORT_FILE, WEIGHTS_FILE, BundleInfo
from autoseg.bundle_files import find_file
from autoseg.bundle_smp import TRANSFORMS_FILE
from autoseg.card import REPO_PLACEHOLDER, is_generated, render_card
from autoseg.config import read_json
from autoseg.errors import BundleError, ConfigError
from autoseg.hub.origins import licence_of, parse_card
from autoseg.hub.remote import (
    EXAMPLE_LIMIT,
    EXAMPLE_NAME,
    EXAMPLES_FOLDER,
    RemoteFile,
    file_digest,
)
from autoseg.licences import find_licence, hub_fields

ONNX_FILE = "model.onnx"
FILE_NAMES = (CARD_FILE, CONFIG_FILE, WEIGHTS_FILE, REPORT_FILE, TRANSFORMS_FILE, ONNX_FILE)
"""All that is ever pushed beside example pictures."""

_JPEG_START = b"\xff\xd8\xff"
_FRONT_MATTER = re.compile(r"\A---[ \t]*\r?\n(.*?)^---[ \t]*\r?(?:\n|\Z)", re.DOTALL | re.MULTILINE)
_LICENCE_LINE = re.compile(r"^license(_name|_link)?[ \t]*:.*\r?\n?", re.MULTILINE)


@dataclass(frozen=True)
class PlannedFile:
    """A file of the model as it will be on the Hub."""

    path: str
    """Below the repository's root."""
    size_bytes: int
    """Of its content."""
    content: bytes | None
    """What goes up if it is not what the folder holds; None: the folder's file."""
    source: Path
    """The folder's file, which need not be there if `content` is."""
    changed: bool = True
    """Whether the Hub has it differently, or not at all."""


def choose_files(
    folder: Path, card: str, report: bytes | None = None, *, with_examples: bool
) -> tuple[tuple[PlannedFile, ...], tuple[str, ...]]:
    """The files to push, and the names of what is left in the folder.

    Args:
        folder: A sound bundle.
        card: Text of `README.md` for the Hub.
        report: What `report.json` becomes on the Hub; None: as it is.
        with_examples: Whether the example pictures go too.

    Raises:
        BundleError: A file is a link out of the folder.
    """
    text = card.encode()
    files = [PlannedFile(CARD_FILE, len(text), text, folder / CARD_FILE)]
    for name in FILE_NAMES[1:]:
        file = find_file(folder, name)
        if file is not None and name == REPORT_FILE and report is not None:
            files.append(PlannedFile(name, len(report), report, file))
        elif file is not None:
            files.append(PlannedFile(name, file.stat().st_size, None, file))
    examples = find_examples(folder)
    if with_examples:
        files += [
            PlannedFile(path, file.stat().st_size, None, file) for path, file in examples.items()
        ]
    return tuple(files), _left_out(folder, set(FILE_NAMES) | set(examples))


def compared(files: Sequence[PlannedFile], remote: Sequence[RemoteFile]) -> tuple[PlannedFile, ...]:
    """The files, each marked whether the Hub has it differently."""
    present = {file.path: file for file in remote}
    return tuple(replace(file, changed=not _same(file, present.get(file.path))) for file in files)


def _same(file: PlannedFile, remote: RemoteFile | None) -> bool:
    if remote is None or remote.size_bytes != file.size_bytes:
        return False
    content = file.source if file.content is None else file.content
    return file_digest(content, remote.digest) == remote.digest


def find_examples(folder: Path) -> dict[str, Path]:
    """Example pictures by their path in the repository, in the order of their names.

    Raises:
        BundleError: One is a link out of the folder.
    """
    if not (folder / EXAMPLES_FOLDER).is_dir() or (folder / EXAMPLES_FOLDER).is_symlink():
        return {}
    found: dict[str, Path] = {}
    for entry in sorted((folder / EXAMPLES_FOLDER).iterdir()):
        path = f"{EXAMPLES_FOLDER}/{entry.name}"
        if EXAMPLE_NAME.fullmatch(path) and len(found) < EXAMPLE_LIMIT:
            file = find_file(folder, path)
            if file is not None and _is_jpeg(file):
                found[path] = file
    return found


def _is_jpeg(file: Path) -> bool:
    with file.open("rb") as start:
        return start.read(len(_JPEG_START)) == _JPEG_START


def read_report(folder: Path) -> dict[str, Any] | None:
    """Content of `report.json`; None: the model was not evaluated.

    Raises:
        BundleError: The file is no report.
    """
    file = find_file(folder, REPORT_FILE)
    if file is None:
        return None
    try:
        report = read_json(file)
    except (OSError, ConfigError, RecursionError) as error:
        raise BundleError(f"{file} cannot be read: {error}") from error
    if not isinstance(report, dict):
        raise BundleError(f"{file} must hold an object, but holds {type(report).__name__}.")
    return report


def source_of(report: Any) -> str | None:
    """The data set of the Hub that a report says the model was trained on, as "owner/name"."""
    source = _source(report)
    return source["repo_id"] if source else None


def data_licence_of(report: Any) -> str | None:
    """Licence of the data that a report tells of; None: they are the user's own.

    Others' data without a licence are not: theirs is "unknown".
    """
    source, data = _source(report), _data(report)
    licence = data.get("licence") or (source or {}).get("licence")
    if isinstance(licence, str) and licence.strip():
        return licence
    return "unknown" if source else None


def _data(report: Any) -> dict[str, Any]:
    data = report.get("data") if isinstance(report, dict) else None
    return data if isinstance(data, dict) else {}


def _source(report: Any) -> dict[str, Any] | None:
    source = _data(report).get("source")
    if isinstance(source, dict) and isinstance(source.get("repo_id"), str) and source["repo_id"]:
        return source
    return None


def shortened(
    report: dict[str, Any] | None,
    *,
    with_examples: bool,
    with_source: bool,
    data_licence: str | None = None,
) -> dict[str, Any] | None:
    """A report without what others are not to see, but with what the user added.

    Args:
        report: Content of `report.json`.
        with_examples: Whether the example pictures go too.
        with_source: Whether the data set may be named.
        data_licence: Licence of the data that the user named; None: the report's stays.
    """
    if report is None:
        return None
    kept = {key: value for key, value in report.items() if with_examples or key != "examples"}
    if not with_source and isinstance(kept.get("data"), dict):
        # Whoever pulls it must not take the data for the user's own.
        licence = data_licence_of(report)
        kept["data"] = {**kept["data"], "source": None, "licence": licence}
    if data_licence is not None and isinstance(kept.get("data"), dict):
        kept["data"] = {**kept["data"], "licence": data_licence}
    return kept


def report_bytes(report: dict[str, Any]) -> bytes:
    """Content of `report.json`."""
    return (json.dumps(report, indent=2, ensure_ascii=False) + "\n").encode()


@dataclass(frozen=True)
class OwnCard:
    """What of a folder's `README.md` is not autoseg's to write."""

    text: str | None = None
    """All of it, for the user edited it; None: the card is written anew."""
    licence: str | None = None
    """Licence of the model that its owner chose; None: the one that follows from the parts."""


def read_own_card(folder: Path) -> OwnCard:
    """What to keep of the folder's card.

    Raises:
        BundleError: `README.md` is no text.
    """
    file = find_file(folder, CARD_FILE)
    if file is None:
        return OwnCard()
    try:
        text = file.read_bytes().decode()
    except ValueError as error:
        raise BundleError(f"{file} is not UTF-8 text. Save it as UTF-8, or remove it.") from error
    licence = licence_of(parse_card(text.removeprefix("\ufeff")))
    if not is_generated(text):
        return OwnCard(text, licence)
    # A card of some repository may carry a licence that only its owner knew of.
    if REPO_PLACEHOLDER in text or licence is None or find_licence(licence).identifier == "unknown":
        return OwnCard()
    return OwnCard(None, licence)


def card_for(
    folder: Path,
    own: OwnCard,
    info: BundleInfo,
    report: dict[str, Any] | None,
    repo_id: str,
    *,
    licence: str,
    licence_asked: bool,
    data_licence: str | None,
    examples: tuple[str, ...],
) -> str:
    """The card for the Hub: written anew, unless the user edited the folder's.

    Of an edited card only the placeholder of the repository is filled in, and the licence set if
    one was asked for.

    Args:
        folder: The bundle.
        own: What to keep of its card.
        info: What the bundle knows of itself.
        report: Its report.
        repo_id: Where the model goes.
        licence: The model's licence.
        licence_asked: Whether the user asked for it.
        data_licence: Licence of the training data, if known.
        examples: Paths of the example pictures that go too.

    Raises:
        BundleError: The report is none of ours.
    """
    if own.text is None:
        return _rendered(
            folder,
            info,
            report,
            repo_id=repo_id,
            licence=licence,
            data_licence=data_licence,
            examples=examples,
        )
    text = own.text.replace(REPO_PLACEHOLDER, repo_id)
    return set_licence(text, licence) if licence_asked else text


def _rendered(folder: Path, info: BundleInfo, report: dict[str, Any] | None, **options: Any) -> str:
    try:
        return render_card(info, report, **options)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise BundleError(
            f"{folder / REPORT_FILE} is not a report as this autoseg writes it. Evaluate the model "
            f"again, or remove the file."
        ) from error


def set_licence(card: str, licence: str) -> str:
    """A card with the licence in its front matter, all else as it was."""
    lines = "".join(f"{key}: {value}\n" for key, value in hub_fields(licence).items())
    found = _FRONT_MATTER.match(card)
    if found is None:
        return f"---\n{lines}---\n\n{card}"
    kept = _LICENCE_LINE.sub("", found[1])
    return f"---\n{lines}{kept}---\n{card[found.end() :]}"


def _left_out(folder: Path, known: set[str]) -> tuple[str, ...]:
    """What the folder holds beside the files of a model."""
    names = []
    for entry in sorted(folder.iterdir()):
        if entry.name == EXAMPLES_FOLDER and entry.is_dir():
            inside = (f"{EXAMPLES_FOLDER}/{picture.name}" for picture in sorted(entry.iterdir()))
            names += [path for path in inside if path not in known]
        elif entry.name not in known:
            names.append(entry.name)
    return tuple(names)
