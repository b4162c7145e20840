"""What the Predict tab does with images: predict one, predict many, sort them."""

import time
from collections.abc import Callable, Iterator, Sequence

import gradio as gr

from autoseg.errors import AutosegError, PredictionError
from autoseg.ui import views
from autoseg.ui.predict_image import Desk, Given, Options, Values, predict_one
from autoseg.ui.predict_models import find_model, load
from autoseg.ui.predict_showing import emptied, gallery, no_batch, problem, shown
from autoseg.ui.results import Result
from autoseg.ui.texts import tr

MOST_IMAGES = 200
"""Images that one batch may have; `autoseg predict` takes any number."""

MOST_PROBLEMS = 5
"""Problems of a batch that are told one by one."""

TELL_EVERY_S = 3.0
"""Seconds: each answer of a batch takes the progress off the page for a fifth of one."""


def predicted(
    desk: Desk,
    name: str | None,
    given: Sequence[Given],
    options: Options,
    compare: str | None = None,
) -> Values:
    """Predict one image and show it, or say why not: what another model made of it goes."""
    if not given:
        return problem(tr("There is no image. Give one, or click an example."))
    try:
        model = find_model(desk.workspace, desk.access, name)
        result = predict_one(desk, model, given[0], options)
        notes = load(model).notes
    except AutosegError as error:
        return {**emptied(), **problem(error)}
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
        yield {**emptied(), **problem(error)}
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
