"""One pair decoded once: the facts from which values are read, splits made and sizes planned."""

import hashlib
from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from autoseg.data.formats import Sample
from autoseg.data.images import (
    RawMask,
    decode_mask,
    decode_upright,
    histogram,
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

_BASE = (48, 144)
"""Size of which thumbnail (16 x 16) and hash (8 x 9 areas) are exact averages, in pixels."""


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
    """sha256 of the image's file."""
    thumbnail: np.ndarray
    """Grey (`THUMBNAIL_SIDE`, `THUMBNAIL_SIDE`) uint8."""
    dhash: int
    """Difference hash of 64 bits."""

    def without(self, values: Collection[int]) -> "PairFacts":
        """The same but for some raw values."""
        kept = ~np.isin(self.values, list(values))
        return replace(
            self,
            values=self.values[kept],
            counts=self.counts[kept],
            edges=self.edges[kept],
            pair_edges=None if self.pair_edges is None else self.pair_edges[kept][:, kept],
            palette=None if self.palette is None else self.palette[kept],
        )


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
        image, orientation = decode_upright(image_data, sample.image_path)
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
    small, dhash = resemblance(image)
    image_digest = hashlib.sha256(image_data).digest()
    digest = hashlib.sha256(image_digest + hashlib.sha256(mask_data).digest())
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
        image_digest=image_digest,
        thumbnail=small,
        dhash=dhash,
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
        f"{_short(sample.mask_path)} is {width}x{height} pixels but its image "
        f"{_short(sample.image_path)} is {size[1]}x{size[0]}. "
        f"Resize the mask with nearest-neighbour interpolation, or remove the pair."
    )


def _short(path: Path) -> str:
    """A file with its folder, as an image and its mask often have one name."""
    return f"{path.parent.name}/{path.name}"


def count_values(
    mask: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray | None]:
    """Values (V,), their pixels, their edges to other values, and edges between each two."""
    values, counts, indices = _compact(mask)
    number = len(values)
    pairs = number <= MAX_PAIR_VALUES
    edges = np.zeros((number, number) if pairs else number, dtype=np.int64)
    flat, width = indices.ravel(), indices.shape[1]
    for step in (1, width):
        different = flat[step:] != flat[:-step]
        if step == 1:
            different[width - 1 :: width] = False  # The next pixel is in the next row.
        places = np.flatnonzero(different)
        first, second = flat[places], flat[places + step]
        if pairs:
            code = first.astype(np.intp) * number + second
            between = np.bincount(code, minlength=number**2).reshape(number, number)
            edges += between + between.T
        else:
            edges += np.bincount(first, minlength=number) + np.bincount(second, minlength=number)
        if width == 1:
            break
    values = values.astype(np.uint32)
    if pairs:
        return values, counts, edges.sum(axis=1), edges
    return values, counts, edges, None


def resemblance(image: np.ndarray) -> tuple[np.ndarray, int]:
    """Grey thumbnail (`THUMBNAIL_SIDE`, `THUMBNAIL_SIDE`) uint8, and difference hash of 64 bits.

    A bit says whether one of 8 x 8 areas is darker than its right neighbour.
    """
    base = thumbnail(image, _BASE[0], _BASE[1]).astype(np.float32)
    small = _shrink(base, THUMBNAIL_SIDE, THUMBNAIL_SIDE)
    areas = _shrink(base, 8, 9)
    bits = np.packbits(areas[:, 1:] > areas[:, :-1])
    return np.round(small).astype(np.uint8), int.from_bytes(bits.tobytes(), "big")


def _shrink(base: np.ndarray, height: int, width: int) -> np.ndarray:
    cells = base.reshape(height, base.shape[0] // height, width, base.shape[1] // width)
    return np.asarray(cells.mean(axis=(1, 3)))


def _compact(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Ascending values (V,), their pixels (V,), and the mask as positions in the values."""
    if mask.dtype == np.uint8:
        counts = histogram(mask)
        values = np.flatnonzero(counts)
        if values[-1] == len(values) - 1:
            return values, counts[values], mask
        table = np.zeros(256, dtype=np.uint8)
        table[values] = np.arange(len(values), dtype=np.uint8)
        return values, counts[values], table[mask]
    values = np.unique(mask)
    top = int(values[-1])
    if top >= 2**24:
        indices = np.searchsorted(values, mask)
    else:
        kind = np.uint8 if len(values) <= 256 else np.uint32
        table = np.zeros(top + 1, dtype=kind)  # Untouched pages of a large table cost nothing.
        table[values] = np.arange(len(values), dtype=kind)
        indices = table[mask]
    if indices.dtype == np.uint8:
        return values, histogram(indices)[: len(values)], indices
    return values, np.bincount(indices.ravel(), minlength=len(values)), indices


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
