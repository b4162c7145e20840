"""Files of the workspace for the browser: a copy in Gradio's cache, and nothing else is served."""

from pathlib import Path
from typing import Any

import gradio as gr
from gradio.processing_utils import save_file_to_cache
from gradio.utils import get_upload_folder


def served_path(path: Path) -> str:
    """A copy of a file, named by its content, that the page may fetch."""
    return str(save_file_to_cache(path, get_upload_folder()))


def served(path: Path | None) -> dict[str, Any] | None:
    """A file as components of ours send it to the browser; None where it is gone."""
    if path is None:
        return None
    try:
        return gr.FileData(path=served_path(path)).model_dump()
    except OSError:
        return None
