"""Raw mask values -> class indices, and what a whole set's raw values are."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from autoseg.config import IGNORE_INDEX, Color
from autoseg.data.images import RawMask, histogram
from autoseg.data.scan import PairFacts
from autoseg.errors import DatasetError

Space = Literal["values", "colors"]

_SNAP_BLOCK = 4096


@dataclass(frozen=True)
class MaskCoding:
    """How raw masks map to class indices."""

    space: Space
    """Whether masks are read as grey values and palette indices, or as colours."""
    raw: tuple[int, ...]
    """Known raw values, ascending; colours are packed as 0xRRGGBB."""
    index: tuple[int, ...]
    """Class of each, or `IGNORE_INDEX`."""
    snap: bool = False
    """Whether an unknown value takes the class of the nearest known one."""
    rest: int | None = None
    """Class of every unknown value, where the user gave one."""

    def classes_of(self, values: np.ndarray, where: str) -> np.ndarray:
        """Raw values (V,) -> class indices (V,) uint8.

        Raises:
            DatasetError: A value has no class.
        """
        raw = np.asarray(self.raw, dtype=np.int64)
        index = np.asarray(self.index, dtype=np.uint8)
        values = values.astype(np.int64)
        place = np.minimum(np.searchsorted(raw, values), len(raw) - 1)
        classes = index[place]
        unknown = raw[place] != values
        if not unknown.any():
            return classes
        if self.rest is not None:
            classes[unknown] = self.rest
        elif self.snap:
            classes[unknown] = index[nearest(values[unknown], raw, self.space)]
        else:
            value = format_raw(int(values[unknown][0]), self.space)
            raise DatasetError(
                f"{where} holds the value {value}, which has no class. "
                f"Add it to the class list or the mapping, or correct the mask."
            )
        return classes

    def apply(self, mask: RawMask, where: str) -> np.ndarray:
        """Raw mask -> (H, W) uint8 of class indices; `where` names the file in errors.

        Raises:
            DatasetError: A value has no class.
        """
        values = mask.values
        if values.dtype == np.uint8:
            found = np.flatnonzero(histogram(values))
        else:
            found = np.unique(values)
        classes = self.classes_of(to_space(found, mask.kind, mask.palette, self.space), where)
        if found[-1] >= 2**24:
            return classes[np.searchsorted(found, values)]
        table = np.zeros(int(found[-1]) + 1, dtype=np.uint8)
        table[found] = classes
        return np.asarray(table[values])


def nearest(values: np.ndarray, known: np.ndarray, space: Space) -> np.ndarray:
    """Position (V,) in `known` of the value or colour nearest to each of `values` (V,)."""
    places = np.empty(len(values), dtype=np.intp)
    targets = _coordinates(known, space)
    for start in range(0, len(values), _SNAP_BLOCK):
        block = _coordinates(values[start : start + _SNAP_BLOCK], space)
        distances = ((block[:, None] - targets[None]) ** 2).sum(axis=2)
        places[start : start + _SNAP_BLOCK] = distances.argmin(axis=1)
    return places


def distances(values: np.ndarray, value: int, space: Space) -> np.ndarray:
    """Distance (V,) of each of `values` to one value, in grey levels (Euclidean for colours)."""
    offset = _coordinates(values, space) - _coordinates(np.asarray([value]), space)
    return np.asarray(np.sqrt((offset.astype(np.float64) ** 2).sum(axis=1)))


def _coordinates(values: np.ndarray, space: Space) -> np.ndarray:
    values = values.astype(np.int64)
    if space == "values":
        return values[:, None]
    return np.stack([values >> 16, values >> 8 & 255, values & 255], axis=1)


def to_space(values: np.ndarray, kind: str, palette: np.ndarray | None, space: Space) -> np.ndarray:
    """Raw values (V,) of one file in the space that the whole set is read in."""
    values = values.astype(np.int64)
    if space == "values" or kind == "color":
        return values
    if kind == "palette":
        assert palette is not None
        padded = np.zeros(max(256, len(palette)), dtype=np.int64)
        padded[: len(palette)] = palette
        return np.asarray(padded[values])
    return np.asarray(np.minimum(values, 255) * 0x010101)


def values_of(fact: PairFacts, space: Space) -> np.ndarray:
    """Raw values (V,) of one scanned mask in the space that the whole set is read in."""
    if fact.palette is not None and space == "colors":
        return fact.palette.astype(np.int64)
    return to_space(fact.values, fact.kind, None, space)


def format_raw(value: int, space: Space) -> str:
    """A raw value for people: "17" or "#ff0000"."""
    return f"#{value:06x}" if space == "colors" else str(value)


def unpack_color(value: int) -> Color:
    """Packed 0xRRGGBB -> (red, green, blue)."""
    return value >> 16 & 255, value >> 8 & 255, value & 255


def pack_color(color: Color) -> int:
    """(red, green, blue) -> packed 0xRRGGBB."""
    return color[0] << 16 | color[1] << 8 | color[2]


@dataclass(frozen=True)
class Totals:
    """The raw values of all masks together."""

    space: Space
    """How the values are to be understood."""
    values: np.ndarray
    """(V,) int64, ascending."""
    pixels: np.ndarray
    """(V,) int64 pixels of each."""
    images: np.ndarray
    """(V,) int64 masks that hold each."""
    edges: np.ndarray
    """(V,) int64 edges between pixels of each and others."""
    first: np.ndarray
    """(V,) position of the first mask that holds each."""
    fullest: np.ndarray
    """(V,) position of the mask that holds most of each."""
    other_pixels: int
    """Pixels of values that were too many to count."""
    lossy: bool
    """Whether any mask's format changes values."""
    palette: dict[int, int]
    """Packed colour of each value, for palette images that agree."""
    files: Sequence[str]
    """Name of each mask."""
    names: Sequence[str]
    """Name of each sample."""

    def file_of(self, value: int) -> str:
        """Name of the first mask that holds a value."""
        return self.files[int(self.first[int(np.searchsorted(self.values, value))])]

    def example_of(self, place: int) -> str:
        """Name of the sample that holds most of the value at a place."""
        return self.names[int(self.fullest[place])]

    def without(self, values: Collection[int]) -> "Totals":
        """The same but for some values."""
        kept = ~np.isin(self.values, list(values))
        counted = ("values", "pixels", "images", "edges", "first", "fullest")
        palette = {value: color for value, color in self.palette.items() if value not in values}
        return replace(self, palette=palette, **{n: getattr(self, n)[kept] for n in counted})

    @property
    def shares(self) -> np.ndarray:
        """(V,) share of all pixels."""
        return np.asarray(self.pixels / (self.pixels.sum() + self.other_pixels))

    @property
    def solid(self) -> np.ndarray:
        """(V,) whether a value fills areas, where mixed colours at edges are thin."""
        return np.asarray(self.edges <= 0.45 * 4 * self.pixels)


