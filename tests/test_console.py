"""What the terminal says of a run before it goes on."""

import io
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from rich.console import Console

from autoseg import console
from autoseg.search.run_folder import RunFolder, RunState

HOLD = """
import sys, time
from pathlib import Path
from autoseg.search.run_folder import RunFolder
with RunFolder(Path(sys.argv[1])).locked():
    print("held", flush=True)
    time.sleep(60)
"""


def told(run: RunFolder) -> str:
    """What is printed before a search."""
    screen = io.StringIO()
    console._say_what_is_there(run, Console(file=screen, width=100))
    return screen.getvalue()


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    """A run whose record is of this moment."""
    run = RunFolder(tmp_path / "leaf-1")
    run.path.mkdir()
    run.write_state(RunState("running", "searching", 600.0, 90.0, time.time(), os.getpid()))
    return run


def test_a_run_whose_process_was_killed_just_now_is_said_to_go_on(run):
    """Its record still said "running", and nothing was said."""
    held = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(run.path)], stdout=subprocess.PIPE, text=True
    )
    with held:
        assert held.stdout is not None and held.stdout.readline() == "held\n"
        assert told(run) == ""  # The search itself says that it is taken.
        held.kill()
    assert told(run).startswith("Going on where it stood, with 1:30 of its time used.")
