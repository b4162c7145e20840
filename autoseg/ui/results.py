"""Predictions on disk: what the page shows, exports, compares and corrects, each under its id.

Nothing of a prediction is kept in memory, so any event of a page can be answered from its id
alone, also after the app was started again. The id is all that a page can name: it cannot be a
path.
"""

import contextlib
import json
import os
import re
import shutil
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from autoseg.config import FORMAT_VERSION, ClassInfo, from_dict, read_json, to_dict
from autoseg.data.images import read_image
from autoseg.errors import ConfigError, PredictionError
from autoseg.files import replacing
from autoseg.prediction import OutputFormat, Prediction, output_path
from autoseg.ui.result_files import (
    draw_thumbnail,
    read_index_png,
    write_confidence,
    write_image,
    write_png,
)

MOST_RESULTS = 400
"""Results that are kept; the ones that were not looked at for the longest time go first."""

MOST_AGE_S = 7 * 86400.0
"""Results that nobody looked at for that long go too, in seconds."""

_ID = re.compile(r"[0-9a-f]{32}")
_KEPT_FOLDERS = 20


@dataclass(frozen=True)
class ResultInfo:
    """What is known of one prediction beside its pictures (`meta.json`)."""

    name: str
    """Name of the image without suffix, fit for a file."""
    model: str
    """What the user calls the model that made it."""
    classes: ClassInfo
    """Names and colours of the classes."""
    seconds: float
    """Time it took, in seconds."""
    uncertainty: float | None = None
    """How useful a correction would be, in [0, 1]; None: not known."""
    shown_file: str = ""
    """The image as browsers draw it."""
    source_file: str = ""
    """The image's file as it came, which its EXIF tag may turn."""
    confidence_file: str = ""
    """The confidence as it is shown."""
    dataset: str = ""
    """Data set that a correction goes to; "": none is known."""
    original: str = ""
    """Sample of that data set that the image is; "": the image is new."""
    example_of: str = ""
    """Run whose example the image is; "": it was given by a user."""
    sample: str = ""
    """Sample of that run's data that the image is: names of results may be alike."""
    has_truth: bool = False
    """Whether it is an example whose ground truth can be read."""
    format_version: int = FORMAT_VERSION


@dataclass(frozen=True)
class Result:
    """One prediction on disk."""

    folder: Path
    info: ResultInfo

    @property
    def id(self) -> str:
        """What the page calls it."""
        return self.folder.name

    @property
    def image(self) -> Path:
        """The image's file as it came: told again byte by byte among those of a data set."""
        return self.folder / self.info.source_file

    @property
    def classes(self) -> Path:
        """Grey PNG of class indices."""
        return self.folder / "classes.png"

    @property
    def thumbnail(self) -> Path:
        """JPEG of the image under its mask."""
        return self.folder / "thumbnail.jpg"

    def mask(self) -> np.ndarray:
        """The class of each pixel, (H, W) uint8."""
        return read_index_png(self.classes)

    def prediction(self, threshold: float | None = None) -> Prediction:
        """The prediction as it was made, its confidence in 256 steps.

        Args:
            threshold: Least probability at which a pixel is of the second of two classes; None:
                as the model decided.
        """
        mask = self.mask()
        steps = read_index_png(self.folder / "confidence.png")
        classes = self.info.classes
        if threshold is not None and classes.num_classes == 2:
            second = np.where(mask == 1, steps, 255 - steps)
            mask = (second >= threshold * 255).astype(np.uint8)
            steps = np.where(mask == 1, second, 255 - second)
        return Prediction(
            mask,
            (steps.astype(np.float32) / 255).astype(np.float16),
            classes.names,
            classes.palette,
            source=Path(f"{self.info.name}{self.image.suffix}"),
            seconds=self.info.seconds,
        )

    def export(self, output_format: OutputFormat, threshold: float | None = None) -> Path:
        """A file of the given format, named like the image.

        Raises:
            PredictionError: It cannot be written.
        """
        file = output_path(self.folder / "exports", self.info.name, output_format)
        pixels = read_image(self.image) if output_format == "overlay" else None
        self.prediction(threshold).save(file, output_format, pixels)
        return file

    def other(self, key: str, make: Callable[[], np.ndarray]) -> Path:
        """Grey PNG of class indices to compare with, made once.

        Args:
            key: Name of what makes them and of how it is used, of letters and digits.
            make: Gives the mask (H, W) uint8.
        """
        assert key.isalnum()
        file = self.folder / f"other-{key}.png"
        if not file.is_file():
            mask = make()
            with replacing(file, flush=False) as part:  # Another page may read it meanwhile.
                write_png(mask, part)
        return file

    def canvas(
        self, *, other: Path | None = None, other_name: str = "", editable: bool = False
    ) -> dict[str, Any]:
        """The value of a mask canvas that shows it.

        Args:
            other: Grey PNG of class indices to compare with.
            other_name: What the user calls that.
            editable: Whether it can be corrected.
        """
        return {
            "id": self.id,
            "name": self.info.name,
            "model": self.info.model,
            "image": str(self.folder / self.info.shown_file),
            "classes": str(self.classes),
            "confidence": str(self.folder / self.info.confidence_file),
            "other": str(other) if other else None,
            "other_name": other_name,
            "names": list(self.info.classes.names),
            "palette": [list(color) for color in self.info.classes.palette],
            "seconds": self.info.seconds,
            "editable": editable,
        }

    def write_thumbnail(self) -> Path:
        """Draw the image under its mask, small, unless that was done."""
        if not self.thumbnail.is_file():
            pixels, mask = read_image(self.image), self.mask()
            with replacing(self.thumbnail, flush=False) as part:
                draw_thumbnail(pixels, mask, self.info.classes, part)
        return self.thumbnail


