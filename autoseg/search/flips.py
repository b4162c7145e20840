"""Which flips of an image leave its classes what they are."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from autoseg.config import FlipName
from autoseg.data.cache import Cache

_SAMPLE = 200
"""Masks read to learn which way is up and which classes keep to a side."""

_LEAST_IMAGES = 8
"""Images from which a habit of a class can be told from chance."""

_PLACE_OFFSET = 0.03
"""Mean distance from the middle, as a share of the side, from which a class has a place."""

_CONSTANT_SHARE = 0.9
"""Share of images in which a class that keeps to a side is on that side."""

_SIDES = frozenset(
    "left right links rechts gauche droite izquierda izquierdo derecha derecho sinistra sinistro "
    "destra destro esquerda esquerdo direita direito".split()
)
"""Words for the sides in names of classes."""

_SIDE_SIGNS = ("左", "右")
"""The same in Chinese and Japanese, which write no spaces."""

_SHORT_SIDES = ({"l", "r"}, {"lt", "rt"}, {"lh", "rh"})
"""Short forms; alone they may mean anything, so both must be there beside the same words."""


@dataclass(frozen=True)
class Place:
    """Where one class lies, image by image."""

    across: np.ndarray
    """Distance right of the middle as a share of the width, (n,), of the images that have it."""
    down: np.ndarray
    """Distance below the middle as a share of the height, (n,)."""
    area: np.ndarray
    """Share of the image, (n,)."""

    @property
    def leans(self) -> bool:
        """Whether it keeps to the upper or the lower part."""
        return len(self.down) > 0 and abs(self.down.mean()) > _PLACE_OFFSET

    @property
    def side(self) -> int:
        """-1 where it keeps to the left, 1 to the right, 0 to neither."""
        if len(self.across) < _LEAST_IMAGES or abs(self.across.mean()) <= _PLACE_OFFSET:
            return 0
        sign = int(np.sign(self.across.mean()))
        return sign if (np.sign(self.across) == sign).mean() >= _CONSTANT_SHARE else 0


def choose_flip(class_names: Sequence[str], cache: Cache, indices: Sequence[int]) -> FlipName:
    """The flips that leave images such as the data set's.

    None where a class is left or right by its name, or where two classes look like each other's
    mirror image: nobody could say then which of the two is in a mirrored image. Upside down only
    where no class keeps to the top or bottom: microscopes and satellites, not streets.

    Args:
        class_names: Names of the classes.
        cache: Masks at working size.
        indices: Images to look at; a spread sample of them is read.
    """
    if named_by_side(class_names):
        return "none"
    chosen = list(indices)[:: max(1, len(indices) // _SAMPLE)]
    places = find_places([cache.mask(i) for i in chosen], len(class_names))
    if any(are_twins(*pair) for pair in combinations(places.values(), 2)):
        return "none"
    return "horizontal" if any(place.leans for place in places.values()) else "both"


def named_by_side(class_names: Sequence[str]) -> bool:
    """Whether names say that a class is the left or the right one of something."""
    words = [re.findall(r"[^\W\d_]+", name.lower()) for name in class_names]
    if any(_SIDES.intersection(each) for each in words):
        return True
    if any(sign in name for sign in _SIDE_SIGNS for name in class_names):
        return True
    for short in _SHORT_SIDES:
        bare = [tuple(w for w in each if w not in short) for each in words if short & set(each)]
        if len(bare) > len(set(bare)):
            return True
    return False


def find_places(masks: Sequence[np.ndarray], num_classes: int) -> Mapping[int, Place]:
    """Where each class lies that is in any image.

    Args:
        masks: Class indices, each (h, w) uint8.
        num_classes: Number of classes.
    """
    found: dict[int, list[tuple[float, float, float]]] = {}
    for mask in masks:
        height, width = mask.shape
        down = (np.arange(height) + 0.5) / height - 0.5
        across = (np.arange(width) + 0.5) / width - 0.5
        for k in range(num_classes):
            there = mask == k
            rows, columns = there.sum(1), there.sum(0)
            if area := int(rows.sum()):
                at = (columns @ across / area, rows @ down / area, area / mask.size)
                found.setdefault(k, []).append(at)
    return {k: Place(*np.array(rows, np.float64).T) for k, rows in found.items()}


def are_twins(one: Place, other: Place) -> bool:
    """Whether two classes keep to opposite sides, as high up and as large as each other."""
    if not one.side or one.side != -other.side:
        return False
    larger, smaller = sorted((one.area.mean(), other.area.mean()), reverse=True)
    apart = abs(one.down.mean() - other.down.mean())
    lopsided = abs(one.across.mean() + other.across.mean())
    reach = abs(one.across.mean() - other.across.mean())
    return bool(larger <= 2 * smaller and apart <= 0.1 and lopsided <= 0.5 * reach)
