"""What the Predict tab shows: a result beside another, a batch, nothing, or why not."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import gradio as gr
import numpy as np

from autoseg.config import ClassInfo
from autoseg.errors import AutosegError, PredictionError
from autoseg.predictor import Predictor
from autoseg.ui import views
from autoseg.ui.predict_image import Desk, Options, Values, ground_truth
from autoseg.ui.predict_models import (
    Choices,
    find_model,
    former_model,
    load,
    model_choices,
    segment,
)
from autoseg.ui.results import Result
from autoseg.ui.served import served_path
from autoseg.ui.texts import tr

NOTHING, TRUTH = "nothing", "truth"
"""Choices to compare with; those of models begin with `_MODEL`."""

_MODEL = "model:"


def problem(text: object) -> Values:
    """Why something could not be done."""
    return {"message": gr.update(value=views.error(text), visible=True)}


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
        "compare": gr.update(
            choices=choices,
            value=compare,
            interactive=len(choices) > 1,
            label=_compare_label(has_truth=result.info.has_truth),
        ),
        "message": gr.update(value=message, visible=bool(message)),
    }


def emptied() -> Values:
    """Nothing in the canvas: what was given last could not be predicted."""
    nothing = gr.update(
        choices=[(tr("Nothing"), NOTHING)], value=NOTHING, interactive=False,
        label=_compare_label(has_truth=False),
    )  # fmt: skip
    empty: Values = {"canvas": None, "shown": "", "ids": [], "compare": nothing}
    return {**no_batch(), **empty, "message": gr.update(value="", visible=False)}


def _compare_label(*, has_truth: bool) -> str:
    """What the list is called: an example's ground truth is not looked for where models are."""
    if has_truth:
        return tr("Compare with (ground truth is in the list)")
    return tr("Compare with")


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
        truth = result.other(TRUTH, lambda: ground_truth(desk, result))
        return truth, "Ground truth"  # The canvas has this text in all languages.
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