class ResultStore:
    """Results in one folder, which holds nothing else."""

    def __init__(self, folder: Path, most: int = MOST_RESULTS, scratch: Path | None = None) -> None:
        """Name a store, and remove from it what is too old.

        Args:
            folder: The results.
            most: How many are kept.
            scratch: Folder for what can be made again: thumbnails, zips; None: beside the results.
        """
        self.folder = folder
        self.most = most
        self.scratch = scratch or folder.parent
        self._prune(most)

    def add(
        self,
        prediction: Prediction,
        pixels: np.ndarray,
        source: Path,
        info: ResultInfo,
    ) -> Result:
        """Write a prediction, and remove the oldest ones where there are too many.

        Args:
            prediction: The prediction.
            pixels: (H, W, 3) uint8, the image it was made of.
            source: File of that image.
            info: What is known of it; names of files are filled in.

        Raises:
            PredictionError: The disk is full.
        """
        self._prune(self.most - 1)
        folder = self.folder / uuid.uuid4().hex
        try:
            folder.mkdir(parents=True)
            shown, given = write_image(source, pixels, folder)
            write_png(prediction.mask, folder / "classes.png")
            confidence = write_confidence(prediction, folder)
            info = replace(info, shown_file=shown, source_file=given, confidence_file=confidence)
            _write_meta(info, folder)
        except OSError as error:
            shutil.rmtree(folder, ignore_errors=True)
            raise PredictionError(f"The result cannot be kept: {error.strerror}.") from error
        return Result(folder, info)

    def get(self, result_id: object) -> Result:
        """The result of that id.

        Args:
            result_id: What a page named, which may be anything.

        Raises:
            PredictionError: There is none, or no longer.
        """
        if not isinstance(result_id, str) or not _ID.fullmatch(result_id):
            raise PredictionError("That is no result of this page.")
        folder = self.folder / result_id
        try:
            info = from_dict(ResultInfo, read_json(folder / "meta.json"), "meta.json")
        except ConfigError as error:
            raise PredictionError(
                "This result is no longer kept. Predict the image again."
            ) from error
        with contextlib.suppress(OSError):
            os.utime(folder)  # What is looked at is kept the longest.
        return Result(folder, info)

    def _prune(self, most: int) -> None:
        """Keep at most so many results, and none that is too old."""
        found = _by_age(self.folder)
        too_old = time.time() - MOST_AGE_S
        for number, (seen, folder) in enumerate(reversed(found)):
            if number >= most or seen < too_old:
                shutil.rmtree(folder, ignore_errors=True)


def _by_age(folder: Path) -> list[tuple[float, Path]]:
    """Time of each thing in a folder and the thing, the oldest first; others may be removing."""
    found = []
    with contextlib.suppress(FileNotFoundError):
        for path in list(folder.iterdir()):
            with contextlib.suppress(FileNotFoundError):
                found.append((path.stat().st_mtime, path))
    return sorted(found)


def _write_meta(info: ResultInfo, folder: Path) -> None:
    """Last of all: with it the result is there. Not flushed: it can be predicted again."""
    part = folder / "meta.part"
    part.write_text(json.dumps(to_dict(info)), encoding="utf-8")
    os.replace(part, folder / "meta.json")


def class_rows(prediction: Prediction) -> list[dict[str, Any]]:
    """Index, name, RGB colour, share, pixels and mean confidence of each class, largest first."""
    count = len(prediction.class_names)
    mask = prediction.mask.ravel()
    pixels = np.bincount(mask, minlength=count)
    sums = np.bincount(mask, weights=prediction.confidence.ravel(), minlength=count)
    return [
        {
            "index": k,
            "name": prediction.class_names[k],
            "color": prediction.palette[k],
            "share": float(pixels[k] / mask.size),
            "pixels": int(pixels[k]),
            "confidence": float(sums[k] / pixels[k]) if pixels[k] else None,
        }
        for k in sorted(range(count), key=lambda k: -pixels[k])
    ]


def new_folder(results: Path) -> Path:
    """A folder for what is made of one image; Gradio copies files, so old ones are removed."""
    for _, old in _by_age(results)[: -_KEPT_FOLDERS or None]:
        shutil.rmtree(old, ignore_errors=True)
    folder = results / uuid.uuid4().hex
    folder.mkdir()
    return folder
