"""The pages of the Spaces: one model at work, or several on the same image side by side."""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import gradio as gr
import numpy as np

from autoseg.data.images import write_jpeg
from autoseg.errors import AutosegError, ConfigError
from autoseg.hub.space_files import MODELS_VARIABLE
from autoseg.ui import space_models, views
from autoseg.ui.results import new_folder
from autoseg.ui.server_log import keep_plain
from autoseg.ui.space_models import Models, SpaceModel
from autoseg.ui.space_results import (
    Result,
    answer_compare,
    answer_predict,
    class_areas,
    predict_all,
)
from autoseg.ui.style import CSS, html, overlay_viewer, theme

PageKind = Literal["predict", "gallery"]

Placed = dict[Any, Any]
"""Values by component, as Gradio takes them."""

MAX_UPLOAD = "100mb"
"""Largest image that a page takes."""

NO_PREDICTION = views.empty("No prediction yet", "Give an image: upload, paste or photograph it.")
NO_MODELS = (
    f"No model is named. Set the variable {MODELS_VARIABLE} to one or more repositories on the "
    f"Hub, separated by commas, such as {MODELS_VARIABLE}=owner/name"
)

_CACHE_CHECK_S, _CACHE_AGE_S = 600, 3600

_PRIVATE: dict[str, Any] = {"api_visibility": "private"}


def main(kind: PageKind) -> None:
    """Load the models of `AUTOSEG_MODELS` and serve their page until interrupted.

    Address and port are Gradio's: `GRADIO_SERVER_NAME` and `GRADIO_SERVER_PORT`, which the Hub
    sets, else this computer alone and the first free port from 7860 on.
    """
    keep_plain()
    build(kind, space_models.models_of_environment()).launch(
        theme=theme(),
        css=CSS,
        show_error=True,
        footer_links=["api"],
        run_history=False,
        ssr_mode=False,
        max_file_size=MAX_UPLOAD,
    )


def build(kind: PageKind, models: Sequence[SpaceModel]) -> gr.Blocks:
    """The page over loaded models; where none is, it says why.

    Raises:
        ConfigError: There is no page of that kind.
    """
    if kind not in get_args(PageKind):
        raise ConfigError(f"`kind` must be one of {get_args(PageKind)}, but got {kind!r}.")
    title = models[0].name if kind == "predict" and models else "Models side by side"
    page: gr.Blocks
    with gr.Blocks(
        title=f"{title} · autoseg",
        analytics_enabled=False,
        delete_cache=(_CACHE_CHECK_S, _CACHE_AGE_S),
    ) as page:
        loaded = Models(models)
        if not models:
            html(views.error(NO_MODELS), elem_id="problem")
        elif kind == "predict":
            _predict_page(loaded)
        else:
            _gallery_page(loaded)
    return page


@dataclass(frozen=True)
class _Inputs:
    """What the user gives: an image and a choice."""

    image: gr.Image
    flip: gr.Checkbox
    run: gr.Button
    gallery: gr.Gallery
    examples: list[tuple[str, np.ndarray]]
    """Name and pixels (H, W, 3)."""
    scratch: tempfile.TemporaryDirectory[str]
    """Files of results; it lives as long as the functions of the page."""

    @property
    def results(self) -> Path:
        """Folder for results."""
        return Path(self.scratch.name)


def _predict_page(models: Models) -> None:
    """The first model: image in; overlay, table and files out."""
    model = models.all[0]
    html(space_models.card(model), elem_id="model")
    if len(models.all) > 1:
        html(views.note(f"Only {model.name} is shown here. The gallery compares several models."))
    if model.predictor is None:
        return
    with gr.Row():
        with gr.Column(scale=2, min_width=290):
            inputs = _lay_inputs(models, "Predict")
        with gr.Column(scale=3, min_width=320):
            viewer = overlay_viewer()
            classes = html(NO_PREDICTION, elem_id="classes")
            with gr.Row():
                downloads = (
                    gr.DownloadButton("Mask (PNG)", visible=False, size="md", elem_id="mask-file"),
                    gr.DownloadButton(
                        "Overlay (JPEG)", visible=False, size="md", elem_id="overlay-file"
                    ),
                    gr.DownloadButton(
                        "COCO RLE (JSON)", visible=False, size="md", elem_id="coco-file"
                    ),
                )

    def on_run(image: str | None, flip: bool) -> Placed:
        try:
            result = predict_all(models, inputs.results, image, flip=flip)[0]
        except AutosegError as error:
            result = Result(model, problem=str(error))
        files = result.files
        pair = (str(files.image), str(files.overlay)) if files else None
        offered = (files.mask, files.overlay, files.coco) if files else (None, None, None)
        return {
            viewer: gr.update(value=pair, visible=pair is not None),
            classes: _table(result),
            **{button: _download(file) for button, file in zip(downloads, offered, strict=True)},
        }

    def endpoint(image: str, flip: bool = False) -> tuple[str, dict[str, Any]]:
        return answer_predict(models, inputs.results, image, flip)

    _connect(inputs, on_run, [viewer, classes, *downloads], classes)
    _offer_api(
        "predict", endpoint, inputs, gr.File(label="mask", visible=False),
        "The class of every pixel as an 8-bit grey PNG of class indices, and the classes in it.",
    )  # fmt: skip


