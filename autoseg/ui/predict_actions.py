"""What the Predict tab does: predict, show, compare, sort; functions of plain values."""

import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np

from autoseg.config import ClassInfo
from autoseg.data.images import read_image
from autoseg.errors import AutosegError, PredictionError
from autoseg.predictor import Predictor
from autoseg.text import clean_name
from autoseg.ui import views
from autoseg.ui.access import Access
from autoseg.ui.predict_examples import Example, examples
from autoseg.ui.predict_models import (
    Choices,
    ChosenModel,
    dataset_of,
    find_model,
    former_model,
    load,
    model_choices,
    original_of,
    segment,
)
from autoseg.ui.results import Result, ResultInfo, ResultStore
from autoseg.ui.served import served_path
from autoseg.ui.texts import tr
from autoseg.workspace import Workspace

Values = dict[str, Any]
"""What a callback changes, by the name of the component."""

MOST_IMAGES = 200
"""Images that one batch may have; `autoseg predict` takes any number."""

MOST_PROBLEMS = 5
"""Problems of a batch that are told one by one."""

TELL_EVERY_S = 3.0
"""Seconds: each answer of a batch takes the progress off the page for a fifth of one."""

NOTHING, TRUTH = "nothing", "truth"
"""Choices to compare with; those of models begin with `_MODEL`."""

_MODEL = "model:"


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
    truth = None
    if given.example is not None:
        if _class_names(desk, given.run) == predictor.class_names:
            truth = _fitting_truth(given.example, prediction.mask)
        run = desk.workspace.named_run(given.run)
        if dataset and dataset == dataset_of(desk.workspace, run):
            info = replace(
                info, original=original_of(desk.workspace, run, given.example.sample.name)
            )
    return desk.results.add(prediction, pixels, given.path, info, truth)


def _class_names(desk: Desk, run: str) -> tuple[str, ...]:
    """Names of a run's classes, in the order of its mask values."""
    return load(find_model(desk.workspace, desk.access, run)).class_names


def _fitting_truth(example: Example, mask: np.ndarray) -> np.ndarray | None:
    truth = example.truth()
    return truth if truth is not None and truth.shape == mask.shape else None


def problem(text: object) -> Values:
    """Why something could not be done."""
    return {"message": gr.update(value=views.error(text), visible=True)}


def predicted(
    desk: Desk,
    name: str | None,
    given: Sequence[Given],
    options: Options,
    compare: str | None = None,
) -> Values:
    """Predict one image and show it, or say why not."""
    if not given:
        return problem(tr("There is no image. Give one, or click an example."))
    try:
        model = find_model(desk.workspace, desk.access, name)
        result = predict_one(desk, model, given[0], options)
        notes = load(model).notes
    except AutosegError as error:
        return problem(error)
    return {
        **no_batch(),
        "ids": [result.id],
        **shown(desk, result, options, compare, "".join(map(views.note, notes))),
    }


def predicted_batch(
    desk: Desk, name: str | None, given: Sequence[Given], options: Options, compare: str | None,
    order: str | None, on_progress: Callable[[int, int], None], tell_every_s: float = TELL_EVERY_S,
) -> Iterator[Values]:  # fmt: skip
    """Predict several images; the first is shown as soon as it is there.

    Args:
        desk: What to work with.
        name: The model.
        given: The images.
        options: How to predict.
        compare: What to compare with.
        order: Order of the gallery, see `ordered`.
        on_progress: Called with the images done and all.
        tell_every_s: After how many seconds the ids so far are told again, so that a reload in
            the middle shows those images.
    """
    if len(given) > MOST_IMAGES:
        text = tr(
            "These are {number} images, and the page takes {most} at once. For more, use the "
            "command autoseg predict.", number=len(given), most=MOST_IMAGES,
        )  # fmt: skip
        yield problem(text)
        return
    try:
        model = find_model(desk.workspace, desk.access, name)
        load(model)
    except AutosegError as error:
        yield problem(error)
        return
    results: list[Result] = []
    problems: list[str] = []
    told_s = time.monotonic()
    for done, each in enumerate(given):
        on_progress(done, len(given))
        try:
            result = predict_one(desk, model, each, options)
            result.write_thumbnail()
        except AutosegError as error:
            problems.append(f"{each.name}: {error}")
            continue
        results.append(result)
        is_first = len(results) == 1
        if is_first or time.monotonic() - told_s >= tell_every_s:
            told_s = time.monotonic()
            first = {**no_batch(), **shown(desk, result, options, compare)} if is_first else {}
            yield {**first, "ids": [each.id for each in results]}
    results = ordered(results, order)
    message = _told(problems)
    if not results:
        yield {"message": gr.update(value=message, visible=True)}
        return
    yield {
        "ids": [result.id for result in results],
        **gallery(results),
        **shown(desk, results[0], options, compare, message),
    }


def _told(problems: Sequence[str]) -> str:
    """The first problems of a batch, and how many more there are."""
    told = [views.error(each, tr("Not predicted.")) for each in problems[:MOST_PROBLEMS]]
    if more := len(problems) - len(told):
        text = tr("And {number} more images could not be predicted.", number=more)
        told.append(views.note(text))
    return "".join(told)