def sum_up(
    facts: Sequence[PairFacts], files: Sequence[str], names: Sequence[str] | None = None
) -> Totals:
    """Add up the values of all masks, in the one space in which they agree."""
    palette = _common_palette(facts)
    space: Space = "values"
    kinds = {fact.kind for fact in facts}
    if "color" in kinds or (palette is None and "palette" in kinds):
        space = "colors"
    elif kinds == {"gray", "palette"} and palette is not None:
        grays = np.unique(np.concatenate([f.values for f in facts if f.kind == "gray"]))
        as_gray = set((grays.astype(np.int64) * 0x010101).tolist())
        if set(palette.values()) <= as_gray and not set(palette) <= set(grays.tolist()):
            space = "colors"
    columns = [values_of(fact, space) for fact in facts]
    stacked = np.concatenate(columns)
    owner = np.repeat(np.arange(len(facts)), [len(column) for column in columns])
    values, place = np.unique(stacked, return_inverse=True)
    number = len(values)
    first = np.full(number, len(facts))
    np.minimum.at(first, place, owner)
    pairs = np.unique(place * len(facts) + owner) // len(facts)
    ascending = np.argsort(np.concatenate([fact.counts for fact in facts]), kind="stable")
    fullest = np.zeros(number, dtype=np.int64)
    fullest[place[ascending]] = owner[ascending]  # The last one written has the most.
    return Totals(
        space=space,
        values=values,
        pixels=_sum_by(place, [f.counts for f in facts], number),
        images=np.bincount(pairs, minlength=number),
        edges=_sum_by(place, [f.edges for f in facts], number),
        first=first,
        fullest=fullest,
        other_pixels=sum(fact.other_pixels for fact in facts),
        lossy=any(fact.lossy for fact in facts),
        palette=palette if palette is not None and space == "values" else {},
        files=files,
        names=files if names is None else names,
    )


def _sum_by(place: np.ndarray, columns: list[np.ndarray], number: int) -> np.ndarray:
    total = np.zeros(number, dtype=np.int64)
    np.add.at(total, place, np.concatenate(columns))
    return total


def _common_palette(facts: Sequence[PairFacts]) -> dict[int, int] | None:
    """Colour of each index over all palette images; None where they contradict each other."""
    common: dict[int, int] = {}
    for fact in facts:
        if fact.palette is None:
            continue
        for value, color in zip(fact.values.tolist(), fact.palette.tolist(), strict=True):
            if common.setdefault(value, color) != color:
                return None
    return common


def count_classes(
    fact: PairFacts, coding: MaskCoding, num_classes: int, where: str
) -> tuple[np.ndarray, np.ndarray] | None:
    """Pixels (K,) and boundary edges (K,) of each class in one mask, from its facts.

    None where the mask held too many values to tell which classes touch.
    """
    if fact.pair_edges is None or fact.other_pixels:
        return None
    values = values_of(fact, coding.space)
    classes = coding.classes_of(values, where).astype(np.intp)
    return sum_classes(classes, fact.counts, fact.pair_edges, num_classes)


def sum_classes(
    classes: np.ndarray, counts: np.ndarray, pair_edges: np.ndarray, num_classes: int
) -> tuple[np.ndarray, np.ndarray]:
    """Add up pixels and edges of values whose classes are given (V,); ignored ones are left out."""
    member = classes[:, None] == np.arange(num_classes)[None]  # (V, K)
    pixels = np.where(member, counts[:, None], 0).sum(axis=0)
    touching = (classes[:, None] != classes[None]) & (classes != IGNORE_INDEX)[None]
    edges = np.where(touching, pair_edges, 0).sum(axis=1)
    return pixels, np.where(member, edges[:, None], 0).sum(axis=0)
