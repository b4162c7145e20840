"""A folder or zip -> CheckedDataset: every file decoded once, every value understood."""

import atexit
import functools
import hashlib
import json
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from autoseg.config import ClassInfo, from_dict, read_json, to_dict
from autoseg.data.class_files import DeclaredClasses
from autoseg.data.coding import MaskCoding, count_classes, sum_classes
from autoseg.data.formats import Layout, Sample, Skipped, find_samples
from autoseg.data.images import RawMask, exif_orientation, image_size, read_image, read_mask
from autoseg.data.masks import Reading, read_values
from autoseg.data.packed import is_packed, unpack_once
from autoseg.data.palette import with_colors
from autoseg.data.scan import PairFacts, Problem, count_values, fit_mask, scan_pair
from autoseg.data.verdict import MAX_SKIPPED, Verdict
from autoseg.data.workers import parallel_map
from autoseg.errors import DatasetError
from autoseg.files import write_json

MIN_PAIRS = 5
"""Fewer pairs than this can be neither learnt from nor scored."""

MAX_DAMAGED_SHARE = 0.1
"""Up to this share of pairs may be damaged and is left out; more is an error."""

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Statistics:
    """Sizes and classes of each image, for geometry and splits."""

    sizes: np.ndarray
    """(N, 2) int32 height and width."""
    class_pixels: np.ndarray
    """(N, K) int64 pixels of each class."""
    class_boundary: np.ndarray
    """(N, K) int64 pixel edges between a class and another class, ignored pixels apart.

    The mean width of a class's objects is about 4 * pixels / edges.
    """


@dataclass(frozen=True)
class CheckedDataset:
    """Pairs that were all decoded and understood; only `check_dataset` makes one."""

    root: Path
    """Folder of the data."""
    samples: tuple[Sample, ...]
    """Usable pairs, sorted by name."""
    classes: ClassInfo
    """Names and colours of the classes."""
    verdict: Verdict
    """How the data was read."""
    fingerprint: str
    """sha256 over the names and contents of all files and how they are read."""
    statistics: Statistics
    """Sizes and classes of each image."""
    mask_coding: MaskCoding
    """How raw mask values map to classes."""
    hashes: np.ndarray
    """(N,) uint64 difference hash of each image."""
    thumbnails: np.ndarray
    """(N, 16, 16) uint8 grey, to tell near-duplicates."""
    contents: tuple[bytes, ...]
    """sha256 of each image file, to tell exact copies."""

    def __len__(self) -> int:
        return len(self.samples)

    def image(self, index: int) -> np.ndarray:
        """Image (H, W, 3) uint8 RGB.

        Raises:
            DatasetError: The file no longer decodes.
        """
        return read_image(self.samples[index].image_path)

    def mask(self, index: int) -> np.ndarray:
        """Mask (H, W) uint8 of class indices, 255 where ignored, of its image's size.

        Raises:
            DatasetError: The file no longer decodes or fits.
        """
        return read_class_mask(self.samples[index], self.mask_coding)


def read_class_mask(sample: Sample, coding: MaskCoding) -> np.ndarray:
    """Mask (H, W) uint8 of class indices, 255 where ignored, of its image's size."""
    return coding.apply(read_raw_mask(sample), sample.mask_path.name)


def read_raw_mask(sample: Sample) -> RawMask:
    """The mask of a sample as it is on disk, turned like its image."""
    raw = read_mask(sample.mask_path)
    size = image_size(sample.image_path)
    if raw.values.shape != size:
        orientation = exif_orientation(sample.image_path.read_bytes(), sample.image_path)
        raw, _ = fit_mask(raw, size, orientation, sample)
    return raw


