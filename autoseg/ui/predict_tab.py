"""Predict tab: a model of the workspace on an image of the user's."""

import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np

from autoseg.data.formats import Sample, find_samples
from autoseg.data.images import read_image
from autoseg.errors import AutosegError, BundleError, DatasetError, RunError
from autoseg.predictor import Predictor, find_bundle
from autoseg.ui import previews, views
from autoseg.ui.access import Access
from autoseg.ui.results import class_areas, new_folder, write_result
from autoseg.ui.style import html, overlay_viewer
from autoseg.workspace import Workspace

Values = dict[str, Any]
"""What a callback changes, by the name of the component."""

Placed = dict[Any, Any]
"""Values by component, as Gradio takes them."""

N_EXAMPLES = 8
"""Images of the test split that are offered to try."""

NO_MODEL = views.empty("No model yet", "Start a search in the Search tab; its model appears here.")
NO_PREDICTION = views.empty("No prediction yet", "Give an image, or click one of the examples.")


def model_choices(workspace: Workspace) -> list[tuple[str, str]]:
    """Finished runs, the newest first, with their scores; then models pulled from the Hub.

    The value of a run is its name, that of a pulled model "owner/name".
    """
    choices = []
    for run in workspace.runs():
        try:
            find_bundle(run.model)
            state = run.state()
        except (BundleError, RunError):
            continue
        score = state.best_score if state else None
        told = f" · {views.percent(score)} on validation images" if score is not None else ""
        choices.append((run.name + told, run.name))
    pulled = [
        (f"{model.repo_id} · from the Hub", model.repo_id) for model in workspace.pulled.all()
    ]
    return choices + pulled


def opened(workspace: Workspace, chosen: str | None = None) -> Values:
    """The models with `chosen`, or else the newest, selected; and its examples."""
    choices = model_choices(workspace)
    names = [name for _, name in choices]
    name = chosen if chosen in names else next(iter(names), None)
    return {
        "model": gr.update(choices=choices, value=name),
        "examples": example_gallery(workspace, name),
        "hint": gr.update(value=NO_MODEL, visible=not choices),
    }


def examples(workspace: Workspace, name: str | None) -> list[Sample]:
    """Images of a run's test split, evenly spread; none where they are no longer there."""
    if name is None or "/" in name:
        return []  # The images of a model from the Hub are not here.
    try:
        run = workspace.named_run(name)
        info, splits, verdict = run.info(), run.json("splits.json"), run.json("verdict.json")
        if info is None or not splits or not verdict:
            return []
        layout = find_samples(Path(info.source))
    except (RunError, DatasetError):
        return []
    left_out = {item["path"] for item in verdict.get("skipped", ())}
    samples = [
        sample
        for sample in layout.samples
        if sample.image_path.relative_to(layout.root).as_posix() not in left_out
    ]
    if len(samples) != verdict.get("pairs"):
        return []  # The data changed since: the numbers in the splits mean other images now.
    held_out = splits.get("test") or splits.get("val") or ()
    chosen = [held_out[k] for k in previews.spread(len(held_out), N_EXAMPLES)]
    return [samples[index] for index in chosen]


def example_gallery(workspace: Workspace, name: str | None) -> dict[str, Any]:
    """Thumbnails of the examples."""
    shown = []
    for sample in examples(workspace, name):
        try:
            shown.append((previews.read_thumbnail(sample.image_path), sample.name))
        except DatasetError:
            shown.append((np.full((48, 64, 3), 128, np.uint8), sample.name))
    return dict(gr.update(value=shown, visible=bool(shown), selected_index=None))


@lru_cache(maxsize=2)
def _load(folder: str, modified_ns: int) -> Predictor:
    """A model, kept in memory until its file changes or others push it out."""
    del modified_ns  # Only part of the key.
    return Predictor.from_pretrained(folder)


def load_model(workspace: Workspace, name: str | None, folder: str | None = "") -> Predictor:
    """The model in `folder`, if one is given, else the run's or the pulled one of that name.

    Raises:
        AutosegError: There is none, or it is damaged.
    """
    if folder and folder.strip():
        bundle = find_bundle(folder.strip())
    elif name and "/" in name:
        bundle = find_bundle(workspace.pulled.get(name).folder)
    elif name:
        bundle = find_bundle(workspace.named_run(name).path)
    else:
        raise BundleError("No model is chosen.")
    return _load(str(bundle), max(file.stat().st_mtime_ns for file in bundle.iterdir()))


