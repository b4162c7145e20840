"""A file that the browser saves without being asked again."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from autoseg.ui.bases import HTML
from autoseg.ui.scripts import script, script_texts, with_fixed
from autoseg.ui.served import served

JS = script("downloader.js")
"""Saves each new value once."""

CSS = """
div { padding: 8px 0; color: var(--error-text-color); }
button { min-height: 32px; padding: 0 8px; text-decoration: underline; color: inherit; }
"""


class Downloader(HTML):
    """Saves the file of each new value; nothing of it is seen, unless it cannot be fetched."""

    def __init__(self, **kwargs: Any) -> None:
        """Make a downloader; it must be on a tab that is open when it gets its value.

        Args:
            kwargs: As `gr.HTML` takes them.
        """
        super().__init__(
            value=None, html_template='<div role="alert" hidden></div>', css_template=CSS,
            js_on_load=with_fixed(JS, texts=script_texts(JS)), apply_default_css=False, **kwargs,
        )  # fmt: skip

    def postprocess(self, value: Mapping[str, Any] | None) -> Any:  # type: ignore[override]
        """Python to browser.

        Args:
            value: None, or `file` (a path), `name` (what the browser calls it) and `id`.
        """
        if value is None:
            return None
        return {**value, "file": served(Path(value["file"]))}

    def api_info(self) -> dict[str, Any]:
        """What the value is."""
        return {"type": "object"}
