"""The working size: how far images can be shrunk before what matters in them is lost."""

from dataclasses import dataclass

import numpy as np

from autoseg.config import MAX_WINDOW_PX, WINDOW_MULTIPLE, DecoderName, Geometry
from autoseg.preprocessing import round_up

OBJECT_WIDTH_PX = 32.0
"""Width that the thinnest class should keep at working size, in pixels."""

SCALE_RANGE = (0.125, 2.0)
"""Images are not shrunk or enlarged beyond this."""

WINDOW_PIXELS = {"cpu": 256 * 256, "cuda": 512 * 512, "mps": 384 * 384}
"""Size of a training window, by device."""

LEAST_WINDOWS, LEAST_WINDOWS_UNET = 1200, 6000
"""Windows a budget should hold before they grow to full size: 150 steps of 8, and 750 with a U-Net,
which draws finer borders in smaller images.

Measured with U-Nets on coffee_leaf and dsb2018 at equal pixels of windows, one seed each, macro /
macro-imagewise IoU (`tests/benchmarks/results/ablations.jsonl`): on 40 million, sides of 160, 128
and 96 pixels gave 91.9 / 90.8, 92.3 / 93.3, 92.8 / 92.8 and 92.0 / 90.4, 92.2 / 90.6, 92.4 / 90.4;
on 120 million, 256, 224 and 160 gave 92.8 / 91.6, 92.6 / 92.5, 93.3 / 92.9 on coffee_leaf, the
latter two 90.9 / 89.7 and 91.2 / 89.8 on dsb2018; on 220 million, 224, 160 and 128 gave 93.8 /
93.4, 93.9 / 94.8, 94.1 / 94.8 and 91.8 / 90.3, 91.9 / 90.4, 92.1 / 90.5. By the clock the smallest
are not as much cheaper: on two cores a step trains on 0.8, 1.0, 1.1 and 1.2 megapixels a second at
sides of 96, 128, 160 and 256.
"""

LEAST_WINDOW_SIDE = 96
"""Windows do not shrink below this side, in pixels."""

MAX_WORKING_PIXELS = {"cpu": 1024 * 1024, "cuda": 2048 * 2048, "mps": 1024 * 1024}
"""Mean image at working size: beyond it scoring takes longer than training."""

_SAME_SIZE_RATIO = 1.5
"""Image sizes within this factor count as one size."""

_CLEARLY_SMALLER = 0.8
"""Share below which one spread is taken to be smaller than another."""

_LEAST_CLASS_SHARE = 1e-4
"""Rarer classes do not decide the working size."""


@dataclass(frozen=True)
class ObjectWidths:
    """How wide objects are, from areas and boundaries."""

    thinnest_px: float
    """Typical (median over images) width of the thinnest class, in pixels of the original."""
    spread_in_pixels: float
    """Standard deviation over images of the log width, of the class with most spread."""
    spread_relative: float
    """The same for widths relative to the image's size."""


def object_widths(
    sizes: np.ndarray, class_pixels: np.ndarray, class_boundary: np.ndarray
) -> ObjectWidths:
    """Measure widths as 4 area / boundary: the diameter of a disk, twice the width of a strip.

    Args:
        sizes: (N, 2), height and width of each image.
        class_pixels: (N, K), area of each class.
        class_boundary: (N, K), pixel edges between each class and others.
    """
    shares = class_pixels.sum(0) / class_pixels.sum()
    classes = [k for k in np.argsort(-shares)[1:] if shares[k] >= _LEAST_CLASS_SHARE]
    medians, absolute, relative = [], [], []
    for k in classes:
        present = class_boundary[:, k] > 0
        if not present.any():
            continue
        widths = 4 * class_pixels[present, k] / class_boundary[present, k]
        medians.append(float(np.median(widths)))
        absolute.append(float(np.std(np.log(widths))))
        sides = np.sqrt(sizes[present].astype(np.float64).prod(1))
        relative.append(float(np.std(np.log(widths / sides))))
    if not medians:
        return ObjectWidths(float(np.median(sizes)), 0.0, 0.0)
    return ObjectWidths(min(medians), float(np.mean(absolute)), float(np.mean(relative)))


def plan_geometry(
    sizes: np.ndarray,
    widths: ObjectWidths,
    device_type: str,
    max_side: int | None = None,
    affordable_pixels: float = float("inf"),
    *,
    decoder_name: DecoderName,
) -> Geometry:
    """Choose working size and window.

    Images are scaled so that the thinnest class keeps `OBJECT_WIDTH_PX`. Images of many sizes are
    brought to one size only where their objects grow with them; else one factor serves all.

    Args:
        sizes: (N, 2), height and width of each image, in pixels.
        widths: Of the same images.
        device_type: "cpu", "cuda" or "mps".
        max_side: Most pixels of the longer side at working size.
        affordable_pixels: Pixels of windows that the budget can train on, all steps together.
        decoder_name: The default recipe's.
    """
    low, high = SCALE_RANGE
    scale = float(np.clip(OBJECT_WIDTH_PX / widths.thinnest_px, low, high))
    mean_pixels = float(sizes.astype(np.float64).prod(1).mean())
    limit = MAX_WORKING_PIXELS.get(device_type, MAX_WORKING_PIXELS["cpu"])
    scale = min(scale, float(np.sqrt(limit / mean_pixels)))
    window_pixels = WINDOW_PIXELS.get(device_type, WINDOW_PIXELS["cpu"])
    least_windows = LEAST_WINDOWS_UNET if decoder_name == "unet" else LEAST_WINDOWS
    if affordable_pixels < least_windows * window_pixels:
        # Rather many small windows of smaller images than a few large ones.
        # In coarse steps, so that two runs on one machine plan alike.
        wanted = int(np.sqrt(affordable_pixels / least_windows)) // WINDOW_MULTIPLE
        side = max(LEAST_WINDOW_SIDE, wanted * WINDOW_MULTIPLE)
        scale *= side / float(np.sqrt(window_pixels))
        window_pixels = side * side
    # Shrinking by a little only blurs.
    scale = 1.0 if 0.9 < scale < 1.1 else round(scale, 3)
    areas = sizes.astype(np.float64).prod(1)
    one_size = areas.max() <= _SAME_SIZE_RATIO * areas.min()
    grows = widths.spread_relative < _CLEARLY_SMALLER * widths.spread_in_pixels
    boxed = grows and not one_size
    typical = np.median(sizes, axis=0)
    if max_side is not None:
        scale = min(scale, max_side / float((typical if boxed else sizes).max()))
    typical = typical * scale
    window = _window(typical, window_pixels)
    if boxed:
        box = tuple(max(1, round(side)) for side in typical)
        return Geometry(window=window, box=(box[0], box[1]))
    return Geometry(window=window, scale=scale)


def _window(typical: np.ndarray, pixels: int) -> tuple[int, int]:
    """The whole typical image if it is not much larger than the window, else a square of it."""
    height, width = (min(round_up(max(1, round(side))), MAX_WINDOW_PX) for side in typical)
    if height * width <= 1.5 * pixels:
        return height, width
    side = int(np.sqrt(pixels))
    short = min(height, width)
    if short >= side:
        return side, side
    long = min(round_up(pixels // short), MAX_WINDOW_PX)
    return (short, long) if height < width else (long, short)
