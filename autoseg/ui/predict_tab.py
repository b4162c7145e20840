"""Predict tab: a model on the user's images, the mask in a canvas, corrections that teach it."""

import atexit
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.events import Dependency

from autoseg.errors import AutosegError
from autoseg.ui import predict_teach as teach
from autoseg.ui import views
from autoseg.ui.access import Access
from autoseg.ui.predict_events import (
    RESULT,
    TEACHING,
    Placed,
    Wish,
    connect_downloads,
    connect_giving,
    connect_showing,
    connect_teaching,
)
from autoseg.ui.predict_examples import examples, thumbnail
from autoseg.ui.predict_image import Desk, Values
from autoseg.ui.predict_kept import noted, restored
from autoseg.ui.predict_layout import Parts, layout
from autoseg.ui.predict_models import find_model, is_of_a_run, model_choices
from autoseg.ui.results import ResultStore
from autoseg.ui.texts import tr
from autoseg.workspace import Workspace

OPENING = ("model", "hint", "examples", *TEACHING)
"""Components that show a model and what can be done with it."""


def opened(desk: Desk, wanted: str | None = None) -> Values:
    """The models with `wanted`, or else the newest, selected; and its examples."""
    choices = model_choices(desk.workspace)
    names = [name for _, name in choices]
    typed = bool(wanted) and not is_of_a_run(str(wanted))  # It need not be in the list.
    name = wanted if typed or wanted in names else next(iter(names), None)
    return {
        "model": gr.update(choices=choices, value=name),
        "hint": gr.update(value=_no_model(), visible=not choices),
        **about_model(desk, name),
    }


def about_model(desk: Desk, name: str | None) -> Values:
    """What the tab shows of a model before an image is given: examples and corrections."""
    return {"examples": example_gallery(desk, name), **teach.shown_corrections(desk, name)}


def example_gallery(desk: Desk, name: str | None) -> dict[str, Any]:
    """Thumbnails of the examples; none for a model that is not of a run here."""
    shown = []
    if name and is_of_a_run(name):
        try:
            offered = examples(find_model(desk.workspace, desk.access, name).run)
        except AutosegError:
            offered = []
        folder = desk.results.scratch / "examples"
        shown = [str(thumbnail(each.sample, folder)) for each in offered]
    return dict(gr.update(value=shown, visible=bool(shown), selected_index=None))


def _no_model() -> str:
    return views.empty(
        tr("No model yet"), tr("Start a search in the Search tab; its model appears here.")
    )


@dataclass(frozen=True)
class PredictTab:
    """Components and functions that the other tabs and the page's opening use."""

    model: gr.Dropdown
    outputs: list[Any]
    open_page: Callable[[str | None], Placed]
    show_after: Callable[[Dependency], None]
    """Shows what the browser saw last after an event, unless something was asked for by then."""
    note: Callable[..., None]
    """Notes in the browser that an event asks for something, at once."""
    trained: Dependency
    """The event that starts a training with corrections."""
    started: gr.State
    """Name of the run that it started; "" where it could not."""


def new_desk(workspace: Workspace, access: Access) -> Desk:
    """What the tab works with.

    Results outlive the app, so that a mask drawn on a page which is still open can be added to the
    data set when the app was started again.
    """
    scratch = Path(tempfile.mkdtemp(prefix="autoseg-"))
    atexit.register(shutil.rmtree, scratch, ignore_errors=True)
    return Desk(workspace, access, ResultStore(workspace.folder / "results", scratch=scratch))


def build(workspace: Workspace, access: Access, kept: dict[str, gr.BrowserState]) -> PredictTab:
    """Lay out the tab and connect it.

    Args:
        workspace: Where runs and results are.
        access: Who opens the page.
        kept: What the browser keeps, from `browser_states`, laid out on the page itself: the
            browser does not read what stands in a tab that was not chosen yet.
    """
    desk = new_desk(workspace, access)
    parts = {**layout(access), "wish": gr.State(Wish()), **kept}
    has_asked, found = gr.Checkbox(visible=False), gr.State()
    quiet: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
    outputs = [parts[name] for name in OPENING]

    def placed(values: Values) -> Placed:
        # Of several components an empty answer is an error to Gradio.
        if "given" in values:
            values = {**values, "predict": gr.update(interactive=bool(values["given"]))}
        found = {parts[name]: value for name, value in noted(values).items()}
        return found or dict(gr.skip())

    def open_page(name: str | None) -> Placed:
        return placed(opened(desk, name))

    def on_reload(ids: object, shown: object) -> Values:
        values = restored(desk, ids, shown)
        if name := values.get("model"):
            values = {**about_model(desk, name), **values}
        return values

    def show_after(opening: Dependency) -> None:
        # By two steps, since Gradio sends along what the browser knows when a step begins: what
        # is shown again never covers what somebody asked for while it was read.
        read = opening.then(
            on_reload, [parts["kept_ids"], parts["kept_shown"]], found, queue=False, **quiet
        )
        read.success(
            lambda values, asked: placed({} if asked else values), [found, has_asked],
            [*outputs, *(parts[name] for name in RESULT), parts["order"]], queue=False, **quiet,
        )  # fmt: skip

    def note(*events: Callable[..., Dependency]) -> None:
        for event in events:
            event(None, None, has_asked, js="() => true", trigger_mode="multiple", **quiet)

    note(
        parts["image"].input, parts["several"].upload, parts["examples"].select,
        parts["predict"].click, parts["model"].input,
    )  # fmt: skip

    connect_giving(desk, parts, placed)
    _connect_model(desk, parts, placed)
    connect_showing(desk, parts, placed)
    connect_downloads(desk, parts, placed)
    trained = connect_teaching(desk, parts, placed)
    return PredictTab(
        parts["model"], outputs, open_page, show_after, note, trained, parts["started"]
    )


def _connect_model(desk: Desk, parts: Parts, placed: Callable[[Values], Placed]) -> None:
    """Another model: its examples and corrections."""

    def on_model(name: str | None) -> Placed:
        return placed(about_model(desk, name))

    parts["model"].input(
        on_model, parts["model"], [parts[name] for name in OPENING], show_progress="hidden",
        queue=False, api_visibility="private",
    )  # fmt: skip
