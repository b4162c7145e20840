"""Events of the Predict tab: which functions the components call, and what these may change."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import gradio as gr
from gradio.events import Dependency

from autoseg.errors import AutosegError
from autoseg.ui import predict_actions as actions
from autoseg.ui import predict_showing as showing
from autoseg.ui import predict_teach as teach
from autoseg.ui.predict_downloads import exported, zipped
from autoseg.ui.predict_image import Desk, Given, Options, Values, example_given, uploaded
from autoseg.ui.predict_layout import Parts
from autoseg.ui.texts import tr

Placed = dict[Any, Any]
"""Values by component, as Gradio takes them."""

TEACHING = (
    "teach_box", "corrections_text", "corrections", "corrected_in", "correction", "remove",
    "train",
)  # fmt: skip
"""Components that show corrections."""

RESULT = (
    "canvas", "shown", "compare", "message", "ids", "batch", "batch_box", "kept_ids", "kept_shown",
    "given", "image", "wish", "predict",
)  # fmt: skip
"""Components that show results. Each one more costs an answer about a millisecond."""

_TO_THE_CANVAS = """() => {
  if (innerWidth < 700)
    document.querySelector('#compare')?.scrollIntoView({block: 'start', behavior: 'smooth'});
}"""
"""On a phone the canvas, with what it can be compared with above, is below what was tapped."""

_PROGRESS = gr.Progress()


@dataclass(frozen=True)
class Wish:
    """What a user chose to compare a model with; it does not hold for another model."""

    model: str | None = None
    compare: str | None = None

    def of(self, model: str | None) -> str | None:
        """The choice; None where there is none for this model."""
        return self.compare if model == self.model else None


def _options(flip: bool, tile: int | str | None) -> Options:
    return Options(flip=bool(flip), tile_px=int(tile) if tile else None)


def _progress(step: str) -> Callable[[int, int], None]:
    def tell(done: int, total: int) -> None:
        _PROGRESS((done, total), desc=step)

    return tell


@dataclass(frozen=True)
class How:
    """How to predict, as the components beside an image say."""

    model: str | None
    options: Options
    compare: str | None
    """What the user chose to compare this model with; None: nothing was chosen."""


def _how(name: str | None, flip: bool, tile: int | str | None, wish: Wish) -> How:
    return How(name, _options(flip, tile), wish.of(name))


def _at_once(desk: Desk) -> dict[str, Any]:
    """How events are connected that show one result: what is clicked meanwhile counts, the last.

    On this computer without the queue's waiting: `segment` lets one at a time. From afar with it:
    it keeps a connection alive that a proxy would cut off for its silence.
    """
    return {"trigger_mode": "always_last", "queue": not desk.access.local}


def connect_giving(desk: Desk, parts: Parts, placed: Callable[[Values], Placed]) -> None:
    """What a user gives, and the predictions that follow from it."""
    outputs = [parts[name] for name in RESULT]
    how = [parts["model"], parts["flip"], parts["tile"], parts["wish"]]
    private: dict[str, Any] = {"api_visibility": "private"}
    many = {"show_progress_on": parts["canvas"], "concurrency_id": "model", **private}
    one = {**many, **_at_once(desk)}
    on_image, on_example = _giving_one(desk, placed)
    on_images, on_again = _giving_several(desk, placed)

    several = [parts["several"], *how, parts["order"]]
    for given in (
        parts["image"].input(on_image, [parts["image"], *how], outputs, **one),
        parts["several"].upload(on_images, several, outputs, **many),
        parts["examples"].select(on_example, how, outputs, **one),
    ):
        given.then(None, None, None, js=_TO_THE_CANVAS, **private)
    again = [parts["given"], *how, parts["order"]]
    parts["predict"].click(on_again, again, outputs, **many).then(
        None, None, None, js=_TO_THE_CANVAS, **private
    )


def _giving_one(
    desk: Desk, placed: Callable[[Values], Placed]
) -> tuple[Callable[..., Placed], ...]:
    """What happens with an image of the user's, and with one of the examples."""

    def predict(given: Given, how: How) -> Values:
        values = actions.predicted(desk, how.model, [given], how.options, how.compare)
        return {**showing.emptied(), **values, "given": [given]}

    def on_image(image: str | None, name: str | None, flip: bool, tile: int, wish: Wish) -> Placed:
        if not image:  # Also said before something is pasted.
            return placed({"given": []})
        return placed(predict(uploaded(image), _how(name, flip, tile, wish)))

    def on_example(
        name: str | None, flip: bool, tile: int, wish: Wish, event: gr.SelectData
    ) -> Placed:
        try:
            given = example_given(desk, name, event.index)
        except AutosegError as error:
            return placed(showing.problem(error))
        return placed({**predict(given, _how(name, flip, tile, wish)), "image": None})

    return on_image, on_example


