"""Extending Gradio's components leaves nothing beside our modules."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

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
