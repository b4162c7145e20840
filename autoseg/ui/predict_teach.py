"""Corrected masks on the page: kept, listed, taken back, and learnt from."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio as gr

from autoseg.config import ClassInfo, parse_duration
from autoseg.corrections import Correction, NewCorrection
from autoseg.data.images import read_image
from autoseg.errors import AutosegError, BudgetError, DatasetError, PredictionError, RunError
from autoseg.files import replacing
from autoseg.machine_load import current_load
from autoseg.outlook import USUAL_S, Outlook
from autoseg.search.run_folder import RunFolder
from autoseg.ui import run_view, views
from autoseg.ui.mask_canvas import answer_to
from autoseg.ui.predict_image import Desk, Values
from autoseg.ui.predict_models import dataset_of, find_model
from autoseg.ui.predict_showing import problem
from autoseg.ui.result_files import draw_thumbnail, read_index_png
from autoseg.ui.search_estimate import busy_text
from autoseg.ui.served import uploaded_path
from autoseg.ui.texts import tr


def corrected(desk: Desk, name: str | None, said: dict[str, Any]) -> Values:
    """Keep a mask that was drawn on the canvas.

    Args:
        desk: What to work with.
        name: The model that is chosen.
        said: What the page sent: `id` of the result, `mask` as an uploaded file, and `key`.
    """
    try:
        result = desk.results.get(said.get("id"))
        info = result.info
        if not info.dataset:
            raise PredictionError(
                f"The data set of {info.model} is not in the list on the Data tab, so there is "
                f"nothing to add the mask to."
            )
        mask = read_index_png(uploaded_path(said.get("mask")))
        new = NewCorrection(info.name, result.image, mask, info.classes, info.original or None)
        desk.workspace.add_correction(info.dataset, new)
    except AutosegError as error:
        return {**problem(error), "canvas": answer_to(said, str(error))}
    text = tr("The mask of {image} is added to {dataset}.", image=info.name, dataset=info.dataset)
    return {
        "message": gr.update(value=views.note(text), visible=True),
        "canvas": answer_to(said),
        **listed(desk, info.dataset, _run_of(desk, name)),
    }


def shown_corrections(desk: Desk, name: str | None) -> Values:
    """The corrections that the model of that name can learn from; hidden where it can from none."""
    run = _run_of(desk, name)
    return listed(desk, dataset_of(desk.workspace, run), run)


def _run_of(desk: Desk, name: str | None) -> RunFolder | None:
    """The run whose model has that name; None where there is none."""
    try:
        return find_model(desk.workspace, desk.access, name).run if _is_run(name) else None
    except AutosegError:
        return None


def proposed(desk: Desk, name: str | None) -> Values:
    """A budget that is worth it for the model of that name, and what it buys."""
    expected = _outlook(desk, name)
    proposed_s = expected.proposed_s if expected is not None else USUAL_S
    budget = f"{proposed_s / 60:g}m" if proposed_s % 60 == 0 else f"{proposed_s:.0f}s"
    return {"budget": budget, **bought(desk, name, budget)}


def _outlook(desk: Desk, name: str | None) -> Outlook | None:
    """What training the named model on will cost; None where it is not known."""
    run = _run_of(desk, name)
    try:
        if run is None or not dataset_of(desk.workspace, run):
            return None  # Nothing here can teach it.
        return desk.workspace.training_outlook(run)
    except AutosegError:
        return None


def bought(desk: Desk, name: str | None, budget: str | None) -> Values:
    """What a budget buys, or why it is none: shown below its field.

    Args:
        desk: What to work with.
        name: The run whose model is to be trained on.
        budget: As in the field.
    """
    try:
        seconds = parse_duration(budget or "")
        expected = _outlook(desk, name)
        if expected is None:
            return {"outlook": ""}
        expected.refuse_less(seconds)
    except BudgetError as error:
        return {"outlook": views.error(error)}
    text = tr(
        "About {training} of it go to training, {overhead} to preparing and judging.",
        training=views.duration(expected.training_s(seconds)),
        overhead=views.duration(expected.overhead_s(seconds)),
    )
    load = current_load()
    if load.is_busy and not run_view.live_runs(desk.workspace):  # Else the work is ours.
        text = f"{text} {busy_text(load)}"
    return {"outlook": views.note(text)}


def _is_run(name: str | None) -> bool:
    return bool(name) and "/" not in str(name)


def listed(desk: Desk, dataset: str, run: RunFolder | None) -> Values:
    """The corrections of a data set.

    Args:
        desk: What to work with.
        dataset: Its name; "": none.
        run: The run whose model is to learn them; None: of none here.
    """
    if not dataset:
        return {"teach_box": gr.update(visible=False), "corrected_in": ""}
    try:
        corrections = desk.workspace.corrections(dataset)
        kept, classes = corrections.all(), corrections.classes()
        of_run = run is not None and dataset_of(desk.workspace, run) == dataset
        waiting = desk.workspace.waiting_corrections(run) if run and of_run else kept
    except AutosegError as error:
        return {"teach_box": gr.update(visible=True), "corrections_text": views.error(error)}
    images = [(str(_thumbnail(desk, each, classes)), each.name) for each in kept if classes]
    return {
        "teach_box": gr.update(visible=True),
        "corrections_text": _summary(len(waiting), len(kept), dataset),
        "corrections": gr.update(value=images, visible=bool(images), selected_index=None),
        "corrected_in": dataset,
        "correction": "",
        "remove": gr.update(visible=bool(images), interactive=False),
        "train": gr.update(interactive=bool(images)),
    }


def _summary(waiting: int, count: int, dataset: str) -> str:
    """How many of a data set's corrections the model has still to learn."""
    if not count:
        return views.empty(
            tr("No corrections of {dataset} yet", dataset=dataset),
            tr("Switch the canvas to Correct, mend the mask, and add it to the data set."),
        )
    learnt = tr("Learnt by this model already: {count}.", count=count - waiting)
    if not waiting:
        text = tr("No corrected mask of {dataset} waits to be learnt.", dataset=dataset)
        advice = tr("Correct more of them first, or train longer on the same ones.")
        return views.note(f"{text} {learnt} {advice}")
    text = tr(
        "{count} corrected masks of {dataset} wait to be learnt.", count=waiting, dataset=dataset
    )
    if waiting == 1:
        text = tr("1 corrected mask of {dataset} waits to be learnt.", dataset=dataset)
    return views.note(f"{text} {learnt}" if waiting < count else text)


