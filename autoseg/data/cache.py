"""Images and class masks at working size, as bytes on disk that are mapped, not loaded."""

import functools
import hashlib
import json
import os
import re
import shutil
import time
import uuid
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from filelock import FileLock

from autoseg.config import Geometry, to_dict
from autoseg.data.coding import MaskCoding
from autoseg.data.dataset import CheckedDataset, read_class_mask
from autoseg.data.formats import Sample
from autoseg.data.images import read_image
from autoseg.data.workers import parallel_map
from autoseg.errors import DatasetError
from autoseg.files import size_bytes, used_at
from autoseg.resizing import resize_image, resize_mask

CACHE_VERSION = 1
"""Part of each cache's key: raised when reading or resizing changes pixels."""

KEPT_S = 30 * 24 * 3600.0
"""Caches that nobody used for longer are removed, in seconds."""

KEPT_BYTES = 20 * 10**9
"""What all caches may take on disk, the one just built included."""

_IN_USE_S = 24 * 3600.0
"""Whoever opened a cache may be at work with it for so long, in seconds."""

_KEY = re.compile(r"[0-9a-f]{24}")
"""Names of caches: nothing else in their folder is removed."""

_IMAGES, _MASKS, _INDEX = "images.bin", "masks.bin", "index.json"


class Cache:
    """Images and masks of one data set at one geometry; sizes may differ between images."""

    def __init__(self, folder: Path, shapes: np.ndarray) -> None:
        self.folder = folder
        self.shapes = shapes
        """(N, 2) int32 height and width of each resized image."""
        self.image_offsets, self.mask_offsets = _offsets(shapes)
        self.flat_images: np.ndarray = np.memmap(folder / _IMAGES, dtype=np.uint8, mode="r")
        """(sum of h * w * 3,) uint8 of all images, one after the other."""
        self.flat_masks: np.ndarray = np.memmap(folder / _MASKS, dtype=np.uint8, mode="r")
        """(sum of h * w,) uint8 of all masks, one after the other."""

    def __len__(self) -> int:
        return len(self.shapes)

    @property
    def nbytes(self) -> int:
        """Bytes on disk, and in memory once all pages are read."""
        return int(self.image_offsets[-1] + self.mask_offsets[-1])

    def image(self, index: int) -> np.ndarray:
        """Image (h, w, 3) uint8, a read-only view."""
        height, width = self.shapes[index]
        start, end = self.image_offsets[index : index + 2]
        return self.flat_images[start:end].reshape(height, width, 3)

    def mask(self, index: int) -> np.ndarray:
        """Mask (h, w) uint8 of class indices, 255 where ignored, a read-only view."""
        height, width = self.shapes[index]
        start, end = self.mask_offsets[index : index + 2]
        return self.flat_masks[start:end].reshape(height, width)


def build_cache(
    dataset: CheckedDataset,
    geometry: Geometry,
    folder: Path,
    *,
    on_progress: Callable[[int, int], None] | None = None,
    max_workers: int | None = None,
) -> Cache:
    """Resize all images and masks once, or find them as an earlier call left them.

    Where they had to be resized, caches that were not used for longest are removed: those beyond
    `KEPT_S`, and beyond `KEPT_BYTES` those that nobody opened for a day.

    Args:
        dataset: The data.
        geometry: The working size.
        folder: Folder of caches; each has a folder inside, named by what it was made of.
        on_progress: Called with (images done, all images); not at all where the cache is found.
        max_workers: Processes; None takes one per core.

    Raises:
        DatasetError: The disk is full, or the data has changed since it was checked. Nothing is
            left behind.
    """
    key = _key(dataset, geometry)
    target = folder / key
    shapes = np.asarray(
        [geometry.resized_shape(int(h), int(w)) for h, w in dataset.statistics.sizes],
        dtype=np.int32,
    )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / f".{key}.lock"):
            if not _is_whole(target, key, shapes):
                shutil.rmtree(target, ignore_errors=True)
                for leftover in folder.glob(f".{key}.*.part"):  # Of a build that was killed.
                    shutil.rmtree(leftover, ignore_errors=True)
                _build(dataset, geometry, target, shapes, max_workers, on_progress)
                with suppress(OSError):  # Another process sweeps too.
                    _sweep(folder, keep=target)
            os.utime(target)
            return Cache(target, shapes)  # Before anybody else may remove it.
    except OSError as error:
        needed = sum(int(offsets[-1]) for offsets in _offsets(shapes))
        raise DatasetError(
            f"The images at working size need {needed / 1e6:,.1f} MB in {folder}, which could not "
            f"be written: {error.strerror or error}. Free some space, or choose another folder."
        ) from error


