"""Near-duplicates: copies, crops' neighbours and video frames that must not be torn apart."""

from collections.abc import Sequence

import numpy as np

from autoseg.data.dataset import CheckedDataset

_STEPS = ((12, 0.98), (4, 0.99), (0, 0.995))
"""Most hash bits that differ and least correlation of thumbnails, from loose to strict.

Measured: copies that were resized, brightened, compressed or noisy correlate at 0.995 and more,
neighbouring slices of a stack at 0.984, different leaves on the same background at 0.971.
"""

_MAX_GROUP_SHARE = 0.1
_MAX_GROUP = 10
_MAX_BRIGHTNESS_STEP = 32
_BLOCK = 512


def group_near_duplicates(dataset: CheckedDataset) -> tuple[np.ndarray, bool]:
    """Group (N,) int of each image, and whether the rule had to be tightened.

    Two images belong together when their difference hashes differ in few of 64 bits and their
    thumbnails correlate; so do exact copies. Where that chains much of the set into one group (a
    video, a fixed camera), the rule is tightened, as one group cannot be split.
    """
    return group_alike(dataset.hashes, dataset.thumbnails, dataset.contents)


def group_alike(
    hashes: np.ndarray, thumbnails: np.ndarray, contents: Sequence[bytes]
) -> tuple[np.ndarray, bool]:
    """As `group_near_duplicates`, of images by what was noted of them.

    Args:
        hashes: (N,) uint64 difference hashes.
        thumbnails: (N, 16, 16) uint8 grey.
        contents: Digest of each file.
    """
    limit = max(_MAX_GROUP, _MAX_GROUP_SHARE * len(hashes))
    tightened = False
    for bits, correlation in _STEPS:
        groups = link(hashes, thumbnails, bits, correlation)
        if np.bincount(groups).max() <= limit:
            break
        tightened = True
    else:
        groups = np.arange(len(hashes))
    return _join_copies(groups, contents), tightened


def link(hashes: np.ndarray, thumbnails: np.ndarray, bits: int, correlation: float) -> np.ndarray:
    """Connected components (N,) of images whose hashes (N,) uint64 and thumbnails agree."""
    number = len(hashes)
    flat = thumbnails.reshape(number, -1).astype(np.float32)
    means = flat.mean(axis=1)
    flat -= means[:, None]
    norms = np.linalg.norm(flat, axis=1)
    textured = norms > 2 * np.sqrt(flat.shape[1])  # A deviation of 2 grey levels.
    flat /= np.maximum(norms, 1e-6)[:, None]
    groups = np.arange(number)
    for start in range(0, number, _BLOCK):
        rows = slice(start, min(start + _BLOCK, number))
        near = np.bitwise_count(hashes[rows, None] ^ hashes[None, start:]) <= bits
        near &= flat[rows] @ flat[start:].T >= correlation
        near &= np.abs(means[rows, None] - means[None, start:]) <= _MAX_BRIGHTNESS_STEP
        near &= textured[rows, None] & textured[None, start:]
        for row in np.flatnonzero(near.sum(axis=1) > 1):
            members = np.unique(groups[start + np.flatnonzero(near[row])])
            members = np.union1d(members, groups[start + row])
            if len(members) > 1:
                groups[np.isin(groups, members)] = members[0]
    return np.unique(groups, return_inverse=True)[1]


def _join_copies(groups: np.ndarray, contents: Sequence[bytes]) -> np.ndarray:
    """Put exact copies of one file into one group."""
    first: dict[bytes, int] = {}
    for place, content in enumerate(contents):
        other = first.setdefault(content, place)
        if groups[other] != groups[place]:
            groups[groups == groups[place]] = groups[other]
    return np.unique(groups, return_inverse=True)[1]
