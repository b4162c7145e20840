"""Images of a run's test split, which the Predict tab offers to try, with their ground truth."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from autoseg.config import from_dict
from autoseg.data.coding import MaskCoding
from autoseg.data.dataset import read_class_mask
from autoseg.data.formats import Sample, find_samples
from autoseg.data.images import write_jpeg
from autoseg.errors import AutosegError, DatasetError
from autoseg.search.run_folder import RunFolder
from autoseg.ui import previews

N_EXAMPLES = 8
"""Images of the test split that are offered to try."""

_UNREADABLE = np.full((48, 64, 3), 128, np.uint8)


@dataclass(frozen=True)
class Example:
    """One image that the model has not learnt from."""

    sample: Sample
    coding: MaskCoding | None
    """How its mask is read; None: a run of an older version does not say."""

    def truth(self) -> np.ndarray | None:
        """Its ground truth, (H, W) uint8 class indices, 255 where ignored; None: not readable."""
        if self.coding is None:
            return None
        try:
            return read_class_mask(self.sample, self.coding)
        except DatasetError:
            return None


def examples(run: RunFolder | None) -> list[Example]:
    """Images of a run's test split, evenly spread; none where they are no longer there."""
    if run is None:
        return []
    try:
        samples = _samples(run)
        splits = run.json("splits.json") or {}
        stored = run.json("mask_coding.json")
        coding = from_dict(MaskCoding, stored, "mask_coding.json") if stored else None
    except AutosegError:
        return []
    held_out = splits.get("test") or splits.get("val") or ()
    chosen = [held_out[k] for k in previews.spread(len(held_out), N_EXAMPLES)]
    return [Example(samples[index], coding) for index in chosen if index < len(samples)]


def _samples(run: RunFolder) -> list[Sample]:
    """The samples that the run's splits count; none where the data has changed since."""
    info, verdict = run.info(), run.json("verdict.json")
    if info is None or not verdict:
        return []
    layout = find_samples(Path(info.source))
    left_out = {item["path"] for item in verdict.get("skipped", ())}
    samples = [
        sample
        for sample in layout.samples
        if sample.image_path.relative_to(layout.root).as_posix() not in left_out
    ]
    return samples if len(samples) == verdict.get("pairs") else []


def thumbnail(sample: Sample, folder: Path) -> Path:
    """A small JPEG of an image, drawn once; grey where the file does not decode.

    Args:
        sample: The image.
        folder: Where thumbnails are kept.
    """
    try:
        modified = sample.image_path.stat().st_mtime_ns
    except OSError:
        modified = 0
    named = hashlib.sha256(f"{sample.image_path}\n{modified}".encode()).hexdigest()[:32]
    file = folder / f"{named}.jpg"
    if not file.is_file():
        try:
            pixels = previews.read_thumbnail(sample.image_path)
        except DatasetError:
            pixels = _UNREADABLE
        folder.mkdir(parents=True, exist_ok=True)
        write_jpeg(pixels, file)
    return file
