"""Files between workspace and browser: both ways through Gradio's cache, and nowhere else."""

from pathlib import Path
from typing import Any

import gradio as gr
from gradio.processing_utils import save_file_to_cache
from gradio.utils import get_upload_folder

from autoseg.errors import ConfigError


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


def uploaded_path(file: object) -> Path:
    """Where a file lies that an event of the browser says it has uploaded.

    Raises:
        ConfigError: It names no upload.
    """
    path = Path(str(file.get("path") if isinstance(file, dict) else file)).resolve()
    if not path.is_relative_to(Path(get_upload_folder()).resolve()) or not path.is_file():
        raise ConfigError("The upload did not arrive. Try it once more.")
    return path