def _thumbnail(desk: Desk, correction: Correction, classes: ClassInfo) -> Path:
    """The corrected mask over its image, small, drawn once."""
    said = f"{correction.mask_path}\n{correction.added_at}"
    name = hashlib.sha256(said.encode()).hexdigest()[:32]
    file = desk.results.scratch / "corrections" / f"{name}.jpg"
    if not file.is_file():
        pixels = read_image(correction.image_path)
        with replacing(file, flush=False) as part:  # Another page may read it meanwhile.
            draw_thumbnail(pixels, correction.read_mask(), classes, part)
    return file


def picked(desk: Desk, dataset: str, index: object) -> Values:
    """Choose a correction by its place in the gallery."""
    kept = desk.workspace.corrections(dataset).all() if dataset else ()
    if not isinstance(index, int) or not 0 <= index < len(kept):
        return {}
    return {"correction": kept[index].name, "remove": gr.update(interactive=True)}


def taken_back(desk: Desk, model: str | None, dataset: str, name: str) -> Values:
    """Forget one correction.

    Args:
        desk: What to work with.
        model: The model that is chosen.
        dataset: Name of the data set.
        name: The correction.
    """
    try:
        if not name:
            raise DatasetError("No correction is chosen: click one first.")
        desk.workspace.corrections(dataset).remove(name)
    except AutosegError as error:
        return problem(error)
    return listed(desk, dataset, _run_of(desk, model))


def continued(
    desk: Desk, name: str | None, budget: str | None,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Values:  # fmt: skip
    """Train a run's model on with the corrections, as a new run.

    Args:
        desk: What to work with.
        name: The run.
        budget: Time for it, such as "5m".
        on_progress: Called with the images prepared and all.
    """
    try:
        run = find_model(desk.workspace, desk.access, name).run
        if run is None:
            raise RunError("Only the model of a run can be trained on: choose one above.")
        started = desk.workspace.continue_training(
            run, parse_duration(budget or ""), on_progress=on_progress
        )
    except AutosegError as error:
        return {**problem(error), "started": ""}
    # What was refused before is no longer so.
    return {"started": started.name, "message": gr.update(value="", visible=False)}
