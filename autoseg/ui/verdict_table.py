"""The verdict as a table to edit: what each mask value means, its class name and colour."""

from collections.abc import Mapping
from typing import Any

from autoseg.ui.bases import HTML
from autoseg.ui.scripts import read_beside, script, script_texts, with_fixed
from autoseg.ui.served import served

JS = script("verdict_table.js")
"""The script. Its events are "apply" and "forget"."""

CSS = read_beside("verdict_table.css")


class VerdictTable(HTML):
    """Raw values of the masks with what they mean.

    Its value is None or
    `{"dataset": str, "rows": [...], "caption": str, "question": bool, "forgettable": bool}` with
    `dataset` the name of the data set and rows
    `{"key": str, "raw": str, "example": path | None, "name": str, "meaning": str, "color": str,
    "share": str, "part": float, "images": str, "why": str}`. `key` is what the row is called in a
    mapping; rows without one cannot be edited. `meaning` is "class", "ignore" or "nearest".

    Events:
        apply: The user changed or answered something: `{"dataset", "rows": [{"key", "name",
            "meaning", "color"}]}`.
        forget: The user wants the values read as they were found: `{"dataset"}`.
    """

    def __init__(self, value: Mapping[str, Any] | None = None, **kwargs: Any) -> None:
        """Make a table; `kwargs` as `gr.HTML` takes them."""
        super().__init__(
            value=value,
            html_template='<div class="vt"></div>',
            css_template=CSS,
            js_on_load=with_fixed(JS, texts=script_texts(JS)),
            apply_default_css=False,
            **kwargs,
        )

    def postprocess(self, value: Any) -> Any:
        """Python to browser: paths become files that the page may fetch."""
        if value is None:
            return None
        rows = [{**row, "example": served(row["example"])} for row in value["rows"]]
        return {**value, "rows": rows}

    def preprocess(self, payload: Any) -> Any:
        """Browser to Python: the value as it was sent."""
        return payload

    def api_info(self) -> dict[str, Any]:
        """What the value is."""
        return {"type": "object"}
