"""What the page keeps of a checked data set, so that a reload shows it again at once."""

import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from autoseg.config import (
    FORMAT_VERSION,
    WINDOW_MULTIPLE,
    ClassInfo,
    Geometry,
    from_dict,
    read_json,
    to_dict,
)
from autoseg.data.dataset import CheckedDataset
from autoseg.data.images import read_image, write_jpeg
from autoseg.data.verdict import Verdict
from autoseg.errors import ConfigError, DatasetError
from autoseg.files import write_json
from autoseg.prediction import Prediction
from autoseg.resizing import resize_image, resize_mask

Mapping = tuple[tuple[str, str], ...]

N_PREVIEWS = 12
"""Images of a data set that are shown with their masks."""

_BOX = (480, 640)


@dataclass(frozen=True)
class Check:
    """The last check of a data set as the page shows it."""

    verdict: Verdict | None = None
    """How it was read; None where it cannot be used."""
    classes: ClassInfo | None = None
    captions: tuple[str, ...] = ()
    """Names of the preview images, in their order."""
    mapping: Mapping = ()
    """What the user said of mask values: (value or colour, class or "ignore")."""
    problem: str = ""
    """Why it cannot be used."""
    format_version: int = FORMAT_VERSION


def save_check(dataset: CheckedDataset, mapping: Mapping, folder: Path) -> Check:
    """Write the verdict and previews of images spread over the data set, whole or not at all."""
    with _replacing_folder(folder) as aside:
        chosen = spread(len(dataset.samples), N_PREVIEWS)
        for k, index in enumerate(chosen):
            write_jpeg(_overlay(dataset, index), aside / f"{k}.jpg")
        names = tuple(dataset.samples[index].name for index in chosen)
        check = Check(dataset.verdict, dataset.classes, names, mapping)
        write_json(aside / "check.json", to_dict(check))
    return check


def save_problem(problem: str, mapping: Mapping, folder: Path) -> Check:
    """Write why a data set cannot be used."""
    check = Check(mapping=mapping, problem=problem)
    with _replacing_folder(folder) as aside:
        write_json(aside / "check.json", to_dict(check))
    return check


@contextmanager
def _replacing_folder(folder: Path) -> Iterator[Path]:
    """Give a new folder, which takes the place of `folder` when all went well."""
    aside = folder.with_name(f".{folder.name}.{uuid.uuid4().hex}.part")
    aside.mkdir(parents=True)
    try:
        yield aside
        shutil.rmtree(folder, ignore_errors=True)
        aside.rename(folder)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def parse_mapping(text: str) -> Mapping:
    """Read lines such as "255 = ignore" or "#ff0000 = roof".

    Raises:
        ConfigError: A line has no such form.
    """
    pairs = []
    for line in filter(str.strip, text.splitlines()):
        value, sign, meaning = (part.strip() for part in line.rpartition("="))
        if not (sign and value and meaning):
            raise ConfigError(f"{line!r} does not say what a value means. Write: 255 = ignore")
        pairs.append((value, meaning))
    return tuple(pairs)


def format_mapping(mapping: Mapping) -> str:
    """The lines that `parse_mapping` reads."""
    return "\n".join(f"{value} = {meaning}" for value, meaning in mapping)


def load_check(folder: Path) -> Check | None:
    """What `save_check` wrote; None if there is nothing this version reads."""
    try:
        return from_dict(Check, read_json(folder / "check.json"), "check.json")
    except ConfigError:
        return None


def load_previews(folder: Path, check: Check) -> list[tuple[np.ndarray, str]]:
    """Images with masks over them, and their names."""
    previews = []
    for k, caption in enumerate(check.captions):
        try:
            previews.append((read_image(folder / f"{k}.jpg"), caption))
        except DatasetError:
            continue  # Deleted behind our back: the others are still worth showing.
    return previews


def spread(length: int, most: int) -> list[int]:
    """At most `most` positions, evenly spread over `length`."""
    count = min(length, most)
    return [k * length // count for k in range(count)]


def read_thumbnail(path: Path) -> np.ndarray:
    """An image at preview size, (h, w, 3) uint8.

    Raises:
        DatasetError: The file does not decode.
    """
    image = read_image(path)
    return resize_image(image, _preview_geometry(image))


def _overlay(dataset: CheckedDataset, index: int) -> np.ndarray:
    """One image under its mask, at preview size, (h, w, 3) uint8."""
    image = dataset.image(index)
    geometry = _preview_geometry(image)
    mask = resize_mask(dataset.mask(index), geometry)
    classes = dataset.classes
    sure = np.ones(mask.shape, np.float16)
    truth = Prediction(mask, sure, classes.names, classes.palette)
    return truth.overlay_image(resize_image(image, geometry))


def _preview_geometry(image: np.ndarray) -> Geometry:
    factor = min(1.0, _BOX[0] / image.shape[0], _BOX[1] / image.shape[1])
    return Geometry(window=(WINDOW_MULTIPLE, WINDOW_MULTIPLE), scale=factor)
