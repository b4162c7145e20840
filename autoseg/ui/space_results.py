"""What a Space makes of one image: a prediction per model, its files, its answers to programs."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np

from autoseg.config import Color
from autoseg.data.images import read_image, write_jpeg
from autoseg.errors import AutosegError, PredictionError
from autoseg.prediction import Prediction, output_path
from autoseg.ui.result_files import DRAWN_BY_BROWSERS
from autoseg.ui.results import class_rows, new_folder
from autoseg.ui.space_models import Models, SpaceModel


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
    if source.suffix.lower() not in DRAWN_BY_BROWSERS:
        source = folder / f"{source.stem}.jpg"
        write_jpeg(pixels, source)
    return ResultFiles(source, overlay, mask, coco)


def class_areas(
    prediction: Prediction,
) -> Iterator[tuple[str, Color, float, int, float | None]]:
    """Name, colour, share, pixels and mean confidence of each class, the largest first."""
    for row in class_rows(prediction):
        yield row["name"], row["color"], row["share"], row["pixels"], row["confidence"]


@dataclass(frozen=True)
class Result:
    """What one model made of one image."""

    model: SpaceModel
    prediction: Prediction | None = None
    files: ResultFiles | None = None
    problem: str = ""
    """Why there is no prediction; "" where there is one."""


def predict_all(
    models: Models, results: Path, image: str | None, *, flip: bool = False
) -> list[Result]:
    """Predict one image with every model and write the files of each prediction.

    Args:
        models: The models.
        results: Folder for the files; those of earlier predictions are removed.
        image: File of the image.
        flip: Average with the mirrored image.

    Raises:
        AutosegError: There is no image, it cannot be read, or a file cannot be written.
    """
    if not image:
        raise PredictionError("There is no image. Upload one, or click an example.")
    source = Path(image)
    pixels = read_image(source)
    answers = models.predict(pixels, flip=flip)
    made = []
    folder = new_folder(results)
    for number, (model, answer) in enumerate(zip(models.all, answers, strict=True)):
        if isinstance(answer, str):
            made.append(Result(model, problem=answer))
            continue
        place = folder / str(number)  # One folder a model would push out those of the first.
        place.mkdir()
        files = write_result(answer, pixels, source, place)
        made.append(Result(model, answer, files))
    return made


def description(result: Result) -> dict[str, Any]:
    """A result as the API gives it: the classes of the image, the largest first."""
    if result.prediction is None:
        return {"model": result.model.name, "error": result.problem}
    height, width = result.prediction.mask.shape
    return {
        "model": result.model.name,
        "width": width,
        "height": height,
        "seconds": round(result.prediction.seconds, 4),
        "classes": class_rows(result.prediction),
    }


def answer_predict(
    models: Models, results: Path, image: str | None, flip: bool
) -> tuple[str, dict[str, Any]]:
    """What `/predict` answers: the mask of the first model, and the classes in it.

    Raises:
        gr.Error: There is no prediction; the text says why.
    """
    result = _predict_or_refuse(models, results, image, flip)[0]
    if result.files is None:
        raise gr.Error(result.problem, print_exception=False)
    return str(result.files.mask), description(result)


def answer_compare(
    models: Models, results: Path, image: str | None, flip: bool
) -> tuple[list[str], list[dict[str, Any]]]:
    """What `/compare` answers: masks, and per model its classes and the position of its mask.

    Raises:
        gr.Error: The image cannot be read; the text says why.
    """
    made = _predict_or_refuse(models, results, image, flip)
    masks: list[str] = []
    described = []
    for result in made:
        position = None
        if result.files is not None:
            position = len(masks)
            masks.append(str(result.files.mask))
        described.append({**description(result), "mask": position})
    return masks, described


def _predict_or_refuse(
    models: Models, results: Path, image: str | None, flip: bool
) -> list[Result]:
    try:
        return predict_all(models, results, image, flip=flip)
    except AutosegError as error:
        raise gr.Error(str(error), print_exception=False) from error
