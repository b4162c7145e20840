"""What the page keeps of a checked data set, so that a reload shows it again at once."""

from collections.abc import Iterable, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass, replace
from functools import lru_cache
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
from autoseg.data.coding import MaskCoding
from autoseg.data.crops import draw_value
from autoseg.data.dataset import CheckedDataset
from autoseg.data.formats import Sample, find_samples
from autoseg.data.images import read_image, write_jpeg
from autoseg.data.palette import with_colors
from autoseg.data.verdict import Verdict
from autoseg.dataset_facts import Facts
from autoseg.errors import AmbiguousMasksError, ConfigError, DatasetError, FoundValue
from autoseg.files import folder_lock, replacing_folder, restore_folder, write_json, write_text
from autoseg.resizing import resize_image

Mapping = tuple[tuple[str, str], ...]

Colors = tuple[tuple[str, str], ...]

MAX_CROPS = 32
"""Most mask values of which a picture is kept."""

_BOX = (480, 640)
_SEEN = "seen"


@dataclass(frozen=True)
class Check:
    """The last check of a data set as the page shows it."""

    verdict: Verdict | None = None
    """How it was read; None where it cannot be used."""
    classes: ClassInfo | None = None
    coding: MaskCoding | None = None
    """How raw mask values map to classes."""
    mapping: Mapping = ()
    """What the user said of mask values: (value or colour, class, "ignore" or "nearest")."""
    colors: Colors = ()
    """Colours the user chose: (class, "#rrggbb")."""
    problem: str = ""
    """Why it cannot be used; or, with a verdict, why not searched."""
    question: tuple[FoundValue, ...] = ()
    """Values whose meaning the user has to say."""
    format_version: int = FORMAT_VERSION


@dataclass(frozen=True)
class ImageIndex:
    """The images of a checked data set: enough to draw any of them again."""

    samples: tuple[Sample, ...]
    """Sorted by name."""
    shares: np.ndarray
    """(N, K) float32: share of each class in each image."""

    def order(self, class_index: int | None = None) -> np.ndarray:
        """Positions (N,) by name, or those with most of a class first."""
        if class_index is None or not 0 <= class_index < self.shares.shape[1]:
            return np.arange(len(self.samples))
        return np.argsort(-self.shares[:, class_index], kind="stable")


def save_check(
    dataset: CheckedDataset, folder: Path, mapping: Mapping = (), colors: Colors = ()
) -> Check:
    """Write the verdict, its pictures and the list of images, whole or not at all."""
    verdict, facts, problem = dataset.verdict, None, ""
    try:
        facts = Facts.of(dataset)
    except DatasetError as error:  # It can be read and looked at, but not divided for a search.
        problem = str(error)
    check = Check(verdict, dataset.classes, dataset.mask_coding, mapping, colors, problem)
    with replacing_folder(folder) as aside:
        wanted = [(row.raw, row.example) for row in verdict.rows[:MAX_CROPS]]
        _draw_crops(dataset.samples, wanted, aside)
        _save_index(dataset, aside / "images.npz")
        if facts is not None:
            facts.save(aside / "facts.npz")  # For the estimate before a search.
        write_json(aside / "check.json", to_dict(check))
    return check


def save_problem(
    problem: DatasetError | str,
    source: Path,
    folder: Path,
    mapping: Mapping = (),
    colors: Colors = (),
) -> Check:
    """Write why a data set cannot be used, with pictures of the values it asks about."""
    found = problem.found if isinstance(problem, AmbiguousMasksError) else ()
    check = Check(mapping=mapping, colors=colors, problem=str(problem), question=found)
    with replacing_folder(folder) as aside:
        if found:
            wanted = [(value.raw, value.example) for value in found[:MAX_CROPS]]
            _draw_crops(find_samples(source).samples, wanted, aside)
        write_json(aside / "check.json", to_dict(check))
    return check


