"""Components of the Predict tab and where they stand."""

from typing import Any

import gradio as gr
from gradio.data_classes import ImageData

from autoseg.ui.access import Access
from autoseg.ui.bases import Gallery, Image
from autoseg.ui.downloader import Downloader
from autoseg.ui.mask_canvas import MaskCanvas
from autoseg.ui.predict_showing import NOTHING
from autoseg.ui.style import html
from autoseg.ui.texts import label

Parts = dict[str, Any]
"""Components by name."""

TILES = (256, 384, 512, 768, 1024)
"""Sides of tiles that are offered, in pixels."""


class ImageFile(Image):
    """An image whose file comes as it is: `read_image` says what is wrong with it."""

    is_template = True
    """For Gradio: the browser shows what it shows for the base class."""

    def preprocess(self, payload: ImageData | None) -> str | None:
        """The path of the uploaded file."""
        return payload.path if payload is not None else None


def layout(access: Access) -> Parts:
    """All components; those that callbacks change or read, by name."""
    with gr.Row():
        with gr.Column(scale=1, min_width=290):
            given = _layout_given(access)
        with gr.Column(scale=3, min_width=320):
            shown = _layout_shown()
    state: Parts = {"ids": gr.State([]), "shown": gr.State(""), "given": gr.State([])}
    names = {"corrected_in": gr.State(""), "correction": gr.State(""), "started": gr.State("")}
    return {**given, **shown, **state, **names}


def _layout_given(access: Access) -> Parts:
    """The column where model and images go in."""
    known = label("A run from the list")
    if access.paths and access.sharing:
        known = label("A run, owner/name of a model on the Hub, or the full path of a folder")
    elif access.sharing:
        known = label("A run, or owner/name of a model on the Hub")
    elif access.paths:
        known = label("A run, or the full path of a folder")
    model = gr.Dropdown(
        label=label("Model"), info=known, choices=[], allow_custom_value=True,
        elem_id="model",
    )  # fmt: skip
    hint = html("", visible=False)
    image = ImageFile(
        label=label("Image"), type="filepath", image_mode=None, height=220, elem_id="image",
        sources=["upload", "clipboard", "webcam"],
    )  # fmt: skip
    with gr.Row():
        several = gr.UploadButton(
            label("Several images"), file_count="multiple", file_types=["image"], size="sm",
            min_width=120, elem_id="several",
        )  # fmt: skip
        predict = gr.Button(
            label("Predict again"), size="sm", min_width=120, elem_id="predict",
            interactive=False,
        )  # fmt: skip
    gallery = Gallery(
        label=label("Examples it has not learnt from"), columns=4, height="auto",
        object_fit="cover", allow_preview=False, visible=False, buttons=[], elem_id="examples",
    )  # fmt: skip
    with gr.Accordion(label("More options"), open=False):
        flip = gr.Checkbox(
            label=label("Average with the mirrored image (twice the time, a little better)"),
            value=False, elem_id="flip",
        )  # fmt: skip
        tile = gr.Dropdown(
            label=label("Size of tiles"), value=0, elem_id="tile",
            info=label("Large images are cut into tiles. Smaller tiles take less memory."),
            choices=[(label("Automatic"), 0), *((f"{side} px", side) for side in TILES)],
        )  # fmt: skip
    return {
        "model": model, "hint": hint, "image": image, "several": several, "predict": predict,
        "examples": gallery, "flip": flip, "tile": tile,
    }  # fmt: skip


def _layout_shown() -> Parts:
    """The column where masks come out."""
    with gr.Column(visible=False, elem_id="batch-box") as batch_box:
        batch = _layout_batch()
    compare = gr.Dropdown(
        label=label("Compare with"), choices=[(label("Nothing"), NOTHING)],
        value=NOTHING, interactive=False, elem_id="compare",
        elem_classes="as-inline",
    )  # fmt: skip
    canvas = MaskCanvas(
        empty="No prediction yet. Give an image, or click one of the examples.",
        elem_id="canvas",
    )
    message = html("", visible=False, elem_id="message")
    with gr.Accordion(
        label("Teach the model: corrections"), visible=False, elem_id="teach"
    ) as teach_box:
        teaching = _layout_teaching()
    return {
        "batch_box": batch_box, **batch, "compare": compare, "canvas": canvas, "message": message,
        "download": Downloader(elem_id="download"), "teach_box": teach_box, **teaching,
    }  # fmt: skip


def _layout_teaching() -> Parts:
    """The corrections that wait, and the training that learns them."""
    text = html("", elem_id="corrections-text")
    corrections = Gallery(
        label=label("Corrections"), columns=6, height="auto", object_fit="cover",
        allow_preview=False, visible=False, buttons=[], elem_id="corrections",
    )  # fmt: skip
    with gr.Row(elem_classes="as-ending"):
        remove = gr.Button(
            label("Remove the chosen one"), visible=False, interactive=False, size="md",
            elem_id="remove-correction",
        )  # fmt: skip
        budget = gr.Textbox(
            label=label("Time for training"), value="5m", max_lines=1, elem_id="teach-budget",
            info=label("For example 90s, 5m or 1h."),
        )  # fmt: skip
        train = gr.Button(
            label("Continue training"), variant="primary", size="md", interactive=False,
            elem_id="train",
        )  # fmt: skip
    return {
        "corrections_text": text, "corrections": corrections, "remove": remove, "budget": budget,
        "train": train, "outlook": html("", elem_id="teach-outlook"),
    }  # fmt: skip


def _layout_batch() -> Parts:
    """The images of a batch, their order, and a zip of them."""
    order = gr.Radio(
        label=label("Order"), value="uncertain", elem_id="order",
        elem_classes="as-inline",
        choices=[
            (label("Least certain first: the most useful to correct"), "uncertain"),
            (label("By name"), "name"),
        ],
    )  # fmt: skip
    batch = Gallery(
        label=label("Predicted images: uncertainty and name"), columns=6, height="auto",
        object_fit="cover", allow_preview=False, buttons=[], elem_id="batch",
    )  # fmt: skip
    with gr.Accordion(label("Download all"), open=False):
        formats = gr.CheckboxGroup(
            label=label("Formats"), value=["index"], elem_id="formats",
            choices=[
                (label("Mask of class numbers (PNG)"), "index"),
                (label("Mask in colours (PNG)"), "color"),
                (label("Image under its mask (PNG)"), "overlay"),
                (label("COCO RLE (JSON)"), "coco"),
                (label("Polygons (GeoJSON)"), "polygons"),
                (label("Confidence (PNG)"), "confidence"),
            ],
        )  # fmt: skip
        zip_button = gr.Button(label("Download as one zip"), size="md", elem_id="zip")
    return {"order": order, "batch": batch, "formats": formats, "zip": zip_button}
