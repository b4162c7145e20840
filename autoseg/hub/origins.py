"""Data sets of the Hub by name, and where a copy of one on this machine came from."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import yaml

from autoseg.data.columns import Columns
from autoseg.data.parquet import split_columns
from autoseg.errors import ConfigError

CARD_FILE = "README.md"

_SCHEMES = ("hf://", "https://", "http://")
_WEB_HOSTS = frozenset({"huggingface.co", "www.huggingface.co", "hf.co"})
_OTHER_KINDS = {"models": "a model", "spaces": "a Space", "buckets": "a bucket"}

_REPO_ID = re.compile(
    r"(?!.*(?:--|\.\.|\.git$))[A-Za-z0-9_](?:[\w.-]*)/[A-Za-z0-9_](?:[\w.-]*)", re.A
)
_REF = re.compile(r"refs/(?:convert/parquet|convert/duckdb|pr/\d+)(?=/|$)")
"""Revisions with slashes that the Hub makes by itself."""

_COPY = re.compile(r"(?:.*/)?datasets--([^/]+?)--([^/]+)/snapshots/([0-9a-f]{40})(?:/|$)")
_CARD_LIMIT_BYTES = 5_000_000
_MAX_NESTING = 8
_HEAD = re.compile(r"\A\s*---[ \t]*\r?\n(.*?)\r?\n---[ \t]*(?:\r?\n|\Z)", re.DOTALL)


@dataclass(frozen=True)
class DatasetName:
    """A data set of the Hub as a user names it."""

    repo_id: str
    """As "owner/name"."""
    revision: str | None = None
    """Branch, tag or commit; None: the main branch."""
    folder: str = ""
    """Folder or file of the repository, without slashes at its ends; "": all of it."""
    columns: Columns | None = None
    """Columns of images and masks in parquet files, where the user chose them."""


@dataclass(frozen=True)
class DatasetOrigin:
    """Where a data set came from."""

    repo_id: str
    """As "owner/name"."""
    revision: str
    """The commit, 40 digits."""
    licence: str | None
    """As its card names it, such as "cc-by-4.0"; None: it names none."""

    def __str__(self) -> str:
        return f"{self.repo_id} at {self.revision[:7]}"


def is_hub_dataset(text: str) -> bool:
    """Whether a text names something on the Hub or the web rather than on this machine."""
    return text.strip().lower().startswith(_SCHEMES)


def parse_dataset(text: str, endpoint: str = "") -> DatasetName:
    """Read the name of a data set.

    "hf://owner/name", "hf://datasets/owner/name@revision/folder" and the address of its page
    are understood, each with "?image=COLUMN&mask=COLUMN" at the end or without.

    Args:
        text: What the user gave.
        endpoint: Address of the Hub in use, whose pages count too.

    Raises:
        ConfigError: It names no data set.
    """
    name, columns = split_columns(text.strip())
    if name.startswith("hf://"):
        repo_id, revision, folder = _parse_path(name.removeprefix("hf://").strip("/"), text)
    else:
        repo_id, revision, folder = _parse_address(name, text, endpoint)
    parts = folder.split("/") if folder else []
    tricky = {"", ".", ".."} & set(parts) or "\\" in folder or not folder.isprintable()
    if not _REPO_ID.fullmatch(repo_id) or len(repo_id) > 96 or tricky or revision == "":
        raise _no_dataset(text)
    return DatasetName(repo_id, revision, folder, columns)


def origin_of(path: str | Path) -> DatasetOrigin | None:
    """Where a local copy of a Hub data set came from; None for any other folder or file.

    Nothing is asked of the Hub: the copy's path says it, and the card beside it the licence.
    """
    found = _COPY.match(Path(os.path.abspath(path)).as_posix())
    if found is None:
        return None
    head = read_card(Path(found[0]) / CARD_FILE)
    return DatasetOrigin(f"{found[1]}/{found[2]}", found[3], licence_of(head))


def read_card(card: Path) -> dict[str, Any]:
    """The record between the two "---" of a card; empty where there is none to be read."""
    try:
        if card.stat().st_size > _CARD_LIMIT_BYTES:
            return {}
        return parse_card(card.read_text(encoding="utf-8-sig", errors="replace"))
    except OSError:
        return {}


def parse_card(text: str) -> dict[str, Any]:
    """The record between the two "---" of a card's text; empty where there is none to be read."""
    found = _HEAD.match(text)
    try:
        head = yaml.safe_load(found[1]) if found else None
    except (ValueError, RecursionError, yaml.YAMLError):
        return {}
    return head if isinstance(head, dict) else {}