def recolor(folder: Path, check: Check, colors: Colors) -> Check:
    """Give the classes of a checked data set other colours, without reading it again.

    Raises:
        DatasetError: A colour is none, or for no class.
    """
    assert check.classes is not None
    classes = with_colors(check.classes, dict(colors))
    painted = replace(check, classes=classes, colors=colors)
    with folder_lock(folder):
        write_json(folder / "check.json", to_dict(painted))
    return painted


def load_check(folder: Path) -> Check | None:
    """What was saved; None if there is nothing that this version reads."""
    restore_folder(folder)
    try:
        return from_dict(Check, read_json(folder / "check.json"), "check.json")
    except ConfigError:
        return None


def seen_at(folder: Path) -> float:
    """Unix time at which a data set was last checked or chosen; 0 where it never was."""
    files = (folder / name for name in ("check.json", _SEEN))
    return max((file.stat().st_mtime for file in files if file.is_file()), default=0.0)


def mark_seen(folder: Path) -> None:
    """Note that a data set was chosen, checked or not, so that a reload shows it again."""
    with suppress(OSError), folder_lock(folder):  # A full disk must not keep it from being shown.
        write_text(folder / _SEEN, "")


def crop_of(folder: Path, row: int) -> Path | None:
    """The picture of a row of the verdict or of the question."""
    path = folder / "values" / f"{row}.jpg"
    if path.is_file():
        return path
    with folder_lock(folder):  # Not there for a moment where another tab checks at the same time.
        return path if path.is_file() else None


def load_index(folder: Path, source: Path) -> ImageIndex | None:
    """The images of a data set that was checked and lies in `source`."""
    path = folder / "images.npz"
    try:
        with nullcontext() if path.is_file() else folder_lock(folder):  # As with a crop.
            return _read_index(path, source, path.stat().st_mtime_ns)
    except (OSError, ValueError, KeyError):
        return None


@lru_cache(maxsize=4)
def _read_index(path: Path, source: Path, modified_ns: int) -> ImageIndex:
    del modified_ns  # Only part of the key.
    with np.load(path, allow_pickle=False) as stored:
        columns = [stored[name].tolist() for name in ("names", "images", "masks", "splits")]
        shares = stored["shares"]
    samples = tuple(
        Sample(name, source / image, source / mask, split or None)
        for name, image, mask, split in zip(*columns, strict=True)
    )
    return ImageIndex(samples, shares)


def _save_index(dataset: CheckedDataset, path: Path) -> None:
    samples, root = dataset.samples, dataset.root
    pixels = dataset.statistics.sizes.astype(np.int64).prod(axis=1)
    np.savez_compressed(
        path,
        names=np.asarray([sample.name for sample in samples]),
        images=np.asarray([_below(root, sample.image_path) for sample in samples]),
        masks=np.asarray([_below(root, sample.mask_path) for sample in samples]),
        splits=np.asarray([sample.split or "" for sample in samples]),
        shares=(dataset.statistics.class_pixels / pixels[:, None]).astype(np.float32),
    )


def _below(root: Path, path: Path) -> str:
    return path.relative_to(root).as_posix()


def _draw_crops(samples: Sequence[Sample], wanted: Iterable[tuple[str, str]], folder: Path) -> None:
    """Pictures of raw values in the samples of those names, under their place."""
    named = {sample.name: sample for sample in samples}
    (folder / "values").mkdir()
    for place, (raw, name) in enumerate(wanted):
        if name in named and not raw.endswith("values"):  # "5 other values" look like nothing.
            write_jpeg(draw_value(named[name], raw), folder / "values" / f"{place}.jpg")


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
    return resize_image(image, preview_geometry(image))


def preview_geometry(image: np.ndarray, box: tuple[int, int] = _BOX) -> Geometry:
    """How an image becomes so small that it fits into (height, width)."""
    factor = min(1.0, box[0] / image.shape[0], box[1] / image.shape[1])
    return Geometry(window=(WINDOW_MULTIPLE, WINDOW_MULTIPLE), scale=factor)
