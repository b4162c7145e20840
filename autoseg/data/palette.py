"""Colours of classes: a default that the colour-blind can tell apart too, and the user's own."""

import re
from collections.abc import Mapping
from dataclasses import replace
from functools import cache

import numpy as np

from autoseg.config import ClassInfo, Color
from autoseg.errors import DatasetError

_FIRST: tuple[Color, ...] = (
    *((0, 0, 0), (230, 159, 0), (86, 180, 233), (0, 158, 115)),
    *((240, 228, 66), (0, 114, 178), (213, 94, 0), (204, 121, 167)),
)
"""Source: Okabe and Ito 2008."""

_LEVELS = (0, 36, 73, 109, 146, 182, 219, 255)
"""Channel values of the colours from which more are chosen."""

_LINEAR_TO_LMS = np.asarray(
    [[17.8824, 43.5161, 4.11935], [3.45565, 27.1554, 3.86714], [0.0299566, 0.184309, 1.46709]]
)
_DEUTERANOPE = np.asarray([[1, 0, 0], [0.494207, 0, 1.24827], [0, 0, 1]])
"""Colours as those see them who lack the receptor for green. Source: Vienot et al. 1999."""

_LINEAR_TO_CONES = np.asarray(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
)
_CONES_TO_OKLAB = np.asarray(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
)
"""Source: Ottosson 2020, "A perceptual color space for image processing"."""


@cache
def default_palette(number: int) -> tuple[Color, ...]:
    """Colours that differ well, for the colour-blind too; the first is black.

    The first eight are Okabe's and Ito's. Each further one is that which lies farthest from all
    before it, to those who see all colours and to those who lack the receptor for green.
    """
    steps = np.stack(np.meshgrid(_LEVELS, _LEVELS, _LEVELS, indexing="ij"), -1).reshape(-1, 3)
    first = np.asarray(_FIRST)
    chosen = list(_FIRST[:number])
    if number > len(chosen):
        free = appearance(steps)
        nearest = _distances(free, appearance(first)).min(axis=1)
        while len(chosen) < number:
            best = int(nearest.argmax())
            red, green, blue = (int(channel) for channel in steps[best])
            chosen.append((red, green, blue))
            nearest = np.minimum(nearest, _distances(free, free[best : best + 1])[:, 0])
    return tuple(chosen)


def appearance(colors: np.ndarray) -> np.ndarray:
    """Colours (N, 3) in [0, 255] -> (N, 2, 3) OKLab: as most people and as deuteranopes see."""
    share = np.asarray(colors, dtype=np.float64) / 255
    linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    to_deuteranope = np.linalg.inv(_LINEAR_TO_LMS) @ _DEUTERANOPE @ _LINEAR_TO_LMS
    seen = np.stack([linear, np.clip(linear @ to_deuteranope.T, 0, 1)], axis=1)
    return np.asarray(np.cbrt(seen @ _LINEAR_TO_CONES.T) @ _CONES_TO_OKLAB.T)


def _distances(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """(N, 2, 3) and (M, 2, 3) -> (N, M): the smaller of both distances."""
    between = first[:, None] - second[None]
    return np.asarray(np.sqrt((between**2).sum(axis=-1)).min(axis=-1))


def with_colors(classes: ClassInfo, colors: Mapping[str, str]) -> ClassInfo:
    """The classes with the colours that the user chose.

    Args:
        classes: Names and colours so far.
        colors: Class name -> "#rrggbb"; the others keep theirs.

    Raises:
        DatasetError: There is no class of that name, or it is no colour.
    """
    chosen = dict(zip(classes.names, classes.palette, strict=True))
    for name, text in colors.items():
        if name not in chosen:
            raise DatasetError(
                f"The colour {text} is for the class {name!r}, which the data set does not have: "
                f"{', '.join(classes.names[:8])}{', ...' if len(classes.names) > 8 else ''}."
            )
        chosen[name] = parse_color(text)
    return replace(classes, palette=tuple(chosen[name] for name in classes.names))


def parse_color(text: str) -> Color:
    """Read "#ff0000".

    Raises:
        DatasetError: It is no colour.
    """
    if not re.fullmatch(r"#[0-9a-fA-F]{6}", text):
        raise DatasetError(f"{text!r} is no colour. Write it like #ff0000 (red, green, blue).")
    return int(text[1:3], 16), int(text[3:5], 16), int(text[5:7], 16)


def format_color(color: Color) -> str:
    """A colour as "#ff0000"."""
    return "#{:02x}{:02x}{:02x}".format(*color)
