"""An image with its mask in the browser: everything a reader or corrector of masks does.

Files go to the browser once; opacity, colours, hover, regions, comparison and corrections then
happen there, in the scripts beside this module (`mask_canvas/`).
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gradio as gr

from autoseg.ui.bases import HTML
from autoseg.ui.scripts import read_beside, script, script_texts, with_fixed
from autoseg.ui.served import served

SCRIPTS = (
    "numbers.js", "controls.js", "png.js", "pixels.js", "regions.js", "counting.js", "colors.js",
    "viewport.js", "layers.js", "painter.js", "gestures.js", "drafts.js", "correction.js",
    "tools.js", "reading.js", "actions.js", "marks.js", "hints.js", "compare.js", "class_table.js",
    "view_bar.js", "correct_bar.js", "keys.js", "pointing.js", "values.js", "sending.js",
    "loading.js", "stage_size.js", "canvas.js",
)  # fmt: skip
"""One concern each, in an order in which each uses only those before it."""

FILES = ("image", "classes", "confidence", "other")
"""Keys of a value that name files."""


JS = script("crc.js", *(f"mask_canvas/{name}" for name in SCRIPTS))
"""The script, run once for each canvas. Its events are "corrected" and "export"."""

CSS = read_beside("mask_canvas/mask_canvas.css")
"""The style sheet, which Gradio keeps to the component."""


class MaskCanvas(HTML):
    """An image with its mask: look at it, compare it, correct it.

    Events:
        corrected: "Add to the data set" was pressed. The event's data is
            `{"id": str, "key": str, "mask": {"path": str, ...}, "changed_px": int}`; the mask is an
            8-bit grey PNG of class indices at the size of `classes`, 255 where the pixel is left
            out. The listener must return `answer_to(data)`: until then the drawing is unsaved.
        export: A download was chosen: `{"id": str, "format": str, "threshold": float | None}`,
            format one of index, color, overlay, coco, polygons, confidence.
    """

    def __init__(
        self,
        value: Mapping[str, Any] | None = None,
        *,
        editable: bool = False,
        downloads: bool = True,
        empty: str = "",
        answer: Mapping[str, str] | None = None,
        **kwargs: Any,
    ) -> None:
        """Make a canvas.

        Args:
            value: None, or `id`, `name`, the paths `image`, `classes`, `confidence` and `other`
                (the last two may be None), `other_name`, `names`, `palette`, `seconds` and
                `editable`. `own_name` may say what the mask is, where it is no prediction, and
                `model` whose prediction it is.
            editable: Whether masks can be corrected, where the value does not say.
            downloads: Whether there is a menu that sends `export`.
            empty: English text where there is no value yet; Chinese comes from the locales.
            answer: What became of a mask that was sent, see `answer_to`.
            kwargs: As `gr.HTML` takes them: elem_id, visible, ...
        """
        super().__init__(
            value=value,
            html_template='<div class="mc"></div>',
            css_template=CSS,
            js_on_load=with_fixed(
                JS,
                texts=script_texts(JS, [empty]),
                editable=editable,
                downloads=downloads,
                empty=empty,
            ),
            apply_default_css=False,
            answer=answer,
            **kwargs,
        )

    def postprocess(self, value: Any) -> Any:
        """Python to browser: paths become files that the page may fetch."""
        if value is None:
            return None
        sent = {key: served(Path(value[key])) for key in FILES if value.get(key)}
        return {**value, **{key: sent.get(key) for key in FILES}}

    def preprocess(self, payload: Any) -> Any:
        """Browser to Python: the value as it was sent."""
        return payload

    def api_info(self) -> dict[str, Any]:
        """What the value is."""
        return {"type": "object"}


def answer_to(said: Mapping[str, Any], problem: str = "") -> dict[str, Any]:
    """Update of a canvas that tells it what became of the mask it sent.

    Args:
        said: Data of its event "corrected".
        problem: Why the mask is not kept; "": it is.
    """
    return dict(gr.update(answer={"key": str(said.get("key", ""))[:200], "problem": problem}))