def check_dataset(
    source: Path,
    *,
    class_names: Sequence[str] | None = None,
    mapping: Mapping[str, str | int] | None = None,
    colors: Mapping[str, str] | None = None,
    max_workers: int | None = None,
    on_progress: Progress | None = None,
    workdir: Path | None = None,
) -> CheckedDataset:
    """Read a folder or zip of images and masks, decode everything once, and say what it is.

    Args:
        source: Folder, zip, or parquet files; for those `?image=COLUMN&mask=COLUMN` at the end
            chooses the columns.
        class_names: Names in the order of the class indices; they override a class list.
        mapping: Raw mask value or "#rrggbb" -> class name, class index or "ignore"; "*" stands
            for every other value, which may also be "nearest": the class of the nearest named
            value. It overrides what the masks look like; where all it says is what to ignore,
            the other values are read as if nothing was said.
        colors: Class name -> "#rrggbb"; the others keep the colours found.
        max_workers: Processes; None takes one per core.
        on_progress: Called with (pairs done, all pairs).
        workdir: Folder where packed data is unpacked, and found again; None: a folder that goes
            when this process ends.

    Raises:
        AmbiguousMasksError: The masks can be read in more than one way.
        DatasetError: The data cannot be used; the text says what to do.
    """
    source = Path(source)
    layout = find_samples(_unpacked(source, workdir))
    declared = _declared(layout, class_names)
    samples, facts, damaged = _scan(layout, max_workers, on_progress)
    _check_enough(layout, samples, damaged)
    files, names = [s.mask_path.name for s in samples], [s.name for s in samples]
    reading = read_values(facts, files, declared, mapping, names)
    statistics = _statistics(samples, facts, reading, max_workers)
    skipped = sorted([*layout.skipped, *damaged], key=lambda item: item.path)
    return CheckedDataset(
        root=layout.root,
        samples=tuple(samples),
        classes=with_colors(reading.classes, colors or {}),
        verdict=_verdict(facts, reading, declared, statistics, skipped, len(damaged)),
        fingerprint=_fingerprint(samples, facts, reading),
        statistics=statistics,
        mask_coding=reading.coding,
        hashes=np.asarray([fact.dhash for fact in facts], dtype=np.uint64),
        thumbnails=np.stack([fact.thumbnail for fact in facts]),
        contents=tuple(fact.image_digest for fact in facts),
    )


def write_verdict(path: Path, verdict: Verdict) -> None:
    """Write a verdict as JSON, whole or not at all."""
    write_json(path, to_dict(verdict))


def read_verdict(path: Path) -> Verdict:
    """Read a verdict.

    Raises:
        ConfigError: No such file, or no verdict.
    """
    return from_dict(Verdict, read_json(path), path.name)


def _unpacked(source: Path, workdir: Path | None) -> Path:
    if not is_packed(source):
        return source
    if workdir is None:
        workdir = Path(tempfile.mkdtemp(prefix="autoseg-"))
        atexit.register(shutil.rmtree, workdir, ignore_errors=True)
    return unpack_once(source, workdir)


def _declared(layout: Layout, class_names: Sequence[str] | None) -> DeclaredClasses | None:
    if class_names is None:
        return layout.declared
    names = tuple(class_names)
    if len(set(names)) != len(names) or not all(names):
        raise DatasetError(f"Class names must differ and not be empty, but got {list(names)}.")
    declared = layout.declared
    if declared is not None and len(declared.names) == len(names):
        return replace(declared, names=names)
    return DeclaredClasses("the class names given", names)


def _scan(
    layout: Layout, max_workers: int | None, on_progress: Progress | None
) -> tuple[list[Sample], list[PairFacts], list[Skipped]]:
    """Facts of the pairs that can be used, and the damaged ones."""
    samples: list[Sample] = []
    facts: list[PairFacts] = []
    damaged: list[Skipped] = []
    misfits: list[str] = []
    results = parallel_map(
        scan_pair, layout.samples, max_workers=max_workers, on_progress=on_progress
    )
    with closing(results):
        for sample, result in zip(layout.samples, results, strict=True):
            if isinstance(result, PairFacts):
                samples.append(sample)
                facts.append(result)
            elif result.damaged:
                path = sample.image_path.relative_to(layout.root).as_posix()
                damaged.append(Skipped(path, result.text))
            else:
                misfits.append(result.text)
    if misfits:
        more = len(misfits) - 1
        others = f" {more} more pairs do not fit either." if more else ""
        raise DatasetError(misfits[0] + others)
    return samples, facts, damaged


def _check_enough(layout: Layout, samples: list[Sample], damaged: list[Skipped]) -> None:
    if len(damaged) > max(1, MAX_DAMAGED_SHARE * len(layout.samples)):
        raise DatasetError(
            f"{len(damaged)} of {len(layout.samples)} pairs do not decode, too many to leave "
            f"out. The first: {damaged[0].why}"
        )
    if len(samples) < MIN_PAIRS:
        raise DatasetError(
            f"{layout.root} holds {len(samples)} usable pairs of image and mask, but at least "
            f"{MIN_PAIRS} are needed."
            + (f" {len(damaged)} do not decode: {damaged[0].why}" if damaged else "")
            + (f" {len(layout.skipped)} files were left out." if layout.skipped else "")
        )


