"""Held-out images that resemble corrected ones: who learns from the one must not judge by it."""

import hashlib
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import numpy as np

from autoseg.data.duplicates import group_alike
from autoseg.data.images import decode_image, image_size, read_image
from autoseg.data.scan import resemblance
from autoseg.data.workers import parallel_map


def find_twins(held_out: Sequence[Path], learnt: Sequence[Path]) -> list[tuple[int, ...]]:
    """For each image that is held out, the positions of those learnt from that are in its group.

    Groups are those by which a data set is divided.

    Args:
        held_out: Images of val and test.
        learnt: Images of corrections.

    Raises:
        DatasetError: An image does not decode.
    """
    if not held_out or not learnt:
        return [()] * len(held_out)
    with closing(parallel_map(_looks, [*held_out, *learnt])) as results:
        digests, thumbnails, hashes = zip(*results, strict=True)
    groups, _ = group_alike(np.asarray(hashes, dtype=np.uint64), np.stack(thumbnails), digests)
    theirs = groups[len(held_out) :]
    return [tuple(np.flatnonzero(theirs == group).tolist()) for group in groups[: len(held_out)]]


def same_pixels(first: Path, second: Path) -> bool:
    """Whether two files hold one picture, whatever their formats."""
    if image_size(first) != image_size(second):
        return False
    return np.array_equal(read_image(first), read_image(second))


def _looks(path: Path) -> tuple[bytes, np.ndarray, int]:
    """Digest of the file, thumbnail and hash."""
    data = path.read_bytes()
    return hashlib.sha256(data).digest(), *resemblance(decode_image(data, path))
