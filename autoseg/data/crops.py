"""Pictures of one mask value: the part of an image where there is most of it, outlined."""

import numpy as np
from PIL import Image

from autoseg.data.coding import to_space
from autoseg.data.dataset import read_raw_mask
from autoseg.data.formats import Sample
from autoseg.data.images import read_image

CROP_SIZE = (120, 160)
"""Most height and width of a crop as drawn, in pixels."""

_LEAST_SIDE = 40
_CELLS = 96
"""The window is looked for on a grid of at most so many cells a side."""

_DIMMED = 0.5
"""Brightness of what does not have the value."""


def draw_value(sample: Sample, raw: str) -> np.ndarray:
    """The part of an image where its mask has most of a value, (h, w, 3) uint8, outlined.

    Args:
        sample: An image whose mask has the value.
        raw: The value ("17") or colour ("#ff0000") as verdicts and questions write it.

    Raises:
        DatasetError: A file no longer decodes or fits.
    """
    has_value = where_value(sample, raw)
    top, left, height, width = densest_window(has_value)
    part = np.s_[top : top + height, left : left + width]
    factor = min(CROP_SIZE[0] / height, CROP_SIZE[1] / width)
    size = max(1, round(width * factor)), max(1, round(height * factor))
    image = Image.fromarray(np.ascontiguousarray(read_image(sample.image_path)[part]))
    inside = Image.fromarray(np.ascontiguousarray(has_value[part]))
    return outlined(
        np.asarray(image.resize(size, Image.Resampling.BILINEAR)),
        np.asarray(inside.resize(size, Image.Resampling.NEAREST)),
    )


def where_value(sample: Sample, raw: str) -> np.ndarray:
    """(H, W) bool: where the mask of a sample has a raw value or colour."""
    mask = read_raw_mask(sample)
    is_color = raw.startswith("#")
    wanted = int(raw[1:], 16) if is_color else int(raw)
    found = np.unique(mask.values)
    meant = to_space(found, mask.kind, mask.palette, "colors" if is_color else "values")
    return np.isin(mask.values, found[meant == wanted])


def densest_window(inside: np.ndarray) -> tuple[int, int, int, int]:
    """Top, left, height and width of the window that holds most of (H, W) bool, about 4 to 3.

    It is about twice as long as a square of all those pixels would be, so that what surrounds them
    is seen too.
    """
    height, width = inside.shape
    side = max(_LEAST_SIDE, 2 * float(np.count_nonzero(inside)) ** 0.5)
    shape = min(height, round(side)), min(width, round(side * 4 / 3))
    cell = -(-max(height, width) // _CELLS)
    rows, columns = -(-height // cell), -(-width // cell)
    padded = np.zeros((rows * cell, columns * cell), dtype=np.int64)
    padded[:height, :width] = inside
    counts = padded.reshape(rows, cell, columns, cell).sum(axis=(1, 3))
    sums = np.zeros((rows + 1, columns + 1), dtype=np.int64)
    sums[1:, 1:] = counts.cumsum(axis=0).cumsum(axis=1)
    high, wide = min(rows, -(-shape[0] // cell)), min(columns, -(-shape[1] // cell))
    held = sums[high:, wide:] - sums[:-high, wide:] - sums[high:, :-wide] + sums[:-high, :-wide]
    first = np.unravel_index(int(held.argmax()), held.shape)
    top, left = int(first[0]) * cell, int(first[1]) * cell
    ys, xs = np.nonzero(inside[top : top + shape[0], left : left + shape[1]])
    if len(ys):  # What was found belongs into the middle.
        top += round(float(ys.min() + ys.max() + 1 - shape[0]) / 2)
        left += round(float(xs.min() + xs.max() + 1 - shape[1]) / 2)
    top = min(max(0, top), height - shape[0])
    left = min(max(0, left), width - shape[1])
    return top, left, *shape


def outlined(image: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """An image (H, W, 3) uint8, darker outside of (H, W) bool, with a white and black line."""
    drawn = np.where(inside[:, :, None], image, image * _DIMMED).astype(np.uint8)
    core, near = inside.copy(), inside.copy()
    for axis in (0, 1):
        for step in (1, -1):
            moved = np.roll(inside, step, axis=axis)
            edge = (0 if step == 1 else -1,) if axis == 0 else (slice(None), 0 if step == 1 else -1)
            moved[edge] = inside[edge]  # Nothing comes in from the other side.
            core &= moved
            near |= moved
    drawn[near & ~inside] = 0
    drawn[inside & ~core] = 255
    return drawn