def licence_of(head: Mapping[str, Any]) -> str | None:
    """The licence that a card names; "other" gives way to the name beside it."""
    given = head.get("license")
    if given == "other" and isinstance(head.get("license_name"), str):
        given = head["license_name"]
    names = given if isinstance(given, list) else [given]
    texts = [name.strip()[:100] for name in names if isinstance(name, str) and name.strip()]
    return ", ".join(texts[:8]) or None


def class_names_of(head: Mapping[str, Any]) -> dict[str, dict[int, str]]:
    """Names by value of the columns for which a card gives them, by column."""
    infos = head.get("dataset_info")
    names: dict[str, dict[int, str]] = {}
    for info in infos if isinstance(infos, list) else [infos]:
        features = info.get("features") if isinstance(info, dict) else None
        for feature in features if isinstance(features, list) else []:
            if isinstance(feature, dict) and (found := _label_names(feature)):
                names.setdefault(str(feature.get("name")), found)
    return names


def _label_names(feature: Any, depth: int = 0) -> dict[int, str] | None:
    """The names of a column's class labels, however deep in its lists they stand."""
    if not isinstance(feature, dict) or depth > _MAX_NESTING:
        return None
    if "class_label" in feature:
        label = feature["class_label"]
        names = label.get("names") if isinstance(label, dict) else None
        pairs = names.items() if isinstance(names, dict) else enumerate(names or ())
        try:
            return {int(value): " ".join(str(name).split())[:100] for value, name in pairs}
        except (TypeError, ValueError):
            return None
    kinds = (feature.get(key) for key in ("dtype", "sequence", "list"))
    return next((found for kind in kinds if (found := _label_names(kind, depth + 1))), None)


def _parse_path(path: str, text: str) -> tuple[str, str | None, str]:
    """Repository, revision and folder of "owner/name@revision/folder"."""
    kind, _, rest = path.partition("/")
    if kind in _OTHER_KINDS:
        raise _no_dataset(text, f"It is {_OTHER_KINDS[kind]}.")
    path = rest if kind == "datasets" else path
    owner, _, rest = path.partition("/")
    name, at, after = rest.partition("@")
    if not at or "/" in name:
        name, _, folder = rest.partition("/")
        return f"{owner}/{name}", None, folder
    reference = _REF.match(after)
    revision = reference[0] if reference else after.partition("/")[0]
    return f"{owner}/{name}", unquote(revision), after[len(revision) :].strip("/")


def _parse_address(address: str, text: str, endpoint: str) -> tuple[str, str | None, str]:
    """Repository, revision and folder of the address of a page."""
    try:
        parts = urlsplit(address)
        hosts = _WEB_HOSTS | {urlsplit(endpoint).netloc}
    except ValueError as error:
        raise _no_dataset(text) from error
    path = [unquote(part) for part in parts.path.strip("/").split("/")]
    if parts.netloc not in hosts or path[0] != "datasets" or len(path) < 3:
        raise _no_dataset(text)
    repo_id, after = "/".join(path[1:3]), path[3:]
    if len(after) >= 2 and after[0] in ("tree", "blob", "resolve"):
        return repo_id, after[1], "/".join(after[2:])
    return repo_id, None, ""


def _no_dataset(text: str, why: str = "") -> ConfigError:
    return ConfigError(
        f"{text.strip()!r} is no data set of the Hub. {why}{' ' if why else ''}Write "
        f"hf://owner/name, with @revision and /folder where wanted, or the address of its page."
    )
