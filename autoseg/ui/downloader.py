"""A file that the browser saves without being asked again."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gradio as gr

from autoseg.ui.served import served

JS = """(() => {
  let last = null;
  const save = async () => {
    const value = props.value;
    if (!value || !value.file || value.id === last) return;
    last = value.id;
    const answer = await fetch(value.file.url);
    if (!answer.ok) throw new Error(`${value.name}: ${answer.status}`);
    const anchor = document.createElement("a");
    // Where the server names a file, its name would win over ours; a blob has none.
    anchor.href = URL.createObjectURL(await answer.blob());
    anchor.download = value.name;
    element.append(anchor);
    anchor.click();
    anchor.remove();
    setTimeout(() => URL.revokeObjectURL(anchor.href), 60000);
  };
  save();
  watch("value", save);
})();"""
"""Saves each new value once; the id tells two downloads of the same file apart."""


class Downloader(gr.HTML):
    """Saves the file of each new value; nothing of it is seen."""

    def __init__(self, **kwargs: Any) -> None:
        """Make a downloader; it must be on a tab that is open when it gets its value.

        Args:
            kwargs: As `gr.HTML` takes them.
        """
        super().__init__(
            value=None, html_template="<span hidden></span>", js_on_load=JS,
            apply_default_css=False, **kwargs,
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
