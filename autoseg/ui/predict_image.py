"""One image to predict on the Predict tab: whence it comes, how, and its kept result."""

import contextlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from autoseg.data.images import read_image
from autoseg.errors import AutosegError, PredictionError
from autoseg.text import clean_name
from autoseg.ui.access import Access
from autoseg.ui.predict_examples import Example, examples
from autoseg.ui.predict_models import (
    ChosenModel,
    dataset_of,
    find_model,
    load,
    original_of,
    segment,
)
from autoseg.ui.results import Result, ResultInfo, ResultStore
from autoseg.workspace import Workspace

Values = dict[str, Any]
"""What a callback changes, by the name of the component."""


@dataclass(frozen=True)
class Desk:
    """What the actions work with."""

    workspace: Workspace
    access: Access
    results: ResultStore


@dataclass(frozen=True)
class Given:
    """An image that somebody gave: uploaded, or one of the examples."""

    path: Path
    name: str
    """What it is called in results."""
    run: str = ""
    """Run whose example it is; "": it was uploaded."""
    example: Example | None = None
    """That example."""


@dataclass(frozen=True)
class Options:
    """How to predict."""

    flip: bool = False
    """Whether to average with the mirrored image."""
    tile_px: int | None = None
    """Longest side of a tile; None: as large as is sensible."""


def uploaded(path: str) -> Given:
    """An image that was uploaded, pasted or photographed."""
    return Given(Path(path), file_name(Path(path).stem))


def example_given(desk: Desk, name: str | None, index: object) -> Given:
    """The example at a position of the gallery.

    Raises:
        PredictionError: There is none.
    """
    model = find_model(desk.workspace, desk.access, name)
    offered = examples(model.run)
    if model.run is None or not isinstance(index, int) or not 0 <= index < len(offered):
        raise PredictionError("This example is no longer there.")
    return given_example(offered[index], model.run.name)


def given_example(example: Example, run: str) -> Given:
    """An example of a run as an image to predict."""
    return Given(example.sample.image_path, file_name(example.sample.name), run, example)


def file_name(text: str) -> str:
    """A name for files; an image whose own name is all signs is called "image"."""
    try:
        return clean_name(text)
    except AutosegError:
        return "image"


def predict_one(desk: Desk, model: ChosenModel, given: Given, options: Options) -> Result:
    """Predict one image and keep the result.

    Raises:
        AutosegError: The model or the image cannot be used, or the disk is full.
    """
    predictor = load(model)
    try:
        pixels = read_image(given.path)
    except AutosegError as error:
        raise PredictionError(str(error)) from error
    prediction = segment(predictor, pixels, flip=options.flip, tile_px=options.tile_px)
    dataset = dataset_of(desk.workspace, model.run)
    info = ResultInfo(
        name=given.name,
        model=model.name,
        classes=predictor.bundle.info.classes,
        seconds=prediction.seconds,
        uncertainty=prediction.uncertainty,
        dataset=dataset,
        example_of=given.run,
    )
    if given.example is not None:
        same = _class_names(desk, given.run) == predictor.class_names
        sample = given.example.sample.name
        info = replace(info, sample=sample, has_truth=same and given.example.coding is not None)
        run = desk.workspace.named_run(given.run)
        if dataset and dataset == dataset_of(desk.workspace, run):
            info = replace(info, original=original_of(desk.workspace, run, sample))
    return desk.results.add(prediction, pixels, given.path, info)


def _class_names(desk: Desk, run: str) -> tuple[str, ...]:
    """Names of a run's classes, in the order of its mask values."""
    return load(find_model(desk.workspace, desk.access, run)).class_names


def example_of(desk: Desk, result: Result) -> Given | None:
    """The example that a result is of; None: it is of another image, or of none any longer."""
    with contextlib.suppress(AutosegError):
        run = result.info.example_of
        for each in examples(desk.workspace.named_run(run)) if run else ():
            if each.sample.name == result.info.sample:
                return given_example(each, run)
    return None


def ground_truth(desk: Desk, result: Result) -> np.ndarray:
    """The ground truth of an example, (H, W) uint8 class indices, 255 where ignored.

    Raises:
        PredictionError: It is no longer there, or does not fit the image any more.
    """
    given = example_of(desk, result)
    truth = given.example.truth() if given and given.example else None
    if truth is None or truth.shape != result.mask().shape:
        raise PredictionError(
            f"The ground truth of {result.info.name} can no longer be read: its run was deleted, "
            f"or its file was moved or changed since that began."
        )
    return truth
