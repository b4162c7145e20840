"""Pictures for the model card: image, ground truth and prediction, from the best to the worst."""

import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from autoseg.bundle import example_file
from autoseg.config import ClassInfo
from autoseg.metrics import confusion_matrix, iou, mean_present
from autoseg.prediction import Prediction

MAX_EXAMPLES = 4

_PANEL = (396, 480)
"""Largest width and height of one of the three panels, in pixels; a picture is 1200 wide."""

_GAP_PX = 6
_TITLE_PX = 30
_TITLES = ("image", "ground truth", "prediction")
_MAX_ENLARGED = 4.0
_JPEG_QUALITY = 88


@dataclass(frozen=True)
class Example:
    """One held-out image with what the model made of it."""

    picture: bytes
    """A JPEG file, at most 1200 pixels wide."""
    score: float
    """Mean IoU of the classes in the image, in [0, 1]."""
    rank: int
    """Its place among the images of its split, 1 for the best."""


def spread(scores: np.ndarray, count: int = MAX_EXAMPLES) -> list[int]:
    """Images evenly spread over the order of quality: the best, some between, the worst.

    Args:
        scores: (N,) of each image; NaN where an image has no score.
        count: How many; fewer where there are fewer.

    Returns:
        Positions in `scores`, best first; one alone is the one in the middle.
    """
    ordered = [int(i) for i in np.argsort(-scores, kind="stable") if np.isfinite(scores[i])]
    count = min(count, len(ordered))
    if count == 1:
        return [ordered[len(ordered) // 2]]
    return [ordered[round(k * (len(ordered) - 1) / (count - 1))] for k in range(count)]


def image_scores(confusions: np.ndarray) -> np.ndarray:
    """Mean IoU over classes of each image: (N, K, K) -> (N,); NaN where nothing is labelled."""
    return mean_present(iou(confusions))


def make_examples(
    images: Iterable[tuple[np.ndarray, np.ndarray, np.ndarray]],
    ranks: Sequence[int],
    classes: ClassInfo,
) -> tuple[Example, ...]:
    """Draw the examples.

    Args:
        images: Image (H, W, 3), ground truth (H, W) and prediction (H, W) of each, all uint8.
        ranks: Place of each in the order of quality.
        classes: Names and colours.
    """
    examples = []
    for (image, truth, found), rank in zip(images, ranks, strict=True):
        matrix = confusion_matrix(truth, found, classes.num_classes)
        score = float(image_scores(matrix[None])[0])
        examples.append(Example(draw_example(image, truth, found, classes), score, rank))
    return tuple(examples)


def draw_example(
    image: np.ndarray, truth: np.ndarray, found: np.ndarray, classes: ClassInfo
) -> bytes:
    """Image, ground truth and prediction side by side in the palette's colours, as a JPEG file.

    Pixels of the ground truth that neither train nor score show the bare image.
    """
    height, width = truth.shape
    factor = min(_PANEL[0] / width, _PANEL[1] / height, _MAX_ENLARGED)
    size = max(1, round(width * factor)), max(1, round(height * factor))
    # At the size of the panel, so that outlines stay visible.
    small = Image.fromarray(image).resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0)
    pixels = np.asarray(small)
    panels = [pixels, *(_overlay(pixels, mask, classes) for mask in (truth, found))]
    return _side_by_side(panels, size)


def image_of(picture: np.ndarray) -> np.ndarray:
    """The image alone of a picture that `draw_example` drew; any other picture as it is.

    Args:
        picture: (h, w, 3) uint8.
    """
    width, rest = divmod(picture.shape[1] - (len(_TITLES) - 1) * _GAP_PX, len(_TITLES))
    if rest or width < 1 or picture.shape[0] <= _TITLE_PX:
        return picture
    return picture[_TITLE_PX:, :width].copy()  # A view would keep the whole picture in memory.


def example_facts(examples: Sequence[Example], split: str, n_images: int) -> list[dict[str, Any]]:
    """What the report says of the examples, without anything of the user's files."""
    return [
        {
            "file": example_file(number),
            "split": split,
            "rank": example.rank,
            "n_images": n_images,
            "score": round(example.score, 4) if np.isfinite(example.score) else None,
        }
        for number, example in enumerate(examples, start=1)
    ]


def _overlay(pixels: np.ndarray, mask: np.ndarray, classes: ClassInfo) -> np.ndarray:
    """Panel (h, w, 3) under the colours of a mask of any size."""
    height, width = pixels.shape[:2]
    resized = Image.fromarray(mask).resize((width, height), Image.Resampling.NEAREST)
    small = np.asarray(resized)
    prediction = Prediction(
        small, np.zeros(small.shape, np.float16), classes.names, classes.palette
    )
    return prediction.overlay_image(pixels)


def _side_by_side(panels: Sequence[np.ndarray], size: tuple[int, int]) -> bytes:
    """Panels in a row under their titles, as a JPEG file."""
    width, height = size
    sheet = Image.new(
        "RGB", (len(panels) * width + (len(panels) - 1) * _GAP_PX, height + _TITLE_PX), "white"
    )
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(20)
    for k, (panel, title) in enumerate(zip(panels, _TITLES, strict=True)):
        left = k * (width + _GAP_PX)
        if draw.textlength(title, font=font) <= width:
            draw.text((left + 2, 3), title, fill=(60, 60, 60), font=font)
        sheet.paste(Image.fromarray(panel), (left, _TITLE_PX))
    content = io.BytesIO()
    sheet.save(content, format="JPEG", quality=_JPEG_QUALITY, optimize=True)
    return content.getvalue()
