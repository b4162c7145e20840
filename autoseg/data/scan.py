"""One pair decoded once: the facts from which values are read, splits made and sizes planned."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from autoseg.data.formats import Sample
from autoseg.data.images import (
    RawMask,
    decode_image,
    decode_mask,
    exif_orientation,
    thumbnail,
    turn_mask,
)
from autoseg.errors import DatasetError

MAX_VALUES = 256
"""Most different values kept per mask; a mask with more is noise, a photo, or instances."""

MAX_PAIR_VALUES = 48
"""Up to this many different values the edges between each two of them are counted."""

THUMBNAIL_SIDE = 16
"""Side of the grey thumbnail by which near-duplicates are told, in pixels."""


@dataclass(frozen=True, slots=True)
class PairFacts:
    """What one image and its mask hold."""

    size: tuple[int, int]
    """Shape (height, width) of image and mask."""
    kind: str
    """"gray", "palette" or "color"."""
    lossy: bool
    """Whether the mask's format changes values."""
    turned: bool
    """Whether the mask was turned by its image's EXIF orientation."""
    upright: bool
    """Whether the image needed no turning."""
    values: np.ndarray
    """(V,) uint32 raw values, ascending; the most frequent `MAX_VALUES`."""
    counts: np.ndarray
    """(V,) int64 pixels of each value."""
    edges: np.ndarray
    """(V,) int64 pixel edges between each value and others."""
    other_pixels: int
    """Pixels of values beyond `MAX_VALUES`."""
    pair_edges: np.ndarray | None
    """(V, V) int64 edges between each two values, symmetric; None where there are many values."""
    palette: np.ndarray | None
    """(V,) uint32 colours of `values` as packed 0xRRGGBB, for a palette image."""
    digest: bytes
    """sha256 of both files."""
    image_digest: bytes
    """sha256 of the image's pixels and size."""
    thumbnail: np.ndarray
    """Grey (`THUMBNAIL_SIDE`, `THUMBNAIL_SIDE`) uint8."""
    dhash: int
    """Difference hash of 64 bits."""


@dataclass(frozen=True, slots=True)
class Problem:
    """A pair that cannot be used."""

    text: str
    """What is wrong, naming the file."""
    damaged: bool
    """Whether a file does not decode, which some pairs may; other problems abort."""


def scan_pair(sample: Sample) -> PairFacts | Problem:
    """Decode a pair and collect its facts."""
    try:
        image_data = _read(sample.image_path)
        image = decode_image(image_data, sample.image_path)
        orientation = exif_orientation(image_data, sample.image_path)
        mask_data = _read(sample.mask_path)
        raw = decode_mask(mask_data, sample.mask_path)
    except DatasetError as error:
        return Problem(str(error), damaged=True)
    try:
        raw, turned = fit_mask(raw, (image.shape[0], image.shape[1]), orientation, sample)
    except DatasetError as error:
        return Problem(str(error), damaged=False)
    values, counts, edges, pair_edges = count_values(raw.values)
    palette = None if raw.palette is None else _colors_of(values, raw.palette)
    kept = slice(None)
    if len(values) > MAX_VALUES:
        kept = np.sort(np.argsort(counts, kind="stable")[-MAX_VALUES:])  # type: ignore[assignment]
    digest = hashlib.sha256(hashlib.sha256(image_data).digest())
    digest.update(hashlib.sha256(mask_data).digest())
    return PairFacts(
        size=(image.shape[0], image.shape[1]),
        kind=raw.kind,
        lossy=raw.lossy,
        turned=turned,
        upright=orientation == 1,
        values=values[kept],
        counts=counts[kept],
        edges=edges[kept],
        other_pixels=int(counts.sum() - counts[kept].sum()),
        pair_edges=pair_edges,
        palette=None if palette is None else palette[kept],
        digest=digest.digest(),
        image_digest=hashlib.sha256(image_data).digest(),
        thumbnail=thumbnail_of(image),
        dhash=difference_hash(image),
    )


def fit_mask(
    raw: RawMask, size: tuple[int, int], orientation: int, sample: Sample
) -> tuple[RawMask, bool]:
    """The mask at its image's (height, width), and whether EXIF had to turn it.

    Raises:
        DatasetError: The sizes differ.
    """
    if raw.values.shape == size:
        return raw, False
    if orientation >= 5 and raw.values.shape == size[::-1]:
        return turn_mask(raw, orientation), True
    height, width = raw.values.shape
    raise DatasetError(
        f"{sample.mask_path.name} is {width}x{height} pixels but its image "
        f"{sample.image_path.name} is {size[1]}x{size[0]}. "
        f"Resize the mask with nearest-neighbour interpolation, or remove the pair."
    )


def count_values(
    mask: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray | None]:
    """Values (V,), their pixels, their edges to other values, and edges between each two."""
    values, indices = _compact(mask)
    number = len(values)
    counts = np.bincount(indices.ravel(), minlength=number)
    pairs = number <= MAX_PAIR_VALUES
    edges = np.zeros((number, number) if pairs else number, dtype=np.int64)
    for one, other in (
        (indices[:, 1:], indices[:, :-1]),
        (indices[1:], indices[:-1]),
    ):
        different = one != other
        first, second = one[different], other[different]
        if pairs:
            code = first.astype(np.intp) * number + second
            between = np.bincount(code, minlength=number**2).reshape(number, number)
            edges += between + between.T
        else:
            edges += np.bincount(first, minlength=number) + np.bincount(second, minlength=number)
    values = values.astype(np.uint32)
    if pairs:
        return values, counts, edges.sum(axis=1), edges
    return values, counts, edges, None


def thumbnail_of(image: np.ndarray) -> np.ndarray:
    """Image (H, W, 3) uint8 -> grey (`THUMBNAIL_SIDE`, `THUMBNAIL_SIDE`) uint8."""
    return thumbnail(image, THUMBNAIL_SIDE, THUMBNAIL_SIDE)


def difference_hash(image: np.ndarray) -> int:
    """64 bits: whether each of 8 x 8 areas is darker than its right neighbour."""
    small = thumbnail(image, 8, 9)  # 8 rows, 9 columns
    bits = np.packbits(small[:, 1:] > small[:, :-1])
    return int.from_bytes(bits.tobytes(), "big")


def _compact(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Ascending values (V,) and the mask as positions in them."""
    if mask.dtype == np.uint8:
        values = np.flatnonzero(np.bincount(mask.ravel(), minlength=256))
        if values[-1] == len(values) - 1:
            return values, mask
    else:
        values = np.unique(mask)
    top = int(values[-1])
    if top >= 2**24:
        return values, np.searchsorted(values, mask)
    kind = np.uint8 if len(values) <= 256 else np.uint32
    table = np.zeros(top + 1, dtype=kind)  # Untouched pages of a large table cost nothing.
    table[values] = np.arange(len(values), dtype=kind)
    return values, table[mask]


def _colors_of(values: np.ndarray, palette: np.ndarray) -> np.ndarray:
    """Colours of palette indices; an index beyond the palette is black."""
    padded = np.zeros(max(256, len(palette)), dtype=np.uint32)
    padded[: len(palette)] = palette
    return np.asarray(padded[values])


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DatasetError(f"{path} cannot be read: {error.strerror or error}.") from error