def predicted(
    workspace: Workspace, results: Path, *, name: str | None, folder: str | None = "",
    image: str | None, flip: bool = False,
) -> Values:  # fmt: skip
    """Predict one image and show it, or say why not."""
    if not image:
        return {"classes": views.error("There is no image. Upload one, or click an example.")}
    source = Path(image)
    try:
        model = load_model(workspace, name, folder)
        pixels = read_image(source)
        prediction = model.predict(pixels, flip=flip)
        files = write_result(prediction, pixels, source, new_folder(results))
    except AutosegError as error:
        return {
            "viewer": gr.update(value=None, visible=False), "classes": views.error(error),
            "mask_file": gr.update(visible=False), "overlay_file": gr.update(visible=False),
        }  # fmt: skip
    return {
        "viewer": gr.update(value=(str(files.image), str(files.overlay)), visible=True),
        "classes": views.prediction(class_areas(prediction), prediction.seconds)
        + "".join(views.note(text) for text in model.notes),
        "mask_file": gr.update(value=str(files.mask), visible=True),
        "overlay_file": gr.update(value=str(files.overlay), visible=True),
    }


def _lent(path: Path, results: Path) -> str:
    """A copy of a data set's image where Gradio may serve it from."""
    target = new_folder(results) / path.name
    shutil.copyfile(path, target)
    return str(target)


@dataclass(frozen=True)
class PredictTab:
    """Components and functions that the other tabs and the page's opening use."""

    model: gr.Dropdown
    outputs: list[Any]
    open_page: Callable[[str | None], Placed]


def build(workspace: Workspace, access: Access) -> PredictTab:
    """Lay out the tab and connect it."""
    scratch = tempfile.TemporaryDirectory(prefix="autoseg-")  # Goes with the functions below.
    parts = _layout(access)
    outputs = [
        parts[name] for name in
        ("model", "examples", "hint", "image", "viewer", "classes", "mask_file", "overlay_file")
    ]  # fmt: skip
    inputs = [parts["model"], parts["folder"], parts["image"], parts["flip"]]

    def placed(values: Values) -> Placed:
        return {parts[name]: value for name, value in values.items()}

    def on_predict(name: str | None, folder: str | None, image: str | None, flip: bool) -> Placed:
        given = str(access.path(folder)) if access.paths and folder else ""
        return placed(
            predicted(
                workspace, Path(scratch.name), name=name, folder=given, image=image, flip=flip
            )
        )

    def on_example(name: str | None, event: gr.SelectData) -> Placed:
        chosen = examples(workspace, name)
        if not isinstance(event.index, int) or event.index >= len(chosen):
            return {}
        return placed({"image": _lent(chosen[event.index].image_path, Path(scratch.name))})

    def on_model(name: str | None) -> Placed:
        return placed({"examples": example_gallery(workspace, name)})

    private: dict[str, Any] = {"api_visibility": "private"}
    shown = {"show_progress_on": parts["classes"], **private}
    parts["predict"].click(on_predict, inputs, outputs, **shown)
    parts["image"].upload(on_predict, inputs, outputs, **shown)
    parts["examples"].select(
        on_example, parts["model"], outputs, show_progress="hidden", **private
    ).success(on_predict, inputs, outputs, **shown)
    parts["model"].input(on_model, parts["model"], outputs, show_progress="hidden", **private)
    return PredictTab(parts["model"], outputs, lambda name: placed(opened(workspace, name)))


def _layout(access: Access) -> dict[str, Any]:
    with gr.Row():
        with gr.Column(scale=2, min_width=290):
            model = gr.Dropdown(label="Model", choices=[], elem_id="model")
            hint = html(NO_MODEL, visible=False)
            image = gr.Image(
                label="Image", type="filepath", image_mode=None, height=280,
                sources=["upload", "clipboard", "webcam"], elem_id="image",
            )  # fmt: skip
            predict = gr.Button("Predict", variant="primary", elem_id="predict")
            with gr.Accordion("More options", open=False):
                flip = gr.Checkbox(
                    label="Average with the mirrored image (twice the time, a little better)",
                    value=False,
                )
                folder = gr.Textbox(
                    label="Another model on this computer", visible=access.paths,
                    info="Full path of its folder. Empty: the model chosen above.",
                )  # fmt: skip
            gallery = gr.Gallery(
                format="jpeg",
                label="Examples the model has not seen in training", columns=4, height="auto",
                object_fit="cover", allow_preview=False, visible=False, buttons=[],
                elem_id="examples",
            )  # fmt: skip
        with gr.Column(scale=3, min_width=320):
            viewer = overlay_viewer()
            classes = html(NO_PREDICTION, elem_id="classes")
            with gr.Row():
                mask_file = gr.DownloadButton(
                    "Download the mask (PNG)", visible=False, size="md", elem_id="mask-file"
                )
                overlay_file = gr.DownloadButton(
                    "Download the overlay (JPEG)", visible=False, size="md"
                )
    return {
        "model": model, "hint": hint, "folder": folder, "image": image, "flip": flip,
        "predict": predict, "examples": gallery, "viewer": viewer, "classes": classes,
        "mask_file": mask_file, "overlay_file": overlay_file,
    }  # fmt: skip
