"""The pictures of a prediction as files: the image for browsers, exact grey PNGs for its maps."""

import zlib
from pathlib import Path

import numpy as np
from PIL import Image

from autoseg.config import ClassInfo
from autoseg.data.images import exif_orientation, image_suffix, read_mask, write_jpeg
from autoseg.errors import DatasetError, PredictionError
from autoseg.prediction import Prediction

DRAWN_BY_BROWSERS = (".png", ".jpg", ".jpeg", ".webp")
"""Suffixes of images that browsers draw."""

MAX_SHOWN_CONFIDENCE_PX = 6_000_000
"""The browser gets the confidence of larger images at half their size: it is for looking at."""

THUMBNAIL_PX = 320
"""Longest side of a thumbnail."""

_JPEG_QUALITY = 95
_PNG_DEPTH_AT = 24
"""Place of the bits per channel in a PNG file. Source: PNG specification, IHDR."""


def write_png(values: np.ndarray, path: Path) -> None:
    """Write (H, W) uint8 as a grey PNG without anything beside the pixels, fast."""
    image = Image.fromarray(values)
    image.save(path, format="PNG", compress_level=1, compress_type=zlib.Z_RLE)


def read_index_png(path: Path) -> np.ndarray:
    """Read a grey PNG that `write_png` wrote, (H, W) uint8.

    Raises:
        PredictionError: It is gone, or no such file.
    """
    try:
        mask = read_mask(path)
    except DatasetError as error:
        raise PredictionError(f"{path.name} cannot be read: {error}") from error
    if mask.kind != "gray" or mask.values.dtype != np.uint8:
        raise PredictionError(f"{path.name} is no 8-bit grey PNG.")
    return mask.values


def draw_thumbnail(pixels: np.ndarray, mask: np.ndarray, classes: ClassInfo, path: Path) -> None:
    """Draw an image under its mask, small, as a JPEG.

    Args:
        pixels: (H, W, 3) uint8.
        mask: (H, W) uint8 class indices, 255 where the image is left bare.
        classes: Names and colours.
        path: The file.
    """
    image = Image.fromarray(pixels)
    image.thumbnail((THUMBNAIL_PX, THUMBNAIL_PX))
    small = np.asarray(Image.fromarray(mask).resize(image.size, Image.Resampling.NEAREST))
    sure = np.ones(small.shape, np.float16)
    prediction = Prediction(small, sure, classes.names, classes.palette)
    write_jpeg(prediction.overlay_image(np.asarray(image)), path)


def write_image(source: Path, pixels: np.ndarray, folder: Path) -> tuple[str, str]:
    """The image as browsers draw it, upright, and its file as it came; names of both files."""
    data = source.read_bytes()
    suffix = image_suffix(data) or source.suffix.lower()
    deep = suffix == ".png" and data[_PNG_DEPTH_AT] == 16
    given = f"image{suffix}"
    (folder / given).write_bytes(data)
    if suffix in DRAWN_BY_BROWSERS and not deep and exif_orientation(data, source) == 1:
        return given, given
    write_jpeg(pixels, folder / "shown.jpg", quality=_JPEG_QUALITY)
    return "shown.jpg", given


def write_confidence(prediction: Prediction, folder: Path) -> str:
    """The confidence at full size, and small enough for a browser; the latter's name."""
    steps = prediction.confidence_image()
    write_png(steps, folder / "confidence.png")
    if steps.size <= MAX_SHOWN_CONFIDENCE_PX:
        return "confidence.png"
    small = Image.fromarray(steps).reduce(2)
    write_png(np.asarray(small), folder / "shown-confidence.png")
    return "shown-confidence.png"