def _gallery_page(models: Models) -> None:
    """All models: one image in; an overlay and a table of each out."""
    count = len(models.all)
    html(
        '<header class="as-head"><b>Models side by side</b>'
        f"<span>One image, {count} model{'s' if count > 1 else ''}.</span></header>"
    )
    overlays, tables, masks = [], [], []
    with gr.Row():
        with gr.Column(scale=2, min_width=290):
            inputs = _lay_inputs(models, "Compare")
        with gr.Column(scale=5, min_width=320), gr.Row():
            for number, model in enumerate(models.all):
                with gr.Column(min_width=300, elem_classes="as-model"):
                    html(space_models.card(model, with_classes=False))
                    overlays.append(
                        gr.Image(
                            label=f"Mask of {model.name}",
                            type="filepath",
                            interactive=False,
                            visible=False,
                            height=300,
                            buttons=["fullscreen"],
                            elem_id=f"overlay-{number}",
                        )  # fmt: skip
                    )
                    tables.append(html("", elem_id=f"classes-{number}"))
                    masks.append(gr.DownloadButton("Mask (PNG)", visible=False, size="md"))

    def on_run(image: str | None, flip: bool) -> Placed:
        try:
            made = predict_all(models, inputs.results, image, flip=flip)
        except AutosegError as error:
            made = [Result(model, problem=str(error)) for model in models.all]
        placed: Placed = {}
        for result, overlay, table, mask in zip(made, overlays, tables, masks, strict=True):
            file = result.files.overlay if result.files else None
            placed[overlay] = gr.update(value=file and str(file), visible=file is not None)
            # Why a model is not there stands on its card already.
            placed[table] = _table(result) if result.model.predictor else ""
            placed[mask] = _download(result.files.mask if result.files else None)
        return placed

    def endpoint(image: str, flip: bool = False) -> tuple[list[str], list[dict[str, Any]]]:
        return answer_compare(models, inputs.results, image, flip)

    _connect(inputs, on_run, [*overlays, *tables, *masks], inputs.run)
    _offer_api(
        "compare", endpoint, inputs,
        gr.File(label="masks", visible=False, file_count="multiple"),
        "Masks as 8-bit grey PNGs of class indices, and per model the classes and which mask.",
    )  # fmt: skip


def _lay_inputs(models: Models, action: str) -> _Inputs:
    """The column where the image goes in."""
    examples = space_models.examples(models.all)
    image = gr.Image(
        label="Image", type="filepath", image_mode=None, height=280,
        sources=["upload", "clipboard", "webcam"], elem_id="image",
    )  # fmt: skip
    run = gr.Button(action, variant="primary", elem_id="run")
    flip = gr.Checkbox(
        label="Average with the mirrored image (twice the time, a little better)", value=False
    )
    gallery = gr.Gallery(
        value=[(pixels, None) for _, pixels in examples],
        format="jpeg", label="Examples", columns=4, height="auto", object_fit="cover",
        allow_preview=False, visible=bool(examples), buttons=[], elem_id="examples",
    )  # fmt: skip
    scratch = tempfile.TemporaryDirectory(prefix="autoseg-")
    return _Inputs(image, flip, run, gallery, examples, scratch)


def _connect(
    inputs: _Inputs, on_run: Callable[..., Placed], outputs: list[Any], progress_on: Any
) -> None:
    """Run on the button, on a new image and on an example."""

    def on_example(event: gr.SelectData) -> str | None:
        if not isinstance(event.index, int) or event.index >= len(inputs.examples):
            return None
        name, pixels = inputs.examples[event.index]
        target = new_folder(inputs.results) / f"{name}.jpg"
        write_jpeg(pixels, target, quality=95)
        return str(target)

    values = [inputs.image, inputs.flip]
    shown = {"show_progress_on": progress_on, "concurrency_id": "model", **_PRIVATE}
    inputs.run.click(on_run, values, outputs, **shown)
    inputs.image.upload(on_run, values, outputs, **shown)
    inputs.gallery.select(
        on_example, None, inputs.image, show_progress="hidden", **_PRIVATE
    ).success(on_run, values, outputs, **shown)


def _offer_api(
    name: str, endpoint: Callable[..., Any], inputs: _Inputs, masks: gr.File, text: str
) -> None:
    """Give programs a function of plain files and values, for `gradio_client`."""
    # A file, not the page's image: what is no image gets our words, not Gradio's.
    image = gr.File(label="image", visible=False)
    classes = gr.JSON(label="classes", visible=False)
    gr.Button(visible=False).click(
        endpoint, [image, inputs.flip], [masks, classes],
        api_name=name, api_description=text, concurrency_id="model",
    )  # fmt: skip


def _table(result: Result) -> str:
    """The classes that were found, or why none."""
    if result.prediction is None:
        return views.error(result.problem)
    return views.prediction(class_areas(result.prediction), result.prediction.seconds)


def _download(file: Path | None) -> dict[str, Any]:
    return dict(gr.update(value=file and str(file), visible=file is not None))