def ordered(results: Sequence[Result], order: str | None) -> list[Result]:
    """Results as the gallery shows them: "uncertain" puts the most useful to correct first."""
    if order == "uncertain":
        return sorted(results, key=lambda result: -(result.info.uncertainty or 0.0))
    return sorted(results, key=lambda result: result.info.name.lower())


def sorted_batch(desk: Desk, ids: Sequence[str], order: str | None) -> Values:
    """The gallery in another order."""
    try:
        results = ordered([desk.results.get(result_id) for result_id in ids], order)
    except PredictionError as error:
        return problem(error)
    if len(results) < 2:
        return {}
    return {"ids": [result.id for result in results], **gallery(results)}


def gallery(results: Sequence[Result], selected: int = 0) -> Values:
    """The images of a batch with what is known of each, the one at a position selected."""
    shares = views.told_apart([result.info.uncertainty for result in results])
    images = [
        (served_path(result.write_thumbnail()), " · ".join(filter(None, (share, result.info.name))))
        for share, result in zip(shares, results, strict=True)
    ]
    return {
        "batch": gr.update(value=images, selected_index=selected),
        "batch_box": gr.update(visible=len(results) > 1),
    }


def no_batch() -> Values:
    """Without a gallery: there is one image only."""
    return {"batch": gr.update(value=[]), "batch_box": gr.update(visible=False)}


def chosen(
    desk: Desk, ids: Sequence[str], index: object, options: Options, compare: str | None
) -> Values:
    """Show the image of the batch at a position of the gallery."""
    if not isinstance(index, int) or not 0 <= index < len(ids):
        return {}
    return shown_again(desk, ids[index], options, compare)


def shown_again(desk: Desk, result_id: str | None, options: Options, compare: str | None) -> Values:
    """Show a result, compared with something else perhaps."""
    if not result_id:
        return {}
    try:
        return shown(desk, desk.results.get(result_id), options, compare)
    except PredictionError as error:
        return problem(error)


def shown(
    desk: Desk, result: Result, options: Options, compare: str | None, message: str = ""
) -> Values:
    """A result in the canvas, beside what it is compared with.

    Args:
        desk: What to work with.
        result: The result.
        options: How a second model predicts.
        compare: The wish of the user: `NOTHING`, `TRUTH`, or a model; None: what suggests itself.
        message: HTML to show below.
    """
    choices = compare_choices(desk, result)
    known = [value for _, value in choices]
    suggested = f"{_MODEL}{former_model(desk.workspace, result.info.model)}"
    if compare is None:
        compare = suggested if suggested in known else NOTHING
    compare = compare if compare in known else NOTHING
    other, other_name = None, ""
    try:
        other, other_name = _other(desk, result, compare, options)
    except AutosegError as error:
        compare, message = NOTHING, message + views.error(error)
    return {
        "canvas": result.canvas(
            other=other, other_name=other_name, editable=bool(result.info.dataset)
        ),
        "shown": result.id,
        "compare": gr.update(choices=choices, value=compare, interactive=len(choices) > 1),
        "message": gr.update(value=message, visible=bool(message)),
    }


def emptied() -> Values:
    """Nothing in the canvas: what was given last could not be predicted."""
    nothing = gr.update(choices=[(tr("Nothing"), NOTHING)], value=NOTHING, interactive=False)
    empty: Values = {"canvas": None, "shown": "", "ids": [], "compare": nothing}
    return {**no_batch(), **empty, "message": gr.update(value="", visible=False)}


def compare_choices(desk: Desk, result: Result) -> Choices:
    """What a result can be compared with; the model it was trained on from is called so."""
    choices = [(tr("Nothing"), NOTHING)]
    if result.info.has_truth:
        choices.append((tr("Ground truth"), TRUTH))
    former = former_model(desk.workspace, result.info.model)
    for told, value in model_choices(desk.workspace):
        if value == former:
            choices.insert(1, (tr("Before the training went on: {model}", model=value),
                               f"{_MODEL}{value}"))  # fmt: skip
        elif value != result.info.model:
            choices.append((told, f"{_MODEL}{value}"))
    return choices


def _other(desk: Desk, result: Result, compare: str, options: Options) -> tuple[Path | None, str]:
    """The mask to compare with, and what it is called."""
    if compare == TRUTH:
        return result.truth, "Ground truth"  # The canvas has this text in all languages.
    if compare == NOTHING:
        return None, ""
    model = find_model(desk.workspace, desk.access, compare.removeprefix(_MODEL))
    predictor = load(model)
    table = _class_table(predictor, result.info.classes, model.name)
    key = hashlib.sha256(repr((model.key, options)).encode()).hexdigest()[:20]

    def mask() -> np.ndarray:
        found = segment(predictor, result.image, flip=options.flip, tile_px=options.tile_px).mask
        return np.asarray(table[found])

    return result.other(key, mask), model.name


def _class_table(predictor: Predictor, classes: ClassInfo, name: str) -> np.ndarray:
    """Class index of a second model -> that of the first (256,) uint8, by the classes' names.

    Raises:
        PredictionError: Their classes differ.
    """
    if set(predictor.class_names) != set(classes.names):
        raise PredictionError(
            f"{name} has other classes ({', '.join(predictor.class_names)}), so the two cannot be "
            f"compared."
        )
    table = np.full(256, 255, np.uint8)
    table[: classes.num_classes] = [classes.names.index(each) for each in predictor.class_names]
    return table
