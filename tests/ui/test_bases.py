"""Extending Gradio's components leaves nothing beside our modules."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr
import pytest

from autoseg.ui import app
from autoseg.ui.access import Access

ROOT = Path(__file__).parents[2]


def test_no_type_stubs_are_written_into_the_package(tmp_path):
    left_out = shutil.ignore_patterns("*.pyi", "__pycache__")
    shutil.copytree(ROOT / "autoseg", tmp_path / "autoseg", ignore=left_out)
    subprocess.run(
        [sys.executable, "-c", "import autoseg.ui.app, autoseg.ui.space"],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        cwd=tmp_path,
        check=True,
    )
    assert list(tmp_path.rglob("*.pyi")) == []


def _values(value: Any) -> Iterator[Any]:
    if isinstance(value, dict | list | tuple):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _values(part)
    else:
        yield value


@pytest.mark.parametrize("local", [True, False])
def test_the_page_s_configuration_is_plain_values(workspace, local):
    """It held functions, by them the page's event loop, and each visitor got copies of it: they
    ended as "Exception ignored in BaseEventLoop.__del__" in the terminal.
    """
    components = app.build(workspace, Access(local=local)).get_config_file()["components"]
    odd = {
        (component["type"], name)
        for component in components
        for name, part in component["props"].items()
        if any(
            not isinstance(v, str | int | float | None | gr.i18n.I18nData) for v in _values(part)
        )
    }
    assert odd <= {("state", "delete_callback")}  # A plain function of Gradio.
