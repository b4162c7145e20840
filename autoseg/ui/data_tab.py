"""Data tab: add data sets, see and say what their masks mean, look at all images."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gradio as gr

from autoseg.ui import data_actions as actions
from autoseg.ui.access import Access
from autoseg.ui.data_actions import OnProgress, Values, listed, shown
from autoseg.ui.dataset_drop import DatasetDrop
from autoseg.ui.image_browser import ImageBrowser
from autoseg.ui.mask_canvas import MaskCanvas
from autoseg.ui.style import html
from autoseg.ui.texts import label, tr
from autoseg.ui.verdict_table import VerdictTable
from autoseg.workspace import Workspace

__all__ = ["DataTab", "build", "listed", "shown"]

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

    _connect_sources(workspace, access, parts, placed, outputs)
    _connect_verdict(workspace, parts, placed, outputs)
    _connect_pictures(workspace, parts, placed)
    _connect_manager(workspace, parts, placed, outputs)
    return DataTab(parts["datasets"], parts["use"], placed, outputs)


_CHANGED = (
    "datasets", "status", "table", "notes", "pictures", "canvas", "gallery", "manage", "sure",
    "question", "new_name",
)  # fmt: skip
"""Parts that callbacks change."""


def _chooser() -> dict[str, Any]:
    datasets = gr.Radio(
        label=label("Your data sets"), elem_classes="as-list", elem_id="datasets", visible=False
    )
    with gr.Row():
        check = gr.Button(label("Check"), size="md", min_width=100, elem_id="check")
        use = gr.Button(
            label("Search with it"), variant="primary", size="md", min_width=140, elem_id="use"
        )
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
        label("Rename or remove"), open=False, visible=False, elem_id="manage"
    ) as manage:
        new_name = gr.Textbox(label=label("Name"), max_length=64, elem_id="new-name")
        rename = gr.Button(label("Rename"), size="md", elem_id="rename")
        remove = gr.Button(label("Remove…"), size="md", elem_id="remove")
        with gr.Column(visible=False, elem_id="sure") as sure:
            question = html(visible=False)
            gr.Markdown(label("Models already found stay as they are."))
            with gr.Row():
                confirm = gr.Button(
                    label("Remove it"), variant="stop", size="md", min_width=100, elem_id="confirm"
                )
                keep = gr.Button(label("Keep it"), size="md", min_width=100, elem_id="keep")
    return {
        "manage": manage, "new_name": new_name, "rename": rename, "remove": remove, "sure": sure,
        "question": question, "confirm": confirm, "keep": keep,
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


def _connect_sources(
    workspace: Workspace,
    access: Access,
    parts: dict[str, Any],
    placed: Callable[[Values], Placed],
    outputs: list[Any],
) -> None:
    def on_upload(event: gr.EventData, progress: Any = _PROGRESS) -> Placed:
        given = event._data
        return placed(
            actions.uploaded(workspace, given["file"], str(given["name"]), _reporting(progress))
        )

    def on_sample(progress: Any = _PROGRESS) -> Placed:
        return placed(actions.sampled(workspace, _reporting(progress)))

    def on_path(text: str | None, progress: Any = _PROGRESS) -> Placed:
        return placed(actions.added_path(workspace, access, text, _reporting(progress)))

    def on_hub(text: str | None, revision: str | None, progress: Any = _PROGRESS) -> Placed:
        return placed(
            actions.added_hub(
                workspace, access, text, revision,
                on_download=_reporting(progress, tr("Fetching"), tr("bytes")),
                on_progress=_reporting(progress),
            )
        )  # fmt: skip

    shown_on: dict[str, Any] = {
        "outputs": outputs, "api_visibility": "private",
        "show_progress_on": [parts["status"], parts["table"]],
    }  # fmt: skip
    parts["drop"].uploaded(on_upload, None, **shown_on)
    parts["sample"].click(on_sample, None, **shown_on)
    if access.sharing:
        wanted = [parts["hub_name"], parts["hub_revision"]]
        parts["add_hub"].click(on_hub, wanted, **shown_on)
        parts["hub_name"].submit(on_hub, wanted, **shown_on)
    if access.paths:
        parts["add_path"].click(on_path, parts["path"], **shown_on)
        parts["path"].submit(on_path, parts["path"], **shown_on)


def _connect_verdict(
    workspace: Workspace,
    parts: dict[str, Any],
    placed: Callable[[Values], Placed],
    outputs: list[Any],
) -> None:
    def on_check(name: str | None, progress: Any = _PROGRESS) -> Placed:
        return placed(actions.checked(workspace, name, _reporting(progress)))

    def on_apply(event: gr.EventData, name: str | None, progress: Any = _PROGRESS) -> Placed:
        rows = event._data["rows"]
        return placed(actions.applied(workspace, name, rows, _reporting(progress)))

    def on_forget(name: str | None, progress: Any = _PROGRESS) -> Placed:
        return placed(actions.forgotten(workspace, name, _reporting(progress)))

    shown_on: dict[str, Any] = {
        "inputs": parts["datasets"], "outputs": outputs, "api_visibility": "private",
        "show_progress_on": [parts["status"], parts["table"]],
    }  # fmt: skip
    parts["check"].click(on_check, **shown_on)
    parts["table"].apply(on_apply, **shown_on)
    parts["table"].forget(on_forget, **shown_on)
    parts["datasets"].input(
        lambda name: placed(actions.chosen(workspace, name)), parts["datasets"], outputs,
        show_progress="hidden", api_visibility="private",
    )  # fmt: skip


def _connect_pictures(
    workspace: Workspace, parts: dict[str, Any], placed: Callable[[Values], Placed]
) -> None:
    def on_browse(event: gr.EventData, name: str | None) -> Placed:
        page, sort = int(event._data["page"]), str(event._data["sort"])
        return placed(actions.browsed(workspace, name, page, sort))

    def on_enlarge(event: gr.EventData, name: str | None) -> Placed:
        return placed(actions.enlarged(workspace, name, int(event._data["position"])))

    private: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
    parts["gallery"].browse(on_browse, parts["datasets"], [parts["gallery"]], **private)
    parts["gallery"].enlarge(on_enlarge, parts["datasets"], [parts["canvas"]], **private)


def _connect_manager(
    workspace: Workspace,
    parts: dict[str, Any],
    placed: Callable[[Values], Placed],
    outputs: list[Any],
) -> None:
    private: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
    chosen = parts["datasets"]
    parts["remove"].click(
        lambda name: placed(actions.asked_to_remove(workspace, name)), chosen, outputs,
        queue=False, **private,
    )  # fmt: skip
    parts["keep"].click(
        lambda: gr.Column(visible=False), None, parts["sure"], queue=False, **private
    )
    parts["confirm"].click(
        lambda name: placed(actions.removed(workspace, name)), chosen, outputs, **private
    )
    for event in (parts["rename"].click, parts["new_name"].submit):
        event(
            lambda name, new: placed(actions.renamed(workspace, name, new)),
            [chosen, parts["new_name"]], outputs, **private,
        )  # fmt: skip


def _reporting(progress: Any, what: str | None = None, unit: str | None = None) -> OnProgress:
    """Gradio's progress bar as those who work call it."""
    what, unit = what or tr("Checking"), unit or tr("images")
    return lambda done, total: progress((done, total), desc=what, unit=unit)
