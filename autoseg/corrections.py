"""Masks that a person corrected, kept beside a data set until a model is trained on with them."""

import filecmp
import hashlib
import shutil
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from filelock import FileLock

from autoseg.config import (
    FORMAT_VERSION,
    IGNORE_INDEX,
    ClassInfo,
    from_dict,
    read_json,
    to_dict,
)
from autoseg.data.formats import Sample
from autoseg.data.images import image_size, image_suffix, read_mask, write_png
from autoseg.errors import ConfigError, DatasetError
from autoseg.files import replacing, sweep_parts, write_json
from autoseg.text import clean_name

_IMAGES, _MASKS, _RECORDS, _CLASSES = "images", "masks", "records", "classes.json"


@dataclass(frozen=True)
class Correction:
    """One corrected pair."""

    name: str
    """Unique among the corrections of a data set."""
    image_path: Path
    """The image, as it came."""
    mask_path: Path
    """Class indices as an 8-bit PNG of the upright image's size, 255 where nothing is said."""
    original: str | None
    """Sample of the data set whose pair it replaces; None: a new image."""
    added_at: float
    """Unix time, in seconds."""

    def read_mask(self) -> np.ndarray:
        """The mask (H, W) uint8.

        Raises:
            DatasetError: The file no longer decodes.
        """
        return np.asarray(read_mask(self.mask_path).values, dtype=np.uint8)


@dataclass(frozen=True, eq=False)
class NewCorrection:
    """What a person drew, before it is kept."""

    name: str
    """What to call a new image; a name that is taken gets a number."""
    image_path: Path
    """The image's file as it came."""
    mask: np.ndarray
    """(H, W) uint8 of class indices, 255 where nothing is said, of the upright image's size."""
    classes: ClassInfo
    """What the indices mean: those of the model that was corrected."""
    original: str | None = None
    """Sample of the data set that it corrects; None: a new image."""


@dataclass(frozen=True)
class _Record:
    """A correction on disk: once it is written, the correction is there."""

    file: str
    """Stem of its two files: another one whenever the correction changes."""
    suffix: str
    """Of the image."""
    digest: str
    """sha256 of the image's file."""
    original: str | None
    added_at: float
    format_version: int = FORMAT_VERSION


