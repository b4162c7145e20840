"""The files and the table of one predicted image, as every page that predicts shows them."""

import shutil
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from autoseg.config import Color
from autoseg.data.images import write_jpeg
from autoseg.prediction import Prediction, output_path

_DRAWN_BY_BROWSERS = (".png", ".jpg", ".jpeg", ".webp")
_KEPT_RESULTS = 20


@dataclass(frozen=True)
class ResultFiles:
    """What is written of one prediction."""

    image: Path
    """The image, in a format that browsers draw."""
    overlay: Path
    """JPEG of the image under its mask."""
    mask: Path
    """8-bit grey PNG of class indices."""
    coco: Path
    """JSON with the region of each class as COCO's compressed RLE."""


def write_result(
    prediction: Prediction, pixels: np.ndarray, source: Path, folder: Path
) -> ResultFiles:
    """Write what a page shows and offers of a prediction.

    Args:
        prediction: The prediction.
        pixels: (H, W, 3) uint8, the image it was made of.
        source: File of that image, whose name the results take.
        folder: Where to, a folder of this prediction alone.

    Raises:
        PredictionError: A file cannot be written.
    """
    mask = output_path(folder, source.stem, "index")
    prediction.save_index_png(mask)
    coco = output_path(folder, source.stem, "coco")
    replace(prediction, source=source).save_coco(coco)
    overlay = folder / f"{source.stem}.overlay.jpg"
    write_jpeg(prediction.overlay_image(pixels), overlay)
    if source.suffix.lower() not in _DRAWN_BY_BROWSERS:
        source = folder / f"{source.stem}.jpg"
        write_jpeg(pixels, source)
    return ResultFiles(source, overlay, mask, coco)


def class_areas(
    prediction: Prediction,
) -> Iterator[tuple[str, Color, float, int, float | None]]:
    """Name, colour, share, pixels and mean confidence of each class, the largest first."""
    for row in class_rows(prediction):
        yield row["name"], row["color"], row["share"], row["pixels"], row["confidence"]


def class_rows(prediction: Prediction) -> list[dict[str, Any]]:
    """Index, name, RGB colour, share, pixels and mean confidence of each class, largest first."""
    count = len(prediction.class_names)
    mask = prediction.mask.ravel()
    pixels = np.bincount(mask, minlength=count)
    sums = np.bincount(mask, weights=prediction.confidence.ravel(), minlength=count)
    return [
        {
            "index": k,
            "name": prediction.class_names[k],
            "color": prediction.palette[k],
            "share": float(pixels[k] / mask.size),
            "pixels": int(pixels[k]),
            "confidence": float(sums[k] / pixels[k]) if pixels[k] else None,
        }
        for k in sorted(range(count), key=lambda k: -pixels[k])
    ]


def new_folder(results: Path) -> Path:
    """A folder for what is made of one image; Gradio copies files, so old ones are removed."""
    folders = sorted(results.iterdir(), key=lambda folder: folder.stat().st_mtime)
    for folder in folders[: -_KEPT_RESULTS or None]:
        shutil.rmtree(folder, ignore_errors=True)
    folder = results / uuid.uuid4().hex
    folder.mkdir()
    return folder