def _statistics(
    samples: list[Sample], facts: list[PairFacts], reading: Reading, max_workers: int | None
) -> Statistics:
    number = reading.classes.num_classes
    counted = [
        count_classes(fact, reading.coding, number, sample.mask_path.name)
        for sample, fact in zip(samples, facts, strict=True)
    ]
    # Masks with many values (noise, numbered objects) are read again, now as classes.
    again = [place for place, counts in enumerate(counted) if counts is None]
    count = functools.partial(_count_decoded, coding=reading.coding, num_classes=number)
    results = parallel_map(count, [samples[place] for place in again], max_workers=max_workers)
    for place, result in zip(again, results, strict=True):
        counted[place] = result
    known = [counts for counts in counted if counts is not None]
    return Statistics(
        sizes=np.asarray([fact.size for fact in facts], dtype=np.int32),
        class_pixels=np.stack([pixels for pixels, _ in known]).astype(np.int64),
        class_boundary=np.stack([edges for _, edges in known]).astype(np.int64),
    )


def _count_decoded(
    sample: Sample, coding: MaskCoding, num_classes: int
) -> tuple[np.ndarray, np.ndarray]:
    values, counts, edges, pair_edges = count_values(read_class_mask(sample, coding))
    if pair_edges is not None:
        return sum_classes(values.astype(np.intp), counts, pair_edges, num_classes)
    pixels, boundary = np.zeros((2, num_classes + 256), dtype=np.int64)
    pixels[values], boundary[values] = counts, edges
    return pixels[:num_classes], boundary[:num_classes]


def _fingerprint(samples: list[Sample], facts: list[PairFacts], reading: Reading) -> str:
    digest = hashlib.sha256()
    for sample, fact in zip(samples, facts, strict=True):
        digest.update(json.dumps([sample.name, sample.split]).encode() + fact.digest)
    digest.update(json.dumps([to_dict(reading.coding), to_dict(reading.classes)]).encode())
    return digest.hexdigest()


def _verdict(
    facts: list[PairFacts],
    reading: Reading,
    declared: DeclaredClasses | None,
    statistics: Statistics,
    skipped: list[Skipped],
    damaged: int,
) -> Verdict:
    mended, notes = [], list(reading.notes)
    if damaged:
        mended.append(f"{damaged} pairs do not decode and were left out.")
    if turned := sum(fact.turned for fact in facts):
        mended.append(f"{turned} masks were turned like their images, as EXIF says.")
    ambiguous = []
    if unclear := sum(not (fact.upright or fact.turned) for fact in facts):
        ambiguous.append(
            f"{unclear} images are turned or mirrored by EXIF; their masks fit as they are and "
            f"were taken to be drawn on the turned image."
        )
    absent = [
        name
        for name, pixels in zip(
            reading.classes.names, statistics.class_pixels.sum(axis=0), strict=True
        )
        if pixels == 0
    ]
    if absent:
        notes.append(f"No pixel has the class {', '.join(absent)}.")
    if declared is not None and declared.names == reading.classes.names:
        notes.append(f"Class names come from {declared.file_name}.")
    return Verdict(
        rows=reading.rows,
        pairs=len(facts),
        sizes=_describe_sizes(statistics.sizes),
        skipped=tuple(skipped[:MAX_SKIPPED]),
        skipped_count=len(skipped),
        mended=tuple(mended),
        ambiguous=tuple(ambiguous),
        notes=tuple(notes),
    )


def _describe_sizes(sizes: np.ndarray) -> str:
    counts = Counter((int(height), int(width)) for height, width in sizes)
    (height, width), most = counts.most_common(1)[0]
    if len(counts) == 1:
        return f"all {width}x{height}"
    small = min(counts, key=lambda size: size[0] * size[1])
    large = max(counts, key=lambda size: size[0] * size[1])
    return (
        f"{len(counts)} sizes, {small[1]}x{small[0]} to {large[1]}x{large[0]}, "
        f"most often {width}x{height} ({most} of {len(sizes)})"
    )


__all__ = [
    "CheckedDataset",
    "Problem",
    "Statistics",
    "check_dataset",
    "read_class_mask",
    "read_raw_mask",
]
