"""Data tab: add data sets, see and say what their masks mean, look at all images."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gradio as gr

from autoseg.ui import data_actions as actions
from autoseg.ui import data_managing as managing
from autoseg.ui.access import Access
from autoseg.ui.data_actions import (
    Finished,
    OnProgress,
    Values,
    listed,
    listed_again,
)
from autoseg.ui.dataset_drop import DatasetDrop
from autoseg.ui.image_browser import ImageBrowser
from autoseg.ui.mask_canvas import MaskCanvas
from autoseg.ui.style import html
from autoseg.ui.texts import label, tr
from autoseg.ui.verdict_table import VerdictTable
from autoseg.workspace import Workspace

__all__ = ["DataTab", "build", "listed", "listed_again"]

Placed = dict[Any, Any]
"""Values by component, as Gradio takes them."""

_PROGRESS = gr.Progress()


@dataclass(frozen=True)
class DataTab:
    """Components that other tabs use."""

    datasets: gr.Radio
    use: gr.Button
    placed: Callable[[Values], Placed]
    outputs: list[Any]
    show_after: Callable[[Any], None]
    """Shows the chosen data set after an event, unless the user has had something done by then."""


def build(workspace: Workspace, access: Access) -> DataTab:
    """Lay out the tab and connect it."""
    with gr.Row():
        with gr.Column(scale=1, min_width=280):
            parts = _chooser() | _sources(access) | _manager()
        with gr.Column(scale=3, min_width=320):
            parts |= _panel()
    shown_parts = {name: parts[name] for name in _CHANGED}
    outputs = list(shown_parts.values())

    def placed(values: Values) -> Placed:
        return {shown_parts[name]: value for name, value in values.items()}

    connect = _connector(workspace, parts, placed, outputs)
    _connect_sources(workspace, access, parts, connect)
    _connect_verdict(workspace, parts, connect)
    _connect_pictures(workspace, parts, connect)
    _connect_manager(workspace, parts, placed, outputs)

    def show_after(opening: Any) -> None:
        connect(
            opening.then,
            lambda name: Finished(name, actions.shown(workspace, name)),
            is_opening=True,
            queue=False,
            show_progress="hidden",
        )

    return DataTab(parts["datasets"], parts["use"], placed, outputs, show_after)


_CHANGED = (
    "datasets", "check", "use", "status", "table", "notes", "pictures", "canvas", "gallery",
    "manage", "sure", "question", "new_name", "asked",
)  # fmt: skip
"""Parts that callbacks change."""


def _chooser() -> dict[str, Any]:
    datasets = gr.Radio(
        label=label("Your data sets"), elem_classes="as-list", elem_id="datasets", visible=False
    )
    with gr.Row():
        check = gr.Button(label("Check"), size="md", min_width=100, elem_id="check", visible=False)
        use = gr.Button(
            label("Search with it"), variant="primary", size="md", min_width=140, elem_id="use",
            visible=False,
        )  # fmt: skip
    return {"datasets": datasets, "check": check, "use": use}


def _sources(access: Access) -> dict[str, Any]:
    """Where data sets come from. Others may neither name our files nor use our login."""
    drop = DatasetDrop(elem_id="upload")
    sample = gr.Button(label("Create the sample data set"), size="md", elem_id="sample")
    with gr.Accordion(
        label("A data set of the Hugging Face Hub"), open=False, visible=access.sharing
    ):
        hub_name = gr.Textbox(
            label=label("Data set"), placeholder="owner/name", elem_id="hub-name",
            info=label("With /folder behind it where only a part is wanted."),
        )  # fmt: skip
        hub_revision = gr.Textbox(
            label=label("Revision"), placeholder="main", info=label("Branch, tag or commit.")
        )
        add_hub = gr.Button(label("Fetch it"), size="md", elem_id="hub-fetch")
    with gr.Accordion(label("A folder on this computer"), open=False, visible=access.paths):
        path = gr.Textbox(
            label=label("Full path of a folder or zip"), placeholder="/home/me/photos",
            elem_id="path",
        )  # fmt: skip
        add_path = gr.Button(label("Add this folder"), size="md", elem_id="add-path")
    return {
        "drop": drop, "sample": sample, "hub_name": hub_name, "hub_revision": hub_revision,
        "add_hub": add_hub, "path": path, "add_path": add_path,
    }  # fmt: skip


def _manager() -> dict[str, Any]:
    with gr.Accordion(
        label("Rename or remove"), open=False, visible=False, elem_id="data-manage"
    ) as manage:
        new_name = gr.Textbox(label=label("Name"), max_length=64, elem_id="data-new-name")
        rename = gr.Button(label("Rename"), size="md", elem_id="data-rename")
        remove = gr.Button(label("Remove…"), size="md", elem_id="data-remove")
        asked = gr.State()
        with gr.Column(visible=False, elem_id="data-sure") as sure:
            question = html(visible=False)
            gr.Markdown(label("Models already found stay as they are."))
            with gr.Row():
                confirm = gr.Button(
                    label("Remove it"), variant="stop", size="md", min_width=100,
                    elem_id="data-confirm",
                )  # fmt: skip
                keep = gr.Button(label("Keep it"), size="md", min_width=100, elem_id="data-keep")
    return {
        "manage": manage, "new_name": new_name, "rename": rename, "remove": remove, "sure": sure,
        "asked": asked, "question": question, "confirm": confirm, "keep": keep,
    }  # fmt: skip


def _panel() -> dict[str, Any]:
    with gr.Column(elem_id="verdict"):
        status = html(actions.no_data(), elem_id="data-status")
        table = VerdictTable(elem_id="verdict-table")
        notes = html(visible=False)
    with gr.Column(visible=False) as pictures:
        canvas = MaskCanvas(
            elem_id="data-canvas", downloads=False, empty="This image cannot be shown."
        )
        gallery = ImageBrowser(elem_id="gallery", large="#data-canvas")
    return {
        "status": status, "table": table, "notes": notes, "pictures": pictures, "canvas": canvas,
        "gallery": gallery,
    }  # fmt: skip


Connect = Callable[..., None]


def _connector(
    workspace: Workspace,
    parts: dict[str, Any],
    placed: Callable[[Values], Placed],
    outputs: list[Any],
) -> Connect:
    """How events are connected that take a while.

    Another data set may be chosen while they are at work. So it goes by two steps, since Gradio
    sends along what is chosen when a step begins: what belongs to a data set is shown only if that
    one is chosen when the work is done. What the page opens with never covers an answer: that
    something was asked for is noted in the browser at once, before there can be one.
    """
    has_acted = gr.Checkbox(visible=False)
    private: dict[str, Any] = {"api_visibility": "private", "trigger_mode": "multiple"}

    def settle(name: str | None, finished: Finished) -> Placed:
        return placed(actions.settled(workspace, name, finished))

    def settle_opening(name: str | None, finished: Finished, acted: bool) -> Placed:
        # Of several components an empty answer is an error to Gradio.
        return dict(gr.skip()) if acted else settle(name, finished)

    def connect(
        event: Any,
        work: Callable[..., Finished],
        *inputs: Any,
        is_opening: bool = False,
        **how: Any,
    ) -> None:
        finished = gr.State()
        settling: tuple[Callable[..., Placed], list[Any]]
        if is_opening:
            settling = settle_opening, [parts["datasets"], finished, has_acted]
        else:
            settling = settle, [parts["datasets"], finished]
            event(None, None, has_acted, js="() => true", show_progress="hidden", **private)
        event(
            work, [parts["datasets"], *inputs], finished, api_visibility="private", **how
        ).success(*settling, outputs, queue=False, show_progress="hidden", **private)

    return connect


def _connect_sources(
    workspace: Workspace, access: Access, parts: dict[str, Any], connect: Connect
) -> None:
    def on_upload(event: gr.EventData, name: str | None, progress: Any = _PROGRESS) -> Finished:
        given = event._data
        new, called = str(given["name"]), str(given.get("called") or given["name"])
        reporting = _reporting(progress)
        return Finished(name, actions.uploaded(workspace, given["file"], new, called, reporting))

    def on_sample(name: str | None, progress: Any = _PROGRESS) -> Finished:
        return Finished(name, actions.sampled(workspace, _reporting(progress)))

    def on_path(name: str | None, text: str | None, progress: Any = _PROGRESS) -> Finished:
        return Finished(name, actions.added_path(workspace, access, text, _reporting(progress)))

    def on_hub(
        name: str | None, text: str | None, revision: str | None, progress: Any = _PROGRESS
    ) -> Finished:
        values = actions.added_hub(
            workspace, access, text, revision,
            on_download=_reporting(progress, tr("Fetching"), tr("bytes")),
            on_progress=_reporting(progress),
        )  # fmt: skip
        return Finished(name, values)

    shown_on = {"show_progress_on": [parts["status"], parts["table"]]}
    connect(parts["drop"].uploaded, on_upload, **shown_on)
    connect(parts["sample"].click, on_sample, **shown_on)
    if access.sharing:
        for event in (parts["add_hub"].click, parts["hub_name"].submit):
            connect(event, on_hub, parts["hub_name"], parts["hub_revision"], **shown_on)
    if access.paths:
        for event in (parts["add_path"].click, parts["path"].submit):
            connect(event, on_path, parts["path"], **shown_on)


def _connect_verdict(workspace: Workspace, parts: dict[str, Any], connect: Connect) -> None:
    def on_check(name: str | None, progress: Any = _PROGRESS) -> Finished:
        return Finished(name, actions.checked(workspace, name, _reporting(progress)))

    # The table says whose it is: another data set may be chosen already.
    def on_apply(event: gr.EventData, chosen: str | None, progress: Any = _PROGRESS) -> Finished:
        name, rows = str(event._data["dataset"]), event._data["rows"]
        return Finished(name, actions.applied(workspace, name, rows, _reporting(progress)))

    def on_forget(event: gr.EventData, chosen: str | None, progress: Any = _PROGRESS) -> Finished:
        name = str(event._data["dataset"])
        return Finished(name, actions.forgotten(workspace, name, _reporting(progress)))

    def on_choose(name: str | None) -> Finished:
        return Finished(name, actions.chosen(workspace, name))

    shown_on = {"show_progress_on": [parts["status"], parts["table"]]}
    connect(parts["check"].click, on_check, **shown_on)
    connect(parts["table"].apply, on_apply, trigger_mode="multiple", **shown_on)
    connect(parts["table"].forget, on_forget, trigger_mode="multiple", **shown_on)
    connect(parts["datasets"].input, on_choose, show_progress="hidden", trigger_mode="always_last")


def _connect_pictures(workspace: Workspace, parts: dict[str, Any], connect: Connect) -> None:
    def on_browse(event: gr.EventData, chosen: str | None) -> Finished:
        name, page = str(event._data["dataset"]), int(event._data["page"])
        return Finished(name, actions.browsed(workspace, name, page, str(event._data["sort"])))

    def on_enlarge(event: gr.EventData, chosen: str | None) -> Finished:
        name, position = str(event._data["dataset"]), int(event._data["position"])
        return Finished(name, actions.enlarged(workspace, name, position))

    # "always_last" would leave out what the event says.
    how = {"show_progress": "hidden", "trigger_mode": "multiple"}
    connect(parts["gallery"].browse, on_browse, **how)
    connect(parts["gallery"].enlarge, on_enlarge, **how)


def _connect_manager(
    workspace: Workspace,
    parts: dict[str, Any],
    placed: Callable[[Values], Placed],
    outputs: list[Any],
) -> None:
    private: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
    chosen = parts["datasets"]
    parts["remove"].click(
        lambda name: placed(managing.asked_to_remove(workspace, name)), chosen, outputs,
        queue=False, **private,
    )  # fmt: skip
    parts["keep"].click(
        lambda: gr.Column(visible=False), None, parts["sure"], queue=False, **private
    )
    parts["confirm"].click(
        lambda name: placed(managing.removed(workspace, name)), parts["asked"], outputs, **private
    )
    for event in (parts["rename"].click, parts["new_name"].submit):
        event(
            lambda name, new: placed(managing.renamed(workspace, name, new)),
            [chosen, parts["new_name"]], outputs, **private,
        )  # fmt: skip


def _reporting(progress: Any, what: str | None = None, unit: str | None = None) -> OnProgress:
    """Gradio's progress bar as those who work call it."""
    what, unit = what or tr("Checking"), unit or tr("images")
    return lambda done, total: progress((done, total), desc=what, unit=unit)
