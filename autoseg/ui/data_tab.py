"""Data tab: choose, add and check data sets."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from autoseg.errors import AutosegError
from autoseg.hub.connection import connect
from autoseg.sources import check
from autoseg.ui import previews, views
from autoseg.ui.access import Access
from autoseg.ui.style import html
from autoseg.workspace import Workspace

Values = dict[str, Any]
"""What a callback changes, by the name of the component."""

Placed = dict[Any, Any]
"""The same by component, as Gradio takes it."""

OnProgress = Callable[[int, int], None]
"""Called with the number of images done and of all."""

_PROGRESS = gr.Progress()

NO_DATA = views.empty(
    "No data set chosen", "Choose one on the left, upload a zip, or create the sample data set."
)


def listed(workspace: Workspace, chosen: str | None = None) -> Values:
    """The list of data sets with `chosen`, or else the first one, selected."""
    names = [dataset.name for dataset in workspace.datasets()]
    value = chosen if chosen in names else next(iter(names), None)
    return {"datasets": gr.update(choices=names, value=value, visible=bool(names))}


def shown(workspace: Workspace, name: str | None) -> Values:
    """What the last check of a data set found, without checking again."""
    no_images = gr.update(value=[], visible=False)
    if name is None:
        return {"verdict": NO_DATA, "gallery": no_images, "mapping": ""}
    folder = workspace.check_folder(name)
    check = previews.load_check(folder)
    if check is None:
        advice = "Press Check to see what its masks mean and whether it can be used."
        title = f"{name} is not checked yet"
        return {"verdict": views.empty(title, advice), "gallery": no_images, "mapping": ""}
    mapping = previews.format_mapping(check.mapping)
    if check.verdict is None or check.classes is None:
        return {"verdict": views.error(check.problem), "gallery": no_images, "mapping": mapping}
    return {
        "verdict": views.verdict(check.verdict, check.classes),
        "gallery": gr.update(value=previews.load_previews(folder, check), visible=True),
        "mapping": mapping,
    }


def checked(
    workspace: Workspace, name: str | None, mapping: str | None = "",
    on_progress: OnProgress | None = None,
) -> Values:  # fmt: skip
    """Check a data set and show the verdict, or the error as it stands."""
    if name is None:
        return shown(workspace, None)
    try:
        meanings = previews.parse_mapping(mapping or "")
    except AutosegError as error:
        return {"verdict": views.error(error)}
    folder = workspace.check_folder(name)
    try:
        source = workspace.dataset(name).source
        dataset = check(source, mapping=dict(meanings) or None, on_progress=on_progress)
        previews.save_check(dataset, meanings, folder)
    except AutosegError as error:
        previews.save_problem(str(error), meanings, folder)
    return shown(workspace, name)


def added(
    workspace: Workspace, source: str | None, on_progress: OnProgress | None = None
) -> Values:
    """Take in an uploaded zip, or a folder or zip of this computer; select and check it."""
    if not source:
        return {}
    try:
        dataset = workspace.add_dataset(Path(source))
    except AutosegError as error:
        return {"verdict": views.error(error), "gallery": gr.update(value=[], visible=False)}
    return {**listed(workspace, dataset.name), **checked(workspace, dataset.name, "", on_progress)}


def added_path(
    workspace: Workspace,
    access: Access,
    text: str | None,
    on_progress: OnProgress | None = None,
) -> Values:
    """Take in a folder or zip by its path on this computer."""
    try:
        path = access.path(text)
    except AutosegError as error:
        return {"verdict": views.error(error)}
    return added(workspace, str(path), on_progress)


def added_hub(
    workspace: Workspace,
    text: str | None,
    revision: str | None = "",
    on_download: OnProgress | None = None,
    on_progress: OnProgress | None = None,
) -> Values:
    """Fetch a data set of the Hub, select and check it.

    Args:
        workspace: Where it is listed.
        text: "owner/name", or its other forms.
        revision: Branch, tag or commit; "": as `text` says, else the main branch.
        on_download: Called with the bytes done and all bytes.
        on_progress: Called with the images checked and all images.
    """
    try:
        dataset = workspace.add_hub_dataset(
            text or "",
            revision=(revision or "").strip() or None,
            connection=connect(),
            on_download=on_download or (lambda done, total: None),
        )
    except AutosegError as error:
        return {"verdict": views.error(error), "gallery": gr.update(value=[], visible=False)}
    return {**listed(workspace, dataset.name), **checked(workspace, dataset.name, "", on_progress)}


def sampled(workspace: Workspace, on_progress: OnProgress | None = None) -> Values:
    """Create the sample data set, or select the one that is there, and check it."""
    try:
        dataset = workspace.add_sample()
    except AutosegError as error:
        return {"verdict": views.error(error)}
    return {**listed(workspace, dataset.name), **checked(workspace, dataset.name, "", on_progress)}


def removed(workspace: Workspace, name: str | None) -> Values:
    """Remove a data set: uploaded files are deleted, a folder elsewhere is only forgotten."""
    if name is None:
        return {}
    try:
        workspace.delete_dataset(name)
    except AutosegError as error:
        return {"verdict": views.error(error)}
    values = listed(workspace)
    return {**values, **shown(workspace, values["datasets"]["value"])}


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
            datasets = gr.Radio(label="Your data sets", elem_classes="as-list", elem_id="datasets")
            with gr.Row():
                check = gr.Button("Check", size="md", min_width=100, elem_id="check")
                use = gr.Button(
                    "Search with it", variant="primary", size="md", min_width=140, elem_id="use"
                )
            sample = gr.Button("Create the sample data set", size="md", elem_id="sample")
            upload = gr.File(
                label="Upload a zip: images/ beside masks/", file_types=[".zip"], height=140,
                elem_id="upload",
            )  # fmt: skip
            # Others must not fill this computer's disk, nor see what its login gives.
            with gr.Accordion(
                "A data set of the Hugging Face Hub", open=False, visible=access.sharing
            ):
                hub_name = gr.Textbox(
                    label="Data set", placeholder="owner/name",
                    info="With /folder behind it where only a part is wanted.", elem_id="hub-name",
                )  # fmt: skip
                hub_revision = gr.Textbox(
                    label="Revision", placeholder="main", info="Branch, tag or commit."
                )
                add_hub = gr.Button("Fetch it", size="md", elem_id="hub-fetch")
            with gr.Accordion("A folder on this computer", open=False, visible=access.paths):
                path = gr.Textbox(
                    label="Full path of a folder or zip", placeholder="/home/me/photos"
                )
                add_path = gr.Button("Add this folder")
            with gr.Accordion("What the mask values mean", open=False):
                mapping = gr.Textbox(
                    label="Only where the check asks for it", lines=4,
                    placeholder="0 = background\n1 = leaf\n255 = ignore",
                    info="One value or colour a line. Then press Check.",
                )  # fmt: skip
            with gr.Accordion("Remove a data set", open=False):
                gr.Markdown(
                    "Uploaded files are deleted. A folder elsewhere stays as it is. "
                    "Models already found stay as well."
                )
                remove = gr.Button("Remove the chosen data set", variant="stop")
        with gr.Column(scale=3, min_width=320):
            verdict = html(NO_DATA, elem_id="verdict")
            gallery = gr.Gallery(
                format="jpeg",
                label="Images with their masks", columns=4, height="auto", object_fit="contain",
                visible=False, buttons=["fullscreen"], elem_id="gallery",
            )  # fmt: skip
    parts = {"datasets": datasets, "verdict": verdict, "gallery": gallery, "mapping": mapping}
    outputs = list(parts.values())

    def placed(values: Values) -> Placed:
        return {parts[name]: value for name, value in values.items()}

    def on_check(name: str | None, meanings: str | None, progress: Any = _PROGRESS) -> Placed:
        return placed(checked(workspace, name, meanings, _reporting(progress)))

    def on_upload(file: str | None, progress: Any = _PROGRESS) -> Placed:
        return placed(added(workspace, file, _reporting(progress)))

    def on_path(text: str | None, progress: Any = _PROGRESS) -> Placed:
        return placed(added_path(workspace, access, text, _reporting(progress)))

    def on_hub(text: str | None, revision: str | None, progress: Any = _PROGRESS) -> Placed:
        return placed(
            added_hub(
                workspace, text, revision,
                on_download=_reporting(progress, "Fetching", "bytes"),
                on_progress=_reporting(progress),
            )
        )  # fmt: skip

    def on_sample(progress: Any = _PROGRESS) -> Placed:
        return placed(sampled(workspace, _reporting(progress)))

    private: dict[str, Any] = {"api_visibility": "private", "show_progress_on": verdict}
    check.click(on_check, [datasets, mapping], outputs, **private)
    upload.upload(on_upload, upload, outputs, **private)
    sample.click(on_sample, None, outputs, **private)
    if access.sharing:
        add_hub.click(on_hub, [hub_name, hub_revision], outputs, **private)
        hub_name.submit(on_hub, [hub_name, hub_revision], outputs, **private)
    if access.paths:
        add_path.click(on_path, path, outputs, **private)
    remove.click(lambda name: placed(removed(workspace, name)), datasets, outputs, **private)
    datasets.input(
        lambda name: placed(shown(workspace, name)), datasets, outputs,
        show_progress="hidden", api_visibility="private",
    )  # fmt: skip
    return DataTab(datasets, use, placed, outputs)


def _reporting(progress: Any, what: str = "Checking", unit: str = "images") -> OnProgress:
    """Gradio's progress bar as those who work call it."""
    return lambda done, total: progress((done, total), desc=what, unit=unit)