def _build(
    dataset: CheckedDataset,
    geometry: Geometry,
    target: Path,
    shapes: np.ndarray,
    max_workers: int | None,
    on_progress: Callable[[int, int], None] | None,
) -> None:
    """Build aside, flush, rename."""
    image_offsets, mask_offsets = _offsets(shapes)
    aside = target.with_name(f".{target.name}.{uuid.uuid4().hex}.part")
    try:
        aside.mkdir()
        _reserve(aside / _IMAGES, int(image_offsets[-1]))
        _reserve(aside / _MASKS, int(mask_offsets[-1]))
        jobs = [
            _Job(sample, int(image_at), int(mask_at), (int(shape[0]), int(shape[1])))
            for sample, image_at, mask_at, shape in zip(
                dataset.samples, image_offsets, mask_offsets, shapes, strict=False
            )
        ]
        work = functools.partial(
            _resize_pair, folder=aside, geometry=geometry, coding=dataset.mask_coding
        )
        results = parallel_map(work, jobs, max_workers=max_workers, on_progress=on_progress)
        with closing(results):
            for _ in results:
                pass
        index = {"key": target.name, "version": CACHE_VERSION, "shapes": shapes.tolist()}
        (aside / _INDEX).write_text(json.dumps(index), encoding="utf-8")
        for path in aside.iterdir():
            with path.open("rb+") as file:
                os.fsync(file.fileno())
        os.replace(aside, target)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _sweep(folder: Path, keep: Path) -> None:
    """Remove caches that were not used for longest, and what killed processes left of others."""
    caches = {path: used_at(path) for path in folder.iterdir() if _KEY.fullmatch(path.name)}
    taken, now = 0, time.time()
    for path in sorted(caches, key=caches.__getitem__, reverse=True):
        taken += size_bytes(path)
        unused_s = now - caches[path]
        too_many = taken > KEPT_BYTES and unused_s > _IN_USE_S
        if path != keep and (too_many or unused_s > KEPT_S):
            _remove(path, caches[path])
    for part in folder.glob(".*.part"):
        key = part.name.split(".")[1]
        if _KEY.fullmatch(key) and key != keep.name:
            with suppress(OSError), FileLock(folder / f".{key}.lock", timeout=0):
                shutil.rmtree(part, ignore_errors=True)


def _remove(path: Path, last_used: float) -> None:
    """Remove a cache unless somebody builds or opens it now.

    Who has mapped it goes on: its files stay until they are closed. Windows does not let them be
    moved, and the cache stays.
    """
    aside = path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")
    with suppress(OSError), FileLock(path.with_name(f".{path.name}.lock"), timeout=0):
        if used_at(path) == last_used:
            os.replace(path, aside)
            shutil.rmtree(aside, ignore_errors=True)


@dataclass(frozen=True)
class _Job:
    """One pair and where it goes."""

    sample: Sample
    image_offset: int
    mask_offset: int
    shape: tuple[int, int]


def _resize_pair(job: _Job, folder: Path, geometry: Geometry, coding: MaskCoding) -> None:
    image = resize_image(read_image(job.sample.image_path), geometry)
    mask = resize_mask(read_class_mask(job.sample, coding), geometry)
    if image.shape[:2] != job.shape or mask.shape != job.shape:
        raise DatasetError(
            f"{job.sample.image_path.name} has another size than when the data was checked. "
            f"Check the data again."
        )
    _write_at(folder / _IMAGES, job.image_offset, image)
    _write_at(folder / _MASKS, job.mask_offset, mask)


def _write_at(path: Path, offset: int, array: np.ndarray) -> None:
    with path.open("rb+", buffering=0) as file:
        file.seek(offset)
        view = memoryview(array.tobytes())
        while view:
            view = view[file.write(view) :]


def _reserve(path: Path, size_bytes: int) -> None:
    """Make a file of that size, and find out now whether the disk holds it."""
    with path.open("wb") as file:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, size_bytes)
        else:
            file.truncate(size_bytes)


def _is_whole(target: Path, key: str, shapes: np.ndarray) -> bool:
    """Whether `target` is a finished cache of these shapes."""
    try:
        index = json.loads((target / _INDEX).read_text(encoding="utf-8"))
        sizes = [(target / name).stat().st_size for name in (_IMAGES, _MASKS)]
    except (OSError, ValueError):
        return False
    expected = [int(offsets[-1]) for offsets in _offsets(shapes)]
    return bool(
        isinstance(index, dict)
        and index.get("key") == key
        and index.get("version") == CACHE_VERSION
        and index.get("shapes") == shapes.tolist()
        and sizes == expected
    )


def _offsets(shapes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where each image and mask begins (N + 1,) int64, in bytes."""
    areas = shapes.astype(np.int64).prod(axis=1)
    ends = np.concatenate([[0], np.cumsum(areas)]).astype(np.int64)
    return 3 * ends, ends


def _key(dataset: CheckedDataset, geometry: Geometry) -> str:
    shape = {name: value for name, value in to_dict(geometry).items() if name != "window"}
    text = json.dumps([CACHE_VERSION, dataset.fingerprint, shape], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:24]
