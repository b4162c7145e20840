"""What a push brings to the Hub: a model as it lies on disk, and the card and files made of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autoseg.bundle import CARD_FILE, BundleInfo, check_bundle
from autoseg.hub.push_files import (
    OwnCard,
    PlannedFile,
    card_for,
    choose_files,
    data_licence_of,
    find_examples,
    read_own_card,
    read_report,
    report_bytes,
    shortened,
)
from autoseg.licences import check_licences


@dataclass(frozen=True)
class LocalModel:
    """A bundle and what lies beside it."""

    folder: Path
    info: BundleInfo
    report: dict[str, Any] | None
    """Its scores, where it has some."""
    own: OwnCard
    """What its user wrote on the card."""
    examples: tuple[str, ...]
    """Pictures that show the user's data."""


@dataclass(frozen=True)
class Wanted:
    """How a model is to be shown."""

    private: bool
    """Whether only its owner sees it."""
    with_examples: bool
    """Whether example pictures go too."""
    with_source: bool = True
    """Whether the data set may be named."""
    licence: str | None = None
    """Licence of the model; None: the one that follows from its parts."""
    data_licence: str | None = None
    """Licence of the training data; None: what the report says."""


@dataclass(frozen=True)
class Content:
    """What is to stand on the Hub."""

    card: str
    report: bytes | None
    """The report, where it is not the one on disk."""
    files: tuple[PlannedFile, ...]
    left_out: Sequence[str]
    """Files that are no part of a model."""


def read_model(folder: Path) -> LocalModel:
    """Read a bundle.

    Raises:
        BundleError: The folder holds no sound model.
    """
    info = check_bundle(folder)
    examples = tuple(find_examples(folder))
    return LocalModel(folder, info, read_report(folder), read_own_card(folder), examples)


def licence_of(model: LocalModel, wanted: Wanted) -> str:
    """The licence on the card.

    Raises:
        LicenceError: A licence forbids what is asked.
    """
    return check_licences(
        weights=model.info.weights_licence,
        data=wanted.data_licence or data_licence_of(model.report),
        asked=wanted.licence or model.own.licence,
        public=not wanted.private,
        asked_in="" if wanted.licence else CARD_FILE,
    )


def content_of(model: LocalModel, repo_id: str, wanted: Wanted) -> Content:
    """Write the card and choose the files.

    Raises:
        LicenceError: A licence forbids what is asked.
    """
    told = shortened(
        model.report,
        with_examples=wanted.with_examples,
        with_source=wanted.with_source,
        data_licence=wanted.data_licence,
    )
    card = card_for(
        model.folder,
        model.own,
        model.info,
        told,
        repo_id,
        licence=licence_of(model, wanted),
        licence_asked=wanted.licence is not None,
        data_licence=wanted.data_licence or data_licence_of(model.report),
        examples=model.examples if wanted.with_examples else (),
    )
    report = report_bytes(told) if told is not None and told != model.report else None
    files, left_out = choose_files(model.folder, card, report, with_examples=wanted.with_examples)
    return Content(card, report, tuple(files), left_out)