def _giving_several(
    desk: Desk, placed: Callable[[Values], Placed]
) -> tuple[Callable[..., Iterator[Placed]], ...]:
    """What happens with several images, and with what was given before."""

    def predict(given: list[Given], how: How, order: str) -> Iterator[Placed]:
        told = _progress(tr("Predicting"))
        for values in actions.predicted_batch(
            desk, how.model, given, how.options, how.compare, order, told
        ):
            yield placed(values)

    def on_images(
        files: list[str] | None, name: str | None, flip: bool, tile: int, wish: Wish, order: str
    ) -> Iterator[Placed]:
        given = [uploaded(file) for file in files or ()]
        yield placed({**showing.emptied(), "given": given, "image": None})
        yield from predict(given, _how(name, flip, tile, wish), order)

    def on_again(
        given: list[Given], name: str | None, flip: bool, tile: int, wish: Wish, order: str
    ) -> Iterator[Placed]:
        how = _how(name, flip, tile, wish)
        if len(given) > 1:
            yield from predict(given, how, order)
        else:
            yield placed(actions.predicted(desk, how.model, given, how.options, how.compare))

    return on_images, on_again


def connect_showing(desk: Desk, parts: Parts, placed: Callable[[Values], Placed]) -> None:
    """Which result the canvas shows, and beside what."""
    outputs = [parts[name] for name in RESULT]
    options = [parts["flip"], parts["tile"]]

    def on_chosen(
        ids: list[str], compare: str | None, flip: bool, tile: int, event: gr.SelectData
    ) -> Placed:
        return placed(showing.chosen(desk, ids, event.index, _options(flip, tile), compare))

    def on_compare(
        result_id: str, compare: str | None, flip: bool, tile: int, name: str | None
    ) -> Placed:
        values = showing.shown_again(desk, result_id, _options(flip, tile), compare)
        return placed({**values, "wish": Wish(name, compare)})

    def on_order(ids: list[str], order: str) -> Placed:
        return placed(actions.sorted_batch(desk, ids, order))

    quiet: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
    one = {"concurrency_id": "model", **quiet, **_at_once(desk)}
    parts["batch"].select(on_chosen, [parts["ids"], parts["compare"], *options], outputs, **one)
    parts["compare"].input(
        on_compare, [parts["shown"], parts["compare"], *options, parts["model"]], outputs,
        **one,
    )  # fmt: skip
    parts["order"].input(on_order, [parts["ids"], parts["order"]], outputs, queue=False, **quiet)


def connect_downloads(desk: Desk, parts: Parts, placed: Callable[[Values], Placed]) -> None:
    """Files out."""
    outputs = [parts["download"], parts["message"]]

    def on_export(event: gr.EventData) -> Placed:
        return placed(exported(desk.results, event._data or {}))

    def on_zip(ids: list[str], formats: list[str]) -> Placed:
        return placed(zipped(desk.results, ids, formats, _progress(tr("Packing"))))

    private: dict[str, Any] = {"api_visibility": "private"}
    parts["canvas"].export(on_export, None, outputs, show_progress="hidden", **private)
    parts["zip"].click(
        on_zip, [parts["ids"], parts["formats"]], outputs, show_progress_on=parts["zip"], **private
    )


def connect_teaching(desk: Desk, parts: Parts, placed: Callable[[Values], Placed]) -> Dependency:
    """Corrections in, a training with them out; the event that starts it."""
    outputs = [parts[name] for name in ("message", "started", "canvas", *TEACHING)]

    def on_corrected(model: str | None, event: gr.EventData) -> Placed:
        return placed(teach.corrected(desk, model, event._data or {}))

    def on_picked(dataset: str, event: gr.SelectData) -> Placed:
        return placed(teach.picked(desk, dataset, event.index))

    def on_remove(model: str | None, dataset: str, name: str) -> Placed:
        return placed(teach.taken_back(desk, model, dataset, name))

    def on_other_model(name: str | None) -> Placed:
        return placed(teach.proposed(desk, name))

    def on_budget(name: str | None, budget: str) -> Placed:
        return placed(teach.bought(desk, name, budget))

    def on_train(name: str | None, budget: str) -> Placed:
        told = _progress(tr("Preparing the data"))
        return placed(teach.continued(desk, name, budget, told))

    private: dict[str, Any] = {"api_visibility": "private"}
    quiet = {"show_progress": "hidden", **private}
    # Without the queue, whose stream Gradio believes open after the app was ended and started.
    # A second image's correction may come while the first one's is kept.
    parts["canvas"].corrected(
        on_corrected, parts["model"], outputs, queue=False, trigger_mode="multiple", **quiet
    )
    parts["corrections"].select(on_picked, parts["corrected_in"], outputs, queue=False, **quiet)
    parts["remove"].click(
        on_remove, [parts["model"], parts["corrected_in"], parts["correction"]], outputs, **quiet
    )
    parts["model"].change(  # Not when the tab is opened again: what was typed stays.
        on_other_model, parts["model"], [parts["budget"], parts["outlook"]], queue=False,
        trigger_mode="always_last", **quiet,
    )  # fmt: skip
    parts["budget"].input(
        on_budget, [parts["model"], parts["budget"]], parts["outlook"], queue=False,
        trigger_mode="always_last", **quiet,
    )  # fmt: skip
    started: Dependency = parts["train"].click(
        on_train, [parts["model"], parts["budget"]], outputs, show_progress_on=parts["train"],
        **private,
    )  # fmt: skip
    return started
