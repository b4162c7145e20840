"""All images of a data set in pages of small pictures, any of which can be opened large."""

from collections.abc import Mapping
from typing import Any

from autoseg.ui.bases import HTML
from autoseg.ui.scripts import read_beside, script, script_texts, with_fixed
from autoseg.ui.served import served

JS = script("image_browser.js")
"""The script. Its events are "browse" and "enlarge"."""

CSS = read_beside("image_browser.css")


class ImageBrowser(HTML):
    """A page of images.

    Its value is None or `{"dataset": str, "items": [...], "page": int, "pages": int, "total": int,
    "sort": str, "sorts": [[value, text], ...]}` with `dataset` the name of the data set
    and items `{"position": int, "name": str, "note": str, "thumb": path | None}`.

    Events:
        browse: Another page or order is wanted: `{"dataset": str, "page": int, "sort": str}`.
        enlarge: An image was chosen: `{"dataset": str, "position": int}`.
    """

    def __init__(
        self, value: Mapping[str, Any] | None = None, *, large: str = "", **kwargs: Any
    ) -> None:
        """Make a browser.

        Args:
            value: The first page.
            large: CSS selector of where the chosen image is shown, which is then scrolled to.
            kwargs: As `gr.HTML` takes them.
        """
        super().__init__(
            value=value,
            html_template='<div class="ib"></div>',
            css_template=CSS,
            js_on_load=with_fixed(JS, texts=script_texts(JS), large=large),
            apply_default_css=False,
            **kwargs,
        )

    def postprocess(self, value: Any) -> Any:
        """Python to browser: paths become files that the page may fetch."""
        if value is None:
            return None
        items = [{**item, "thumb": served(item["thumb"])} for item in value["items"]]
        return {**value, "items": items}

    def preprocess(self, payload: Any) -> Any:
        """Browser to Python: the value as it was sent."""
        return payload

    def api_info(self) -> dict[str, Any]:
        """What the value is."""
        return {"type": "object"}