class Corrections:
    """Corrected pairs of one data set, in a folder of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __len__(self) -> int:
        return len(self.all())

    def all(self) -> tuple[Correction, ...]:
        """All corrections, in the order in which they were made."""
        records = (self.folder / _RECORDS).glob("[!.]*.json")
        found = [self._correction(path.stem, self._read(path)) for path in records]
        return tuple(sorted(found, key=lambda correction: (correction.added_at, correction.name)))

    def classes(self) -> ClassInfo | None:
        """The classes that the masks are drawn in; None: there is no correction yet."""
        file = self.folder / _CLASSES
        if not file.is_file() or not self.all():
            return None
        return from_dict(ClassInfo, read_json(file), str(file))

    def add(self, new: NewCorrection) -> Correction:
        """Keep a corrected pair with a copy of its image, in place of an earlier one of the same.

        Raises:
            DatasetError: The mask does not fit the image or the classes, or says nothing; the
                image does not decode; or earlier corrections have other classes.
        """
        _check_mask(new)
        content = new.image_path.read_bytes()
        suffix = image_suffix(content)
        if suffix is None:
            raise DatasetError(
                f"{new.image_path.name} is an image of a kind that is not read here."
            )
        digest = hashlib.sha256(content).hexdigest()
        with self.locked():
            self._check_classes(new.classes)
            records = self._records()
            same = [
                key
                for key, record in records.items()
                if (record.original == new.original if new.original else record.digest == digest)
            ]
            key = same[0] if same else _free_name(clean_name(new.name), set(records))
            file = _free_name(key, {record.file for record in records.values()})
            record = _Record(file, suffix, digest, new.original, time.time())
            with replacing(self.folder / _IMAGES / f"{file}{suffix}") as temporary:
                temporary.write_bytes(content)
            with replacing(self.folder / _MASKS / f"{file}.png") as temporary:
                write_png(new.mask, temporary)
            write_json(self.folder / _CLASSES, to_dict(new.classes))
            write_json(self._record_file(key), to_dict(record))
            self._sweep()
        return self._correction(key, record)

    def remove(self, name: str) -> None:
        """Forget one correction.

        Raises:
            DatasetError: There is none of that name.
        """
        with self.locked():
            if name not in self._records():
                raise DatasetError(f"There is no correction {name!r}.")
            self._record_file(name).unlink()
            self._sweep()

    def locked(self) -> FileLock:
        """Keep others from changing anything: two tabs may correct at once."""
        self.folder.mkdir(parents=True, exist_ok=True)
        return FileLock(self.folder / ".lock")

    def clear(self) -> None:
        """Forget all corrections."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _records(self) -> dict[str, _Record]:
        files = sorted((self.folder / _RECORDS).glob("[!.]*.json"))
        return {file.stem: self._read(file) for file in files}

    def _read(self, file: Path) -> _Record:
        try:
            return from_dict(_Record, read_json(file), str(file))
        except ConfigError as error:
            raise DatasetError(f"A correction is damaged: {error} Remove the file.") from error

    def _record_file(self, name: str) -> Path:
        return self.folder / _RECORDS / f"{name}.json"

    def _correction(self, name: str, record: _Record) -> Correction:
        return Correction(
            name,
            self.folder / _IMAGES / f"{record.file}{record.suffix}",
            self.folder / _MASKS / f"{record.file}.png",
            record.original,
            record.added_at,
        )

    def _check_classes(self, classes: ClassInfo) -> None:
        known = self.classes()
        if known is not None and known.names != classes.names:
            raise DatasetError(
                f"The corrections so far are drawn in the classes {', '.join(known.names)}, but "
                f"this one in {', '.join(classes.names)}. Train with those or remove them first."
            )

    def _sweep(self) -> None:
        """Remove files that no record names: of former versions, or of writers that were killed."""
        used = {record.file for record in self._records().values()}
        for folder in (_IMAGES, _MASKS):
            for path in (self.folder / folder).glob("[!.]*"):
                if path.stem not in used:
                    path.unlink(missing_ok=True)
        sweep_parts(self.folder)


def same_image(samples: Iterable[Sample], image_path: Path) -> Sample | None:
    """The sample whose image is, byte by byte, that file; None: there is none."""
    size = image_path.stat().st_size if image_path.is_file() else -1
    for sample in samples:
        if sample.image_path.stat().st_size == size and filecmp.cmp(
            sample.image_path, image_path, shallow=False
        ):
            return sample
    return None


def _free_name(name: str, taken: set[str]) -> str:
    """The name, or with the first number that makes it another, whatever the case."""
    lower = {other.lower() for other in taken}
    number, free = 1, name
    while free.lower() in lower:
        number += 1
        free = f"{name}-{number}"
    return free


def _check_mask(new: NewCorrection) -> None:
    """Refuse a mask that cannot be learnt from."""
    mask, classes, size = new.mask, new.classes, image_size(new.image_path)
    if mask.dtype != np.uint8 or mask.shape != size:
        shown = "x".join(map(str, mask.shape[1::-1]))
        raise DatasetError(
            f"The mask must be 8-bit and {size[1]}x{size[0]} pixels like its image "
            f"{new.image_path.name}, but is {shown} of {mask.dtype}."
        )
    said = mask[mask != IGNORE_INDEX]
    if not said.size:
        raise DatasetError("Every pixel of the mask is left out, so there is nothing to learn.")
    if int(said.max()) >= classes.num_classes:
        raise DatasetError(
            f"The mask holds the class {int(said.max())}, but there are {classes.num_classes}: "
            f"{', '.join(classes.names)}."
        )
